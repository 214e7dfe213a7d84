import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.route import RateLimit
from sidecar.policy.rate_limit import SWEEP_S, Buckets

NOW = 1_000.0


def taken(buckets: Buckets, key: str, now: float, most: int = 10_000) -> int:
    """How many tokens there are to take at once."""
    return next(i for i in range(most) if buckets.take(key, now) > 0)


@pytest.mark.parametrize(("limit", "burst"), [
    (RateLimit(5), 5), (RateLimit(1), 1), (RateLimit(5, burst=1), 1), (RateLimit(2, burst=7), 7), (RateLimit(1000), 1000),
    (RateLimit(3, per_s=60.0), 3),
])
def test_a_full_bucket_holds_its_burst(limit: RateLimit, burst: int) -> None:
    buckets = Buckets(limit)
    assert taken(buckets, "a", NOW) == burst
    assert taken(buckets, "b", NOW) == burst
    assert taken(buckets, "a", NOW + limit.per_s * burst / limit.requests + 1e-6) == burst
    assert taken(buckets, "a", NOW + 1e6) == burst      # and never more


def test_tokens_come_back_evenly() -> None:
    buckets = Buckets(RateLimit(4, per_s=2.0))
    assert taken(buckets, "a", NOW) == 4
    assert buckets.take("a", NOW) == pytest.approx(0.5)
    assert buckets.take("a", NOW + 0.4) == pytest.approx(0.1)
    assert taken(buckets, "a", NOW + 0.5) == 1
    assert taken(buckets, "a", NOW + 1.5) == 2


@given(st.integers(1, 20), st.integers(1, 20), st.lists(st.floats(0, 0.5), max_size=200))
def test_in_any_time_no_more_than_burst_and_rate(requests: int, burst: int, gaps: list[float]) -> None:
    """Whenever requests come: in all, at most the burst and what came back meanwhile."""
    buckets, now, count = Buckets(RateLimit(requests, burst=burst)), NOW, 0
    for gap in gaps:
        now += gap
        count += buckets.take("a", now) == 0
    assert count <= burst + (now - NOW) * requests + 0.01


def test_a_table_full_of_used_buckets_gives_newcomers_one_together() -> None:
    buckets = Buckets(RateLimit(2, per_s=100.0), most=3)
    for key in "abc":
        assert taken(buckets, key, NOW) == 2
    assert buckets.take("d", NOW) == 0
    assert buckets.take("e", NOW) == 0
    assert buckets.take("f", NOW) > 0
    for key in "abc":       # and nobody was forgotten for them
        assert buckets.take(key, NOW) > 0


def test_full_buckets_make_room() -> None:
    buckets = Buckets(RateLimit(2, per_s=2.0), most=3)
    for key in "ab":
        buckets.take(key, NOW)
    assert taken(buckets, "c", NOW) == 2
    assert taken(buckets, "d", NOW) == 2            # the shared one: there is nothing to forget yet
    later = NOW + SWEEP_S
    assert taken(buckets, "d", later) == 2          # its own: `a` and `b` are full and forgotten
    assert taken(buckets, "c", later) == 1          # `c` is not


def test_are_full() -> None:
    buckets = Buckets(RateLimit(2, per_s=2.0))
    assert buckets.are_full(NOW)
    buckets.take("a", NOW)
    assert not buckets.are_full(NOW + 0.9)
    assert buckets.are_full(NOW + 1)


@pytest.mark.parametrize(("limit", "share", "burst"), [
    (RateLimit(10), 2, 5), (RateLimit(10, burst=40), 4, 10), (RateLimit(1), 2, 1), (RateLimit(5, burst=1), 2, 1),
])
def test_a_share_of_a_limit(limit: RateLimit, share: int, burst: int) -> None:
    """At once its part of the burst, one at least; in the long run its part of the rate."""
    buckets = Buckets(limit, share=share)
    assert taken(buckets, "a", NOW) == burst
    count = sum(buckets.take("a", NOW + tick / 50) == 0 for tick in range(1, 5001))
    assert count == pytest.approx(100 * limit.requests / share, abs=1)
