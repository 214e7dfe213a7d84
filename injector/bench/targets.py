"""What the figures are to be, beside Envoy's of the same run, and whether they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .proxies import OURS


@dataclass(frozen=True, slots=True)
class Target:
    """
    Args:
        workload, measure: where the figure stands; "": it is not measured here.
        limit: at most this.
        is_ratio: of the figure to Envoy's; else the figure itself.
        then: the limit after that one.
    """

    says: str
    workload: str
    measure: str
    limit: float
    is_ratio: bool = True
    then: float | None = None


TARGETS = (
    Target("CPU per request, HTTP/1.1 plaintext", "http1", "cpu_us", 1.0),
    Target("CPU per request, HTTP/1.1 with mTLS", "http1-mtls", "cpu_us", 1.0),
    Target("CPU per request, origination", "origination", "cpu_us", 1.0),
    Target("latency p50 at 1,000 requests/s", "http1-paced", "p50_us", 1.0),
    Target("latency p99 at 1,000 requests/s", "http1-paced", "p99_us", 1.0),
    Target("latency p50 under full load", "http1", "p50_us", 1.0),
    Target("latency p99 under full load", "http1", "p99_us", 1.0),
    Target("bulk TCP, CPU per GB", "tcp-bulk", "cpu_s_per_gb", 0.6),
    Target("CPU per request, HTTP/2 one at a time", "http2-one", "cpu_us", 1.0),
    Target("CPU per request, HTTP/2 multiplexed", "http2-many", "cpu_us", 4.0, then=2.0),
    Target("CPU per new mTLS connection", "mtls-new", "cpu_us", 2.0, then=1.5),
    Target("resident, MB", "memory", "idle_mb", 45.0, is_ratio=False),
    Target("resident with 1,000 open connections, MB", "memory", "open_mb", 80.0, is_ratio=False),
    Target("ready, s", "start", "ready_s", 0.5, is_ratio=False, then=0.3),
    Target("CPU per SVID issued over its bare key work", "issuance", "over_bare", 1.5, is_ratio=False),
    # A tenth is what two runs of the same differ by.
    Target("CPU among 10,000 routes over CPU among 10", "routes", "growth", 1.1, is_ratio=False),
    Target("CPU among 10,000 approved hosts over CPU among 10", "egress-hosts", "growth", 1.1, is_ratio=False),
    Target("CPU among 10,000 rules of a gateway over CPU among 10", "ingress-rules", "growth", 1.1, is_ratio=False),
    Target("from 10,000 rules' coming until they are in force, s", "ingress-rules", "in_force_s", 2.0, is_ratio=False),
    Target("admission p99 at 100/s, ms", "admission", "p99_ms", 20.0, is_ratio=False),
    Target("a change in 500 sidecars p99, ms", "propagation", "p99_ms", 1000.0, is_ratio=False),
    Target("a change for all of 500 sidecars p99, ms", "propagation", "all_p99_ms", 1000.0, is_ratio=False),
    Target("control plane of twice the cluster", "scale", "most_growth", 2.2, is_ratio=False),
)


def verdicts(workloads: Mapping[str, Any], targets: tuple[Target, ...] = TARGETS) -> list[dict[str, Any]]:
    """One for each target: `met`, `missed`, or `not measured`.

    Args:
        workloads: by name, as in the document of `report.py`.
    """
    found = []
    for target in targets:
        row = workloads.get(target.workload, {}).get("proxies", {}).get(OURS, {})
        value = row.get("ratios" if target.is_ratio else "medians", {}).get(target.measure)
        verdict = "not measured" if value is None else "met" if value <= target.limit else "missed"
        found.append({"target": target.says, "workload": target.workload, "measure": target.measure, "limit": target.limit,
                      "then": target.then, "is_ratio": target.is_ratio, "value": value, "verdict": verdict})
    return found
