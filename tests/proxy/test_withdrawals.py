"""Connections whose leave is withdrawn."""

import gc
import socket

from sidecar.proxy.withdrawals import Withdrawals
from tests.helpers.runtime import socket_pair


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
    leave = {"one": True, "two": True}
    withdrawals.watch(one, lambda: leave["one"])
    withdrawals.watch(two, lambda: leave["two"])
    withdrawals.watch(closed, lambda: False)
    closed.close()
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
    withdrawals, asked = Withdrawals(), []
    one, other = socket_pair()
    withdrawals.watch(one, lambda: bool(asked.append(1)))
    one.close()
    del one
    gc.collect()
    withdrawals.part()
    assert not asked
    other.close()
