"""Connections whose leave is withdrawn."""

import gc
import socket

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.errors import Unavailable
from sidecar.net.watched import Watched
from sidecar.policy.rules import Rules
from sidecar.proxy.withdrawals import Withdrawals
from tests.helpers.runtime import rules, socket_pair


def is_ended(other: socket.socket) -> bool:
    try:
        return other.recv(1) == b""
    except BlockingIOError:
        return False


def test_what_is_permitted_no_longer_ends_and_nothing_else() -> None:
    withdrawals = Withdrawals()
    one, far_one = socket_pair()
    two, far_two = socket_pair()
    closed, far_closed = socket_pair()
    leave = {"one": True, "two": True, "closed": True}
    withdrawals.watch(one, lambda: leave["one"])
    withdrawals.watch(two, lambda: leave["two"])
    withdrawals.watch(closed, lambda: leave["closed"])
    closed.close()
    leave["closed"] = False
    withdrawals.part()
    assert not is_ended(far_one)
    leave["one"] = False
    withdrawals.part()
    withdrawals.part()
    assert is_ended(far_one)
    assert not is_ended(far_two)
    for sock in (one, two, far_one, far_two, far_closed):
        sock.close()


def test_what_is_gone_is_asked_about_no_longer() -> None:
    withdrawals = Withdrawals()
    asked: list[int] = []
    one, other = socket_pair()
    withdrawals.watch(one, lambda: asked.append(1) is None)
    asked.clear()
    one.close()
    del one
    gc.collect()
    withdrawals.part()
    assert not asked
    other.close()


def test_what_was_withdrawn_while_it_was_made_is_not_even_begun() -> None:
    one, other = socket_pair()
    with pytest.raises(Unavailable, match="no longer permitted"):
        Withdrawals().watch(one, lambda: False)
    one.close()
    other.close()


async def test_it_is_looked_for_at_each_change_and_every_five_seconds(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    withdrawals, known, asked = Withdrawals(), Watched[Rules | None](rules()), list[float]()
    one, other = socket_pair()
    nursery.start_soon(withdrawals.run, known)
    await wait_all_tasks_blocked()
    withdrawals.watch(one, lambda: asked.append(trio.current_time()) is None)
    await trio.sleep(7)
    known.set(rules())
    await trio.sleep(7)
    assert asked == [0, 5, 7, 12]
    one.close()
    other.close()
