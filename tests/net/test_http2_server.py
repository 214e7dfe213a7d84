"""Serving, with h2 as the client on a memory stream."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import h2.events
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.errors import DownstreamGone, ProtocolViolation
from sidecar.model.message import NO_BODY, Body, BodyKind, ResponseHead
from sidecar.model.reason import Reason
from sidecar.net.http2_server import FIRST_REQUEST_S, IDLE_S, Http2Server, Http2ServingEnd, Refused
from sidecar.protocol.http2 import frames
from sidecar.protocol.http2.frames import Code
from tests.helpers.h2_peer import Peer
from tests.helpers.http2 import GET, OPENING, POST, Raw, goaways, headers, reset, resets, split
from tests.helpers.streams import MemoryStream, stream_pair, whole

OK = ResponseHead(200, b"OK", [(b"server", b"x")], Body(BodyKind.CHUNKED), None, False)
EMPTY = ResponseHead(204, b"No Content", [], NO_BODY, None, False)
TRAILERS = [(b"grpc-status", b"0")]


class Served:
    """A server with its client, and what the server's loop has met."""

    def __init__(self, room: int) -> None:
        ours, theirs = stream_pair(room)
        self.stream: MemoryStream = ours
        self.stream_of_client = theirs
        self.server = Http2Server(ours)
        self.peer = Peer(theirs, is_client=True)
        self.ends: list[Http2ServingEnd] = []
        self.refused: list[Refused] = []
        self.violation: ProtocolViolation | None = None
        self.is_over = False

    async def loop(self) -> None:
        try:
            while (found := await self.server.next_exchange()) is not None:
                if isinstance(found, Refused):
                    self.refused.append(found)
                else:
                    self.ends.append(found)
        except ProtocolViolation as exc:
            self.violation = exc
        self.is_over = True

    async def shown(self, count: int = 1) -> Http2ServingEnd:
        await wait_all_tasks_blocked()
        assert len(self.ends) == count
        return self.ends[-1]


@asynccontextmanager
async def served(room: int = 1 << 20) -> AsyncIterator[Served]:
    one = Served(room)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.loop)
        await one.peer.begin()
        yield one
        nursery.cancel_scope.cancel()


# -- exchanges


async def test_a_request_and_its_answer() -> None:
    async with served() as one:
        await one.peer.ask(1, GET)
        end = await one.shown()
        assert (end.request.target, end.is_body_done, end.can_go_on) == (b"/a", True, True)
        await end.send_head(OK, b"hello", is_end=True)
        end.finish()
        assert await one.peer.ended(1) == b"hello"
        assert one.peer.of(h2.events.ResponseReceived)[0].headers == [(b":status", b"200"), (b"server", b"x")]
        assert len(one.server._link.ends) == 0


async def test_a_small_answer_is_one_write() -> None:
    async with served() as one:
        await one.peer.ask(1, GET)
        end = await one.shown()
        await one.peer.first(h2.events.SettingsAcknowledged)
        await end.send_head(OK, b"hello", is_end=True, trailers=None)
        assert [kind for kind, _, _, _ in split(await one.peer.stream.receive_some())] == [frames.HEADERS, frames.DATA]


async def test_interim_heads_trailers_and_no_body() -> None:
    async with served() as one:
        await one.peer.ask(1, [*GET, (b"te", b"trailers")])
        end = await one.shown()
        await end.send_interim(ResponseHead(103, b"", [(b"link", b"x")], NO_BODY, None, False))
        await end.send_head(OK, b"", is_end=False)
        await end.send_body(b"hello", is_end=False)
        await end.send_body(b"", is_end=True, trailers=TRAILERS)
        end.finish()
        await one.peer.ask(3, GET)
        other = await one.shown(2)
        await other.send_head(EMPTY, b"", is_end=True)
        other.finish()
        await one.peer.first(h2.events.StreamEnded, 3)
        assert one.peer.body(1) == b"hello"
        assert one.peer.of(h2.events.InformationalResponseReceived)[0].headers[1:] == [(b"link", b"x")]
        assert one.peer.of(h2.events.TrailersReceived)[0].headers == TRAILERS


