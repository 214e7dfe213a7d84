"""What is worth another attempt, and the budget that retries never exceed."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.errors import (
    BadResponse,
    ConnectFailed,
    NoEndpoint,
    NotResolved,
    NotVerified,
    Reset,
    TimedOut,
    UpstreamError,
    WrongIdentity,
)
from sidecar.model.service import Retries
from sidecar.policy.retry import Budget, is_worth, pause

ALL = Retries(on=("connect-failure", "refused-stream", "reset", "timeout", "500", "502", "503", "504", "429", "409"))
UNPROCESSED = Reset(is_unprocessed=True)


@pytest.mark.parametrize(("retries", "method", "failure", "expected"), [
    # The default: nothing has reached the application, so any method may go again.
    (Retries(), b"GET", ConnectFailed(), True),
    (Retries(), b"POST", ConnectFailed(), True),
    (Retries(), b"POST", NotVerified(), True),
    (Retries(), b"POST", WrongIdentity(), True),
    (Retries(), b"POST", TimedOut(is_before_request=True), True),
    (Retries(), b"POST", UNPROCESSED, True),
    (Retries(), b"GET", Reset(), False),
    (Retries(), b"GET", TimedOut(), False),
    (Retries(), b"GET", 503, False),
    # Whatever may have been acted upon asks for a method that may be repeated.
    (ALL, b"GET", Reset(), True),
    (ALL, b"POST", Reset(), False),
    (ALL, b"PUT", TimedOut(), True),
    (ALL, b"POST", TimedOut(), False),
    (ALL, b"DELETE", 503, True),
    (ALL, b"POST", 503, False),
    (ALL, b"get", 503, False),
    (ALL, b"\xff", 503, False),
    (Retries(on=("503",), methods=("POST",)), b"POST", 503, True),
    (Retries(on=("503",), methods=("POST",)), b"GET", 503, False),
    # Each cause by its own name only.
    (Retries(on=("503",)), b"GET", 502, False),
    (Retries(on=("503",)), b"GET", ConnectFailed(), False),
    (Retries(on=("timeout",)), b"GET", TimedOut(is_before_request=True), False),
    (Retries(on=("reset",)), b"GET", UNPROCESSED, False),
    (Retries(on=("refused-stream",)), b"GET", Reset(), False),
    (ALL, b"GET", 200, False),
    (ALL, b"GET", 404, False),
    # These would be the same again.
    (ALL, b"GET", NoEndpoint(), False),
    (ALL, b"GET", NotResolved(), False),
    (ALL, b"GET", BadResponse(), False),
])
def test_what_is_worth_another_attempt(retries: Retries, method: bytes, failure: UpstreamError | int, expected: bool) -> None:
    assert is_worth(retries, method, failure) is expected


@pytest.mark.parametrize(("failure", "expected"), [
    (ConnectFailed(), True), (TimedOut(is_before_request=True), True), (UNPROCESSED, True),
    (Reset(), False), (TimedOut(), False), (503, False),
])
def test_a_body_goes_again_only_where_nothing_was_done_with_it(failure: UpstreamError | int, expected: bool) -> None:
    assert is_worth(ALL, b"PUT", failure, has_body=True) is expected


def test_pauses_grow_up_to_ten_times_and_differ() -> None:
    retries, rng = Retries(backoff_s=0.1), random.Random(1)
    for attempt, most in ((1, 0.1), (2, 0.2), (3, 0.4), (4, 0.8), (5, 1.0), (10, 1.0)):
        drawn = [pause(retries, attempt, rng) for _ in range(200)]
        assert 0 <= min(drawn) < most / 4
        assert most * 3 / 4 < max(drawn) <= most


def spent(budget: Budget, now: float) -> int:
    """How many retries are left, which are none afterwards."""
    count = 0
    while budget.spend(now):
        count += 1
    return count


def test_without_requests_there_is_the_reserve() -> None:
    budget = Budget(20)
    assert spent(budget, 1000.5) == 30
    assert spent(budget, 1009.9) == 0
    assert spent(budget, 1010.0) == 30
    assert spent(budget, 99_999.0) == 30


def test_a_percentage_of_the_requests_besides() -> None:
    budget = Budget(20)
    for _ in range(100):
        budget.deposit(5.0)
    assert spent(budget, 14.9) == 50
    assert spent(budget, 15.0) == 0         # the requests of second 5 are forgotten, the retries of second 14 are not
    assert spent(budget, 24.0) == 30


@pytest.mark.parametrize(("percent", "expected"), [(0, 30), (100, 130)])
def test_the_ends_of_the_scale(percent: float, expected: int) -> None:
    budget = Budget(percent)
    for _ in range(100):
        budget.deposit(0.0)
    assert spent(budget, 0.0) == expected


@dataclass
class Ledger:
    """What the budget promises, kept the slow way."""

    requests: list[int] = field(default_factory=list)
    retries: list[int] = field(default_factory=list)

    def of_window(self, second: int) -> tuple[int, int]:
        return (sum(second - 10 < at <= second for at in self.requests), sum(second - 10 < at <= second for at in self.retries))


@given(st.floats(0, 100), st.lists(st.tuples(st.floats(0, 4), st.integers(0, 40), st.integers(0, 40)), max_size=30))
def test_the_budget_is_kept_and_never_less(percent: float, steps: list[tuple[float, int, int]]) -> None:
    """A retry is granted exactly if with it the retries of the last ten seconds stay within the percentage and the reserve."""
    budget, ledger, now = Budget(percent), Ledger(), 0.0
    for pause_s, requests, attempts in steps:
        now += pause_s
        for _ in range(requests):
            budget.deposit(now)
            ledger.requests.append(int(now))
        for _ in range(attempts):
            seen, spent_so_far = ledger.of_window(int(now))
            granted = budget.spend(now)
            assert granted is (spent_so_far + 1 <= seen * percent / 100 + 30)
            if granted:
                ledger.retries.append(int(now))
