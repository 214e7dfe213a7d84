"""Attacks through the inbound recipe: a raw client, the recipe, and an origin that notes every byte.

Around each attack go three canaries: one on another connection before it (so that a pooled upstream connection is there to be
poisoned), one right behind it on the same connection, one on another connection after it. `Chain.attack` asserts what holds for
every attack: the origin gets nothing that has two readings, each canary arrives once, as itself, and is answered as itself or,
behind the attack, not at all.
"""

import socket
from dataclasses import dataclass, field

import trio

from sidecar.model.snapshot import Inbound
from sidecar.net.socket_stream import SocketStream
from tests.helpers.mesh import APP, ORDERS, arrive, call, meshed
from tests.helpers.runtime import Bench, rules
from tests.helpers.strict_http import Ambiguous, Incomplete, Message, read_requests, read_responses

PLAIN_HTTP = Inbound(mode="permissive", permissive_until=4e9, ports={8080: "http"})
CANARY_HOST = b"canary.test"


def canary(name: str) -> bytes:
    return b"GET /canary-%b HTTP/1.1\r\nhost: %b\r\n\r\n" % (name.encode(), CANARY_HOST)


def request(target: bytes = b"/", *fields: bytes, method: bytes = b"GET", host: bytes = b"shop.test") -> bytes:
    return b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), b"host: " + host, *fields, b"", b""])


@dataclass
class Origin:
    """Answers each request with its own request line.

    Args:
        logs: what arrived, by connection.
        messages: the requests, in order.
        faults: what a strict reader refuses.
    """

    logs: list[bytearray] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    consumed: list[int] = field(default_factory=list)

    async def serve(self, sock: socket.socket) -> None:
        stream, log, number = SocketStream(sock), bytearray(), len(self.logs)
        self.logs.append(log)
        self.consumed.append(0)
        try:
            while piece := await stream.receive_some():
                log += piece
                for message, end in read_requests(bytes(log), self.consumed[number]):
                    self.messages.append(message)
                    self.consumed[number] = end
                    await stream.send_all(_answer(message))
        except Ambiguous as exc:
            self.faults.append(str(exc))
        except trio.BrokenResourceError:
            pass

    @property
    def begun(self) -> list[bytes]:
        """What is left of each connection behind its last whole request."""
        return [bytes(log[end:]) for log, end in zip(self.logs, self.consumed, strict=True) if len(log) > end]


def _answer(message: Message) -> bytes:
    method, target = message.start
    text = b"%b %b" % (method, target)
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(text), b"" if method == b"HEAD" else text)


@dataclass(frozen=True)
class Outcome:
    """
    Args:
        statuses: of the answers to the attack, the canary's left out.
        reasons: codes of ours in them, where there are any.
        forwarded: what the origin got of the attack, as whole requests.
        begun: what it got besides, of a request without end.
        is_served_on: the canary behind the attack was answered.
    """

    statuses: list[int]
    reasons: list[str]
    forwarded: list[Message]
    begun: list[bytes]
    is_served_on: bool


class Chain:
    """
    Args:
        is_meshed: the attacker comes by mTLS, as the workload web; else in plaintext.
    """

    def __init__(
        self, nursery: trio.Nursery, inbound: Inbound = PLAIN_HTTP, *, is_meshed: bool = False, accept_http10: bool = False
    ) -> None:
        self.bench: Bench = meshed(nursery, rules(inbound, identity=ORDERS, accept_http10=accept_http10))
        self.origin = Origin()
        self.bench.dialer.servers[APP] = self.origin.serve
        self._nursery = nursery
        self._is_meshed = is_meshed
        self._count = 0

    async def connect(self) -> trio.abc.HalfCloseableStream:
        sock = arrive(self._nursery, self.bench)
        return await call(sock) if self._is_meshed else SocketStream(sock)

    async def say(self, *writes: bytes) -> bytes:
        """All that a new connection answers to `writes`, until it ends; a reset is an end, too."""
        stream = await self.connect()
        answer = bytearray()

        async def read() -> None:
            try:
                while piece := await stream.receive_some():
                    answer.extend(piece)
            except trio.BrokenResourceError:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            try:
                for piece in writes:
                    await stream.send_all(piece)
                    await trio.testing.wait_all_tasks_blocked()
                await stream.send_eof()
            except trio.BrokenResourceError:
                pass
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        return bytes(answer)

    async def attack(self, *payload: bytes, methods: tuple[bytes, ...] = ()) -> Outcome:
        """
        Args:
            payload: what is written, piece by piece; the canary follows the last piece in the same write.
            methods: of the requests in it, as far as it is not GET.
        """
        self._count += 1
        names = [f"{self._count}-{which}" for which in ("before", "same", "after")]
        logged = {number: len(log) for number, log in enumerate(self.origin.logs)}
        seen = len(self.origin.messages)
        for_sure = await self.say(canary(names[0]))
        answer = await self.say(*payload[:-1], payload[-1] + canary(names[1]))
        await self._check_canary(names[0], for_sure)
        await self._check_canary(names[2], await self.say(canary(names[2])))

        assert self.origin.faults == []
        told = self._read(answer, methods)
        marks = [b"GET /canary-%b" % name.encode() for name in names]
        messages = [message for message in self.origin.messages[seen:] if b" ".join(message.start) not in marks]
        same = [message for message in self.origin.messages[seen:] if b" ".join(message.start) == marks[1]]
        is_served_on = any(message.body == marks[1] for message in told)
        assert len(same) == is_served_on, f"the canary arrived {len(same)} times; answers: {told}"
        new = b"".join(bytes(log[logged.get(number, 0):]) for number, log in enumerate(self.origin.logs))
        assert [new.count(mark) for mark in marks] == [1, len(same), 1], "a canary is a part of something else"
        assert all(message.fields[0] == (b"host", CANARY_HOST) and not message.body for message in same)
        # Behind an answer that ends the connection nothing is answered.
        assert not any(b"close" in message.values(b"connection") for message in told[:-1])
        return Outcome(
            [int(message.start[0]) for message in told if message.body != marks[1]],
            [value[:6].decode() for message in told for value in message.values(b"x-bartizan-reason")],
            messages, self.origin.begun, is_served_on,
        )

    def _read(self, answer: bytes, methods: tuple[bytes, ...]) -> list[Message]:
        try:
            return read_responses(answer, methods)
        except Incomplete:
            raise AssertionError(f"the answer has no end: {answer!r}") from None

    async def _check_canary(self, name: str, answer: bytes) -> None:
        """The canary `name` arrived once, alone and unchanged, and this is its answer."""
        (message,) = read_responses(answer)
        assert (message.start[0], message.body) == (b"200", b"GET /canary-%b" % name.encode()), answer
        (arrived,) = [message for message in self.origin.messages if message.start[1] == b"/canary-%b" % name.encode()]
        assert (arrived.body, arrived.values(b"host")) == (b"", [CANARY_HOST])


def is_refused(outcome: Outcome, *statuses: int) -> bool:
    """One answer of ours, nothing to the origin, nothing served behind it."""
    return (
        len(outcome.statuses) == len(outcome.reasons) == 1 and outcome.statuses[0] in (statuses or (400,))
        and not outcome.forwarded and not outcome.begun and not outcome.is_served_on
    )