async def test_a_head_that_is_all_with_trailers_behind_it() -> None:
    async with served() as one:
        await one.peer.ask(1, GET)
        await (await one.shown()).send_head(OK, b"", is_end=True, trailers=TRAILERS)
        assert await one.peer.ended(1) == b""
        assert one.peer.of(h2.events.TrailersReceived)[0].headers == TRAILERS


async def test_trailers_of_a_request() -> None:
    async with served() as one:
        await one.peer.ask(1, POST, b"x", is_end=False)
        one.peer.h2.send_headers(1, [*TRAILERS, (b"host", b"evil")], end_stream=True)
        await one.peer.flush()
        end = await one.shown()
        assert await whole(end) == b"x"
        assert end.trailers == TRAILERS


async def test_a_body_is_there_piece_by_piece() -> None:
    async with served() as one:
        await one.peer.ask(1, POST, b"one", is_end=False)
        end = await one.shown()
        assert (end.take_buffered(), end.take_buffered(), end.is_body_done) == (b"one", b"", False)
        one.peer.h2.send_data(1, b"two", end_stream=True)
        await one.peer.flush()
        assert await end.read_body() == b"two"
        assert end.is_body_done
        assert await end.read_body() == b""


async def test_a_megabyte_each_way() -> None:
    sent = bytes(range(256)) * 4096
    async with served(room=10_000) as one, trio.open_nursery() as nursery:
        await one.peer.ask(1, POST, is_end=False)
        nursery.start_soon(one.peer.upload, 1, sent)
        nursery.start_soon(one.peer.ended, 1)
        end = await one.shown()
        await end.send_head(OK, b"", is_end=False)
        while piece := await end.read_body():
            await end.send_body(piece, is_end=False)
        await end.send_body(b"", is_end=True)
        end.finish()
    assert one.peer.body(1) == sent


async def test_a_hundred_exchanges_at_once_in_any_order() -> None:
    async with served() as one:
        for sid in range(1, 200, 2):
            await one.peer.ask(sid, GET)
        await one.shown(100)
        for end in reversed(one.ends):
            await end.send_head(OK, b"%d" % end.stream, is_end=True)
            end.finish()
        for sid in range(1, 200, 2):
            assert await one.peer.ended(sid) == b"%d" % sid


@pytest.mark.parametrize("step", [1, 7, 1000])
async def test_early_bytes_come_first(step: int) -> None:
    ours, theirs = stream_pair()
    sent = OPENING + headers(1, GET)
    await theirs.send_all(sent[step:])
    end = await Http2Server(ours, sent[:step]).next_exchange()
    assert isinstance(end, Http2ServingEnd)


# -- refusals


async def test_a_request_against_the_law_can_be_answered_and_the_next_one_is_served() -> None:
    async with served() as one:
        await one.peer.ask(1, [*GET[:3], (b":path", b"/a/../b"), (b"content-type", b"application/grpc")])
        await one.peer.ask(3, GET)
        await one.shown()
        (refused,) = one.refused
        assert refused.reason is Reason.BAD_TARGET
        assert refused.end is not None
        assert (refused.end.request.method, refused.end.request.is_grpc) == (b"GET", True)
        await refused.end.send_head(ResponseHead(400, b"", [], Body(BodyKind.LENGTH, 3), 3, False), b"why", is_end=True, closes=True)
        refused.end.finish()
        assert await one.peer.ended(1) == b"why"
        assert one.violation is None


async def test_a_malformed_request_is_told_and_the_next_one_is_served() -> None:
    async with served() as one:
        await one.peer.stream.send_all(headers(1, [*GET, (b"connection", b"x")]) + headers(3, GET))
        assert (await one.shown()).stream == 3
        assert [(refused.reason, refused.end) for refused in one.refused] == [(Reason.HTTP2_VIOLATION, None)]


async def test_a_body_that_turns_out_malformed_ends_its_exchange() -> None:
    async with served() as one:
        await one.peer.stream.send_all(headers(1, [*POST, (b"content-length", b"1")], 4))
        end = await one.shown()
        await one.peer.stream.send_all(frames.render(frames.DATA, 0, 1, b"ab") + headers(3, GET))
        with pytest.raises(DownstreamGone, match="content-length"):
            await end.read_body()
        assert end.scope.cancel_called
        await one.shown(2)


