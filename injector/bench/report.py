"""The result as one document, and the document as text. The names of its keys do not change within one `schema`."""

from collections.abc import Mapping, Sequence
from typing import Any

from .measures import MEASURES, Measure
from .proxies import OURS, REFERENCE
from .summary import Rounds, medians, ratios, spread
from .targets import verdicts
from .workloads import Workload

SCHEMA = 2
# By what the ratios of a workload are called: the first of these that it has.
RATIOS = {"cpu": ("cpu_us", "cpu_s_per_gb"), "p99": ("p99_ms",), "memory": ("rss_mb",)}

FAIRNESS = (
    "CPU is the scheduler's count for the proxy's processes, all threads and children; the proxy has one core, load and origin another. "
    "Its memory is resident; unshared is what no other process has mapped, too.",
    "Ratios are to Envoy in the same round, medians over the rounds, which are interleaved and begin with another proxy each time.",
    "Every proxy runs in the same pod behind the same packet rules (`bartizan intercept`), as the user whom they exempt; it is asked at "
    "the application's address and listens where the rules lead, at port 15006 what enters and 15001 what leaves.",
    "All: one worker if nothing else is said, keep-alive to the origin, a JSON line of the same fields for each request to /dev/null, a "
    "request ID, x-forwarded-for, x-forwarded-proto; at a fixed rate connections rest by chance, so that they do not fall into step.",
    "mTLS: one HAProxy on the load's core speaks TLS 1.3 (X25519, AES-128-GCM, ECDSA P-256, no resumption) to all, which verify its "
    "certificate against the mesh's root and tell the application whose it is (x-forwarded-client-cert); Bartizan and Envoy also judge "
    "the SPIFFE ID for each request and tell it, which nginx and HAProxy cannot read: they tell the certificate's hash.",
    "Two sidecars: the caller's in one pod, the other's in another, both proxies on the one core; the caller's verifies whom it calls, "
    "HAProxy by its chain alone. The way without them is asked by the exempted user from the same pod.",
    "gRPC is h2load's POST of one message of 1 KiB and nginx's answer of one with trailers. HTTP/2 otherwise: nginx as a proxy speaks "
    "HTTP/1.1 to the origin, which it has no HTTP/2 for; the others speak HTTP/2.",
    "Origination: the load comes from the proxy's own pod and goes to nginx with TLS 1.3, whose chain and name are verified; Bartizan asks "
    "a resolver for the host's address, the others are told it.",
    "Gateway: all in a namespace of one shape, without packet rules, asked by h2load; one certificate, ECDSA P-256, TLS 1.3 with X25519, "
    "no resumption; the pod's end is HAProxy on the load's core, which demands a certificate. Whose it is Bartizan and Envoy verify by its "
    "SPIFFE ID, nginx by a host's name, HAProxy by its chain alone. Two workers share the machine's two cores with load and pod.",
    "mitmproxy and proxy.py do HTTP/1.1 alone, with the same header changes and the same log, and verify no client's certificate; proxy.py "
    "is asked by absolute URL, since it leads back no second request of a connection otherwise.",
    "Control plane: one injector on the core that proxies have otherwise; API server, etcd and all sidecars share the other, so what they "
    "need is in the times. Sidecars hold a certificate each and ask by their own code; nine in ten make no rules of what they are told.",
)


def row(workload: str, subject: str, rounds: Rounds, reference: Rounds, why: str) -> dict[str, Any]:
    """
    Args:
        why: it is not available; "" if it is.
    """
    if why:
        return {"workload": workload, "subject": subject, "available": False, "why": why}
    middle = medians(rounds)
    return {
        "workload": workload, "subject": subject, "available": True, **middle,
        "spread": {name: spread([one[name] for one in rounds]) for name in middle},
        "ratios": {name: value for name, value in ratios(rounds, reference).items() if MEASURES[name].has_ratio},
        "rounds": [dict(one) for one in rounds],
    }


