"""A request on a connection that the upstream was just about to close: what may be asked once more."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers.exchange import GET, downstream, post
from tests.proxy.attempt.support import idle_connection


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