@pytest.mark.parametrize(("sent", "reason", "code"), [
    (headers(1, POST, 4) + frames.render(frames.CONTINUATION, 4, 1), Reason.HTTP2_VIOLATION, Code.PROTOCOL_ERROR),
    (frames.render(frames.PING, 1, 0, b"12345678") * 1001, Reason.HTTP2_FLOOD, Code.ENHANCE_YOUR_CALM),
    (b"".join(headers(sid, GET) + reset(sid) for sid in range(1, 501, 2)), Reason.HTTP2_FLOOD, Code.ENHANCE_YOUR_CALM),
])
async def test_a_violation_ends_the_connection(sent: bytes, reason: Reason, code: Code) -> None:
    async with served() as one:
        await one.peer.stream.send_all(sent)
        await wait_all_tasks_blocked()
        assert one.violation is not None
        assert one.violation.reason is reason
        assert (await one.peer.first(h2.events.ConnectionTerminated)).error_code == code
        assert all(isinstance(end.failure, ProtocolViolation) and end.scope.cancel_called for end in one.ends)


async def test_no_preface_is_a_violation() -> None:
    ours, theirs = stream_pair()
    await theirs.send_all(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ProtocolViolation, match="preface"):
        await Http2Server(ours).next_exchange()


# -- clients that leave


async def test_a_client_that_resets_ends_the_exchange_at_once() -> None:
    async with served() as one:
        await one.peer.ask(1, POST, b"x", is_end=False)
        end = await one.shown()
        with end.scope:
            one.peer.h2.reset_stream(1)
            await one.peer.flush()
            await trio.sleep_forever()
        assert end.scope.cancelled_caught
        for attempt in (end.send_head(OK, b"", is_end=False), end.send_body(b"x", is_end=True), end.send_interim(OK)):
            with pytest.raises(DownstreamGone, match="reset with"):
                await attempt
        end.cut()
        end.finish()
        assert len(one.server._link.ends) == 0


async def test_what_was_given_up_before_anybody_looked_is_not_shown() -> None:
    async with served() as one:
        await one.peer.stream.send_all(b"".join(headers(sid, GET) + reset(sid) for sid in range(1, 201, 2)) + headers(201, GET))
        assert (await one.shown()).stream == 201
        assert len(one.server._link.ends) == 1


@pytest.mark.parametrize("leave", [MemoryStream.close, MemoryStream.abort])
async def test_a_client_that_is_gone(leave: Callable[[MemoryStream], None]) -> None:
    async with served() as one:
        await one.peer.ask(1, POST, is_end=False)
        end = await one.shown()
        leave(one.peer.stream)      # type: ignore[arg-type]
        with pytest.raises(DownstreamGone):
            await end.read_body()
        await wait_all_tasks_blocked()
        assert (one.is_over, one.violation, end.scope.cancel_called) == (True, None, True)
        with pytest.raises(DownstreamGone):
            await end.send_head(OK, b"x", is_end=True)
        end.finish()


# -- ends that are not reached


