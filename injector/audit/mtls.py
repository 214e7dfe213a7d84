"""`audit mtls`: how each pair of workloads spoke, what is proved from both ends, and every way that was not mTLS."""

from collections.abc import Mapping

import msgspec

from sidecar.model.ledger import Entry

from .certs import Certs
from .coverage import Gap
from .evidence import Manner, is_egress, manner, proof, why_one_sided
from .join import Connection, bytes_differ, differences
from .paths import Path, explain, host_and_port
from .period import Period, widened
from .store import Ledger, Store
from .tally import OTHERS, Tally

MOST_PAIRS = 100_000
MOST_ROWS = 10_000      # of each other table: their keys are of strangers' choosing


class Pair(msgspec.Struct, rename="camel"):
    """How one workload called another. `connections` = `mtls` + `contradictory` + `plaintext` + `passthrough`.

    Args:
        caller: the identity that was proved; empty: none was.
        mtls: `both_ends` + `one_end` + `doubtful`.
        both_ends: the records of both ends are there, agree, and stand in chains that hold.
        doubtful: a record stands behind a break, in a chain that was written anew, speaks for somebody else, or is of the same
            ledger as the other.
        contradictory: the two ends say things that cannot both be true; it does not count as mTLS.
        sent, received: bytes from and to the caller.
    """

    caller: str
    destination: str
    connections: int = 0
    mtls: int = 0
    both_ends: int = 0
    one_end: int = 0
    doubtful: int = 0
    contradictory: int = 0
    plaintext: int = 0
    passthrough: int = 0
    requests: int = 0
    mtls_requests: int = 0
    sent: int = 0
    received: int = 0

    def add(self, how: Manner, proved: str, connection: Connection) -> None:
        entry = connection.main.entry
        self.connections += 1
        self.requests += entry.requests
        if connection.server is not None:
            self.sent, self.received = self.sent + entry.received, self.received + entry.sent
        else:
            self.sent, self.received = self.sent + entry.sent, self.received + entry.received
        if how == "mtls":
            self.mtls += 1
            self.mtls_requests += entry.requests
            self.both_ends += proved == "both ends"
            self.one_end += proved == "one end"
            self.doubtful += proved == "doubtful"
        else:
            self.contradictory += how == "contradictory"
            self.plaintext += how == "plaintext"
            self.passthrough += how == "passthrough"


class OneSided(msgspec.Struct, rename="camel"):
    """mTLS connections that one end alone tells of; `cause` is a key of `WHY_ONE_SIDED`, `example` an id."""

    caller: str
    destination: str
    told_by: str
    cause: str
    connections: int = 0
    first: float = 0.0
    last: float = 0.0
    example: str = ""


class Contradiction(msgspec.Struct, rename="camel"):
    """Two records of one connection that differ. In `bytes` alone the connection is mTLS all the same."""

    caller: str
    destination: str
    about: str
    connections: int = 0
    example: str = ""


class Refused(msgspec.Struct, rename="camel"):
    """
    Args:
        caller: identity or address.
        destination: identity, or the address that was called.
        told_by: `destination`, or `caller`, for which it may be the same event.
        decision: `refused` or `failed`.
        detail: of the last one.
    """

    caller: str
    destination: str
    told_by: str
    decision: str
    code: str
    reason: str = ""
    count: int = 0
    first: float = 0.0
    last: float = 0.0
    detail: str = ""


class Breaks(msgspec.Struct, rename="camel"):
    """A caller whose plaintext was taken: it breaks when `permissive` ends.

    Args:
        caller: its address.
        workload: who that is, as far as the cluster knows.
    """

    caller: str
    workload: str
    destinations: list[str]
    connections: int = 0
    last: float = 0.0


class Mtls(msgspec.Struct, rename="camel"):
    """The report.

    Args:
        total: of all pairs.
        in_process: calls of a pod to itself, which never leave it.
        egress: connections out of the mesh; `audit egress` tells of them.
        silent: connections on which no byte came from the peer; neither mTLS nor anything else was proved.
        gaps: what evidence cannot cover; nobody knows unless `has_coverage`.
        certs: where an issuance log was given.
    """

    period: Period
    total: Pair
    in_process: int = 0
    egress: int = 0
    silent: int = 0
    pairs: list[Pair] = msgspec.field(default_factory=list)
    paths: list[Path] = msgspec.field(default_factory=list)
    would_break: list[Breaks] = msgspec.field(default_factory=list)
    refusals: list[Refused] = msgspec.field(default_factory=list)
    one_sided: list[OneSided] = msgspec.field(default_factory=list)
    contradictions: list[Contradiction] = msgspec.field(default_factory=list)
    gaps: list[Gap] = msgspec.field(default_factory=list)
    ledgers: list[Ledger] = msgspec.field(default_factory=list)
    has_coverage: bool = False
    certs: Certs | None = None


def audit_mtls(store: Store, period: Period, now: float, *, most_rows: int = MOST_ROWS) -> Mtls:
    """Read the whole store. ConfigError if a ledger cannot be read."""
    counts = _Counts(most_rows, {
        address: pod.uid for pod in store.coverage.pods if not pod.host_network for address in pod.addresses})
    for connection in store.connections(period, counts.refusal):
        counts.connection(connection, store.ledgers)
    report = counts.report(period, store)
    for path in report.paths:
        explain(path, store.coverage, now)
    report.would_break = would_break(report.paths)
    return report