def of_ours(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """The ratios of a workload's rows; None: not measured."""
    found: Mapping[str, float] = next((one["ratios"] for one in rows if one["subject"] == OURS and one["available"]), {})
    return {called: next((found[name] for name in names if name in found), None) for called, names in RATIOS.items()}


def document(
    asked: Sequence[Workload],
    results: Mapping[str, Mapping[str, tuple[Rounds, str]]],
    *, machine: Mapping[str, Any], date: str, versions: Mapping[str, str], rounds: int, seconds: float,
) -> dict[str, Any]:
    """
    Args:
        results: by workload and proxy, the rounds and why there are none.
    """
    available = {workload: {name: () if why else numbers for name, (numbers, why) in of_proxies.items()}
                 for workload, of_proxies in results.items()}
    rows = {workload.name: [row(workload.name, subject, numbers, available[workload.name].get(REFERENCE, ()), why)
                            for subject, (numbers, why) in results[workload.name].items()] for workload in asked}
    return {
        "schema": SCHEMA, "machine": dict(machine), "date": date, "versions": dict(versions),
        "settings": {"rounds": rounds, "seconds": seconds, "reference": REFERENCE},
        "workloads": {workload.name: {"title": workload.title, "unit": workload.unit} for workload in asked},
        "rows": [one for of_workload in rows.values() for one in of_workload],
        "ratios": {name: of_ours(of_workload) for name, of_workload in rows.items()},
        "targets": verdicts(available), "fairness": list(FAIRNESS),
    }


def rows_of(result: Mapping[str, Any], workload: str) -> list[Mapping[str, Any]]:
    return [one for one in result["rows"] if one["workload"] == workload]


def text(result: Mapping[str, Any]) -> str:
    lines = []
    for name, workload in result["workloads"].items():
        lines += ["", f"{name}: {workload['title']}", *_table(rows_of(result, name))]
    lines += ["", *facts(result), f"(x...) is the ratio to {REFERENCE}.", *(f"- {line}" for line in result["fairness"])]
    is_judged = result["settings"]["rounds"] > 1
    lines += ["", *(map(_verdict, result["targets"]) if is_judged else ["One round shows that it runs; targets are judged by more."])]
    return "\n".join(lines[1:])


def facts(result: Mapping[str, Any]) -> list[str]:
    """When and where it was measured, with what, how often."""
    machine, settings = result["machine"], result["settings"]
    return [
        f"{result['date']}; {machine['cpu']}, {machine['cores']} cores"
        f"{' (two threads of one core were used)' if machine['shared_core'] else ''}, {machine['memory_mb']} MB, "
        f"Linux {machine['kernel']}, load before {' '.join(map(str, machine['load_average']))}",
        ", ".join(f"{name} {number or 'not installed'}" for name, number in result["versions"].items()),
        f"Medians of {settings['rounds']} rounds of {settings['seconds']:g} s; ± is half of what the rounds differ by, where that is more "
        "than a tenth.",
    ]


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    available = [one for one in rows if one["available"]]
    names = [name for name in MEASURES if any(name in one for one in available)]
    table = [["", *(MEASURES[name].label for name in names)]]
    table += [[one["subject"], *(_cell(MEASURES[name], name, one) for name in names)] for one in available]
    widths = [max(len(line[column]) for line in table) for column in range(len(names) + 1)]
    lines = ["  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))])
             for line in table] if names else []
    return [f"  {line}" for line in lines] + [f"  {one['subject']}: not available: {one['why']}" for one in rows if not one["available"]]


def figure(measure: Measure, name: str, one: Mapping[str, Any]) -> str:
    """With how much rounds differed."""
    differ = f" ±{one['spread'][name] * 50:.0f}%" if one["spread"][name] > 0.1 else ""
    return f"{one[name]:,.{measure.digits}f}{differ}"


def _cell(measure: Measure, name: str, one: Mapping[str, Any]) -> str:
    if name not in one:
        return "-"
    return figure(measure, name, one) + (f" (x{one['ratios'][name]:.2f})" if name in one["ratios"] else "")


def limit(target: Mapping[str, Any]) -> str:
    of = f" of {target['of']}'s" if target["of"] else ""
    then = f", then {target['then']:g}" if target["then"] is not None else ""
    return f"at most {target['limit']:g}{of}{then}"


def _verdict(target: Mapping[str, Any]) -> str:
    seen = "" if target["value"] is None else f": {target['value']:.2f}"
    return f"{target['verdict'].upper():<12}  {target['target']}: {limit(target)}{seen}"
