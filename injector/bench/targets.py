"""What the figures are to be, beside others' of the same run, and whether they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .proxies import OURS, REFERENCE
from .summary import Rounds, medians, ratios


@dataclass(frozen=True, slots=True)
class Target:
    """
    Args:
        workload, measure: where the figure stands.
        limit: at most this.
        of: whose figure it is held against; "": the figure itself.
        then: the limit after that one.
    """

    says: str
    workload: str
    measure: str
    limit: float
    of: str = REFERENCE
    then: float | None = None


def _request(workload: str, of_what: str, *measures: str) -> tuple[Target, ...]:
    words = {"cpu_us": "CPU per request", "p50_ms": "p50", "p99_ms": "p99"}
    return tuple(Target(f"{words[measure]}, {of_what}", workload, measure, 1.0) for measure in measures)


TARGETS = (
    *_request("a", "HTTP/1.1 plaintext", "cpu_us", "p99_ms"),
    *_request("b", "HTTP/1.1 with mTLS", "cpu_us", "p99_ms"),
    *_request("c_100", "two sidecars at 100/s", "cpu_us", "p50_ms", "p99_ms"),
    *_request("c_1000", "two sidecars at 1,000/s", "cpu_us", "p50_ms", "p99_ms"),
    *_request("c_3000", "two sidecars at 3,000/s", "cpu_us", "p50_ms", "p99_ms"),
    Target("CPU per request, HTTP/2 one at a time", "d_serial", "cpu_us", 1.0),
    Target("CPU per request, gRPC one at a time", "d_serial", "grpc_cpu_us", 1.0),
    Target("CPU per request, HTTP/2 multiplexed", "d_multi", "cpu_us", 4.0, then=2.0),
    Target("CPU per request, gRPC multiplexed", "d_multi", "grpc_cpu_us", 4.0, then=2.0),
    *_request("e", "origination", "cpu_us", "p99_ms"),
    Target("CPU per new mTLS connection", "f", "cpu_us", 2.0, then=1.5),
    Target("bulk TCP, CPU per GB", "g_plain", "cpu_s_per_gb", 0.6),
    Target("bulk TCP through mTLS, CPU per GB", "g_mtls", "cpu_s_per_gb", 1.0),
    Target("resident, idle", "i", "idle_mb", 0.7),
    Target("resident with 1,000 idle connections", "i", "rss_mb", 0.7),
    Target("ready, s", "k", "ready_s", 0.5, of="", then=0.3),
    Target("CPU per request, of a proxy in Python", "a", "cpu_us", 0.1, of="mitmproxy"),
    Target("CPU per request, of a proxy in Python", "a", "cpu_us", 0.1, of="proxy.py"),
    Target("CPU per request with TLS, of a proxy in Python", "b", "cpu_us", 0.1, of="mitmproxy"),
    Target("CPU per request with TLS, of a proxy in Python", "b", "cpu_us", 0.1, of="proxy.py"),
    Target("resident, MB", "i", "idle_mb", 45.0, of=""),
    Target("resident with 1,000 idle connections, MB", "i", "rss_mb", 80.0, of=""),
    Target("CPU per SVID issued over its bare key work", "issuance", "over_bare", 1.5, of=""),
    # A tenth is what two runs of the same differ by.
    Target("CPU among 10,000 routes over CPU among 10", "j", "growth", 1.1, of=""),
    Target("CPU among 10,000 approved hosts over CPU among 10", "egress-hosts", "growth", 1.1, of=""),
    Target("CPU among 10,000 rules of a gateway over CPU among 10", "ingress-rules", "growth", 1.1, of=""),
    Target("from 10,000 rules' coming until they are in force, s", "ingress-rules", "in_force_s", 2.0, of=""),
    Target("admission p99 at 100/s, ms", "admission", "p99_ms", 20.0, of=""),
    Target("a change in 500 sidecars p99, ms", "propagation", "p99_ms", 1000.0, of=""),
    Target("a change for all of 500 sidecars p99, ms", "propagation", "all_p99_ms", 1000.0, of=""),
    Target("control plane of twice the cluster", "scale", "most_growth", 2.2, of=""),
)


def verdicts(results: Mapping[str, Mapping[str, Rounds]], targets: tuple[Target, ...] = TARGETS) -> list[dict[str, Any]]:
    """One for each target: `met`, `missed`, or `not measured`.

    Args:
        results: by workload and proxy; of what is not available there are no rounds.
    """
    found = []
    for target in targets:
        rounds = results.get(target.workload, {})
        ours = rounds.get(OURS, ())
        figures = ratios(ours, rounds.get(target.of, ())) if target.of else medians(ours)
        value = figures.get(target.measure)
        verdict = "not measured" if value is None else "met" if value <= target.limit else "missed"
        found.append({"target": target.says, "workload": target.workload, "measure": target.measure, "limit": target.limit,
                      "then": target.then, "of": target.of, "value": value, "verdict": verdict})
    return found
