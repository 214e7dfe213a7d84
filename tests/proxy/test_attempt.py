"""Exchanges on memory streams: what reaches the upstream, what comes back, and when."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.message import RequestHead
from sidecar.model.reason import Reason
from sidecar.model.route import HeaderEdit
from sidecar.policy.edit import edit_headers
from sidecar.proxy.plan import Decision
from sidecar.telemetry.access_log import Record
from tests.helpers.exchange import GET, OK, Downstream, downstream, post
from tests.helpers.streams import MemoryStream

CHUNKED_POST = b"POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n"
ASKED = b"GET / HTTP/1.1\r\nhost: up.test\r\nx-ours: 1\r\n\r\n"


async def test_a_request_and_its_answer_to_the_byte(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    await down.ask(b"GET /a?b=c HTTP/1.1\r\nHost: A.test\r\nAccept: x\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n\r\n")
    up = await down.server.accept()
    assert await up.read_until() == b"GET /a?b=c HTTP/1.1\r\nhost: up.test\r\nAccept: x\r\nx-ours: 1\r\n\r\n"
    await up.send_all(b"HTTP/1.1 201 Made\r\nA: b\r\nKeep-Alive: timeout=9\r\nContent-Length: 3\r\n\r\nyes")
    assert await down.client.read_until(b"yes") == b"HTTP/1.1 201 Made\r\nA: b\r\ncontent-length: 3\r\n\r\nyes"
    assert trio.current_time() == 0
    await wait_all_tasks_blocked()
    (line,) = down.bench.lines
    assert (line["status"], line["path"], line["host"], line["rule"], line["sent"]) == (201, "/a", "a.test", "test", 3)
    assert "code" not in line


async def test_keep_alive_on_both_sides(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    await down.ask(GET)
    up = await down.server.accept()
    for _ in range(5):
        assert await up.read_until() == ASKED
        await up.send_all(OK)
        assert await down.client.read_until(b"ok") == OK
        await trio.sleep(50)
        await down.ask(GET)
    assert len(down.server.made) == 1


async def test_a_hundred_pipelined_requests_are_served_one_by_one(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    await down.ask(b"".join(b"GET /%d HTTP/1.1\r\nhost: a.test\r\n\r\n" % i for i in range(100)))
    up = await down.server.accept()
    asked = 0
    for i in range(100):
        request = await up.read_until()
        assert request.startswith(b"GET /%d HTTP" % i)
        asked += len(request)
        await wait_all_tasks_blocked()
        assert down.server.made[0].sent == asked    # nothing more before the answer
        await up.send_all(OK)
    assert await down.client.read(100 * len(OK)) == OK * 100
    assert len(down.server.made) == 1


# -- streaming


async def test_an_upload_is_held_back_by_the_upstream(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    total, room = 4 << 20, 65536
    down = downstream(nursery, room=room, upstream_room=room)

    async def send() -> None:
        await down.ask(post(total))
        await down.client.send_all(b"u" * total)

    nursery.start_soon(send)
    up = await down.server.accept()
    await wait_all_tasks_blocked()
    assert down.client.sent < 5 * room      # two streams' room, and what is between them
    await up.read_until()
    await up.read(total)
    await up.send_all(OK)
    assert await down.client.read_until(b"ok") == OK


async def test_a_download_is_held_back_by_the_client(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    total, room = 4 << 20, 65536
    down = downstream(nursery, room=room, upstream_room=room)
    up = await down.reach(GET)

    async def send() -> None:
        await up.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        await up.send_all(b"d" * total)

    nursery.start_soon(send)
    await wait_all_tasks_blocked()
    assert up.sent < 5 * room
    await down.client.read_until()
    await down.client.read(total)


async def test_chunks_both_ways_are_framed_anew(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    await down.ask(CHUNKED_POST + b"3;ext=1\r\nabc\r\n")
    up = await down.server.accept()
    assert (await up.read_until(b"abc\r\n")).endswith(b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
    await down.ask(b"02\r\nde\r\n0\r\nx-trailer: evil\r\n\r\n")
    assert await up.read_until(b"0\r\n\r\n") == b"2\r\nde\r\n0\r\n\r\n"
    await up.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\nset-cookie: evil\r\n\r\n")
    answer = await down.client.read_until(b"0\r\n\r\n")
    assert answer == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    await wait_all_tasks_blocked()
    assert len(down.bench.runtime.pool) == 1


@pytest.mark.parametrize("takes", [True, False])
async def test_trailers_of_an_answer_go_to_who_takes_them(takes: bool, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    up = await down.reach(GET[:-2] + b"te: trailers\r\nconnection: te\r\n\r\n" if takes else GET)
    await up.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n")
    assert (await down.client.read_until(b"ab\r\n")).startswith(b"HTTP/1.1 200 ")
    await up.send_all(b"0\r\ngrpc-status: 0\r\n\r\n")
    assert await down.client.read_until(b"\r\n\r\n") == (b"0\r\ngrpc-status: 0\r\n\r\n" if takes else b"0\r\n\r\n")


async def test_the_answer_flows_while_the_request_still_does(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    up = await down.reach(CHUNKED_POST)
    await up.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    assert b"connection: close" in await down.client.read_until()
    for _ in range(3):      # question and answer on one exchange, as gRPC and the like do
        await down.ask(b"1\r\n?\r\n")
        assert await up.read_until(b"?\r\n") == b"1\r\n?\r\n"
        await up.send_all(b"1\r\n!\r\n")
        assert await down.client.read_until(b"!\r\n") == b"1\r\n!\r\n"
    await down.ask(b"0\r\n\r\n")
    assert await up.read_until(b"0\r\n\r\n") == b"0\r\n\r\n"
    await up.send_all(b"0\r\n\r\n")
    assert await down.client.read_rest() == b"0\r\n\r\n"


async def test_after_close_was_said_no_request_is_served(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """RFC 9112 s9.6: the answer began before the body's end, so it said close, though both came to their ends."""
    down = downstream(nursery)
    up = await down.reach(post(2))
    await up.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
    assert b"connection: close" in await down.client.read_until()
    await down.ask(b"ab" + GET)
    await up.read_until(b"ab")
    await up.send_all(b"ok")
    assert await down.client.read_rest() == b"ok"
    await wait_all_tasks_blocked()
    assert len(down.bench.lines) == 1


