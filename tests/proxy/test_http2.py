"""One HTTP/2 downstream connection through the loop: the library h2 asks, an HTTP/1.1 upstream that the test plays answers."""

from collections import defaultdict
from collections.abc import Callable

import h2.connection
import h2.errors
import h2.events
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.decision import Denied
from sidecar.model.message import RequestHead
from sidecar.model.reason import Reason
from sidecar.protocol.http2 import frames
from sidecar.proxy.plan import Decision
from sidecar.telemetry.access_log import Record
from tests.helpers.exchange import OK, Downstream, downstream
from tests.helpers.http2 import GET, POST, goaways, h2_peer, split
from tests.helpers.streams import MemoryStream

Fields = list[tuple[bytes, bytes]]
GRPC: Fields = [*POST, (b"content-type", b"application/grpc"), (b"te", b"trailers")]


class Client:
    """What the peer was told, by stream."""

    def __init__(self, down: Downstream) -> None:
        self.down = down
        self.h2 = h2_peer(is_client=True)
        self.h2.initiate_connection()
        self.heads: dict[int, dict[bytes, bytes]] = {}
        self.bodies: dict[int, bytes] = defaultdict(bytes)
        self.trailers: dict[int, dict[bytes, bytes]] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.goaways: list[int] = []
        self.is_closed = False

    async def send(self) -> None:
        await self.down.client.send_all(self.h2.data_to_send())

    async def ask(self, fields: Fields, body: bytes | None = None) -> int:
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, fields, end_stream=body is None)
        if body is not None:
            self.h2.send_data(stream, body, end_stream=True)
        await self.send()
        return stream

    async def read(self, until: Callable[[], bool]) -> None:
        while not until():
            data = await self.down.client.receive_some()
            if not data:
                self.is_closed = True
                return
            for event in self.h2.receive_data(data):
                match event:
                    case h2.events.ResponseReceived():
                        self.heads[event.stream_id] = dict(event.headers)   # type: ignore[arg-type]
                    case h2.events.DataReceived():
                        self.bodies[event.stream_id] += event.data
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    case h2.events.TrailersReceived():
                        self.trailers[event.stream_id] = dict(event.headers)    # type: ignore[arg-type]
                    case h2.events.StreamEnded():
                        self.ended.add(event.stream_id)
                    case h2.events.StreamReset():
                        self.resets[event.stream_id] = event.error_code
                    case h2.events.ConnectionTerminated():
                        self.goaways.append(event.error_code)
            if out := self.h2.data_to_send():
                await self.down.client.send_all(out)

    async def answer(self, stream: int) -> bytes:
        await self.read(lambda: stream in self.ended or stream in self.resets)
        return self.bodies[stream]


async def requested(down: Downstream, end: bytes = b"\r\n\r\n") -> tuple[MemoryStream, bytes]:
    up = await down.server.accept()
    return up, await up.read_until(end)