async def test_an_answer_without_reading_the_request() -> None:
    """The rest is waved off with NO_ERROR, and the connection's window is whole again."""
    async with served() as one:
        for sid in range(1, 41, 2):
            await one.peer.ask(sid, POST, b"x" * 16384, is_end=False)
            one.peer.h2.send_data(sid, b"x" * 16384)
            await one.peer.flush()
            end = await one.shown(sid // 2 + 1)
            await end.send_head(EMPTY, b"", is_end=True)
            end.finish()
            assert (await one.peer.first(h2.events.StreamReset, sid)).error_code == Code.NO_ERROR
        assert one.peer.h2.outbound_flow_control_window > 100_000
        assert one.violation is None


@pytest.mark.parametrize("end_it", [Http2ServingEnd.cut, Http2ServingEnd.finish])
async def test_an_answer_that_breaks_off_is_no_end(end_it: Callable[[Http2ServingEnd], None]) -> None:
    async with served() as one:
        await one.peer.ask(1, GET)
        end = await one.shown()
        await end.send_head(OK, b"some", is_end=False)
        end_it(end)
        end.finish()
        assert (await one.peer.first(h2.events.StreamReset, 1)).error_code == Code.INTERNAL_ERROR
        assert one.peer.of(h2.events.StreamEnded) == []
        await one.peer.ask(3, GET)
        await one.shown(2)


# -- slow readers


async def test_a_reader_that_stalls_holds_the_writer_and_costs_little() -> None:
    async with served(room=1000) as one, trio.open_nursery() as nursery:
        one.peer.h2.increment_flow_control_window(1 << 30)
        await one.peer.ask(1, GET)
        end = await one.shown()
        sent = 0

        async def pour() -> None:
            nonlocal sent
            await end.send_head(OK, b"", is_end=False)
            while True:
                await end.send_body(b"x" * 16384, is_end=False)
                sent += 16384

        nursery.start_soon(pour)
        await wait_all_tasks_blocked()
        assert sent <= 65536        # its window
        await one.peer.until(lambda: len(one.peer.body(1)) > 500_000)
        nursery.cancel_scope.cancel()


async def test_a_full_socket_holds_the_writers() -> None:
    """Windows are wide open and nobody reads: what waits is bounded, whoever writes."""
    async with served(room=1000) as one, trio.open_nursery() as nursery:
        one.peer.h2.increment_flow_control_window((1 << 31) - 1 - 65535)
        one.peer.h2.update_settings({4: (1 << 31) - 1})
        for sid in range(1, 41, 2):
            await one.peer.ask(sid, GET)
        await one.shown(20)

        async def pour(end: Http2ServingEnd) -> None:
            await end.send_head(OK, b"", is_end=False)
            for _ in range(5):
                await end.send_body(b"%3d" % end.stream * 5000, is_end=False)
            await end.send_body(b"", is_end=True)
            end.finish()

        for end in one.ends:
            nursery.start_soon(pour, end)
        await wait_all_tasks_blocked()
        link = one.server._link
        assert len(link._unsent) + link.engine.queued_bytes < 2 * 65536
        for sid in range(1, 41, 2):
            assert await one.peer.ended(sid) == b"%3d" % sid * 25000


async def test_a_cancelled_writer_leaves_no_half_frame(autojump_clock: MockClock) -> None:
    async with served(room=1000) as one:
        one.peer.h2.increment_flow_control_window(1 << 30)
        await one.peer.ask(1, GET)
        await one.peer.ask(3, GET)
        await one.shown(2)
        first, second = one.ends
        with trio.move_on_after(1):
            await first.send_head(OK, b"", is_end=False)
            while True:
                await first.send_body(b"x" * 5001, is_end=False)
        first.finish()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.peer.ended, 3)
            await second.send_head(OK, b"whole", is_end=True)
            second.finish()
        assert one.peer.body(3) == b"whole"
        assert one.peer.of(h2.events.StreamReset)[0].error_code == Code.INTERNAL_ERROR


async def test_a_cancelled_loop_loses_nothing(autojump_clock: MockClock) -> None:
    ours, theirs = stream_pair()
    server, sent = Http2Server(ours), OPENING + headers(1, GET) + headers(3, POST, 4)
    found = []
    for at in range(len(sent)):
        await theirs.send_all(sent[at:at + 1])
        with trio.move_on_after(0.01):
            found.append(await server.next_exchange())
    assert [end.stream for end in found if isinstance(end, Http2ServingEnd)] == [1, 3]


async def test_bodies_are_read_while_nobody_asks_for_the_next_exchange() -> None:
    ours, theirs = stream_pair()
    peer, server = Peer(theirs, is_client=True), Http2Server(ours)
    await peer.begin()
    await peer.ask(1, POST, is_end=False)
    await peer.ask(3, POST, is_end=False)
    one, other = await server.next_exchange(), await server.next_exchange()
    assert isinstance(one, Http2ServingEnd)
    assert isinstance(other, Http2ServingEnd)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(whole, one)
        nursery.start_soon(whole, other)
        await wait_all_tasks_blocked()
        peer.h2.end_stream(1)
        await peer.flush()
        await wait_all_tasks_blocked()
        peer.h2.end_stream(3)
        await peer.flush()


# -- time


async def after(wait: Callable[[], Awaitable[object]]) -> tuple[object, float]:
    started = trio.current_time()
    return await wait(), trio.current_time() - started


async def test_a_client_that_says_nothing(autojump_clock: MockClock) -> None:
    server = Http2Server(stream_pair()[0])
    assert await after(server.next_exchange) == (None, FIRST_REQUEST_S)


