"""A clock that is set is named once for each jump; one that is nudged is not."""

import pytest
import trio
from trio.testing import MockClock

from sidecar.control.clock_watch import ClockWatch
from sidecar.model.ledger import Entry

NOW = 1_800_000_000.0
HOUR_S, YEAR_S = 3600.0, 365.25 * 86400


class Clock:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.offset = NOW
        self.slept = 0.0        # by so much the monotonic clock stood still
        self.told: list[Entry] = []
        self.jumped: list[float] = []
        self.watch = ClockWatch(
            lambda: self.offset + trio.current_time(), lambda: trio.current_time() - self.slept, self.told.append,
            lambda: self.jumped.append(trio.current_time()),
        )
        nursery.start_soon(self.watch.run)


@pytest.mark.parametrize("by", [HOUR_S, -HOUR_S, 10 * YEAR_S, -10 * YEAR_S, -NOW - 10, 1e13, 6, -6])
async def test_a_jump_is_named_once(
    by: float, nursery: trio.Nursery, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(nursery)
    await trio.sleep(10.5)
    clock.offset += by
    await trio.sleep(100)
    assert clock.watch.jumps == 1
    assert [round(time) for time in clock.jumped] == [12]      # within seconds
    (entry,) = clock.told
    assert entry.kind == "clock"
    assert f"by {by:+.1f} s" in entry.detail
    assert capsys.readouterr().err == f"bartizan: {entry.detail}\n"


async def test_it_is_said_from_when_to_when(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    clock = Clock(nursery)
    await trio.sleep(1)
    clock.offset += HOUR_S
    await trio.sleep(2)
    assert "from 2027-01-15 08:00:02 UTC to 2027-01-15 09:00:02 UTC" in clock.told[0].detail


async def test_there_and_back_are_two(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    clock = Clock(nursery)
    for by in (HOUR_S, -HOUR_S):
        await trio.sleep(5)
        clock.offset += by
    await trio.sleep(5)
    assert [entry.detail.partition("by ")[2][:7] for entry in clock.told] == ["+3600.0", "-3600.0"]


async def test_a_machine_that_slept(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    clock = Clock(nursery)
    await trio.sleep(5)
    clock.slept += 60
    await trio.sleep(5)
    assert clock.watch.jumps == 1


async def test_small_steps_are_not_named(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    clock = Clock(nursery)
    for _ in range(100):
        clock.offset += 0.5
        await trio.sleep(2)
    assert (clock.watch.jumps, clock.told, clock.jumped) == (0, [], [])
