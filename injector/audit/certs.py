"""`audit certs`: every certificate of the period, who used it, and every serial in use that the issuer does not know as it is used."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from certs import revocation
from certs.log import Entry as Issuance
from certs.revocation import Revocation
from sidecar.model.errors import ConfigError

from .chains import Chain, Stretch
from .evidence import manner
from .join import Connection, Side
from .period import Period, widened
from .store import Ledger, Store
from .tally import OTHERS, Tally

MOST_SERIALS = 1_000_000
MOST_NAMES = 16
SKEW_S = 60.0           # two machines' clocks may differ so much
NEW_WITHIN_S = 5.0      # a revoked certificate makes no new connection after that,
ENDED_WITHIN_S = 30.0   # and has none left after that

Trouble = Literal[
    "never issued",         # forged, or of an issuer that the mesh should not trust
    "another identity",     # than the one that it was issued for
    "another pod",          # used its key than the one that it was issued to
    "used after its end",
    "revoked, yet used",
]


class Use(msgspec.Struct):
    """What the ledgers tell of one serial.

    Args:
        identities: under which names it was seen.
        pods: uids, in whose own ledgers it is their own.
        tellers: names of ledgers that tell of it.
        opened: when the last of its connections began by which anything was let through,
        ended: and when it was last told of one.
    """

    serial: str
    identities: set[str] = msgspec.field(default_factory=set)
    pods: set[str] = msgspec.field(default_factory=set)
    tellers: set[str] = msgspec.field(default_factory=set)
    connections: int = 0
    first: float = 0.0
    last: float = 0.0
    opened: float = 0.0
    ended: float = 0.0


class Certificate(msgspec.Struct, rename="camel"):
    """
    Args:
        holder: `application`, or empty for the sidecar.
        revoked: why; empty: it was not.
        connections: of the period, that it was used in.
    """

    serial: str
    identity: str
    pod: str
    holder: str
    issued: float
    not_after: float
    requester: str
    is_live: bool = False
    revoked: str = ""
    connections: int = 0
    first: float = 0.0
    last: float = 0.0


class Alarm(msgspec.Struct, rename="camel"):
    """
    Args:
        identity: under which name it was used.
        tellers: the ledgers that tell of it.
        detail: in words.
    """

    trouble: Trouble
    serial: str
    identity: str
    connections: int
    first: float
    last: float
    tellers: list[str]
    detail: str


class Workload(msgspec.Struct, rename="camel"):
    """Certificates of one identity. `never_used`: the ledgers do not tell of them."""

    identity: str
    certificates: int = 0
    live: int = 0
    application: int = 0
    revoked: int = 0
    never_used: int = 0


class Certs(msgspec.Struct, rename="camel"):
    period: Period
    log: Chain
    issued: int = 0
    workloads: list[Workload] = msgspec.field(default_factory=list)
    certificates: list[Certificate] = msgspec.field(default_factory=list)
    alarms: list[Alarm] = msgspec.field(default_factory=list)
    ledgers: list[Ledger] = msgspec.field(default_factory=list)


def audit_certs(store: Store, period: Period, now: float, issuance: str, revoked: str | None) -> Certs:
    """Read the whole store, then the issuance log. ConfigError if a file cannot be read."""
    uses = _uses(store, period)
    revocations = read_revocations(Path(revoked)) if revoked is not None else ()
    report = Certs(period, Chain(Path(issuance).name), ledgers=store.ledgers)
    known: set[str] = set()
    try:
        for issued, _ in report.log.read([Stretch(Path(issuance))], Issuance):
            report.issued += 1
            use = uses.get(issued.serial)
            if use is not None:
                known.add(issued.serial)
                report.alarms += alarms(issued, use, revocations)
            if use is not None or (issued.not_after >= period.since and issued.issued < period.until):
                report.certificates.append(_certificate(issued, use, revocations, now))
    except OSError as exc:
        raise ConfigError(issuance, f"cannot be read: {exc.strerror}") from exc
    report.alarms += [
        _alarm("never issued", use, "The issuance log does not know it: it was forged, or another issuer holds a root of the mesh.")
        for use in uses.values() if use.serial not in known
    ]
    report.certificates.sort(key=lambda each: (each.identity, each.issued, each.serial))
    report.alarms.sort(key=lambda each: (each.trouble, each.identity, each.serial))
    report.workloads = _workloads(report.certificates)
    return report


def read_revocations(path: Path) -> tuple[Revocation, ...]:
    try:
        return revocation.read_file(path)
    except FileNotFoundError as exc:
        raise ConfigError(str(path), "there is no such file; while nobody was ever revoked there is none, so leave --revoked out") from exc


def alarms(issued: Issuance, use: Use, revocations: Sequence[Revocation]) -> list[Alarm]:
    """What is wrong with how a certificate that was issued is used. Pure."""
    found = []
    if others := sorted(use.identities - {issued.identity}):
        found.append(_alarm("another identity", use, f"It was issued to {issued.identity}, and seen as {', '.join(others)}."))
    if issued.pod_uid and (pods := sorted(use.pods - {issued.pod_uid})):
        found.append(_alarm("another pod", use, f"It was issued to the pod {issued.pod_uid}; {', '.join(pods)} says that it is its own."))
    if use.opened > issued.not_after + SKEW_S:
        found.append(_alarm("used after its end", use, "A connection began with it after it had ended."))
    for entry in _revocations_of(issued, revocations):
        if use.opened > entry.time + NEW_WITHIN_S or use.ended > entry.time + ENDED_WITHIN_S:
            found.append(_alarm("revoked, yet used", use, f"The {entry.kind} was revoked; {entry.reason}".rstrip("; ") + "."))
            break
    return found


def _revocations_of(issued: Issuance, revocations: Sequence[Revocation]) -> Sequence[Revocation]:
    own = {"identity": issued.identity, "pod": issued.pod_uid, "key": issued.key, "serial": issued.serial}
    return [entry for entry in revocations if own.get(entry.kind) == entry.value]


def _alarm(trouble: Trouble, use: Use, detail: str) -> Alarm:
    name = " or ".join(sorted(use.identities))
    return Alarm(trouble, use.serial, name, use.connections, use.first, use.last, sorted(use.tellers), detail)


def _certificate(issued: Issuance, use: Use | None, revocations: Sequence[Revocation], now: float) -> Certificate:
    revoked = next((entry.reason or entry.kind for entry in _revocations_of(issued, revocations)), "")
    return Certificate(
        issued.serial, issued.identity, issued.pod_uid, issued.holder if issued.holder == "application" else "", issued.issued,
        issued.not_after, issued.requester, issued.not_after > now and not revoked, revoked,
        *((use.connections, use.first, use.last) if use is not None else ()),
    )


def _workloads(certificates: list[Certificate]) -> list[Workload]:
    found: dict[str, Workload] = {}
    for each in certificates:
        one = found.setdefault(each.identity, Workload(each.identity))
        one.certificates += 1
        one.live += each.is_live
        one.application += each.holder == "application"
        one.revoked += bool(each.revoked)
        one.never_used += not each.connections
    return list(found.values())


def _uses(store: Store, period: Period) -> dict[str, Use]:
    uses: Tally[str, Use] = Tally(Use, OTHERS, MOST_SERIALS)
    for connection in store.connections(period, refusal=lambda entry: None):    # they tell of no certificate that was of use to anybody
        if manner(connection) in ("mtls", "contradictory"):
            _note(connection, uses, store.ledgers)
    return uses.found


def _note(connection: Connection, uses: Tally[str, Use], ledgers: list[Ledger]) -> None:
    """One connection uses each of its serials once, however many ends tell of it."""
    seen: set[str] = set()
    for side in connection.sides:
        entry, ledger = side.entry, ledgers[side.ledger]
        for serial, identity, pod in (entry.serial, entry.local, ledger.pod_uid), (entry.peer_serial, entry.peer, ""):
            if not serial:
                continue
            use = uses.at(serial)
            _widen(use, side, identity, pod, ledger.name)
            use.connections += serial not in seen
            seen.add(serial)


def _widen(use: Use, side: Side, identity: str, pod: str, teller: str) -> None:
    entry = side.entry
    for names, name in (use.identities, identity), (use.pods, pod), (use.tellers, teller):
        if name and len(names) < MOST_NAMES:
            names.add(name)
    use.first, use.last = widened(use.first, use.last, entry.opened, entry.time)
    if entry.requests or entry.rules:   # else it was refused: whoever was revoked may try
        use.opened = max(use.opened, entry.opened)
        use.ended = max(use.ended, entry.time)
