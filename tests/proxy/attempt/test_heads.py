"""One exchange to the byte, whoever asks and whatever is answered, and what the connections are good for after it."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.reason import Reason
from tests.helpers.exchange import GET, OK, downstream, post

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
