"""`audit mtls` as a document."""

from collections.abc import Sequence

from .document import Bar, Cell, Column, Document, Table, many, percent
from .evidence import WHY_ONE_SIDED
from .mtls import Mtls, Pair
from .names import common_domain, short
from .present_certs import certs_tables
from .tally import OTHERS
from .words import ABOUT, LIMITS, integrity, span, warnings

GAPS = {
    "no-sidecar": "no sidecar", "host-network": "host network", "permissive": "takes plaintext", "datagrams": "UDP or SCTP",
    "excluded": "passes the sidecar by", "left-open": "could pass the sidecar by", "unreadable": "policy not in force",
}


def bar(pair: Pair) -> Bar:
    return Bar(pair.both_ends, pair.one_end + pair.doubtful, pair.contradictory + pair.passthrough, pair.plaintext)


def present_mtls(report: Mtls) -> Document:
    total = report.total
    domain = common_domain(name for pair in report.pairs for name in (pair.caller, pair.destination))
    tables = [
        _pairs(report, domain), _paths(report, domain), _would_break(report, domain), _one_sided(report, domain),
        _contradictions(report, domain), _refusals(report, domain), *(certs_tables(report.certs) if report.certs else ()),
        _gaps(report), integrity(report.ledgers),
    ]
    return Document(
        title="How the mesh spoke",
        period=span(report.period),
        headline=percent(total.mtls, total.connections) if total.connections else "nothing",
        verdict=verdict(report),
        is_good=total.mtls == total.connections and all(ledger.is_whole for ledger in report.ledgers),
        warnings=_warnings(report),
        figures=(
            ("Connections", f"{total.connections:,}"),
            ("of them mTLS", percent(total.mtls, total.connections)),
            ("proved from both ends", percent(total.both_ends, total.connections)),
            ("Requests", f"{total.requests:,}"),
            ("of them over mTLS", percent(total.mtls_requests, total.requests)),
            ("Plaintext paths", f"{sum(1 for path in report.paths if path.security == 'plaintext'):,}"),
            ("Refused or failed", f"{sum(each.count for each in report.refusals):,}"),
            ("Ledgers, unbroken", f"{sum(1 for one in report.ledgers if one.is_whole):,} of {len(report.ledgers):,}"),
        ),
        tables=tables,
        about=(*ABOUT, ("What it cannot show", LIMITS)),
        bar=bar(total),
    )


def verdict(report: Mtls) -> str:
    """The report in one sentence, or two."""
    total = report.total
    if not total.connections:
        return "No connection between workloads was recorded in this period: nothing is proved, and nothing refuted."
    paths = sum(1 for path in report.paths if path.security == "plaintext")
    where = many(paths, "path")
    one_sided = total.one_end + total.doubtful
    return (
        f"{percent(total.mtls, total.connections)} of {many(total.connections, 'connection')} were mTLS, "
        f"{percent(total.both_ends, total.connections)} proved from both ends: {one_sided:,} told by one end or in doubt, "
        f"{total.contradictory:,} contradictory, {total.passthrough:,} with TLS of the application's own, {total.plaintext:,} plaintext"
        f"{f' on {where}' if paths else ''}. "
        f"Besides: {report.in_process:,} calls of pods to themselves, {report.egress:,} connections out of the mesh (audit egress), "
        f"{report.silent:,} on which no byte came back."
    )


def _warnings(report: Mtls) -> list[str]:
    found = warnings(report.ledgers, *([report.certs.log] if report.certs else ()))
    if bad := sum(each.connections for each in report.contradictions if each.about != "bytes"):
        found.append(f"The two ends contradict each other on {many(bad, 'connection')}: one of each two ledgers is false.")
    if bad := sum(each.connections for each in report.one_sided if each.cause == "unexplained"):
        found.append(f"One end alone tells of {many(bad, 'connection')} although the other's ledgers are whole: one of each two is false.")
    if not report.has_coverage:
        found.append("There is no coverage.json: which pods have no sidecar, and who may speak plaintext until when, is not known here.")
    if report.certs and report.certs.alarms:
        found.append(f"{many(len(report.certs.alarms), 'alarm')} about certificates: they were used as they were not issued.")
    return found


def _names(caller: str, destination: str, domain: str) -> tuple[str, str]:
    return short(caller, domain) or "not proved", short(destination, domain) or "not known"


