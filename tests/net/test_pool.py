"""The pool as a table: what is kept, for whom, how long, and what is handed back to be closed."""

import socket
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from sidecar.net.http1 import Http1Connection
from sidecar.net.pool import IDLE_PER_KEY, IDLE_S, Pool, close_all, is_quiet
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import ALPN_HTTP1, mesh_client, mesh_server
from tests.helpers import pki
from tests.helpers.sockets import reset, tcp
from tests.helpers.tls import shake_hands, tls_pair

Make = Callable[[], tuple[Http1Connection, socket.socket]]


def connection() -> Http1Connection:
    """On a memory stream, which is always quiet."""
    return Http1Connection(memory_stream_pair()[0], is_server=False)


@pytest.fixture
def pairs() -> Iterator[Make]:
    with ExitStack() as stack:

        def make() -> tuple[Http1Connection, socket.socket]:
            ours, theirs = stack.enter_context(tcp())
            return Http1Connection(SocketStream(ours), is_server=False), theirs

        yield make


async def test_the_last_one_given_back_is_used_first() -> None:
    pool, (one, other) = Pool(), (connection(), connection())
    assert pool.give_back("a", one) == pool.give_back("a", other) == []
    assert pool.take_nowait("a") == (other, [])
    assert pool.take_nowait("a") == (one, [])
    assert pool.take_nowait("a") == (None, [])
    assert len(pool) == 0


@pytest.mark.parametrize(("key", "other"), [
    ("a", "b"),
    (("mesh", "spiffe://a", "10.0.0.1", 80, 1), ("mesh", "spiffe://b", "10.0.0.1", 80, 1)),
    (("mesh", "spiffe://a", "10.0.0.1", 80, 1), ("mesh", "spiffe://a", "10.0.0.1", 80, 2)),
    (("egress", "a.com", 443, ("192.0.2.1",), "x"), ("egress", "b.com", 443, ("192.0.2.1",), "x")),
])
async def test_two_keys_never_share(key: Hashable, other: Hashable) -> None:
    pool, mine = Pool(), connection()
    pool.give_back(key, mine)
    assert pool.take_nowait(other) == (None, [])
    assert pool.take_nowait(key) == (mine, [])


async def test_the_oldest_of_too_many_is_closed() -> None:
    pool = Pool()
    many = [connection() for _ in range(IDLE_PER_KEY + 1)]
    assert [pool.give_back("a", one) for one in many] == [[]] * IDLE_PER_KEY + [[many[0]]]
    assert pool.give_back("b", many[0]) == []
    assert len(pool) == IDLE_PER_KEY + 1


async def test_time_is_over_at_its_end(autojump_clock: MockClock) -> None:
    pool, old, new = Pool(), connection(), connection()
    pool.give_back("a", old)
    await trio.sleep(1)
    pool.give_back("a", new)
    pool.give_back("b", new)
    assert pool.expire() == []
    await trio.sleep(IDLE_S - 1)
    assert pool.expire() == [old]
    assert pool.take_nowait("a") == (new, [])
    await trio.sleep(1)
    assert pool.take_nowait("b") == (None, [new])
    assert len(pool) == 0


async def test_empty_hands_out_everything() -> None:
    pool, one, other = Pool(), connection(), connection()
    pool.give_back("a", one)
    pool.give_back("b", other)
    assert pool.empty() == [one, other]
    assert (len(pool), pool.take_nowait("a")) == (0, (None, []))


async def test_what_ended_or_speaks_unasked_is_no_use(pairs: Make) -> None:
    """The newest that is quiet is taken; every newer one that is not comes back to be closed."""
    pool = Pool()
    (quiet, _), (ended, end), (gone, away), (chatty, chat), (closed, _) = (pairs() for _ in range(5))
    end.close()
    reset(away)
    chat.send(b"HTTP/1.1 200 OK\r\n\r\n")
    close_all([closed])
    for one in (quiet, ended, gone, chatty, closed):
        pool.give_back("a", one)
    await trio.lowlevel.checkpoint()
    assert pool.take_nowait("a") == (quiet, [closed, chatty, gone, ended])


async def test_a_tls_connection_is_asked_below_its_records() -> None:
    root = pki.authority("root")
    credentials = pki.credentials(pki.issue(root, pki.uri(pki.WEB)), root)
    for end, expected in ((None, True), ("close", False), ("speak", False)):
        ours, theirs = tls_pair(mesh_client(credentials, ALPN_HTTP1), mesh_server(credentials))
        async with ours, theirs:
            assert await shake_hands(ours, theirs) == (None, None)
            if end == "close":
                theirs.close()
            elif end == "speak":
                await theirs.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
            assert is_quiet(Http1Connection(ours, is_server=False)) is expected


async def test_close_all(pairs: Make) -> None:
    one, theirs = pairs()
    close_all([one, one])
    theirs.setblocking(True)
    assert theirs.recv(1) == b""