# -- early answers


async def test_an_early_answer_arrives_though_the_client_still_sends(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery, room=4096, upstream_room=4096)

    async def send() -> None:
        with pytest.raises(trio.BrokenResourceError):   # in the end nobody listens any more
            await down.client.send_all(post(1 << 30) + b"u" * (1 << 22))

    nursery.start_soon(send)
    up = await down.server.accept()
    await up.read_until()
    await up.send_all(b"HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno")
    answer = await down.client.read_rest()
    assert answer == b"HTTP/1.1 413 No\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"
    assert len(down.bench.runtime.pool) == 0
    assert down.server.made[0].is_closed


@pytest.mark.parametrize("begin", [post(200_000), CHUNKED_POST + b"30d40\r\n"])
async def test_a_connection_with_half_a_body_on_it_is_not_pooled(
    begin: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """All of the body has left the client, a part is stuck before the upstream, which answers: what is asked on that connection
    next would be taken for the body's rest, and a request of the client's making for the next user's."""
    down = downstream(nursery, upstream_room=1000, room=1 << 20)
    up = await down.reach(begin)
    await down.ask(b"u" * 200_000 + (b"" if b"content-length" in begin else b"\r\n0\r\n\r\n"))
    await wait_all_tasks_blocked()
    await up.send_all(OK)
    assert (await down.client.read_until(b"ok")).startswith(b"HTTP/1.1 200")
    await wait_all_tasks_blocked()
    assert len(down.bench.runtime.pool) == 0
    assert down.server.made[0].is_closed


async def test_an_upstream_that_stopped_listening_may_still_answer(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery, upstream_room=1000)
    up = await down.reach(post(100_000))
    await up.send_all(OK)
    up._in.cut()    # its reading half only: a reset that the answer overtook
    await down.ask(b"u" * 60_000)
    assert (await down.client.read_until(b"ok")).startswith(b"HTTP/1.1 200")
    await wait_all_tasks_blocked()
    assert len(down.bench.runtime.pool) == 0


# -- kinds of clients and answers


async def test_an_http10_client_gets_neither_chunks_nor_keep_alive(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    await down.ask(b"GET / HTTP/1.0\r\nhost: a.test\r\nconnection: keep-alive\r\n\r\n")
    up = await down.server.accept()
    assert await up.read_until() == ASKED
    await up.send_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert await down.client.read_rest() == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc"
    assert len(down.bench.runtime.pool) == 1    # the upstream's connection is as good as before


@pytest.mark.parametrize(("ask", "answer", "expected"), [
    (b"HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 700\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 700\r\n\r\n"),
    (b"HEAD", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
    (b"GET", b"HTTP/1.1 204 None\r\n\r\n", b"HTTP/1.1 204 None\r\n\r\n"),
    (b"GET", b"HTTP/1.1 304 Same\r\netag: a\r\ncontent-length: 9\r\n\r\n",
     b"HTTP/1.1 304 Same\r\netag: a\r\ncontent-length: 9\r\n\r\n"),
])
async def test_answers_without_a_body(
    ask: bytes, answer: bytes, expected: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    up = await down.reach(GET.replace(b"GET", ask))
    await up.send_all(answer)
    assert await down.client.read_until() == expected
    await down.ask(GET)     # and the next exchange follows on both connections
    await up.read_until()
    await up.send_all(OK)
    assert await down.client.read_until(b"ok") == OK


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
    b"HTTP/1.1 204 None\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n\r\n",
])
async def test_an_upstream_that_says_too_much_is_not_asked_again(
    answer: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    for _ in range(2):
        await down.ask(GET)
        up = await down.server.accept()     # a new connection each time
        await up.read_until()
        await up.send_all(answer)
        got = await down.client.receive_some()
        assert b"evil" not in got
    assert len(down.bench.runtime.pool) == 0
    assert all(stream.is_closed for stream in down.server.made)


async def test_a_close_delimited_answer_goes_on_in_chunks(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    up = await down.reach(GET)
    await up.send_all(b"HTTP/1.0 200 OK\r\n\r\nabc")
    assert await down.client.read_until(b"abc\r\n") == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"
    up.close()
    assert await down.client.read_until(b"0\r\n\r\n") == b"0\r\n\r\n"
    await wait_all_tasks_blocked()
    assert len(down.bench.runtime.pool) == 0
    await down.ask(GET)     # the client's connection goes on
    await (await down.server.accept()).read_until()


# -- interim answers


@pytest.mark.parametrize("count", [0, 1, 8, 9])
async def test_interim_answers_are_passed_on_and_counted(
    count: int, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    up = await down.reach(GET)
    await up.send_all(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * count + OK)
    for _ in range(min(count, 8)):
        assert (await down.client.read_until()).startswith(b"HTTP/1.1 103 ")
    head = await down.client.read_until()
    if count <= 8:
        assert head + await down.client.read(2) == OK
    else:
        assert head.startswith(b"HTTP/1.1 502 ")
        assert down.server.made[0].is_closed
    await wait_all_tasks_blocked()
    assert down.bench.codes == ["" if count <= 8 else Reason.BAD_RESPONSE.code]


async def test_a_switch_of_protocols_that_nobody_asked_for(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    await down.ask(b"GET / HTTP/1.1\r\nhost: a.test\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
    up = await down.server.accept()
    assert b"upgrade" not in await up.read_until()
    await up.send_all(b"HTTP/1.1 101 Switching\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n")
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 502 ")
    assert down.server.made[0].is_closed


async def test_expect_is_passed_on_and_answered_by_the_upstream(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    await down.ask(post(4, b"", b"expect: 100-continue"))
    up = await down.server.accept()
    assert (await up.read_until()).endswith(b"expect: 100-continue\r\n\r\n")
    await wait_all_tasks_blocked()
    assert down.ours.sent == 0      # we promise nothing for the upstream
    await up.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert await down.client.read_until() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await down.ask(b"body")
    assert await up.read(4) == b"body"
    await up.send_all(OK)
    assert await down.client.read_until(b"ok") == OK
    await wait_all_tasks_blocked()
    assert len(down.bench.runtime.pool) == 1


async def test_expect_answered_with_a_refusal_ends_both_connections(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Whether the body still comes is anybody's guess, so nothing after it can be trusted (0.CL)."""
    down = downstream(nursery)
    up = await down.reach(post(4, b"", b"expect: 100-continue"))
    await up.send_all(b"HTTP/1.1 401 Who\r\ncontent-length: 0\r\n\r\n")
    assert await down.client.read_until() == b"HTTP/1.1 401 Who\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    await down.ask(GET)
    assert await down.client.read_rest() == b""
    assert down.server.made[0].is_closed
    assert len(down.bench.lines) == 1


# -- what breaks


@pytest.mark.parametrize(("ask", "begun"), [
    (GET, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"),
    (GET, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"),
    (GET.replace(b"1.1", b"1.0"), b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"),
    (post(3, b"a"), b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"),
])
async def test_a_truncated_answer_never_ends_quietly(
    ask: bytes, begun: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    up = await down.reach(ask)
    await up.send_all(begun)
    await down.client.read_until(b"abc")
    await up.send_eof()
    with pytest.raises(trio.BrokenResourceError):
        await down.client.read_rest()
    assert down.ours.is_aborted
    assert down.server.made[0].is_closed
    assert len(down.bench.runtime.pool) == 0
    (line,) = down.bench.lines      # once, and not as a success
    assert (line["status"], line["code"]) == (200, Reason.RESET.code)


@pytest.mark.parametrize("broken", [
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n+5\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
])
async def test_an_answer_whose_framing_breaks_midway(
    broken: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    up = await down.reach(GET)
    cut = broken.index(b"\r\n\r\n") + 4
    await up.send_all(broken[:cut])
    await down.client.read_until()
    await up.send_all(broken[cut:])
    with pytest.raises(trio.BrokenResourceError):
        await down.client.read_rest()
    assert down.server.made[0].is_closed
    assert down.bench.codes == [Reason.BAD_RESPONSE.code]


async def test_a_request_whose_framing_breaks_midway(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The upstream must not take what it got for the whole: no last chunk."""
    down = downstream(nursery)
    await down.ask(CHUNKED_POST + b"1\r\na\r\n")
    up = await down.server.accept()
    await up.read_until(b"a\r\n")
    await down.ask(b"zz\r\nGET /evil HTTP/1.1\r\n\r\n")
    head = await down.client.read_until()
    assert head.startswith(b"HTTP/1.1 400 ")
    assert Reason.BAD_FRAMING.code.encode() in head
    assert await up.read_rest() == b""
    assert len(down.bench.runtime.pool) == 0


async def test_the_client_goes_away_in_its_body(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    await down.ask(post(10, b"abc"))
    up = await down.server.accept()
    await up.read_until(b"abc")
    down.client.close()
    assert await up.read_rest() == b""
    await wait_all_tasks_blocked()
    assert down.server.made[0].is_closed
    assert down.bench.codes == [Reason.TIMED_OUT_DOWNSTREAM.code]


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\nset-cookie: a\r\n\r\n",
    b"SSH-2.0-OpenSSH\r\n\r\n",
])
async def test_a_malformed_answer_is_ours_to_explain(
    answer: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    up = await down.reach(GET)
    await up.send_all(answer)
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 502 ")
    assert down.server.made[0].is_closed
    await wait_all_tasks_blocked()
    assert down.bench.codes == [Reason.BAD_RESPONSE.code]


# -- the keep-alive race


async def idle_connection(down: Downstream) -> MemoryStream:
    """The upstream's end of a connection that waits in the pool."""
    up = await down.reach(GET)
    await up.send_all(OK)
    await down.client.read_until(b"ok")
    return up


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"])
async def test_what_may_be_repeated_is_asked_once_more(
    method: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    (await idle_connection(down)).abort()
    await down.ask(GET.replace(b"GET", method))
    up = await down.server.accept()
    assert (await up.read_until()).startswith(method + b" / ")
    up.abort()
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 502 ")
    await wait_all_tasks_blocked()
    assert len(down.server.made) == 2
    assert all(stream.is_closed for stream in down.server.made)


@pytest.mark.parametrize("ask", [
    post(0), post(2, b"ab"), GET.replace(b"GET", b"PATCH"), post(4, b"ab").replace(b"POST", b"PUT"),
    post(2, b"ab").replace(b"POST", b"PUT"),
])
async def test_what_must_not_be_repeated_is_not(
    ask: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    up = await idle_connection(down)
    await down.ask(ask)
    await up.read_until()
    up.abort()
    if b"length: 4" in ask:
        await down.ask(b"cd")   # it was not complete, so it cannot be said again
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 502 ")
    assert len(down.server.made) == 1


async def test_what_is_not_here_whole_is_not_begun_twice(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    (await idle_connection(down)).abort()
    await down.ask(post(4, b"ab").replace(b"POST", b"PUT"))
    await wait_all_tasks_blocked()
    await down.ask(b"cd")
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 502 ")
    assert len(down.server.made) == 1


async def test_a_new_connection_that_is_reset_is_no_race(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    await down.ask(GET)
    (await down.server.accept()).abort()
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 502 ")
    assert len(down.server.made) == 1


async def test_whose_answer_has_begun_is_not_asked_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    up = await idle_connection(down)
    await down.ask(GET)
    await up.read_until()
    await up.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 103 ")
    up.abort()
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 502 ")
    assert len(down.server.made) == 1


# -- times


@pytest.mark.parametrize(("answer", "status", "reason", "after_s"), [
    (b"", 504, Reason.TIMED_OUT, 60),
    (b"HTTP/1.1 103 Early\r\n\r\n", 504, Reason.TIMED_OUT, 60),
    (b"HTTP/1.1 200 OK\r\ncontent-le", 504, Reason.TIMED_OUT, 60),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na", 0, Reason.TIMED_OUT, 300),
])
async def test_an_upstream_that_falls_silent(
    answer: bytes, status: int, reason: Reason, after_s: float, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    up = await down.reach(GET)
    await up.send_all(answer)
    if b"103" in answer:
        assert await down.client.read_until() == answer
    if status:
        assert (await down.client.read_until()).startswith(b"HTTP/1.1 %d " % status)
    else:
        with pytest.raises(trio.BrokenResourceError):
            await down.client.read_rest()
    assert trio.current_time() == after_s
    assert await up.read_rest() == b""      # it was hung up on
    down.client.close()
    await wait_all_tasks_blocked()
    assert down.bench.codes == [reason.code]


async def test_an_upstream_that_cannot_be_reached(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)

    async def never() -> MemoryStream:
        await trio.sleep_forever()
        raise AssertionError

    down.server.connect = never     # type: ignore[method-assign]
    await down.ask(GET)
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 504 ")
    assert trio.current_time() == 10


async def test_slow_is_not_silent(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Each piece has its time; the whole has as long as it takes."""
    down = downstream(nursery)
    up = await down.reach(post(90_000))
    for _ in range(3):
        await trio.sleep(59)
        await down.ask(b"u" * 30_000)
        assert await up.read(30_000) == b"u" * 30_000
    await trio.sleep(59)
    await up.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n")
    for _ in range(3):
        await trio.sleep(59)
        await up.send_all(b"d")
    assert (await down.client.read_until(b"ddd")).startswith(b"HTTP/1.1 200 ")


async def test_an_upload_may_not_trickle(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """One byte before each deadline would hold a connection for days: after a minute it has to keep up a rate."""
    down = downstream(nursery)
    await down.reach(post(1000))
    for _ in range(6):
        await trio.sleep(10)
        await down.ask(b"u")
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 408 ")
    assert 60 < trio.current_time() < 61


async def test_a_client_that_falls_silent_in_its_body_is_blamed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    await down.ask(post(3, b"a"))
    up = await down.server.accept()
    await up.read_until(b"a")
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 408 ")
    assert trio.current_time() == 60
    assert await up.read_rest() == b""


async def test_an_upstream_that_takes_no_body_is_blamed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery, upstream_room=100)
    nursery.start_soon(down.ask, post(50_000))
    await down.server.accept()
    nursery.start_soon(down.ask, b"u" * 50_000)
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 504 ")
    assert trio.current_time() == 60


async def test_a_client_that_takes_no_answer(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery, room=100)
    up = await down.reach(GET)
    await up.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n" + b"d" * 1000)
    assert await up.read_rest() == b""
    assert trio.current_time() == 60
    assert down.bench.codes == [Reason.TIMED_OUT_DOWNSTREAM.code]
    assert down.ours.is_aborted


@pytest.mark.parametrize("idle_s", [5.0, 900.0])
@pytest.mark.parametrize(("ask", "answer", "told"), [
    (GET, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na", Reason.TIMED_OUT),
    (post(3, b"a"), b"", Reason.TIMED_OUT_DOWNSTREAM),
    (CHUNKED_POST, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na", Reason.TIMED_OUT),
])
async def test_bodies_pause_as_long_as_the_rule_says(
    idle_s: float, ask: bytes, answer: bytes, told: Reason, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def decide(request: RequestHead, record: Record) -> Decision:
        return replace(down.server.plan(), idle_s=idle_s)

    down = downstream(nursery, decide=decide)
    await down.ask(ask)
    up = await down.server.accept()
    await up.read_until(ask[-1:])
    await up.send_all(answer)
    await up.read_rest()
    assert trio.current_time() == idle_s
    await wait_all_tasks_blocked()
    assert down.bench.codes == [told.code]


# -- what must hold whatever happens


async def in_connect(down: Downstream) -> None:
    async def never() -> MemoryStream:
        await trio.sleep_forever()
        raise AssertionError

    down.server.connect = never     # type: ignore[method-assign]
    await down.ask(GET)


async def in_sending_the_request(down: Downstream) -> None:
    await down.ask(GET)             # more than the 10 bytes that there is room for


async def in_the_response_head(down: Downstream) -> None:
    up = await down.reach(GET)
    await up.send_all(b"HTTP/1.1 200")


async def in_sending_the_response(down: Downstream) -> None:
    up = await down.reach(GET)
    await up.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\nx: " + b"x" * 5000 + b"\r\n\r\n")


async def in_the_response_body(down: Downstream) -> None:
    up = await down.reach(GET)
    await up.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
    await up.send_all(b"abc")


async def in_the_request_body(down: Downstream) -> None:
    await down.ask(post(10, b"abc"))
    await (await down.server.accept()).read_until(b"abc")


async def in_sending_the_request_body(down: Downstream) -> None:
    await down.ask(post(1000))
    await (await down.server.accept()).read_until()
    await down.ask(b"u" * 1000)


async def in_passing_on_100(down: Downstream) -> None:
    up = await down.reach(post(10, b"", b"expect: 100-continue"))
    await up.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize("upto", [
    in_connect, in_sending_the_request, in_the_response_head, in_sending_the_response, in_the_response_body, in_the_request_body,
    in_sending_the_request_body, in_passing_on_100,
])
@pytest.mark.parametrize("is_reused", [False, True])
async def test_cancelled_anywhere_nothing_in_doubt_is_kept(
    upto: Callable[[Downstream], Awaitable[None]], is_reused: bool, nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    room = 2 if upto in (in_passing_on_100,) else 100 if upto is in_sending_the_response else 65536
    down = downstream(nursery, room=room)
    down.server.room = 10 if upto is in_sending_the_request else 100 if upto is in_sending_the_request_body else 65536
    if is_reused and upto not in (in_connect, in_sending_the_request):
        up = await idle_connection(down)

        async def again() -> MemoryStream:
            return up

        down.server.accept = again  # type: ignore[method-assign]
    down.client.is_aborted = False
    with trio.fail_after(1):        # of virtual time: where the scenario stands still, the exchange does, too
        nursery.start_soon(upto, down)
        await wait_all_tasks_blocked()
    down.scope.cancel()
    await wait_all_tasks_blocked()
    assert len(down.bench.runtime.pool) == 0
    assert all(stream.is_closed for stream in down.server.made)
    assert down.ours.is_closed
    begun = upto in (in_sending_the_response, in_the_response_body)
    assert down.ours.is_aborted == begun    # what was begun is cut, so that it cannot be taken for the whole
    assert len(down.bench.lines) == 1 + (is_reused and upto not in (in_connect, in_sending_the_request))
    nursery.cancel_scope.cancel()


# -- who may say why


REFUSED = b"HTTP/1.1 403 No\r\nx-bartizan-reason: %b\r\nX-Bartizan-Rule: theirs\r\nx-envoy-a: 1\r\ncontent-length: 0\r\n\r\n"


async def test_a_mesh_peer_says_why_it_refused(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery, is_mesh=True)
    up = await down.reach(GET)
    await up.send_all(REFUSED % b"BZ0102 identity-not-allowed")
    head = await down.client.read_until()
    assert b"\r\nx-bartizan-reason: BZ0102 identity-not-allowed\r\nX-Bartizan-Rule: theirs\r\n" in head
    assert b"x-envoy" not in head
    await wait_all_tasks_blocked()
    (line,) = down.bench.lines
    assert (line["status"], line["code"], line["reason"], line["rule"]) == (403, "BZ0102", "identity-not-allowed", "test")
    assert down.bench.runtime.metrics.render({}).count('code="BZ0102"') == 1


async def test_nobody_else_can_forge_a_reason(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    up = await down.reach(GET)
    await up.send_all(REFUSED % b"BZ0102 identity-not-allowed")
    assert await down.client.read_until() == b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n"
    await wait_all_tasks_blocked()
    assert down.bench.codes == [""]


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"


@pytest.mark.parametrize(("first", "ask"), [
    (b"HTTP/1.1 103 Early Hints\r\nserver: x\r\nx-bartizan-reason: BZ0102\r\nlink: a\r\n\r\n", GET),
    (SWITCH + b"server: x\r\nx-bartizan-reason: BZ0102\r\nlink: a\r\n\r\n", GET[:-2] + SWITCH.partition(b"\r\n")[2] + b"\r\n"),
], ids=["interim", "switch"])
async def test_what_holds_for_an_answer_holds_for_whatever_comes_before_it(
    first: bytes, ask: bytes, nursery: trio.Nursery, autojump_clock: MockClock,
) -> None:
    """Nobody says our words, and what a rule takes out of answers is in no head of them."""
    async def decide(request: RequestHead, record: Record) -> Decision:
        edit = partial(edit_headers, edit=HeaderEdit(remove=("server",)))
        plan = down.server.plan(adapt=lambda response: replace(response, headers=edit(response.headers)))
        return replace(plan, upgrades=(b"websocket",))

    down = downstream(nursery, decide=decide)
    up = await down.reach(ask)
    await up.send_all(first)
    head = await down.client.read_until()
    assert b"link: a\r\n" in head
    assert b"x-bartizan" not in head
    assert b"server" not in head


@pytest.mark.parametrize("said", [b"BZ9999 unheard-of", b"", b"x" * 9000, b"bz0102", b"BZ0102\r\nx-bartizan-reason: BZ0101"])
async def test_a_reason_that_is_none_of_ours_is_not_written_down(
    said: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Codes are labels of metrics: a peer must not be able to make up new ones."""
    down = downstream(nursery, is_mesh=True)
    up = await down.reach(GET)
    await up.send_all(REFUSED % said)
    await down.client.read_until()
    await wait_all_tasks_blocked()
    assert down.bench.codes == [""]