def _pairs(report: Mtls, domain: str) -> Table:
    rows: list[Sequence[Cell]] = [
        (*_names(pair.caller, pair.destination, domain), pair.connections, bar(pair), pair.both_ends, pair.one_end, pair.doubtful,
         pair.contradictory, pair.passthrough, pair.plaintext, pair.requests, percent(pair.mtls_requests, pair.requests),
         pair.sent, pair.received)
        for pair in report.pairs
    ]
    return Table("pairs", "Pairs of workloads", (
        Column("Caller"), Column("Destination"), Column("Connections", "count"), Column("mTLS", "share"), Column("Both ends", "count"),
        Column("One end", "tally"), Column("In doubt", "tally"), Column("Contradictory", "tally"), Column("Own TLS", "tally"),
        Column("Plaintext", "tally"), Column("Requests", "count"), Column("over mTLS", "count"), Column("Sent", "bytes"),
        Column("Received", "bytes"),
    ), rows, note="Namespace and service account. What needs an eye stands first.", empty="None was recorded.")


def _paths(report: Mtls, domain: str) -> Table:
    rows: list[Sequence[Cell]] = [
        (path.source or OTHERS, path.workload or "not known", short(path.destination, domain), path.port, path.security, path.connections,
         path.requests, path.first, path.last, path.until, path.cause, path.cure)
        for path in report.paths
    ]
    return Table("paths", "Plaintext, and what nobody proved", (
        Column("From", "code"), Column("That is"), Column("To"), Column("Port", "code"), Column("As"), Column("Connections", "count"),
        Column("Requests", "tally"), Column("First", "time"), Column("Last", "time"), Column("Permitted until", "time"),
        Column("Cause", "wide"), Column("Cure", "wide"),
    ), rows, note="Who the address belongs to is what the cluster says, not what was proved.",
        empty="None: every connection between workloads was mTLS." if report.total.connections else "None was recorded, nor was any other.")


def _would_break(report: Mtls, domain: str) -> Table:
    rows: list[Sequence[Cell]] = [
        (one.caller, one.workload or "not known", ", ".join(short(name, domain) for name in one.destinations), one.connections, one.last)
        for one in report.would_break
    ]
    return Table("breaks", "Who breaks when plaintext is no longer permitted", (
        Column("Caller", "code"), Column("That is"), Column("Calls"), Column("Connections", "count"), Column("Last", "time"),
    ), rows)


def _one_sided(report: Mtls, domain: str) -> Table:
    rows: list[Sequence[Cell]] = [
        (*_names(one.caller, one.destination, domain), one.told_by, one.cause, one.connections, one.first, one.last, one.example,
         WHY_ONE_SIDED[one.cause])
        for one in report.one_sided
    ]
    return Table("one-sided", "Told by one end only", (
        Column("Caller"), Column("Destination"), Column("Told by"), Column("Likely"), Column("Connections", "count"),
        Column("First", "time"), Column("Last", "time"), Column("Example", "wide"), Column("Cause", "wide"),
    ), rows)


def _contradictions(report: Mtls, domain: str) -> Table:
    rows: list[Sequence[Cell]] = [
        (*_names(one.caller, one.destination, domain), one.about, one.connections, one.example,
         "A connection that one end lost can end so; often, it is worth a look." if one.about == "bytes"
         else "Both cannot be true: one of the two ledgers is false.")
        for one in report.contradictions
    ]
    return Table("contradictions", "The two ends differ", (
        Column("Caller"), Column("Destination"), Column("About"), Column("Connections", "count"), Column("Example", "wide"),
        Column("Meaning", "wide"),
    ), rows)


def _refusals(report: Mtls, domain: str) -> Table:
    rows: list[Sequence[Cell]] = [
        (*_names(one.caller, one.destination, domain), one.code, one.reason, one.decision, one.told_by, one.count, one.first, one.last,
         one.detail)
        for one in report.refusals
    ]
    return Table("refusals", "Refused and failed", (
        Column("Caller"), Column("Destination"), Column("Code", "code"), Column("Reason"), Column("Decision"), Column("Told by"),
        Column("Count", "count"), Column("First", "time"), Column("Last", "time"), Column("Detail", "wide"),
    ), rows, note="bartizan explain CODE says what each means. What both ends tell of stands here twice.", empty="None.")


def _gaps(report: Mtls) -> Table:
    rows: list[Sequence[Cell]] = [
        (GAPS[gap.kind], gap.namespace, gap.workload, gap.pods, gap.until, gap.cause, gap.cure) for gap in report.gaps
    ]
    return Table("gaps", "What the evidence does not cover", (
        Column("What"), Column("Namespace"), Column("Workload"), Column("Pods", "count"), Column("Until", "time"), Column("Cause", "wide"),
        Column("Cure", "wide"),
    ), rows, note=LIMITS, empty="No pod is known to be without its sidecar." if report.has_coverage else "There is no coverage.json.")


