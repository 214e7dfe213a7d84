"""Bytes an hour, to the byte and to the second."""

import random

import pytest

from sidecar.policy.budget import Budget


def test_what_was_spent_comes_back_an_hour_later() -> None:
    budget = Budget()
    assert budget.spent(0.0) == 0
    budget.spend(7, 0.0)
    assert budget.spent(3599.9) == 7
    assert budget.spent(3600.0) == 0


def test_bytes_of_a_minute_come_back_with_the_last_of_them() -> None:
    budget = Budget()
    for at in (0.0, 30.0, 59.0, 61.0):
        budget.spend(1, at)
    assert budget.spent(3658.0) == 4
    assert budget.spent(3659.0) == 1
    assert budget.spent(3661.0) == 0


@pytest.mark.parametrize("seed", range(5))
def test_no_hour_holds_more_than_was_said(seed: int) -> None:
    """Any spending: what is called spent is at least what went within the hour, and at most what went within it and a minute."""
    rng, budget, now = random.Random(seed), Budget(), 0.0
    went: list[tuple[float, int]] = []
    for _ in range(2000):
        now += rng.choice((0.1, 5.0, 70.0, 900.0))
        count = rng.randrange(1000)
        budget.spend(count, now)
        went.append((now, count))
        least, most = (sum(count for at, count in went if now - at < span) for span in (3600.0, 3660.0))
        assert least <= budget.spent(now) <= most
    assert len(budget._minutes) <= 62
