from hypothesis import given
from hypothesis import strategies as st

from certs.rate_limit import RateLimit


def test_a_burst_and_then_the_rate():
    limit = RateLimit(2.0, 3, 10)
    assert [limit.take("10.0.0.1", 0.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.take("10.0.0.1", 0.25) == 0.25
    assert limit.take("10.0.0.1", 0.5) == 0
    assert limit.take("10.0.0.1", 0.5) == 0.5


def test_sources_do_not_share_a_bucket():
    limit = RateLimit(1.0, 1, 10)
    assert limit.take("10.0.0.1", 0.0) == 0
    assert limit.take("10.0.0.2", 0.0) == 0
    assert limit.take("10.0.0.1", 0.0) > 0


def test_the_addresses_of_one_ipv6_network_share_a_bucket():
    limit = RateLimit(1.0, 1, 10)
    assert limit.take("2001:db8::1", 0.0) == 0
    assert limit.take("2001:db8::2", 0.0) > 0
    assert limit.take("2001:db8:0:1::1", 0.0) == 0


def test_the_table_forgets_who_asked_longest_ago():
    limit = RateLimit(1.0, 1, 2)
    for source in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
        assert limit.take(source, 0.0) == 0
    assert limit.take("10.0.0.2", 0.0) > 0
    assert limit.take("10.0.0.1", 0.0) == 0


def test_a_clock_that_is_set_back():
    limit = RateLimit(1.0, 2, 10)
    assert limit.take("10.0.0.1", 1000.0) == 0
    assert limit.take("10.0.0.1", 0.0) == 0
    assert limit.take("10.0.0.1", 0.0) == 1.0
    assert limit.take("10.0.0.1", 1.0) == 0


@given(st.lists(st.floats(0, 2), max_size=60))
def test_never_more_than_burst_and_rate(pauses):
    """Over any span from the start, no more is let through than the burst and what has flowed in since."""
    limit, now, passed = RateLimit(1.5, 4, 10), 0.0, 0
    for pause in pauses:
        now += pause
        passed += limit.take("10.0.0.1", now) == 0
        assert passed <= 4 + 1.5 * now + 1e-6