def would_break(paths: list[Path]) -> list[Breaks]:
    """The callers of plaintext paths, busiest first."""
    found: dict[str, Breaks] = {}
    for path in paths:
        if path.security != "plaintext":
            continue
        one = found.setdefault(path.source, Breaks(path.source or OTHERS, path.workload, []))
        if path.destination not in one.destinations:
            one.destinations.append(path.destination)
        one.connections += path.connections
        one.last = max(one.last, path.last)
    return sorted(found.values(), key=lambda each: (-each.connections, each.caller))


class _Counts:
    def __init__(self, most_rows: int, pods: Mapping[str, str]) -> None:
        self.pods = pods
        self.total = Pair("", "")
        self.apart: dict[Manner, int] = {}
        self.pairs = Tally(lambda key: Pair(*key), (OTHERS, OTHERS), MOST_PAIRS)
        self.paths = Tally(lambda key: Path(*key), ("", OTHERS, "", "plaintext"), most_rows)
        self.one_sided = Tally(lambda key: OneSided(*key), (OTHERS, OTHERS, "", "unexplained"), most_rows)
        self.contradictions = Tally(lambda key: Contradiction(*key), (OTHERS, OTHERS, ""), most_rows)
        self.refused = Tally(lambda key: Refused(*key), (OTHERS, OTHERS, "", "refused", ""), most_rows)

    def refusal(self, entry: Entry) -> None:
        if is_egress(entry):
            return
        if entry.direction == "outbound":
            key = entry.local, entry.peer or entry.dst, "caller", entry.decision, entry.code
        else:
            key = entry.peer or host_and_port(entry.source)[0], entry.local, "destination", entry.decision, entry.code
        found = self.refused.at(key)
        found.count += 1
        if entry.time >= found.last:
            found.reason, found.detail = entry.reason, entry.detail or found.detail
        found.first, found.last = widened(found.first, found.last, entry.time, entry.time)

    def connection(self, connection: Connection, ledgers: list[Ledger]) -> None:
        for side in connection.sides:
            if side.is_within and side.entry.decision != "allowed":
                self.refusal(side.entry)
        how = manner(connection)
        if how in ("none", "in-process", "egress", "silent"):
            self.apart[how] = self.apart.get(how, 0) + 1
            return
        proved = proof(connection, ledgers)
        for pair in self.total, self.pairs.at((_proved_caller(connection, how), connection.destination)):
            pair.add(how, proved, connection)
        if how == "mtls" and proved == "one end":
            self._one_sided(connection, ledgers)
        if how in ("plaintext", "passthrough"):
            self._path(connection, how)
        self._contradiction(connection)

    def _one_sided(self, connection: Connection, ledgers: list[Ledger]) -> None:
        entry = connection.main.entry
        told_by = "destination" if connection.server is not None else "caller"
        found = self.one_sided.at((connection.caller, connection.destination, told_by, why_one_sided(connection, ledgers, self.pods)))
        found.connections += 1
        found.example = min(found.example or entry.id, entry.id)
        found.first, found.last = widened(found.first, found.last, entry.opened, entry.time)

    def _path(self, connection: Connection, how: Manner) -> None:
        entry = connection.main.entry
        is_told_by_caller = connection.server is None
        source = connection.caller if is_told_by_caller else host_and_port(entry.source)[0]
        host, port = host_and_port(entry.dst)
        found = self.paths.at((source, connection.destination or host, port, how))
        found.connections += 1
        found.requests += entry.requests
        found.sent += entry.sent if is_told_by_caller else entry.received
        found.received += entry.received if is_told_by_caller else entry.sent
        found.first, found.last = widened(found.first, found.last, entry.opened, entry.time)

    def _contradiction(self, connection: Connection) -> None:
        if connection.client is None or connection.server is None:
            return
        client, server = connection.client.entry, connection.server.entry
        about = differences(client, server) or (["bytes"] if bytes_differ(client, server) else [])
        if about:
            found = self.contradictions.at((connection.caller, connection.destination, ", ".join(about)))
            found.connections += 1
            found.example = min(found.example or client.id, client.id)

    def report(self, period: Period, store: Store) -> Mtls:
        return Mtls(
            period=period,
            total=self.total,
            in_process=self.apart.get("in-process", 0),
            egress=self.apart.get("egress", 0),
            silent=self.apart.get("silent", 0),
            # What needs an eye stands first.
            pairs=sorted(self.pairs.values(), key=lambda pair: (pair.mtls == pair.connections, pair.caller, pair.destination)),
            paths=sorted(self.paths.values(), key=lambda path: (path.security != "plaintext", -path.connections, path.source, path.port)),
            refusals=sorted(self.refused.values(), key=lambda each: (-each.count, each.caller, each.destination, each.code)),
            one_sided=sorted(self.one_sided.values(), key=lambda each: (each.cause != "unexplained", each.cause, each.caller)),
            contradictions=sorted(self.contradictions.values(), key=lambda each: (each.about == "bytes", each.caller, each.destination)),
            gaps=list(store.coverage.gaps),
            ledgers=store.ledgers,
            has_coverage=store.has_coverage,
        )


def _proved_caller(connection: Connection, how: Manner) -> str:
    """A caller that speaks plaintext proves nothing, whatever a record says; its own sidecar's record is something."""
    return connection.caller if how in ("mtls", "contradictory") or connection.client is not None else ""
