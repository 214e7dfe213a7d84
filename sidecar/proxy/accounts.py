"""One account for each connection that leads to or from another workload or host: who is at its ends, and what it carried.

It is opened when both ends are known and closed with its connection; then, and now and then before, it is an entry of the ledger.
Refusals are entries of their own. What is live is also the list of whom to part with when a peer is no longer trusted.

Trust: `peer` comes from `net/verify.py`. A connection counts as mTLS from the first byte of the verified peer: a client learns late
that its certificate was refused (RFC 8446 s4.4.3), so a handshake alone proves nothing to it.
"""

import random  # noqa: TID251 -- the generator is made by main and passed
from collections.abc import Callable
from typing import Literal

from sidecar.model.call import Peer
from sidecar.model.ledger import Entry
from sidecar.model.reason import BY_CODE, Reason
from sidecar.model.trust import serial_text
from sidecar.net.clock import WallClock
from sidecar.net.socket_stream import part
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.tls_stream import TlsStream
from sidecar.net.watched import Watched
from sidecar.telemetry.access_log import Record
from sidecar.telemetry.ledger import Ledger

MOST_RULES = 16         # by name in one entry; the exchanges of others are counted under
OTHER_RULES = "(others)"

Direction = Literal["inbound", "outbound"]


class Account:
    """
    Args:
        entry: what the ledger will hold.
        stream: None where there is no TLS of ours.
        peer: None where nobody was verified.

    Attributes:
        carried: exchanges that are on and will be told; until then it stays open, though its connection may be closed already.
        is_closed: its connection is.
        is_refused: the peer said that we have proved nothing to it.
    """

    __slots__ = ("carried", "entry", "is_closed", "is_refused", "peer", "stream")

    def __init__(self, entry: Entry, stream: TlsStream | None, peer: Peer | None) -> None:
        self.entry = entry
        self.stream = stream
        self.peer = peer
        self.carried = 0
        self.is_closed = False
        self.is_refused = False

    def note(self, record: Record) -> None:
        """An exchange, or the one tunnel, that it carried."""
        entry, rule = self.entry, record.rule
        if record.method:
            entry.requests += 1
        if rule in entry.rules:     # nearly always
            entry.rules[rule] += 1
        else:
            _count(entry.rules, rule)
        if spoken := record.spoken:
            if spoken in entry.spoken:
                entry.spoken[spoken] += 1
            else:
                _count(entry.spoken, spoken)
        if self.stream is None:
            entry.received += record.received
            entry.sent += record.sent

    def state(self) -> Entry:
        """The entry as of now."""
        stream, entry = self.stream, self.entry
        if stream is not None:
            entry.received, entry.sent = stream.received, stream.sent
            if not stream.received:
                entry.security = ""
                entry.detail = entry.detail or "no byte came from the peer"
            elif self.peer is not None:
                entry.security = "mtls"
        return entry


def _count(counts: dict[str, int], name: str) -> None:
    name = name if name in counts or len(counts) < MOST_RULES else OTHER_RULES
    counts[name] = counts.get(name, 0) + 1


