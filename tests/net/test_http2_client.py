"""Asking, with h2 as the server on a memory stream; frames by hand for what h2 would not say."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import h2.events
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sidecar.model.errors import BadResponse, Reset, UpstreamError
from sidecar.model.message import NO_BODY, Body, BodyKind, RequestHead
from sidecar.net.ends import Connection
from sidecar.net.http2_client import Http2AskingEnd, Http2Client
from sidecar.protocol.http2 import frames
from sidecar.protocol.http2.frames import Code, Setting
from tests.helpers.h2_peer import Peer
from tests.helpers.http2 import OK as OK_FIELDS
from tests.helpers.http2 import SERVER_OPENING, Raw, data, goaways, headers, reset, resets, split
from tests.helpers.streams import MemoryStream, stream_pair, whole

GET = RequestHead(b"GET", b"/a", b"orders", None, [(b"accept", b"*/*")], NO_BODY, False)
POST = RequestHead(b"POST", b"/a", b"orders", None, [], Body(BodyKind.CHUNKED), False, takes_trailers=True)
OK = [(b":status", b"200")]
TRAILERS = [(b"grpc-status", b"0")]


@asynccontextmanager
async def asking(room: int = 1 << 20) -> AsyncIterator[tuple[Http2Client, Peer]]:
    ours, theirs = stream_pair(room)
    peer = Peer(theirs, is_client=False)
    await peer.begin()
    yield Http2Client(ours), peer


@asynccontextmanager
async def asking_raw(room: int = 1 << 20) -> AsyncIterator[tuple[Http2Client, Raw]]:
    ours, theirs = stream_pair(room)
    raw = Raw(theirs)
    await raw.send(SERVER_OPENING)
    yield Http2Client(ours), raw


async def ask(client: Http2Client, request: RequestHead = GET, piece: bytes = b"", *, is_end: bool = True) -> Http2AskingEnd:
    end = client.open()
    await end.send_request(request, b"orders", [(b"x-request-id", b"1")], piece, is_end=is_end)
    return end


# -- exchanges


async def test_a_request_and_its_answer() -> None:
    async with asking() as (client, peer):
        end = await ask(client)
        assert (await peer.first(h2.events.RequestReceived)).headers == [
            (b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"orders"), (b":path", b"/a"), (b"accept", b"*/*"),
            (b"x-request-id", b"1"),
        ]
        await peer.ask(1, [*OK, (b"content-length", b"5")], b"hello")
        head = await end.read_head()
        assert (head.status, head.phrase, head.body) == (200, b"OK", Body(BodyKind.LENGTH, 5))
        assert (end.take_buffered(), end.is_body_done) == (b"hello", True)
        end.finish()
        end.finish()
        assert (client.is_idle, client.room) == (True, 100)


async def test_a_small_request_is_one_write() -> None:
    async with asking() as (client, peer):
        await ask(client, POST, b"hello")
        kinds = [kind for kind, _, _, _ in split(await peer.stream.receive_some())]
        assert kinds == [frames.SETTINGS, frames.WINDOW_UPDATE, frames.HEADERS, frames.DATA]


async def test_the_scheme_is_that_of_the_connection() -> None:
    ours, theirs = stream_pair()
    peer = Peer(theirs, is_client=False)
    await ask(Http2Client(ours, scheme=b"https"))
    assert (b":scheme", b"https") in (await peer.first(h2.events.RequestReceived)).headers


async def test_bodies_interim_heads_and_trailers() -> None:
    async with asking() as (client, peer):
        end = await ask(client, POST, b"one", is_end=False)
        await end.send_body(b"two", is_end=False)
        await end.send_body(b"three", is_end=True, trailers=TRAILERS)
        assert await peer.ended(1) == b"onetwothree"
        assert peer.of(h2.events.TrailersReceived)[0].headers == TRAILERS
        for status in (b"100", b"103"):
            peer.h2.send_headers(1, [(b":status", status)])
        await peer.ask(1, OK, b"body", is_end=False)
        peer.h2.send_headers(1, [*TRAILERS, (b"set-cookie", b"x")], end_stream=True)
        await peer.flush()
        assert [(await end.read_head()).status for _ in range(3)] == [100, 103, 200]
        assert await whole(end) == b"body"
        assert end.trailers == TRAILERS


async def test_a_megabyte_each_way_through_a_narrow_socket() -> None:
    """Both ends write at once into sockets that hold a thousand bytes: neither waits for the other to read first."""
    sent = bytes(range(256)) * 4096
    async with asking(room=1000) as (client, peer), trio.open_nursery() as nursery:
        end = await ask(client, POST, is_end=False)
        await peer.first(h2.events.RequestReceived)
        nursery.start_soon(peer.ended, 1)
        await peer.ask(1, OK, is_end=False)
        nursery.start_soon(peer.upload, 1, sent)
        nursery.start_soon(upload, end, sent)
        await end.read_head()
        assert await whole(end) == sent
    assert peer.body(1) == sent


async def upload(end: Http2AskingEnd, body: bytes) -> None:
    for at in range(0, len(body), 50_000):
        await end.send_body(body[at:at + 50_000], is_end=False)
    await end.send_body(b"", is_end=True)


async def test_an_upload_waits_for_windows_with_nobody_else_reading() -> None:
    async with asking() as (client, peer), trio.open_nursery() as nursery:
        end = await ask(client, POST, is_end=False)
        nursery.start_soon(upload, end, b"x" * 300_000)
        assert len(await peer.ended(1)) == 300_000


async def test_a_hundred_at_once_answered_in_any_order() -> None:
    async with asking() as (client, peer), trio.open_nursery() as nursery:
        found = []

        async def one(number: int) -> None:
            end = client.open()
            await end.send_request(GET, b"orders", [(b"x-number", b"%d" % number)], b"", is_end=True)
            await end.read_head()
            found.append((number, await whole(end)))
            end.finish()

        for number in range(100):
            nursery.start_soon(one, number)
        await peer.until(lambda: len(peer.of(h2.events.RequestReceived)) == 100)
        assert client.room == 0
        for event in reversed(peer.of(h2.events.RequestReceived)):
            await peer.ask(event.stream_id, OK, dict(event.headers)[b"x-number"])
        await wait_all_tasks_blocked()
        assert sorted(found) == [(number, b"%d" % number) for number in range(100)]
        assert client.room == 100


# -- who reads


async def test_whoever_waits_reads_for_all_and_hands_over() -> None:
    async with asking() as (client, peer), trio.open_nursery() as nursery:
        ends = [await ask(client) for _ in range(4)]
        done = []

        async def wait(number: int) -> None:
            await ends[number].read_head()
            done.append(number)

        for number in range(4):
            nursery.start_soon(wait, number)
            await wait_all_tasks_blocked()      # the first one reads
        await peer.until(lambda: len(peer.of(h2.events.RequestReceived)) == 4)
        for answered in (2, 0, 3, 1):           # a follower, the reader, who took over perhaps, the last
            await peer.ask(2 * answered + 1, OK)
            await wait_all_tasks_blocked()
        assert done == [2, 0, 3, 1]


@pytest.mark.parametrize("cancelled", [0, 1])
async def test_a_reader_that_is_cancelled_hands_over_and_loses_nothing(cancelled: int) -> None:
    """In the middle of a frame, which the next one reads to its end."""
    async with asking_raw() as (client, raw), trio.open_nursery() as nursery:
        ends = [await ask(client) for _ in range(3)]
        scopes, done = [trio.CancelScope() for _ in ends], []

        async def wait(number: int) -> None:
            with scopes[number]:
                await ends[number].read_head()
                done.append((number, await whole(ends[number])))

        for number in range(3):
            nursery.start_soon(wait, number)
            await wait_all_tasks_blocked()
        sent = b"".join(headers(sid, OK_FIELDS, 4) + data(sid, b"body", 1) for sid in (1, 3, 5))
        await raw.send(sent[:12])
        await wait_all_tasks_blocked()
        scopes[cancelled].cancel()
        await wait_all_tasks_blocked()
        await raw.send(sent[12:])
        await wait_all_tasks_blocked()
        assert sorted(done) == [(number, b"body") for number in range(3) if number != cancelled]
        assert await ends[cancelled].read_body() == b"body"     # still there for whoever asks


@pytest.mark.parametrize("step", [1, 3, 50])
async def test_everybody_is_cancelled_all_the_time(step: int) -> None:
    async with asking_raw() as (client, raw):
        end = await ask(client)
        sent = headers(1, OK_FIELDS, 4) + data(1, b"body") * 4 + data(1, b"", 1)
        body, head = b"", None
        for at in range(0, len(sent), step):
            await raw.send(sent[at:at + step])
            for _ in range(2):
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(_cancel_when_blocked, scope)
                        if head is None:
                            head = await end.read_head()
                        elif not end.is_body_done:
                            body += await end.read_body()
                        scope.cancel()
        assert head is not None
        assert (body, end.is_body_done) == (b"body" * 4, True)


async def _cancel_when_blocked(scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()


async def test_a_cancelled_writer_leaves_no_half_frame() -> None:
    async with asking_raw(room=1000) as (client, raw), trio.open_nursery() as nursery:
        await raw.send(frames.render_window_update(0, 1 << 20))
        assert client.is_quiet()
        one = await ask(client, POST, is_end=False)
        with trio.CancelScope() as scope:
            nursery.start_soon(_cancel_when_blocked, scope)
            await one.send_body(b"x" * 50_001, is_end=False)
            await one.send_body(b"y" * 50_001, is_end=False)
        assert scope.cancelled_caught
        one.finish()
        nursery.start_soon(raw.until, lambda _: raw.has_ended(3))
        other = await ask(client, POST, b"whole")
        with trio.CancelScope() as scope:
            nursery.start_soon(_cancel_when_blocked, scope)
            await other.read_head()     # it sends what is left, as it waits
        assert raw.data(3) == b"whole"
        assert resets(raw.received) == [(1, Code.CANCEL)]


# -- what breaks off


@pytest.mark.parametrize("break_off", [
    lambda raw: raw.stream.send_all(reset(1, Code.INTERNAL_ERROR)),
    lambda raw: raw.stream.send_all(reset(1, Code.NO_ERROR)),
    lambda raw: raw.stream.send_all(frames.render_goaway(0, Code.INTERNAL_ERROR)),
    lambda raw: raw.stream.send_eof(),
    lambda raw: raw.stream.aclose(),
])
async def test_a_body_that_breaks_off_is_no_end(break_off: Callable[[Raw], object]) -> None:
    async with asking_raw() as (client, raw):
        end = await ask(client)
        await raw.send(headers(1, OK_FIELDS, 4), data(1, b"some"))
        await end.read_head()
        assert await end.read_body() == b"some"
        await break_off(raw)    # type: ignore[misc]
        for _ in range(2):
            with pytest.raises(Reset):
                await end.read_body()
        assert not end.is_body_done
        end.finish()
        assert client.is_idle


async def test_an_answer_that_was_whole_outlives_the_reset_behind_it() -> None:
    """> [A server] MAY request that the client stop transmission [by] RST_STREAM with NO_ERROR after a complete response (s8.1)."""
    async with asking_raw() as (client, raw):
        end = await ask(client, POST, b"some", is_end=False)
        await raw.send(headers(1, OK_FIELDS, 4), data(1, b"answer", 1), reset(1, Code.NO_ERROR))
        assert (await end.read_head()).status == 200
        assert await whole(end) == b"answer"
        with pytest.raises(Reset):
            await end.send_body(b"more", is_end=True)
        end.finish()
        assert client.room == 100


@pytest.mark.parametrize("answer", [
    headers(1, [*OK_FIELDS, (b"connection", b"close")], 4), headers(1, [*OK_FIELDS, (b"content-length", b"x")], 4), headers(1, []),
    headers(1, [(b":status", b"101")], 4), data(1, b"x"),
])
async def test_one_bad_response_and_the_others_go_on(answer: bytes) -> None:
    async with asking_raw() as (client, raw):
        bad, good = await ask(client), await ask(client)
        await raw.send(answer, headers(3, OK_FIELDS))
        with pytest.raises(BadResponse):
            await bad.read_head()
        assert (await good.read_head()).status == 200
        for end in (bad, good):
            end.finish()
        assert client.room == 100


async def test_a_violation_ends_all() -> None:
    async with asking_raw() as (client, raw):
        ends = [await ask(client) for _ in range(3)]
        await raw.send(headers(99, OK_FIELDS))
        for end in ends:
            with pytest.raises(BadResponse, match="nobody opened"):
                await end.read_head()
            end.finish()
        assert (client.room, client.is_spent) == (0, True)
        await raw.until(goaways)
        assert goaways(raw.received) == [(0, Code.PROTOCOL_ERROR)]


async def test_what_was_not_looked_at_may_be_sent_again() -> None:
    async with asking_raw() as (client, raw):
        ends = [await ask(client) for _ in range(3)]
        await raw.send(reset(1, Code.REFUSED_STREAM), frames.render_goaway(3, Code.NO_ERROR), headers(3, OK_FIELDS))
        for number in (0, 2):
            with pytest.raises(Reset) as caught:
                await ends[number].read_head()
            assert caught.value.is_unprocessed
        assert (await ends[1].read_head()).status == 200
        assert client.room == 0


async def test_an_exchange_that_comes_too_late_was_not_looked_at() -> None:
    async with asking_raw() as (client, raw):
        first, late = await ask(client), client.open()
        await raw.send(frames.render_goaway(1, Code.NO_ERROR), headers(1, OK_FIELDS))
        await first.read_head()
        with pytest.raises(Reset) as caught:
            await late.send_request(GET, b"orders", [], b"", is_end=True)
        assert caught.value.is_unprocessed
        late.finish()
        first.finish()
        assert client.is_spent


async def test_what_is_given_up_is_cancelled_and_what_comes_for_it_is_read_over() -> None:
    async with asking_raw() as (client, raw):
        given_up, other = await ask(client), await ask(client)
        await raw.send(headers(1, OK_FIELDS, 4), data(1, b"x" * 16384) * 3)
        await given_up.read_head()
        given_up.finish()
        await raw.send(data(1, b"x" * 16384), headers(3, OK_FIELDS))
        assert (await other.read_head()).status == 200
        other.finish()
        await raw.until(resets)
        assert resets(raw.received) == [(1, Code.CANCEL)]
        assert client.is_quiet()


async def test_bytes_that_nobody_read_are_given_back() -> None:
    """Forty answers of 32 KiB, each given up: the connection's window is 256 KiB."""
    async with asking_raw() as (client, raw):
        for sid in range(1, 81, 2):
            end = await ask(client)
            await raw.send(headers(sid, OK_FIELDS, 4), data(sid, b"x" * 16384), data(sid, b"x" * 16384, 1))
            await end.read_head()
            end.finish()
        assert client.room == 100


