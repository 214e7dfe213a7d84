"""Whoever has no task is told of what comes by its socket: once, with all the others, and a bug of one's own is no other's."""

import os
import socket
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sidecar.net.arrivals import Arrivals
from sidecar.net.turn import Turn


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    made = [socket.socketpair() for _ in range(3)]
    yield made
    for ours, theirs in made:
        ours.close()
        theirs.close()


class Reader:
    """Reads what it is told of."""

    def __init__(self, sock: socket.socket, bug: Exception | None = None) -> None:
        self.sock = sock
        self.bug = bug
        self.read: list[bytes] = []
        self.turns: list[bool] = []
        self.crashed: list[Exception] = []
        self.told = trio.Event()
        sock.setblocking(False)
        Arrivals.of_this_run().tell(sock, self)

    def look(self) -> None:
        self.told.set()
        self.turns.append(Turn.of_this_run().is_on)
        if self.bug is not None:
            raise self.bug
        self.read.append(self.sock.recv(100))

    def crash(self, bug: Exception) -> None:
        self.crashed.append(bug)


Pairs = list[tuple[socket.socket, socket.socket]]


async def test_each_is_told_once(pairs: Pairs) -> None:
    (ours, theirs), (other, their_other), _ = pairs
    one, two = Reader(ours), Reader(other)
    with trio.fail_after(5):
        theirs.send(b"a")
        await one.told.wait()
        assert two.read == []
        theirs.send(b"more")
        their_other.close()
        await two.told.wait()
        await wait_all_tasks_blocked(0.01)
        assert (one.read, two.read) == ([b"a"], [b""])
        one.told = trio.Event()
        Arrivals.of_this_run().tell(ours, one)      # of what is there already, too
        await one.told.wait()
    assert one.read == [b"a", b"more"]
    assert one.turns == [True, True]


async def test_a_bug_of_one_is_no_other_s(pairs: Pairs) -> None:
    bug = AssertionError("a bug")
    wrong, right = Reader(pairs[0][0], bug), Reader(pairs[1][0])
    for _, theirs in pairs:
        theirs.send(b"a")
    with trio.fail_after(5):
        await right.told.wait()
    assert (wrong.crashed, right.read) == ([bug], [b"a"])
    later = Reader(pairs[2][0])
    with trio.fail_after(5):
        await later.told.wait()


async def test_the_next_one_on_a_socket_is_told_instead_of_the_last(pairs: Pairs) -> None:
    ours, theirs = pairs[0]
    one, two = Reader(ours), Reader(ours)
    theirs.send(b"a")
    with trio.fail_after(5):
        await two.told.wait()
    assert (one.read, two.read) == ([], [b"a"])


async def test_what_was_closed_is_another_s_when_it_comes_again(pairs: Pairs) -> None:
    """The kernel gives the same number to the next socket."""
    old, new = pairs[0][0], pairs[1][0]
    gone, number = Reader(old), old.fileno()
    old.close()
    os.dup2(new.fileno(), number)
    with socket.socket(fileno=number) as again, trio.fail_after(5):
        here = Reader(again)
        pairs[1][1].send(b"a")
        await here.told.wait()
        assert (gone.read, here.read) == ([], [b"a"])


async def test_a_task_may_wait_for_the_same_socket(pairs: Pairs) -> None:
    """It has taken over, and nobody has said so: the one who was to be told is told, and the task sees what is there."""
    ours, theirs = pairs[0]
    one = Reader(ours)
    one.bug = AssertionError("reads nothing")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.lowlevel.wait_readable, ours)
        await wait_all_tasks_blocked()
        with trio.fail_after(5):
            theirs.send(b"a")
            await one.told.wait()
    assert ours.recv(1) == b"a"


async def test_what_is_closed_is_forgotten_in_time(pairs: Pairs) -> None:
    """Its number may not come again for long, and whoever was to be told holds what it has read."""
    arrivals = Arrivals(spare=4)
    listener = Reader(pairs[0][0])
    socks = [sock for pair in pairs for sock in pair]
    for sock in socks[:4]:
        arrivals.tell(sock, listener)
        sock.close()
    assert len(arrivals) == 4
    arrivals.tell(socks[4], listener)
    assert len(arrivals) == 1