async def test_streams_are_answered_as_their_answers_come(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    client = Client(down := downstream(nursery))
    first = await client.ask(GET)
    one, _ = await requested(down)
    second = await client.ask(POST, b"hello")
    other, head = await requested(down, b"0\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert b"5\r\nhello\r\n" in head
    await other.send_all(OK)
    assert await client.answer(second) == b"ok"
    assert first not in client.heads
    await one.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nX-A: 1\r\n\r\n1\r\na\r\n0\r\n\r\n")
    assert await client.answer(first) == b"a"
    assert client.heads[first] == {b":status": b"200", b"x-a": b"1"}
    await wait_all_tasks_blocked()
    assert [line["status"] for line in down.bench.lines] == [200, 200]


async def test_trailers_go_to_who_takes_them(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    client = Client(down := downstream(nursery))
    up = None
    for fields, takes in ((GRPC, True), (POST, False)):
        stream = await client.ask(fields, b"m")
        up = up or await down.server.accept()
        assert (b"te: trailers" in await up.read_until(b"0\r\n\r\n")) is takes
        await up.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nGrpc-Status: 0\r\nHost: x\r\n\r\n")
        assert await client.answer(stream) == b"a"
        assert client.trailers == {1: {b"grpc-status": b"0"}}


async def test_equal_heads_are_served_equally(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The second of two equal header blocks is a remembered one: what a recipe took out of the first must still be in it."""
    seen: list[Fields] = []

    async def decide(request: RequestHead, record: Record) -> Decision:
        seen.append(list(request.headers))
        request.headers.clear()
        return Denied(Reason.NO_ROUTE)

    client = Client(downstream(nursery, decide=decide))
    for _ in range(3):
        await client.answer(await client.ask([*GET, (b"x-request-id", b"one")]))
    assert seen == [[(b"x-request-id", b"one")]] * 3


async def test_a_refusal_is_explained_and_leaves_the_others_alone(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    client = Client(downstream(nursery, decide=Denied(Reason.NO_ROUTE, "nearest")))
    plain, grpc = await client.ask(GET), await client.ask(GRPC, b"m")
    assert b"BZ0101" in await client.answer(plain)
    assert client.heads[plain][b":status"] == b"403"
    assert await client.answer(grpc) == b""
    assert client.heads[grpc][b":status"] == b"200"
    assert client.heads[grpc][b"grpc-status"] == b"7"
    assert client.heads[grpc][b"x-bartizan-reason"] == b"BZ0101 no-route"


@pytest.mark.parametrize(("fields", "status", "reason"), [
    ([*GET[:3], (b":path", b"/a/../b")], b"400", Reason.BAD_TARGET),
    ([(b":method", b"TRACE"), *GET[1:]], b"405", Reason.METHOD),
    ([*GET[:2], (b":authority", b"a@b"), GET[3]], b"400", Reason.BAD_HOST),
])
async def test_what_breaks_the_law_is_refused_on_its_stream(
    fields: Fields, status: bytes, reason: Reason, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = Client(down := downstream(nursery))
    bad, good = await client.ask(fields), await client.ask(GET)
    up, _ = await requested(down)
    await up.send_all(OK)
    assert reason.code.encode() in await client.answer(bad)
    assert client.heads[bad][b":status"] == status
    assert await client.answer(good) == b"ok"
    assert sorted(down.bench.codes) == ["", reason.code]


async def test_an_answer_that_breaks_off_is_reset(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    client = Client(down := downstream(nursery))
    stream = await client.ask(GET)
    up, _ = await requested(down)
    await up.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
    up.close()
    assert await client.answer(stream) == b"abc"
    assert (client.resets, client.ended) == ({stream: h2.errors.ErrorCodes.INTERNAL_ERROR}, set())


async def test_who_gives_up_ends_the_work(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    client = Client(down := downstream(nursery))
    stream = await client.ask(GET)
    up, _ = await requested(down)
    client.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
    await client.send()
    assert await up.read_rest() == b""
    await wait_all_tasks_blocked()
    (line,) = down.bench.lines
    assert "detail" in line


async def test_a_connection_that_breaks_the_rules_is_told_why(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    client = Client(down := downstream(nursery))
    await client.send()
    await down.client.send_all(b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x")    # DATA on stream 0
    await client.read(lambda: client.is_closed)
    assert client.goaways == [h2.errors.ErrorCodes.PROTOCOL_ERROR]
    await wait_all_tasks_blocked()
    assert down.bench.codes == [Reason.HTTP2_VIOLATION.code]


async def test_draining_lets_what_is_on_end(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    client = Client(down := downstream(nursery))
    stream = await client.ask(GET)
    up, _ = await requested(down)
    down.bench.runtime.draining.set(True)
    await wait_all_tasks_blocked()
    said = await down.client.receive_some()
    (ping,) = [payload for kind, _, _, payload in split(said) if kind == frames.PING]
    assert [code for _, code in goaways(said)] == [h2.errors.ErrorCodes.NO_ERROR]
    await down.client.send_all(frames.render(frames.PING, frames.ACK, 0, ping))
    await up.send_all(OK)
    rest = await down.client.read_rest()
    assert [(stream, h2.errors.ErrorCodes.NO_ERROR)] == goaways(rest)
    assert [payload for kind, _, _, payload in split(rest) if kind == frames.DATA] == [b"ok"]
