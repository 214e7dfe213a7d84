"""What each workload was seen to reach outside, and how: what an approval of just that has to name.

Trust: a ledger is its sidecar's word, and may have been changed since. What stands behind a break, or speaks for another workload, is
left out; host, port and manner are taken only if they are what the sidecar would write.
"""

import re
from dataclasses import dataclass, field
from itertools import islice

from injector.audit.egress import host_of
from injector.audit.evidence import is_doubtful, is_egress, manner
from injector.audit.join import Connection
from injector.audit.names import workload_of
from injector.audit.paths import host_and_port
from injector.audit.period import Period, widened
from injector.audit.store import Store
from injector.semantics.text import host_problems
from sidecar.model.address import canonical, is_address, is_special
from sidecar.model.ledger import Entry
from sidecar.model.reason import Reason

CURABLE = frozenset({Reason.HOST_NOT_APPROVED.code, Reason.ADDRESS_NOT_APPROVED.code})     # by an approval
MOST_PLACES = 2000      # of a workload
MOST_RULES = 8          # of a place
_PORT = re.compile("[1-9][0-9]{0,4}", re.ASCII)
_SPOKEN = re.compile(r"(plain|tls|tcp):([1-9][0-9]{0,4})", re.ASCII)


@dataclass
class Place:
    """A host, or an address that no name led to.

    Args:
        plain, tls, tcp: ports by how the application spoke.
        tls_port: where the sidecar originated TLS; None: it did not.
        rules: what let it out; empty: it was always refused.
    """

    name: str
    plain: set[int] = field(default_factory=set)
    tls: set[int] = field(default_factory=set)
    tcp: set[int] = field(default_factory=set)
    tls_port: int | None = None
    rules: set[str] = field(default_factory=set)
    connections: int = 0
    sent: int = 0
    first: float = 0.0
    last: float = 0.0

    @property
    def is_address(self) -> bool:
        return is_address(self.name)

    @property
    def is_special(self) -> bool:
        return self.is_address and is_special(canonical(self.name))

    def ports(self, manner: str) -> set[int]:
        return {"plain": self.plain, "tls": self.tls, "tcp": self.tcp}[manner]


@dataclass
class Workload:
    """One identity.

    Args:
        places: by name.
    """

    namespace: str
    account: str
    places: dict[str, Place] = field(default_factory=dict)


@dataclass
class Seen:
    """
    Args:
        workloads: by identity.
        doubtful: records that are left out because their chain does not vouch for them.
        unclear: records that do not say how or where to.
        beyond: records of more places than are told apart.
    """

    workloads: dict[str, Workload] = field(default_factory=dict)
    doubtful: int = 0
    unclear: int = 0
    beyond: int = 0


def seen(store: Store, period: Period, *, with_refused: bool = False, only: tuple[str, str] | None = None) -> Seen:
    """Read the whole store. ConfigError if a ledger cannot be read.

    Args:
        with_refused: take what no approval let out for seen, too.
        only: the one workload, (namespace, service account).
    """
    found = Seen()
    refusals: dict[tuple[str, str, tuple[str, ...]], list[Entry]] = {}

    def refusal(entry: Entry) -> None:
        if with_refused and is_egress(entry) and entry.code in CURABLE and not entry.caller:
            refusals.setdefault((entry.local, host_of(entry), tuple(sorted(entry.spoken))), [entry, entry])[1] = entry

    for connection in store.connections(period, refusal):
        side = connection.client
        if side is None or not side.is_within or not is_egress(side.entry) or manner(Connection(side, None)) == "none":
            continue
        if side.entry.caller:
            continue    # a policy demands the gateway that tells of it; one that does not must not come of that
        if is_doubtful(side, store.ledgers):
            found.doubtful += 1
        else:
            _note(found, side.entry, only)
    # A refusal comes without a word about its chain: those of an identity for which a broken one speaks are left out.
    broken = {identity for ledger in store.ledgers if not ledger.is_whole or ledger.foreign for identity in ledger.identities}
    for first_and_last in refusals.values():
        for entry in first_and_last:
            if entry.local in broken:
                found.doubtful += 1
            else:
                _note(found, entry, only)
    return found


def _note(found: Seen, entry: Entry, only: tuple[str, str] | None) -> None:
    namespace, account = workload_of(entry.local)
    spoken = [_SPOKEN.fullmatch(text) for text in entry.spoken]
    name = host_of(entry)
    ways = [(match[1], int(match[2])) for match in spoken if match is not None and int(match[2]) < 65536]
    if not namespace or len(ways) < len(spoken) or not ways or not is_place(name):
        found.unclear += 1
        return
    if only not in (None, (namespace, account)):
        return
    places = found.workloads.setdefault(entry.local, Workload(namespace, account)).places
    if name not in places and len(places) >= MOST_PLACES:
        found.beyond += 1
        return
    place = places.setdefault(name, Place(name))
    for manner_, port in ways:
        place.ports("tcp" if place.is_address else manner_).add(port)
    if entry.kind != "refusal":
        place.connections += 1
        place.rules |= {rule[:253] for rule in islice(entry.rules, MOST_RULES - len(place.rules))}
        place.sent += entry.sent
        if entry.security == "tls" and (tls_port := _port(host_and_port(entry.dst)[1])) is not None:
            place.tls_port = tls_port
    opened = entry.opened if 0 < entry.opened <= entry.time else entry.time
    place.first, place.last = widened(place.first, place.last, opened, entry.time)


def _port(text: str) -> int | None:
    return int(text) if _PORT.fullmatch(text) and int(text) < 65536 else None


def is_place(name: str) -> bool:
    """Whether it is an address, or a name that the judge of requests would have let through; a wildcard is none."""
    return is_address(name) or (not name.startswith("*") and next(host_problems("", name), None) is None)
