"""A place on an upstream connection: pooled, new, or refused, and what many do who want the same one at once."""


import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.errors import ConnectFailed, TimedOut, Unavailable
from sidecar.model.reason import Reason
from sidecar.model.service import Limits
from sidecar.net.deadline import Deadline
from sidecar.net.pool import Pool
from sidecar.proxy.lease import lease
from sidecar.proxy.plan import Upstream
from tests.net.test_pool import Line


class Lines:
    """Makes connections, one second each."""

    def __init__(self, most: int = 1, failures: int = 0) -> None:
        self.made: list[Line] = []
        self.most = most
        self.failures = failures

    async def connect(self) -> Line:
        await trio.sleep(1)
        if self.failures:
            self.failures -= 1
            raise ConnectFailed("refused")
        self.made.append(Line(self.most))
        return self.made[-1]

    def upstream(self, limits: Limits | None = None) -> Upstream:
        return Upstream("key", self.connect, b"up", [], "up", group="up", limits=limits, is_shared=self.most > 1)


async def ask(pool: Pool, upstream: Upstream) -> tuple[Line, bool]:
    with Deadline() as deadline:
        end, is_reused = await lease(upstream, pool, deadline)
    assert isinstance(end, Line)
    return end, is_reused


async def test_one_that_is_there_is_used_again(autojump_clock: MockClock) -> None:
    pool, lines = Pool(), Lines()
    first, was_reused = await ask(pool, lines.upstream())
    first.finish()
    assert (await ask(pool, lines.upstream()), was_reused) == ((first, True), False)
    assert trio.current_time() == 1


async def test_many_wait_for_one_that_all_share(autojump_clock: MockClock) -> None:
    pool, lines = Pool(), Lines(most=100)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask, pool, lines.upstream())
    assert (len(lines.made), lines.made[0].on, trio.current_time()) == (1, 10, 1)


async def test_where_the_first_fails_the_next_one_tries(autojump_clock: MockClock) -> None:
    pool, lines = Pool(), Lines(most=100, failures=1)
    failed = []

    async def try_it() -> None:
        try:
            await ask(pool, lines.upstream())
        except ConnectFailed as exc:
            failed.append(exc)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(try_it)
    assert (len(failed), len(lines.made), lines.made[0].on, trio.current_time()) == (1, 1, 2, 2)
    assert (pool.opened["up"], pool.pending["up"]) == (1, 0)


@pytest.mark.parametrize("limits", [Limits(connections=2), Limits(pending=2)])
async def test_beyond_a_limit_nobody_waits(limits: Limits, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pool, lines = Pool(), Lines()
    for _ in range(2):
        nursery.start_soon(ask, pool, lines.upstream(limits))
    await wait_all_tasks_blocked()
    with pytest.raises(Unavailable) as caught:
        await ask(pool, lines.upstream(limits))
    assert (caught.value.reason, trio.current_time()) == (Reason.CIRCUIT_OPEN, 0)


async def test_a_connection_has_its_time(autojump_clock: MockClock) -> None:
    """It is the attempt that has failed, and nothing was sent."""
    pool = Pool()
    with pytest.raises(TimedOut) as caught:
        await ask(pool, replace(Lines().upstream(), connect_s=0.5))
    assert (caught.value.is_before_request, trio.current_time(), pool.opened) == (True, 0.5, {})


async def test_given_up_while_connecting_nothing_stays_counted(autojump_clock: MockClock) -> None:
    pool, lines = Pool(), Lines(most=100)
    with trio.move_on_after(0.5):
        await ask(pool, lines.upstream())
    assert (pool.opened, pool.pending, pool.connecting) == ({}, {}, {})
