"""Which address is tried when, under the virtual clock; the other end is the test's."""

import socket

import pytest
import trio
from trio.testing import MockClock

from sidecar.model.address import Address
from sidecar.model.errors import ConnectFailed
from sidecar.net.dial import Dialer
from sidecar.net.race import MOST_TRIED, RACE_S, STAGGER_S, race, take_turns
from tests.helpers.runtime import FakeDialer, socket_pair

SIX, OTHER_SIX = Address("2001:db8::1", 443), Address("2001:db8::2", 443)
FOUR, OTHER_FOUR = Address("192.0.2.1", 443), Address("192.0.2.2", 443)


async def listens(sock: socket.socket) -> None:
    await trio.sleep_forever()


def dialer(nursery: trio.Nursery, *, listening: tuple[Address, ...] = (), silent: tuple[Address, ...] = ()) -> FakeDialer:
    made = FakeDialer(nursery)
    made.servers = dict.fromkeys(listening, listens)
    made.silent = set(silent)
    return made


@pytest.mark.parametrize(("addresses", "order"), [
    ([FOUR, OTHER_FOUR, SIX, OTHER_SIX], [SIX, FOUR, OTHER_SIX, OTHER_FOUR]), ([FOUR, OTHER_FOUR, SIX], [SIX, FOUR, OTHER_FOUR]),
    ([FOUR, OTHER_FOUR], [FOUR, OTHER_FOUR]), ([], []),
])
def test_families_take_turns(addresses: list[Address], order: list[Address]) -> None:
    assert take_turns(addresses) == order


async def test_the_first_that_takes_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    way = dialer(nursery, listening=(FOUR, SIX))
    sock, at = await race(way, [FOUR, SIX])
    sock.close()
    assert (at, way.dialled, trio.current_time()) == (SIX, [SIX], 0)


async def test_ipv6_into_a_black_hole(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    way = dialer(nursery, listening=(FOUR,), silent=(SIX, OTHER_SIX))
    sock, at = await race(way, [FOUR, SIX, OTHER_SIX])
    sock.close()
    assert (at, way.dialled, trio.current_time()) == (FOUR, [SIX, FOUR], STAGGER_S)


async def test_after_a_failure_the_next_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    way = dialer(nursery, listening=(OTHER_FOUR,))
    sock, at = await race(way, [FOUR, OTHER_FOUR, SIX])
    sock.close()
    assert (at, way.dialled, trio.current_time()) == (OTHER_FOUR, [SIX, FOUR, OTHER_FOUR], 0)


async def test_nobody_takes_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    with pytest.raises(ConnectFailed) as raised:
        await race(dialer(nursery, silent=(OTHER_SIX,)), [FOUR, SIX, OTHER_SIX])
    assert raised.value.detail == f"{SIX}: Connection refused; {FOUR}: Connection refused; {OTHER_SIX}: no answer"
    assert trio.current_time() == RACE_S


async def test_there_is_one_deadline_for_all(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    many = [Address(f"192.0.2.{i}", 443) for i in range(100)]
    way = dialer(nursery, silent=tuple(many))
    with pytest.raises(ConnectFailed, match=r"192\.0\.2\.0:443: no answer; "):
        await race(way, many)
    assert trio.current_time() == RACE_S
    assert len(way.dialled) == RACE_S / STAGGER_S


async def test_hundreds_of_doors_are_not_knocked_at(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    way = dialer(nursery)
    with pytest.raises(ConnectFailed):
        await race(way, [Address(f"192.0.2.{i}", 443) for i in range(100)])
    assert len(way.dialled) == MOST_TRIED


async def test_nowhere_to_go(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    with pytest.raises(ConnectFailed, match="no address"):
        await race(dialer(nursery), [])


class Timed(Dialer):
    """Those addresses take the connection after their time, cancelled or not: the kernel's word may be on its way already."""

    def __init__(self, after_s: dict[Address, float]) -> None:
        super().__init__()
        self._after_s = after_s
        self.made: list[socket.socket] = []

    async def connect(self, to: Address) -> socket.socket:
        with trio.CancelScope(shield=to in self._after_s):
            await trio.sleep(self._after_s.get(to, 60.0))
        ours, theirs = socket_pair()
        theirs.close()
        self.made.append(ours)
        return ours


AT_ONE_S = {SIX: 1.0, FOUR: 1.0 - STAGGER_S}


async def test_an_early_one_may_still_win(autojump_clock: MockClock) -> None:
    """A second address that was begun meanwhile does not end the first."""
    sock, at = await race(Timed({SIX: 1.0, FOUR: 1.0}), [FOUR, SIX])
    sock.close()
    assert at == SIX


async def test_who_arrives_too_late_is_closed(autojump_clock: MockClock) -> None:
    way = Timed(AT_ONE_S)
    sock, _ = await race(way, [FOUR, SIX])
    assert len(way.made) == 2
    assert [made.fileno() >= 0 for made in way.made] == [made is sock for made in way.made]
    sock.close()


async def test_cancelled_nothing_stays_open(autojump_clock: MockClock) -> None:
    """Not even what was connected in that very moment."""
    way = Timed({SIX: 1.0})
    with trio.move_on_after(0.5) as scope:
        await race(way, [SIX, FOUR])
    assert scope.cancelled_caught
    (made,) = way.made
    assert made.fileno() < 0
