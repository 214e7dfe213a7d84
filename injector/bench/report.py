"""The result as one document, and the document as a table. The names of its keys do not change within one `schema`."""

from collections.abc import Mapping, Sequence
from typing import Any

from .measures import MEASURES, Measure
from .proxies import REFERENCE
from .summary import Rounds, medians, ratios, spread
from .targets import verdicts
from .workloads import Workload

SCHEMA = 1

FAIRNESS = (
    "CPU is the scheduler's count for the proxy's processes, all threads and children; the proxy has one core, load and origin another.",
    "Ratios are to Envoy in the same round, medians over the rounds, which are interleaved and begin with another proxy each time.",
    "Bartizan is asked at the application's port and pays for the packet rules that lead there; the others listen on a port of their own "
    "in a namespace of the same shape, without rules.",
    "All: one worker if nothing else is said, keep-alive to the origin, an access log line for each request to /dev/null, a request ID, "
    "x-forwarded-proto.",
    "mTLS: one HAProxy on the load's core speaks TLS 1.3 (X25519, AES-128-GCM, ECDSA P-256, no resumption) to all four, which verify "
    "its certificate; Bartizan and Envoy also judge its SPIFFE ID for each request and tell the application.",
    "Origination: the load comes from the proxy's own pod and goes to nginx with TLS 1.3, whose chain and name are verified; Bartizan asks "
    "a resolver for the host's address, Envoy is told it.",
    "Gateway: all in a namespace of one shape, without packet rules, asked by h2load; one certificate, ECDSA P-256, TLS 1.3 with X25519, "
    "no resumption; the pod's end is HAProxy on the load's core, which demands a certificate. Whose it is Bartizan and Envoy verify by its "
    "SPIFFE ID, nginx by a host's name, HAProxy by its chain alone. Two workers share the machine's two cores with load and pod.",
    "Control plane: one injector on the core that proxies have otherwise; API server, etcd and all sidecars share the other, so what they "
    "need is in the times. Sidecars hold a certificate each and ask by their own code; nine in ten make no rules of what they are told.",
    "HTTP/2: nginx speaks HTTP/1.1 to the origin, which it has no HTTP/2 for; the others speak HTTP/2.",
)


def proxy_row(rounds: Rounds, reference: Rounds, why: str) -> dict[str, Any]:
    """
    Args:
        why: it is not available; "" if it is.
    """
    middle = medians(rounds) if not why else {}
    return {
        "available": not why, "why": why, "rounds": [dict(one) for one in rounds], "medians": middle,
        "ratios": {} if why else {name: value for name, value in ratios(rounds, reference).items() if MEASURES[name].has_ratio},
        "spread": {name: spread([one[name] for one in rounds]) for name in middle},
    }


def document(
    asked: Sequence[Workload],
    results: Mapping[str, Mapping[str, tuple[Rounds, str]]],
    *, machine: Mapping[str, Any], versions: Mapping[str, str], rounds: int, seconds: float,
) -> dict[str, Any]:
    """
    Args:
        results: by workload and proxy, the rounds and why there are none.
    """
    workloads = {}
    for workload in asked:
        of_proxies = results[workload.name]
        reference = of_proxies.get(REFERENCE, ((), ""))[0]
        workloads[workload.name] = {
            "title": workload.title, "unit": workload.unit,
            "proxies": {name: proxy_row(numbers, reference, why) for name, (numbers, why) in of_proxies.items()},
        }
    return {
        "schema": SCHEMA, "machine": dict(machine), "versions": dict(versions),
        "settings": {"rounds": rounds, "seconds": seconds, "reference": REFERENCE},
        "fairness": list(FAIRNESS), "workloads": workloads, "targets": verdicts(workloads),
    }


def text(result: Mapping[str, Any]) -> str:
    lines = []
    for name, workload in result["workloads"].items():
        lines += ["", f"{name}: {workload['title']}", *_table(workload["proxies"])]
    machine, settings = result["machine"], result["settings"]
    lines += [
        "", f"Medians of {settings['rounds']} rounds of {settings['seconds']:g} s; (x...) is the ratio to {REFERENCE}; "
            "± is half of what the rounds differ by, where that is more than a tenth.",
        f"{machine['cpu']}, {machine['cores']} cores{' (two threads of one core were used)' if machine['shared_core'] else ''}, "
        f"{machine['memory_mb']} MB, Linux {machine['kernel']}, "
        f"load before {' '.join(map(str, machine['load_average']))}",
        ", ".join(f"{name} {number or 'not installed'}" for name, number in result["versions"].items()),
        *(f"- {line}" for line in result["fairness"]), "", *map(_verdict, result["targets"]),
    ]
    return "\n".join(lines[1:])


def _table(proxies: Mapping[str, Any]) -> list[str]:
    names = [name for name in MEASURES if any(name in row["medians"] for row in proxies.values())]
    rows = [["", *(MEASURES[name].label for name in names)]]
    for proxy, row in proxies.items():
        if row["available"]:
            rows.append([proxy, *(_cell(MEASURES[name], name, row) for name in names)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(names) + 1)]
    table = ["  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])
             for row in rows] if names else []
    return [f"  {line}" for line in table] + [
        f"  {proxy}: not available: {row['why']}" for proxy, row in proxies.items() if not row["available"]]


def _cell(measure: Measure, name: str, row: Mapping[str, Any]) -> str:
    if name not in row["medians"]:
        return "-"
    cell = f"{row['medians'][name]:,.{measure.digits}f}"
    if row["spread"][name] > 0.1:
        cell += f" ±{row['spread'][name] * 50:.0f}%"
    return cell + (f" (x{row['ratios'][name]:.2f})" if name in row["ratios"] else "")


def _verdict(target: Mapping[str, Any]) -> str:
    of = f" of {REFERENCE}'s" if target["is_ratio"] else ""
    then = f", then {target['then']:g}" if target["then"] is not None else ""
    seen = "" if target["value"] is None else f": {target['value']:.2f}"
    return f"{target['verdict'].upper():<12}  {target['target']}: at most {target['limit']:g}{of}{then}{seen}"
