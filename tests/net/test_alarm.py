"""Who is told when a time has come, and that a bug of one's own stops no clock."""

import gc
import weakref

import trio
from trio.testing import MockClock

from sidecar.net.alarm import Alarm
from sidecar.net.deadline import AlarmClock


class Sleeper:
    """Notes when it was told."""

    def __init__(self, bug: Exception | None = None) -> None:
        self.told: list[float] = []
        self.crashed: list[Exception] = []
        self.bug = bug
        self.alarm = Alarm(self)

    def look(self) -> None:
        self.told.append(trio.current_time())
        if self.bug is not None:
            raise self.bug

    def crash(self, bug: Exception) -> None:
        self.crashed.append(bug)


async def test_it_is_told_at_the_earliest_of_its_times(autojump_clock: MockClock) -> None:
    started, one = trio.current_time(), Sleeper()
    one.alarm.start()
    for after in (5, 3, 9):
        one.alarm.look_by(started + after)
    await trio.sleep(10)
    assert one.told == [started + 3]
    one.alarm.look_by(started + 12)
    await trio.sleep(10)
    assert one.told == [started + 3, started + 12]


async def test_who_has_stopped_is_not_told(autojump_clock: MockClock) -> None:
    one = Sleeper()
    before = AlarmClock.of_this_run().live
    one.alarm.start()
    one.alarm.look_by(trio.current_time() + 1)
    one.alarm.stop()
    await trio.sleep(10)
    assert one.told == []
    assert AlarmClock.of_this_run().live == before


async def test_who_has_stopped_is_not_held(autojump_clock: MockClock) -> None:
    """The clock keeps the time for which it was set; a connection that is over, and its TLS, would be kept with it."""
    one = Sleeper()
    one.alarm.start()
    one.alarm.look_by(trio.current_time() + 60)
    one.alarm.stop()
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None


async def test_a_bug_stops_no_clock(autojump_clock: MockClock) -> None:
    bug = AssertionError("a bug")
    started, wrong, right = trio.current_time(), Sleeper(bug), Sleeper()
    for one, after in ((wrong, 1), (right, 2)):
        one.alarm.start()
        one.alarm.look_by(started + after)
    await trio.sleep(10)
    assert (wrong.told, wrong.crashed) == ([started + 1], [bug])
    assert right.told == [started + 2]