# -- a connection that rests


async def test_an_idle_connection_answers_and_stays() -> None:
    async with asking_raw() as (client, raw):
        assert client.is_quiet()
        await raw.send(frames.render(frames.PING, 0, 0, b"12345678"), frames.render_settings({Setting.MAX_CONCURRENT_STREAMS: 7}))
        assert client.is_quiet()
        assert client.room == 7
        await raw.until(lambda received: b"12345678" in received)
        assert (frames.PING, frames.ACK, 0, b"12345678") in split(raw.received)


@pytest.mark.parametrize("said", [
    lambda raw: raw.send(frames.render_goaway(0, Code.NO_ERROR)),
    lambda raw: raw.send(data(1, b"x")),
    lambda raw: raw.send(headers(1, OK_FIELDS)),
    lambda raw: raw.send(headers(3, OK_FIELDS)),
    lambda raw: raw.send(b"HTTP/1.1 200 OK\r\n\r\n"),
    lambda raw: raw.stream.send_eof(),
    lambda raw: raw.stream.aclose(),
])
async def test_an_idle_connection_that_is_spent(said: Callable[[Raw], object]) -> None:
    async with asking_raw() as (client, raw):
        end = await ask(client)
        await raw.send(headers(1, OK_FIELDS))
        await end.read_head()
        end.finish()
        assert client.is_quiet()
        await said(raw)     # type: ignore[misc]
        assert not client.is_quiet()
        assert client.is_spent