class Accounts:
    """
    Args:
        local: our own SPIFFE ID.
    """

    def __init__(self, ledger: Ledger, wall: WallClock, rng: random.Random, local: Callable[[], str]) -> None:
        self._ledger = ledger
        self._wall = wall
        self._rng = rng
        self._local = local
        self._live: dict[str, Account] = {}
        self._relayed: dict[str, Record] = {}

    # -- opened and closed

    def open_mesh(
        self, stream: TlsStream, tls: MeshTls, peer: Peer, direction: Direction, *, dst: str, source: str = ""
    ) -> Account:
        """Of a connection whose peer was verified. Its `id` is exported from the TLS session: both ends know it, and nobody else."""
        entry = self._entry(direction, stream.session_id(), dst, source)
        entry.peer, entry.holder = peer.identity or "", peer.holder
        entry.serial, entry.peer_serial = serial_text(tls.credentials.chain[0].serial_number), serial_text(peer.serial)
        return self._open(entry, stream, peer)

    def open_tls(self, stream: TlsStream, *, dst: str, host: str) -> Account:
        """Of a connection to an external host that was verified."""
        entry = self._entry("outbound", stream.session_id(), dst, "")
        entry.host, entry.security, entry.peer_serial = host, "tls", serial_text(stream.peer_serial())
        return self._open(entry, stream, None)

    def open_plaintext(self, *, dst: str, source: str) -> Account:
        """Of a connection that came in without TLS."""
        entry = self._entry("inbound", f"{self._rng.getrandbits(128):032x}", dst, source)
        entry.security = "plaintext"
        return self._open(entry, None, None)

    def relay(self, record: Record) -> None:
        """Of bytes that pass through as they are: the record is all there is, and it is told of while it lasts, too."""
        record.connection = f"{self._rng.getrandbits(128):032x}"
        self._relayed[record.connection] = record

    def _entry(self, direction: Direction, connection: str, dst: str, source: str) -> Entry:
        return Entry("connection", id=connection, opened=self._wall(), direction=direction, local=self._local(), dst=dst, source=source)

    def _open(self, entry: Entry, stream: TlsStream | None, peer: Peer | None) -> Account:
        account = Account(entry, stream, peer)
        if stream is not None:
            entry.tls, entry.suite = stream.connection.get_protocol_version_name(), stream.connection.get_cipher_name() or ""
            stream.account, stream.closed = entry.id, lambda: self.close(account)
        self._live[entry.id] = account
        return account

    def close(self, account: Account) -> None:
        """Any number of times."""
        account.is_closed = True
        if not account.carried and self._live.pop(account.entry.id, None) is not None:
            entry = account.state()
            entry.is_open = False
            if entry.requests or not account.is_refused:    # else the refusal is all there was
                self._ledger.add(entry)

    # -- what happens meanwhile

    def carry(self, record: Record, connection: str) -> None:
        """The connection with this account carries the exchange from now on, whatever carried it before."""
        if record.connection:
            self._let_go(self._live.get(record.connection))
        record.connection = connection
        if (account := self._live.get(connection)) is not None:
            account.carried += 1
            if record.direction == "gateway":
                account.entry.caller = _caller(record)      # nobody else's exchanges are on it

    def _let_go(self, account: Account | None) -> None:
        if account is not None and account.carried:
            account.carried -= 1
            if account.is_closed:
                self.close(account)

    def note(self, record: Record) -> None:
        """One exchange or connection has been told."""
        account = self._live.get(record.connection) if record.connection else None
        if self._relayed:
            self._relayed.pop(record.connection, None)
        if record.code:
            self._refuse(record, account)
        elif account is not None:
            account.note(record)
        elif not record.method or record.security in ("in-process", "plaintext"):
            self._add_alone(record)
        if account is not None and account.carried:
            if account.is_closed:
                self._let_go(account)
            else:
                account.carried -= 1

    def _refuse(self, record: Record, account: Account | None) -> None:
        # Bytes that went before it was cut are evidence, too; those of an account are told with it.
        has_carried = account is None and not record.method and record.received + record.sent > 0
        entry = self._of(record, "connection" if has_carried else "refusal")
        if has_carried:
            self._count_bytes(entry, record)
        entry.decision = "failed" if BY_CODE[record.code].is_failure else "refused"
        entry.code, entry.reason, entry.detail = record.code, record.reason, record.detail
        if account is not None:
            entry.serial, entry.peer_serial, entry.holder = account.entry.serial, account.entry.peer_serial, account.entry.holder
            if record.code == Reason.PEER_NOT_VERIFIED.code and account.entry.direction == "outbound":
                account.is_refused = True
        self._ledger.add(entry)

    def _add_alone(self, record: Record) -> None:
        """What no account was kept of: bytes that passed through as they were, and calls of the pod to itself."""
        entry = self._of(record, "connection")
        self._count_bytes(entry, record)
        entry.requests = 1 if record.method else 0
        entry.detail = record.detail
        self._ledger.add(entry)

    def _count_bytes(self, entry: Entry, record: Record) -> None:
        """A record counts what came from the downstream and went to it, an entry from and to the peer: out there, the upstream."""
        entry.id = record.connection or f"{self._rng.getrandbits(128):032x}"
        is_outbound = entry.direction == "outbound"
        entry.received, entry.sent = (record.sent, record.received) if is_outbound else (record.received, record.sent)

    def _of(self, record: Record, kind: Literal["connection", "refusal"]) -> Entry:
        # What a client at the edge is refused, or had of us alone, has entered only.
        is_inbound = record.direction == "inbound" or (record.direction == "edge" and not record.peer)
        direction: Direction = "inbound" if is_inbound else "outbound"
        caller = _caller(record)
        return Entry(
            kind, id=record.connection, opened=record.time, direction=direction, security=record.security, local=self._local(),
            caller=caller, peer="" if caller else record.peer, tls=record.tls, dst=record.dst, source=record.source,
            host=record.host if direction == "outbound" else "", rules={record.rule: 1} if record.rule else {},
            spoken={record.spoken: 1} if record.spoken else {},
        )

    def tell_open(self) -> None:
        """An entry for each connection that goes on."""
        for account in self._live.values():
            entry = account.state()
            entry.is_open = True
            self._ledger.add(entry)
        for record in self._relayed.values():
            entry = self._of(record, "connection")
            self._count_bytes(entry, record)
            entry.is_open = True
            self._ledger.add(entry)

    def part(self, why: Callable[[Peer], str]) -> None:
        """End what leads to peers that are no longer trusted, whoever uses it: they see a connection that broke.

        Args:
            why: in words; empty: it may go on.
        """
        for account in self._live.values():
            if account.peer is not None and account.stream is not None and (words := why(account.peer)):
                account.entry.detail = words
                part(account.stream.sock)

    async def run(self, tls: Watched[MeshTls | None], why: Callable[[Peer], str]) -> None:
        """For ever: who was revoked is parted with at once."""
        while True:
            seen = tls.current
            self.part(why)
            await tls.wait_change(seen)

    def stream(self, connection: str) -> TlsStream | None:
        """Of a live connection, by its account."""
        account = self._live.get(connection)
        return account.stream if account is not None else None

    def __len__(self) -> int:
        return len(self._live)


def _caller(record: Record) -> str:
    """Whom a gateway led out."""
    return record.peer if record.direction == "gateway" else ""
