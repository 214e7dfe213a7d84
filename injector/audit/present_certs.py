"""`audit certs` as a document, and its tables for other reports."""

from collections.abc import Sequence

from .certs import Certs
from .document import Cell, Column, Document, Table, many
from .names import common_domain, short
from .words import ABOUT, integrity, span, state, warnings


def present_certs(report: Certs) -> Document:
    live = sum(one.live for one in report.workloads)
    return Document(
        title="Certificates of the mesh",
        period=span(report.period),
        headline=many(len(report.alarms), "alarm") if report.alarms else "no alarm",
        verdict=verdict(report),
        is_good=not report.alarms and report.log.is_whole,
        warnings=warnings(report.ledgers, report.log),
        figures=(
            ("Certificates of the period", f"{len(report.certificates):,}"),
            ("live now", f"{live:,}"),
            ("Workloads", f"{len(report.workloads):,}"),
            ("held by applications", f"{sum(one.application for one in report.workloads):,}"),
            ("revoked", f"{sum(one.revoked for one in report.workloads):,}"),
            ("never used", f"{sum(one.never_used for one in report.workloads):,}"),
            ("Issuance log", f"{report.issued:,} lines, {state(report.log)}"),
        ),
        tables=[_certificates(report), *certs_tables(report), integrity(report.ledgers)],
        about=ABOUT,
    )


def verdict(report: Certs) -> str:
    known = "Every certificate in use is one that the issuer knows, used by whom it was issued to." if not report.alarms else (
        f"{many(len(report.alarms), 'alarm')}: certificates were used as they were not issued. Look at each.")
    return f"{known} The issuance log holds {report.issued:,} certificates; {len(report.certificates):,} of them belong to this period."


def certs_tables(report: Certs) -> list[Table]:
    """Alarms, and the certificates of each workload."""
    domain = common_domain(one.identity for one in report.workloads)
    alarms: list[Sequence[Cell]] = [
        (one.trouble, one.serial, short(one.identity, domain), one.connections, one.first, one.last, ", ".join(one.tellers), one.detail)
        for one in report.alarms
    ]
    workloads: list[Sequence[Cell]] = [
        (short(one.identity, domain), one.certificates, one.live, one.application, one.revoked, one.never_used) for one in report.workloads
    ]
    return [
        Table("alarms", "Certificates used as they were not issued", (
            Column("Alarm"), Column("Serial", "code"), Column("Used as"), Column("Connections", "count"), Column("First", "time"),
            Column("Last", "time"), Column("Told by", "wide"), Column("Detail", "wide"),
        ), alarms, empty="None."),
        Table("workloads", "Certificates by workload", (
            Column("Workload"), Column("Certificates", "count"), Column("Live", "count"), Column("Held by application", "tally"),
            Column("Revoked", "tally"), Column("Never used", "tally"),
        ), workloads, empty="None."),
    ]


def _certificates(report: Certs) -> Table:
    domain = common_domain(one.identity for one in report.workloads)
    rows: list[Sequence[Cell]] = [
        (short(one.identity, domain), one.serial, one.pod, one.holder or "sidecar",
         "revoked" if one.revoked else "live" if one.is_live else "ended", one.issued, one.not_after, one.requester, one.connections,
         one.first, one.last)
        for one in report.certificates
    ]
    return Table("certificates", "Certificates", (
        Column("Workload"), Column("Serial", "code"), Column("Pod", "code"), Column("Held by"), Column("State"), Column("Issued", "time"),
        Column("Ends", "time"), Column("Asked for by", "code"), Column("Connections", "count"), Column("First use", "time"),
        Column("Last use", "time"),
    ), rows, note="Those of the issuance log that were valid in the period, or used in it.", empty="None.")
