"""`audit egress`: which external hosts each workload reached, how that was secured, and which it was refused."""

import bisect

import msgspec

from sidecar.model.ledger import Entry

from .evidence import is_doubtful, is_egress, manner
from .join import Connection, is_silent
from .paths import host_and_port
from .period import Period, widened
from .store import Ledger, Store
from .tally import OTHERS, Tally

MOST_HOSTS = 100_000
MOST_REFUSED = 10_000
MOST_VALUES = 8         # versions, certificates, addresses of one row


class Reached(msgspec.Struct, rename="camel"):
    """
    Args:
        caller: the workload; where a gateway tells of it, as that says.
        host: the name that was judged; an address where only that was.
        security: `tls`, which the sidecar spoke and verified; `passthrough`, the application's own bytes to an approved place;
            anything else: `plaintext`.
        rule: what let it out; several with commas between.
        gateway: the egress gateway that led it out; empty: it went by itself.
        tls: versions, such as TLSv1.3.
        serials: of the host's certificates, as far as the sidecar saw them.
        destinations: addresses and ports that the application chose.
        doubtful: connections whose record stands behind a break, or speaks for somebody else.
        sent, received: bytes to and from the host.
    """

    caller: str
    host: str
    security: str
    rule: str
    gateway: str = ""
    connections: int = 0
    requests: int = 0
    sent: int = 0
    received: int = 0
    first: float = 0.0
    last: float = 0.0
    doubtful: int = 0
    tls: list[str] = msgspec.field(default_factory=list)
    serials: list[str] = msgspec.field(default_factory=list)
    destinations: list[str] = msgspec.field(default_factory=list)


class Refused(msgspec.Struct, rename="camel"):
    """`decision`: `refused` by a rule or a failed proof; `failed`, which nobody decided. `detail`: of the last one."""

    caller: str
    host: str
    decision: str
    code: str
    gateway: str = ""
    reason: str = ""
    count: int = 0
    first: float = 0.0
    last: float = 0.0
    detail: str = ""
    destinations: list[str] = msgspec.field(default_factory=list)


class Egress(msgspec.Struct, rename="camel"):
    period: Period
    connections: int = 0
    verified: int = 0
    passthrough: int = 0
    plaintext: int = 0
    refused: int = 0
    reached: list[Reached] = msgspec.field(default_factory=list)
    refusals: list[Refused] = msgspec.field(default_factory=list)
    ledgers: list[Ledger] = msgspec.field(default_factory=list)


def audit_egress(store: Store, period: Period) -> Egress:
    """Read the whole store. ConfigError if a ledger cannot be read."""
    counts = _Counts()
    for connection in store.connections(period, counts.refusal):
        counts.connection(connection, store.ledgers)
    reached = sorted(counts.reached.values(), key=lambda each: (each.caller, each.host, each.security, each.rule, each.gateway))
    refusals = sorted(counts.refused.values(), key=lambda each: (-each.count, each.caller, each.host, each.code))

    def connections(security: str) -> int:
        return sum(each.connections for each in reached if each.security == security)

    return Egress(
        period, sum(each.connections for each in reached), connections("tls"), connections("passthrough"), connections("plaintext"),
        sum(each.count for each in refusals), reached, refusals, store.ledgers,
    )


class _Counts:
    def __init__(self) -> None:
        self.reached = Tally(lambda key: Reached(*key), (OTHERS, OTHERS, "plaintext", "", ""), MOST_HOSTS)
        self.refused = Tally(lambda key: Refused(*key), (OTHERS, OTHERS, "refused", "", ""), MOST_REFUSED)

    def refusal(self, entry: Entry) -> None:
        if not is_egress(entry):
            return
        found = self.refused.at((entry.caller or entry.local, host_of(entry), entry.decision, entry.code, entry.caller and entry.local))
        found.count += 1
        if entry.time >= found.last:
            found.reason, found.detail = entry.reason, entry.detail or found.detail
        found.first, found.last = widened(found.first, found.last, entry.time, entry.time)
        note(found.destinations, entry.dst)

    def connection(self, connection: Connection, ledgers: list[Ledger]) -> None:
        side = connection.client
        if side is None or not side.is_within or not is_egress(side.entry):
            return
        entry = side.entry
        if entry.decision != "allowed":
            self.refusal(entry)
        if manner(Connection(side, None)) == "none":
            return
        # A host that was verified and never answered is one that was reached: something may have been sent to it.
        security = "tls" if is_silent(entry) else entry.security if entry.security in ("tls", "passthrough") else "plaintext"
        rules, gateway = ", ".join(sorted(entry.rules)), entry.caller and entry.local
        found = self.reached.at((entry.caller or entry.local, host_of(entry), security, rules, gateway))
        found.connections += 1
        found.requests += entry.requests
        found.sent += entry.sent
        found.received += entry.received
        found.first, found.last = widened(found.first, found.last, entry.opened, entry.time)
        found.doubtful += is_doubtful(side, ledgers)
        for values, value in (found.tls, entry.tls), (found.serials, entry.peer_serial), (found.destinations, entry.dst):
            note(values, value)


def host_of(entry: Entry) -> str:
    return entry.host.strip("[]") or host_and_port(entry.dst)[0]


def note(values: list[str], value: str) -> None:
    """The first ones in their order, so that neither the list can grow nor a report differ from run to run."""
    if value and value not in values:
        bisect.insort(values, value)
        del values[MOST_VALUES:]
