"""Bodies both ways at once, as fast as the slower side, and answers that come before the request has ended."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers.exchange import GET, OK, downstream, post
from tests.proxy.attempt.support import CHUNKED_POST

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