async def test_a_client_that_has_nothing_more_to_say(autojump_clock: MockClock) -> None:
    async with served() as one:
        await one.peer.ask(1, GET)
        end = await one.shown()
        await trio.sleep(1000)      # an exchange that is on has no end here
        assert not one.is_over
        await end.send_head(OK, b"x", is_end=True)
        end.finish()
        await trio.sleep(IDLE_S - 1)
        assert not one.is_over
        await one.peer.ask(3, GET)
        (await one.shown(2)).finish()
        await trio.sleep(IDLE_S - 1)
        assert not one.is_over
        await trio.sleep(1.5)
        assert (one.is_over, one.violation) == (True, None)
        assert goaways(await one.peer.stream.receive_some())[-1] == (3, Code.NO_ERROR)


async def test_a_client_that_never_takes_the_last_answer(autojump_clock: MockClock) -> None:
    async with served(room=1000) as one:
        await one.peer.ask(1, GET)
        end = await one.shown()
        await end.send_head(OK, b"x" * 50_000, is_end=True)     # the socket holds a part, and we the rest
        end.finish()
        await trio.sleep(IDLE_S - 1)
        assert not one.is_over
        await trio.sleep(1.5)
        assert (one.is_over, one.violation) == (True, None)


async def test_a_header_block_that_trickles(autojump_clock: MockClock) -> None:
    async with served() as one:
        await one.peer.stream.send_all(frames.render(frames.HEADERS, 0, 1, b"\x82"))
        for _ in range(9):
            await trio.sleep(1)
            await one.peer.stream.send_all(frames.render(frames.CONTINUATION, 0, 1, b"\x82"))
        assert one.violation is None
        await trio.sleep(1.5)
        assert one.violation is not None
        assert one.violation.reason is Reason.HTTP2_FLOOD
        assert (await one.peer.first(h2.events.ConnectionTerminated)).error_code == Code.ENHANCE_YOUR_CALM


# -- drain


def has_gone_away(times: int) -> Callable[[bytes], bool]:
    return lambda received: len(goaways(received)) == times


async def heard(raw: Raw) -> None:
    """Read our GOAWAY, and answer the PING behind it."""
    await raw.until(has_gone_away(1))
    (ping,) = [payload for kind, flags, _, payload in split(raw.received) if kind == frames.PING and not flags]
    await raw.send(frames.render(frames.PING, frames.ACK, 0, ping))


async def test_a_drain_serves_what_is_on_and_what_was_on_its_way() -> None:
    async with served() as one:
        raw = Raw(one.stream_of_client)
        await raw.send(headers(1, GET))
        end = await one.shown()
        one.server.drain()
        await raw.send(headers(3, GET))     # before the client has read our GOAWAY
        late = await one.shown(2)
        await heard(raw)
        await raw.until(has_gone_away(2))
        assert goaways(raw.received) == [(frames.MAX_WINDOW, Code.NO_ERROR), (3, Code.NO_ERROR)]
        await raw.send(headers(5, GET))
        for each in (end, late):
            await each.send_head(OK, b"served", is_end=True)
            assert not one.is_over
            each.finish()
            await wait_all_tasks_blocked()
        assert one.is_over
        await raw.until(lambda _: raw.has_ended(1) and raw.has_ended(3))
        assert resets(raw.received) == [(5, Code.REFUSED_STREAM)]


async def test_a_drain_of_an_idle_connection() -> None:
    async with served() as one:
        raw = Raw(one.stream_of_client)
        await wait_all_tasks_blocked()
        one.server.drain()
        await heard(raw)
        await raw.until(has_gone_away(2))
        await wait_all_tasks_blocked()
        assert one.is_over


async def test_a_drain_sends_its_last_bytes_before_it_ends() -> None:
    async with served(room=2000) as one:
        raw = Raw(one.stream_of_client)
        await raw.send(headers(1, GET))
        end = await one.shown()
        one.server.drain()
        await heard(raw)
        await end.send_head(OK, b"x" * 50_000, is_end=True)
        end.finish()
        await wait_all_tasks_blocked()
        assert not one.is_over
        await raw.until(lambda _: raw.has_ended(1))
        assert len(raw.data(1)) == 50_000
        await wait_all_tasks_blocked()
        assert one.is_over