async def test_room_is_what_the_server_allows() -> None:
    async with asking_raw() as (client, raw):
        assert client.room == 100
        await raw.send(frames.render_settings({Setting.MAX_CONCURRENT_STREAMS: 2}))
        assert client.is_quiet()
        one, other = client.open(), client.open()
        assert (client.room, client.is_idle, client.is_spent) == (0, False, False)
        one.finish()
        assert client.room == 1
        other.finish()
        assert client.is_idle


async def test_who_is_told_of_exchanges_that_are_over() -> None:
    async with asking_raw() as (client, _):
        told: list[Connection] = []
        client.released = told.append
        one, other = client.open(), await ask(client)
        client.retire()
        assert client.room == 0
        one.finish()
        assert not client.is_spent
        other.finish()
        other.finish()
        assert told == [client, client]
        assert client.is_spent


async def test_closing_says_goodbye_and_breaks_off_what_is_on() -> None:
    async with asking_raw() as (client, raw), trio.open_nursery() as nursery:
        end = await ask(client)
        failures: list[UpstreamError] = []

        async def wait() -> None:
            try:
                await end.read_head()
            except UpstreamError as exc:
                failures.append(exc)

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        client.close()
        client.close()
        await wait_all_tasks_blocked()
        assert [type(failure) for failure in failures] == [Reset]
        await raw.until(goaways)
        with pytest.raises(Reset):
            await client_is_closed(client)


async def client_is_closed(client: Http2Client) -> None:
    end = Http2AskingEnd(client)
    await end.send_request(GET, b"orders", [], b"", is_end=True)


async def test_a_stream_that_cannot_be_tried_is_no_use() -> None:
    with pytest.raises(AssertionError, match="cannot be tried"):
        Http2Client(trio.testing.memory_stream_pair()[0])


async def test_the_memory_stream_can() -> None:
    assert Http2Client(stream_pair()[0]).room == 100
    assert issubclass(MemoryStream, trio.abc.HalfCloseableStream)
