"""Who is left out, for how long, and that never too many are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.service import Ejection
from sidecar.policy.ejection import WELL, Health, most_out, observed

RULE = Ejection(failures=3, for_s=30)


def after(health: Health, now: float, *attempts: bool, can_be_ejected: bool = True) -> Health:
    for is_success in attempts:
        health = observed(health, RULE, is_success=is_success, now=now, can_be_ejected=can_be_ejected)
    return health


@pytest.mark.parametrize(("attempts", "is_out"), [
    ((), False),
    ((False, False), False),
    ((False, False, False), True),
    ((False, False, True, False, False), False),
    ((True, False, False, False), True),
])
def test_failures_in_a_row(attempts: tuple[bool, ...], is_out: bool) -> None:
    health = after(WELL, 100.0, *attempts)
    assert health.is_out(129.9) is is_out
    assert not health.is_out(130.0)


def test_a_success_forgets_everything() -> None:
    assert after(after(WELL, 0.0, False, False, False), 30.0, True) == WELL


def test_longer_each_time_up_to_ten_times() -> None:
    health, now, times = WELL, 0.0, []
    for _ in range(6):
        health = after(health, now, False, False, False)
        times.append(health.out_until - now)
        now = health.out_until
    assert times == [30, 60, 120, 240, 300, 300]


def test_who_comes_back_may_fail_as_often_as_others() -> None:
    health = after(WELL, 0.0, False, False, False)
    assert not after(health, 30.0, False, False).is_out(30.0)
    assert after(health, 30.0, False, False, False).out_until == 90


@pytest.mark.parametrize("is_success", [True, False])
def test_attempts_that_end_while_it_is_out_change_nothing(is_success: bool) -> None:
    health = after(WELL, 0.0, False, False, False)
    assert after(health, 29.0, is_success, is_success, is_success) == health


def test_where_no_more_may_be_out_it_is_next_as_soon_as_one_may() -> None:
    health = after(WELL, 0.0, *[False] * 9, can_be_ejected=False)
    assert not health.is_out(0.0)
    assert after(health, 1.0, False).is_out(1.0)


@pytest.mark.parametrize(("percent", "total", "expected"), [
    (50, 0, 0), (50, 1, 0), (50, 2, 1), (50, 3, 1), (50, 4, 2), (50, 5, 2),
    (100, 1, 0), (100, 2, 1), (100, 10, 9), (0, 10, 0), (10, 9, 0), (10, 10, 1), (33.3, 3, 0),
])
def test_how_many_may_be_out(percent: float, total: int, expected: int) -> None:
    assert most_out(Ejection(most_percent=percent), total) == expected


@given(
    st.integers(1, 6), st.floats(0, 100), st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.floats(0, 20)), max_size=200),
)
def test_never_too_many_are_out(
    total: int, percent: float, failures: int, attempts: list[tuple[int, bool, float]]
) -> None:
    """Whatever is observed, the share that may be out is never exceeded, and at least one endpoint stays."""
    rule, now = Ejection(failures=failures, for_s=30, most_percent=percent), 0.0
    known = [WELL] * total
    for who, is_success, pause in attempts:
        now += pause
        out = sum(health.is_out(now) for health in known)
        known[who % total] = observed(
            known[who % total], rule, is_success=is_success, now=now, can_be_ejected=out < most_out(rule, total)
        )
        out = sum(health.is_out(now) for health in known)
        assert out <= total * percent / 100
        assert out < total
