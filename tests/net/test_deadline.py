"""Whom a deadline blames. Nothing here touches a socket: the clock is virtual and the times are exact."""

from collections.abc import Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from sidecar.model.errors import DownstreamTimedOut, TimedOut
from sidecar.net.deadline import SPARE, AlarmClock, Deadline


@pytest.mark.parametrize(("phase", "blamed"), [(Deadline.upstream, TimedOut), (Deadline.downstream, DownstreamTimedOut)])
async def test_the_phase_is_to_blame(
    phase: Callable[[Deadline, str, float], None], blamed: type[Exception], autojump_clock: MockClock
) -> None:
    started = trio.current_time()
    with pytest.raises(blamed, match="response"), Deadline() as deadline:
        deadline.downstream("request", 1)
        await trio.sleep(0.5)
        phase(deadline, "response", 2)
        await trio.sleep(10)
    assert trio.current_time() == started + 2.5


async def test_who_is_late_is_known_before_it_is_told(autojump_clock: MockClock) -> None:
    for phase, expected in ((Deadline.upstream, True), (Deadline.downstream, False)):
        seen = []
        with pytest.raises((TimedOut, DownstreamTimedOut)), Deadline() as deadline:
            phase(deadline, "response", 2)
            seen.append(deadline.is_upstream_late)
            try:
                await trio.sleep(10)
            finally:
                seen.append(deadline.is_upstream_late)
        assert seen == [False, expected]


async def test_in_time(autojump_clock: MockClock) -> None:
    with Deadline() as deadline:
        deadline.upstream("connect", 1)
        await trio.sleep(0.9)


async def test_lifted(autojump_clock: MockClock) -> None:
    with Deadline() as deadline:
        deadline.upstream("connect", 1)
        deadline.lift()
        await trio.sleep(1000)


async def test_no_phase_no_end(autojump_clock: MockClock) -> None:
    with Deadline():
        await trio.sleep(1000)


async def test_another_error_passes_as_it_is(autojump_clock: MockClock) -> None:
    with pytest.raises(KeyError), Deadline() as deadline:
        deadline.upstream("connect", 1)
        raise KeyError


async def test_a_cancellation_from_outside_is_not_ours(autojump_clock: MockClock) -> None:
    with trio.move_on_after(1) as outer:
        with Deadline() as deadline:
            deadline.upstream("connect", 5)
            await trio.sleep(10)
    assert outer.cancelled_caught


async def test_time_that_ran_out_without_a_wait_counts_for_nothing(autojump_clock: MockClock) -> None:
    """What was done is done: only a wait can be too long."""
    with Deadline() as deadline:
        deadline.upstream("connect", 0)


@pytest.mark.parametrize(("cap_s", "ends_at"), [(None, 60), (10, 10), (90, 90)])
async def test_who_waits_for_an_answer_waits_as_long_as_was_said(
    cap_s: float | None, ends_at: float, autojump_clock: MockClock
) -> None:
    with pytest.raises(TimedOut), Deadline() as deadline:
        if cap_s is not None:
            deadline.cap(cap_s)
        deadline.upstream_waits("response", 60)
        await trio.sleep(1000)
    assert trio.current_time() == ends_at


STEPS = st.lists(st.tuples(st.integers(0, 20), st.one_of(st.none(), st.integers(1, 20))), max_size=12)


@given(connections=st.lists(STEPS, min_size=1, max_size=4))
def test_it_rings_exactly_then_however_it_is_moved(connections: list[list[tuple[int, int | None]]]) -> None:
    """Phases of any lengths (None: lifted) after any pauses, on several connections: each ends when its last phase is over."""

    async def run_one(steps: list[tuple[int, int | None]]) -> None:
        ends_at = float("inf")
        with pytest.raises(TimedOut), Deadline() as deadline:
            for pause, seconds in [*steps, (0, 7)]:
                if trio.current_time() + pause > ends_at:
                    break
                if pause and trio.current_time() + pause == ends_at:
                    pause -= 1      # who is first at the same instant is nobody's affair
                await trio.sleep(pause)
                if seconds is None:
                    deadline.lift()
                    ends_at = float("inf")
                else:
                    deadline.upstream("response", seconds)
                    ends_at = trio.current_time() + seconds
            await trio.sleep_forever()
        assert trio.current_time() == ends_at

    async def run_all() -> None:
        async with trio.open_nursery() as nursery:
            for steps in connections:
                nursery.start_soon(run_one, steps)

    trio.run(run_all, clock=MockClock(autojump_threshold=0))


async def test_who_has_left_is_forgotten(autojump_clock: MockClock) -> None:
    """Connections come and go by the thousand long before their time is over."""
    for _ in range(3 * SPARE):
        with Deadline() as deadline:
            deadline.upstream("response", 60)
    assert len(AlarmClock.of_this_run()) <= SPARE + 2
    await trio.sleep(100)
    assert len(AlarmClock.of_this_run()) == 0


async def test_what_is_over_does_not_ring(autojump_clock: MockClock) -> None:
    with Deadline() as deadline:
        deadline.upstream("connect", 1)
    with Deadline():
        await trio.sleep(10)
