"""`audit egress` as a document."""

from collections.abc import Sequence

from sidecar.model.reason import BY_CODE

from .document import Cell, Column, Document, Table, many, percent
from .egress import Egress, Reached, Refused
from .names import common_domain, short
from .words import ABOUT, integrity, span, warnings

AS = {"tls": "TLS, verified", "passthrough": "passed through", "plaintext": "plaintext"}
LIMITS = (
    "Of passed-through TLS the sidecar judged the name that the hello asked for, not what is inside. Many names may share one provider's "
    "addresses, and an approved host may pass on what it is sent: where data ends cannot be seen from here."
)


def present_egress(report: Egress) -> Document:
    rows: list[Reached | Refused] = [*report.reached, *report.refusals]
    domain = common_domain([name for one in rows for name in (one.caller, one.gateway) if name])
    return Document(
        title="What left the mesh",
        period=span(report.period),
        headline=percent(report.verified, report.connections) if report.connections else "nothing",
        verdict=verdict(report),
        is_good=not report.plaintext and all(ledger.is_whole for ledger in report.ledgers),
        warnings=warnings(report.ledgers),
        figures=(
            ("Connections", f"{report.connections:,}"),
            ("to verified hosts", percent(report.verified, report.connections)),
            ("passed through", f"{report.passthrough:,}"),
            ("plaintext", f"{report.plaintext:,}"),
            ("Hosts", f"{len({one.host for one in report.reached}):,}"),
            ("Refused or failed", f"{report.refused:,}"),
        ),
        tables=[_reached(report, domain), _refusals(report, domain), integrity(report.ledgers)],
        about=(*ABOUT, ("What it cannot show", LIMITS)),
    )


def verdict(report: Egress) -> str:
    if not report.connections:
        left = "No connection out of the mesh was recorded in this period"
    else:
        left = (f"{percent(report.verified, report.connections)} of {many(report.connections, 'connection')} out of the mesh were TLS that "
                f"a sidecar spoke and verified; {report.passthrough:,} passed through, {report.plaintext:,} were plaintext")
    return f"{left}; {report.refused:,} were refused or failed."


def _reached(report: Egress, domain: str) -> Table:
    rows: list[Sequence[Cell]] = [
        (_who(one, domain), one.host, AS.get(one.security, one.security), ", ".join(one.tls), one.rule, one.connections,
         one.requests, one.sent, one.received, one.doubtful, one.first, one.last, ", ".join(one.serials), ", ".join(one.destinations))
        for one in report.reached
    ]
    return Table("hosts", "Hosts that were reached", (
        Column("Workload"), Column("Host"), Column("As"), Column("Version"), Column("Rule"), Column("Connections", "count"),
        Column("Requests", "count"), Column("Sent", "bytes"), Column("Received", "bytes"), Column("In doubt", "tally"),
        Column("First", "time"), Column("Last", "time"), Column("Certificates", "wide"), Column("Dialled", "wide"),
    ), rows, empty="None.")


def _who(one: Reached | Refused, domain: str) -> str:
    return f"{short(one.caller, domain)} by {short(one.gateway, domain)}" if one.gateway else short(one.caller, domain)


def _refusals(report: Egress, domain: str) -> Table:
    rows: list[Sequence[Cell]] = [
        (_who(one, domain), one.host, one.code, one.reason, one.decision, one.count, one.first, one.last,
         ", ".join(one.destinations), one.detail, BY_CODE[one.code].cure if one.code in BY_CODE else "")
        for one in report.refusals
    ]
    return Table("refusals", "Hosts that were refused", (
        Column("Workload"), Column("Host"), Column("Code", "code"), Column("Reason"), Column("Decision"), Column("Count", "count"),
        Column("First", "time"), Column("Last", "time"), Column("Dialled", "wide"), Column("Detail", "wide"), Column("Cure", "wide"),
    ), rows, empty="None.")
