"""The pool as two tables: what is kept, for whom, how long, and what is closed."""

import socket
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack

import pytest
import trio
from trio.testing import MockClock

from sidecar.net.ends import AskingEnd, Connection
from sidecar.net.http1_client import Http1Client
from sidecar.net.pool import IDLE_PER_KEY, IDLE_S, Pool
from sidecar.net.socket_stream import SocketStream
from tests.helpers import pki
from tests.helpers.sockets import reset, tcp
from tests.helpers.tls import shake_hands, tls_pair

Make = Callable[[], tuple[Http1Client, socket.socket]]


class Line:
    """A connection that takes `most` exchanges at a time; it is its own asking end."""

    def __init__(self, most: int = 1) -> None:
        self.released: Callable[[Connection], None] | None = None
        self.most = most
        self.on = 0
        self.is_closed = False

    @property
    def room(self) -> int:
        return self.most - self.on if self.most > self.on else 0

    @property
    def is_idle(self) -> bool:
        return self.on == 0

    @property
    def is_spent(self) -> bool:
        return self.on == 0 and self.most == 0

    def retire(self) -> None:
        self.most = 0

    def is_quiet(self) -> bool:
        return not self.is_closed

    def open(self) -> AskingEnd:
        self.on += 1
        return self  # type: ignore[return-value]

    def finish(self, *, is_reusable: bool = True) -> None:
        self.on -= 1
        if not is_reusable:
            self.most = 0
        assert self.released is not None
        self.released(self)

    def close(self) -> None:
        self.is_closed = True


def kept(pool: Pool, key: Hashable, line: Line | None = None, group: Hashable = "group") -> Line:
    """A line whose first exchange is over."""
    line = line or Line()
    pool.opened[group] += 1
    pool.add(key, group, line)
    line.finish()
    return line


async def test_the_last_one_given_back_is_used_first() -> None:
    pool = Pool()
    one, other = kept(pool, "a"), kept(pool, "a")
    assert [pool.take_nowait("a") for _ in range(3)] == [other, one, None]
    assert len(pool) == 0


@pytest.mark.parametrize(("key", "other"), [
    ("a", "b"),
    (("mesh", "spiffe://a", "10.0.0.1", 80, 1), ("mesh", "spiffe://b", "10.0.0.1", 80, 1)),
    (("mesh", "spiffe://a", "10.0.0.1", 80, 1), ("mesh", "spiffe://a", "10.0.0.1", 80, 2)),
    (("egress", "a.com", 443, ("192.0.2.1",), "x"), ("egress", "b.com", 443, ("192.0.2.1",), "x")),
])
async def test_two_keys_never_share(key: Hashable, other: Hashable) -> None:
    pool = Pool()
    mine = kept(pool, key)
    assert pool.take_nowait(other) is None
    assert pool.take_nowait(key) is mine


async def test_one_with_room_is_shared() -> None:
    pool, line = Pool(), Line(2)
    pool.opened["group"] += 1
    assert pool.add("a", "group", line) is line
    assert (pool.take_nowait("a"), line.on) == (line, 2)
    assert pool.take_nowait("a") is None
    line.finish()
    assert pool.take_nowait("a") is line
    line.finish()
    line.finish()
    assert (len(pool), pool.opened["group"], line.is_closed) == (1, 1, False)


async def test_one_that_takes_no_more_is_closed_after_its_last_exchange() -> None:
    pool, line = Pool(), Line(2)
    pool.opened["group"] += 1
    pool.add("a", "group", line)
    pool.take_nowait("a")
    line.finish(is_reusable=False)
    assert (pool.take_nowait("a"), line.is_closed, pool.opened["group"]) == (None, False, 1)
    line.finish()
    assert (line.is_closed, pool.opened["group"], len(pool)) == (True, 0, 0)


async def test_one_that_ends_while_it_is_kept_is_kept_no_longer() -> None:
    """Two exchanges are on when the connection breaks: nobody takes it, and the broom does not find it."""
    pool, line = Pool(), Line(3)
    pool.opened["group"] += 1
    pool.add("a", "group", line)
    assert pool.take_nowait("a") is line
    line.finish(is_reusable=False)
    assert len(pool) == 0
    line.finish(is_reusable=False)
    assert line.is_closed
    assert (pool.take_nowait("a"), pool.opened) == (None, {})
    pool.expire()


async def test_the_oldest_of_too_many_is_closed() -> None:
    pool = Pool()
    lines = [Line() for _ in range(IDLE_PER_KEY + 1)]
    for line in lines:
        pool.opened["group"] += 1
        pool.add("a", "group", line)
    for line in lines:
        line.finish()
    assert [line.is_closed for line in lines] == [True] + [False] * IDLE_PER_KEY
    assert (len(pool), pool.opened["group"]) == (IDLE_PER_KEY, IDLE_PER_KEY)


async def test_time_is_over_at_its_end(autojump_clock: MockClock) -> None:
    pool = Pool()
    old = kept(pool, "a")
    await trio.sleep(1)
    new, other = kept(pool, "a", Line()), kept(pool, "b")
    assert old is not new
    pool.expire()
    assert len(pool) == 3
    await trio.sleep(IDLE_S)
    assert pool.take_nowait("b") is None
    assert other.is_closed
    pool.expire()
    assert (len(pool), new.is_closed, pool.opened["group"]) == (0, True, 0)


async def test_closed_it_keeps_none_and_lets_the_others_end() -> None:
    pool, busy = Pool(), Line(2)
    idle = kept(pool, "a")
    pool.opened["group"] += 1
    pool.add("b", "group", busy)
    pool.close()
    assert (idle.is_closed, busy.is_closed, len(pool)) == (True, False, 0)
    assert pool.take_nowait("b") is None
    busy.finish()
    assert (busy.is_closed, pool.opened["group"]) == (True, 0)


# -- on sockets


@pytest.fixture
def pairs() -> Iterator[Make]:
    with ExitStack() as stack:

        def make() -> tuple[Http1Client, socket.socket]:
            ours, theirs = stack.enter_context(tcp())
            return Http1Client(SocketStream(ours)), theirs

        yield make


async def test_what_ended_or_speaks_unasked_is_no_use(pairs: Make) -> None:
    (quiet, _), (ended, end), (gone, away), (chatty, chat), (closed, _) = (pairs() for _ in range(5))
    end.close()
    reset(away)
    chat.send(b"HTTP/1.1 200 OK\r\n\r\n")
    closed.close()
    await trio.lowlevel.checkpoint()
    assert [one.is_quiet() for one in (quiet, ended, gone, chatty, closed)] == [True, False, False, False, False]


async def test_a_tls_connection_is_asked_below_its_records() -> None:
    root = pki.authority("root")
    holder = pki.issue(root, pki.uri(pki.WEB))
    for end, expected in ((None, True), ("close", False), ("speak", False)):
        ours, theirs = tls_pair(pki.mesh_client(holder, root), pki.mesh_server(holder, root))
        async with ours, theirs:
            assert await shake_hands(ours, theirs) == (None, None)
            if end == "close":
                theirs.close()
            elif end == "speak":
                await theirs.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
            assert Http1Client(ours).is_quiet() is expected
