"""The two ends' records of one connection, brought together by its `id`: for mTLS both exported it from the TLS session.

The records of one connection may stand days and files apart, and interim lines come again and again. So lines are first dealt into
buckets by their id, on disk where they are many; each bucket is then small enough to be looked at as a whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO

import msgspec

from sidecar.model.ledger import Entry

BUCKETS = 64
JOIN_SLACK_S = 60.0             # so much later the other end's record may be written, or come
IN_MEMORY_BYTES = 1 << 20       # of each bucket


class Side(msgspec.Struct, frozen=True, array_like=True):
    """One end's last word on a connection.

    Args:
        ledger: the number of the ledger that it stands in.
        is_sound: its chain holds as far as this line, and it speaks for who may have written it.
        is_within: it was written in the period; else it is here as the counterpart of one that was.
    """

    entry: Entry
    ledger: int
    is_sound: bool
    is_within: bool


@dataclass(frozen=True, slots=True)
class Connection:
    """
    Args:
        client, server: who called and who was called, as far as each is told of; one of them at least is.
    """

    client: Side | None
    server: Side | None

    @property
    def sides(self) -> tuple[Side, ...]:
        return tuple(side for side in (self.client, self.server) if side is not None)

    @property
    def main(self) -> Side:
        """The end that counts: the called one, since a rule let the exchanges in there."""
        side = self.server or self.client
        assert side is not None
        return side

    @property
    def caller(self) -> str:
        """The proved identity; empty if nobody proved one."""
        return self.client.entry.local if self.client else self.main.entry.peer

    @property
    def destination(self) -> str:
        return self.server.entry.local if self.server else self.main.entry.peer

    @property
    def is_mtls(self) -> bool:
        return all(side.entry.security == "mtls" for side in self.sides)


class Spill:
    """Lines of connections by the hash of their id. Close it: it may hold files."""

    def __init__(self) -> None:
        self._buckets: list[IO[bytes]] = [
            SpooledTemporaryFile(IN_MEMORY_BYTES) for _ in range(BUCKETS)  # noqa: SIM115 -- `close` does it
        ]
        self._encoder = msgspec.msgpack.Encoder()

    def add(self, side: Side) -> None:
        # `hash` of a text differs in each process, so that nobody can write ids that all fall into one bucket.
        data = self._encoder.encode(side)
        self._buckets[hash(side.entry.id) % BUCKETS].write(len(data).to_bytes(4) + data)

    def connections(self) -> Iterator[Connection]:
        """Each connection of the period once. Call it once."""
        for bucket in self._buckets:
            bucket.seek(0)
            groups: dict[str, dict[tuple[int, str], Side]] = {}
            for side in _sides(bucket):
                if not side.entry.id:
                    if side.is_within:      # no two such lines can be known to be of one connection
                        yield _alone(side)
                    continue
                group = groups.setdefault(side.entry.id, {})
                key = side.ledger, side.entry.direction
                # The later line replaces the earlier, but one from after the period none of the period.
                if side.is_within or key not in group or not group[key].is_within:
                    group[key] = side
            for group in groups.values():
                yield from pair(list(group.values()))

    def close(self) -> None:
        for bucket in self._buckets:
            bucket.close()


def pair(sides: list[Side]) -> Iterator[Connection]:
    """The connections that have one id: one, unless somebody wrote another's id.

    Each called end takes the calling end that contradicts it least, so that a copied id does not hide the true record.
    """
    callers = [side for side in sides if side.entry.direction == "outbound"]
    for server in (side for side in sides if side.entry.direction != "outbound"):
        client = min(callers, key=lambda side: len(differences(side.entry, server.entry)), default=None)
        if client is not None:
            callers.remove(client)
        connection = Connection(client, server)
        if any(side.is_within for side in connection.sides):
            yield connection
    for client in callers:
        if client.is_within:
            yield Connection(client, None)


def _alone(side: Side) -> Connection:
    return Connection(side, None) if side.entry.direction == "outbound" else Connection(None, side)


def differences(client: Entry, server: Entry) -> list[str]:
    """What two records of one connection say that cannot both be true; bytes are not among it."""
    is_told = not is_silent(client) and not is_silent(server)
    return [name for name, ours, theirs in (
        ("security", client.security if is_told else "", server.security if is_told else ""),
        ("TLS version", client.tls, server.tls),
        ("cipher suite", client.suite, server.suite),
        ("the caller's identity", client.local, server.peer),
        ("the destination's identity", client.peer, server.local),
        ("the caller's certificate", client.serial, server.peer_serial),
        ("the destination's certificate", client.peer_serial, server.serial),
    ) if ours != theirs]


def is_silent(entry: Entry) -> bool:
    """Whether no byte of the verified peer came, so that this end cannot say that the peer took part: a client learns late of a refusal."""
    return not entry.security and bool(entry.tls) and not entry.received


def bytes_differ(client: Entry, server: Entry) -> bool:
    """Whether one end received other than what the other sent. Of a connection that goes on, or broke, nobody can say."""
    if client.is_open or server.is_open or client.decision == "failed" or server.decision == "failed":
        return False
    return (client.sent, client.received) != (server.received, server.sent)


def _sides(bucket: IO[bytes]) -> Iterator[Side]:
    decoder = msgspec.msgpack.Decoder(Side)
    while head := bucket.read(4):
        yield decoder.decode(bucket.read(int.from_bytes(head)))
