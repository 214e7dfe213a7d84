"""`bartizan audit mtls | certs | egress`: what the collected ledgers prove, as a table, JSON, CSV or a page of HTML.

And `bartizan audit verify`: whether they can be believed (`injector/audit/verify.py`).
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from injector.audit import verify
from injector.audit.as_csv import as_csv
from injector.audit.as_html import as_html
from injector.audit.as_text import as_text
from injector.audit.certs import Certs, audit_certs
from injector.audit.document import Document
from injector.audit.egress import Egress, audit_egress
from injector.audit.mtls import Mtls, audit_mtls
from injector.audit.period import Period, moment
from injector.audit.present_certs import present_certs
from injector.audit.present_egress import present_egress
from injector.audit.present_mtls import present_mtls
from injector.audit.store import Ledger, open_store
from sidecar.model.errors import ConfigError, MeshError
from sidecar.net.clock import wall_clock

from . import state

STORE = f"{state.STATE}/{state.LEDGER}"
FAILED, UNTOLD = 1, 2   # what was asked not to be is there; or nothing can be said

Report = Mtls | Certs | Egress
R = TypeVar("R", Mtls, Certs, Egress)


def _is_broken(ledgers: Sequence[Ledger]) -> int:
    return sum(not ledger.is_whole for ledger in ledgers)


# What `--fail-on` may name, and how often the report has it.
MTLS: dict[str, Callable[[Mtls], int]] = {
    "plaintext": lambda report: report.total.plaintext,
    "passthrough": lambda report: report.total.passthrough,
    "one-sided": lambda report: report.total.one_end,
    "unexplained": lambda report: sum(each.connections for each in report.one_sided if each.cause == "unexplained"),
    "contradictory": lambda report: report.total.contradictory,
    "doubtful": lambda report: report.total.doubtful,
    "shed": lambda report: sum(ledger.shed for ledger in report.ledgers),
    "broken": lambda report: _is_broken(report.ledgers),
}
CERTS: dict[str, Callable[[Certs], int]] = {
    "alarm": lambda report: len(report.alarms),
    "never-issued": lambda report: sum(each.trouble == "never issued" for each in report.alarms),
    "revoked": lambda report: sum(each.trouble == "revoked, yet used" for each in report.alarms),
    "application-held": lambda report: sum(each.application for each in report.workloads),
    "broken": lambda report: _is_broken(report.ledgers) + (not report.log.is_whole),
}
EGRESS: dict[str, Callable[[Egress], int]] = {
    "plaintext": lambda report: report.plaintext,
    "unverified": lambda report: report.plaintext + report.passthrough,
    "refused": lambda report: report.refused,
    "broken": lambda report: _is_broken(report.ledgers),
}


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    if args.verb == "verify":
        return verify.run(args)
    try:
        report, document, found = _made(args, wall_clock())
        print(_rendered(report, document, args.output, args.table), end="")
    except MeshError as exc:
        print(f"bartizan: {exc}", file=sys.stderr)
        return UNTOLD
    if args.output in ("csv", "json"):
        for warning in document.warnings:
            print(f"bartizan: {warning}", file=sys.stderr)
    for name, count in found:
        print(f"bartizan: failed on {name}: {count:,}", file=sys.stderr)
    if args.fail_on and not found and isinstance(report, Mtls) and not report.total.connections:
        print("bartizan: nothing was recorded, so nothing is proved; a connection is told of when it ends, and shipped within ten seconds",
              file=sys.stderr)
        return UNTOLD
    return FAILED if found else 0


@dataclass(frozen=True, slots=True)
class _Verb:
    what: str
    failures: Sequence[str]


VERBS = {
    "mtls": _Verb("how each pair of workloads spoke, and every plaintext path", tuple(MTLS)),
    "certs": _Verb("every certificate, who used it, and those that were never issued", tuple(CERTS)),
    "egress": _Verb("which external hosts each workload reached, or was refused", tuple(EGRESS)),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bartizan audit",
        description="What the sidecars' ledgers prove. Exits 1 if --fail-on finds something, 2 if nothing can be said.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, verb in VERBS.items():
        each = verbs.add_parser(name, help=verb.what, description=verb.what)
        each.add_argument("--store", action="append", metavar="PATH", help=f"folder of ledgers, or one ledger; again and again ({STORE})")
        state.add_demo(each)
        each.add_argument("--since", default="24h", metavar="WHEN", help="90s, 30m, 24h, 7d ago, or 2026-03-01T00:00Z (24h)")
        each.add_argument("--until", default="0s", metavar="WHEN", help="likewise (now)")
        each.add_argument("-o", "--output", default="table", choices=("table", "json", "csv", "html"))
        each.add_argument("--table", metavar="NAME", help="which table -o csv prints (the report's first)")
        each.add_argument("--fail-on", action="append", default=[], choices=verb.failures, help="exit 1 if there is any; again and again")
        each.add_argument("--coverage", metavar="FILE", help="coverage.json (that of the folder)")
        each.add_argument("--issuance", metavar="FILE", required=name == "certs", help="the issuer's issuance.log")
        each.add_argument("--revoked", metavar="FILE", help="the issuer's revoked.json")
    verify.add_arguments(verbs.add_parser("verify", help=verify.WHAT, description=verify.WHAT))
    return parser


def _made(args: argparse.Namespace, now: float) -> tuple[Report, Document, list[tuple[str, int]]]:
    """(report, the same as a document, (what was not to be, how often))"""
    period = Period(moment("--since", args.since, now), moment("--until", args.until, now))
    if period.since >= period.until:
        raise ConfigError("--since", "it is not before --until")

    def certs() -> Certs:
        return audit_certs(open_store(_places(args), args.coverage), period, now, args.issuance, args.revoked)

    if args.verb == "certs":
        report = certs()
        return report, present_certs(report), _failed(report, CERTS, args.fail_on)
    store = open_store(_places(args), args.coverage)
    if args.verb == "egress":
        egress = audit_egress(store, period)
        return egress, present_egress(egress), _failed(egress, EGRESS, args.fail_on)
    mtls = audit_mtls(store, period, now)
    mtls.certs = certs() if args.issuance else None
    return mtls, present_mtls(mtls), _failed(mtls, MTLS, args.fail_on)


def _places(args: argparse.Namespace) -> list[str]:
    return args.store or [str(state.of_demo() / state.LEDGER) if args.demo else STORE]


def _failed(report: R, checks: dict[str, Callable[[R], int]], asked: Sequence[str]) -> list[tuple[str, int]]:
    return [(name, count) for name in dict.fromkeys(asked) if (count := checks[name](report))]


def _rendered(report: Report, document: Document, output: str, table: str | None) -> str:
    if output == "json":
        told = {"summary": document.verdict, "warnings": list(document.warnings), "report": report}
        return msgspec.json.format(msgspec.json.encode(told), indent=2).decode() + "\n"
    if output == "html":
        return as_html(document)
    if output == "table":
        return as_text(document)
    chosen = next((one for one in document.tables if table in (None, one.name)), None)
    if chosen is None:
        raise ConfigError("--table", f"there is no {table!r}; there are {', '.join(one.name for one in document.tables)}")
    return as_csv(chosen)
