"""Counters, and their Prometheus text. A plain table of numbers: no locks, no library, since one loop owns it.

Spec: Prometheus text exposition format 0.0.4. Label values are bounded by their sources: codes, rules, identities, never paths.
"""

from collections.abc import Callable, Iterable, Mapping

Labels = tuple[tuple[str, str], ...]

HELP = {
    "bartizan_requests_total": "Requests, by direction, answer and reason.",
    "bartizan_connections_total": "Opaque connections, by direction, outcome and security.",
    "bartizan_mirrored_total": "Copies of requests, by outcome.",
    "bartizan_ejections_total": "Endpoints left out for a while because they kept failing, by Service.",
    "bartizan_retries_refused_total": "Attempts not made because the retry budget was spent, by Service.",
    "bartizan_circuit_open_total": "Requests and connections beyond a Service's limits, by Service.",
    "bartizan_dns_queries_total": "Queries of the application, by decision and reason.",
    "bartizan_egress_waived_total": "Connections to external hosts for which a check was waived, by check and rule.",
    "bartizan_dns_stale_answers_total": "Names whose last answer went on because no resolver answered.",
    "bartizan_egress_budget_exhausted_total": "Times that an approval's bytes for an hour were spent, by rule.",
    "bartizan_egress_anomalies_total": "What was unusual about workloads' egress, by kind: new-host, volume, period.",
    "bartizan_bugs_total": "Connections ended by an error in the sidecar itself.",
    "bartizan_identity_not_after_seconds": "When the workload's certificate ends, Unix seconds; 0 without one.",
    "bartizan_identity_renewals_total": "Certificates that the workload was issued.",
    "bartizan_identity_renewal_failures_total": "Times that a certificate was asked for in vain.",
    "bartizan_identity_renewal_overdue_seconds": "For how long a certificate has been due and asked for in vain; 0: none is due.",
    "bartizan_trust_version": "Version of the trust bundle that is held: Unix milliseconds of its making; 0 without one.",
    "bartizan_clock_skew_seconds": "How far the issuer's clock was ahead of ours when it last answered.",
    "bartizan_clock_jumps_total": "Times that the machine's clock was set, or the machine slept.",
    "bartizan_application_svids_total": "Certificates asked for the application (Workload API), by outcome.",
    "bartizan_ready": "Whether the sidecar is ready.",
    "bartizan_redirect_intact": "Whether the sidecar's test of the packet rules holds.",
    "bartizan_ledger_shed_total": "Entries of the ledger that there was no room for.",
    "bartizan_workers": "Processes of a gateway that answer their supervisor.",
    "bartizan_worker_restarts_total": "Processes of a gateway that ended and were started anew.",
    "bartizan_access_log_dropped_total": "Access log lines that the reader was too slow for.",
}
# What is no counter, and what several processes say of it together; of counters it is their sum.
GAUGES: Mapping[str, Callable[[Iterable[float]], float]] = {
    "bartizan_identity_not_after_seconds": min, "bartizan_identity_renewal_overdue_seconds": max, "bartizan_trust_version": min,
    "bartizan_clock_skew_seconds": max, "bartizan_ready": min, "bartizan_redirect_intact": min, "bartizan_workers": sum,
}
MAX_SERIES = 4096   # beyond it new label sets are counted together, so that no peer can grow our memory


class Counter:
    """One series. Who counts the same again and again keeps it: to look it up by its labels takes 1 us."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class Metrics:
    def __init__(self) -> None:
        self._counters: dict[tuple[str, Labels], Counter] = {}

    def counter(self, name: str, labels: Labels = ()) -> Counter:
        """Of the series, or of those for which there is no room."""
        key = (name, labels)
        known = self._counters.get(key)
        if known is None and len(self._counters) >= MAX_SERIES:
            key = (name, (("overflow", "true"),))
            known = self._counters.get(key)
        if known is None:
            known = self._counters[key] = Counter()
        return known

    def count(self, name: str, labels: Labels = (), by: float = 1) -> None:
        self.counter(name, labels).value += by

    def get(self, name: str, labels: Labels = ()) -> float:
        known = self._counters.get((name, labels))
        return known.value if known is not None else 0

    def render(self, gauges: Mapping[str, float]) -> str:
        """The text; `gauges` are the values that are looked up rather than counted."""
        values = {key: counter.value for key, counter in self._counters.items()}
        values.update({(name, ()): value for name, value in gauges.items()})
        return render((name, _text_of(labels), value) for (name, labels), value in sorted(values.items()))


def render(series: Iterable[tuple[str, str, float]]) -> str:
    """
    Args:
        series: name, labels as text, value; those of one name stand together.
    """
    lines = []
    named = ""
    for name, labels, value in series:
        if name != named:
            named = name
            lines += [f"# HELP {name} {HELP[name]}", f"# TYPE {name} {'gauge' if name in GAUGES else 'counter'}"]
        lines.append(f"{name}{labels} {value:.15g}")    # .15g: counts stay whole numbers
    return "\n".join(lines) + "\n"


def _text_of(labels: Labels) -> str:
    text = ",".join(f'{label}="{_escape(item)}"' for label, item in labels)
    return f"{{{text}}}" if text else ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
