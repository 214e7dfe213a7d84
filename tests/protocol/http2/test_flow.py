"""Windows: credit comes back by halves, and nobody takes more than was given."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.protocol.http2.flow import ReceiveWindow


def test_credit_is_given_at_half_the_window() -> None:
    window = ReceiveWindow(100)
    assert window.take(100)
    assert [window.give_back(49), window.give_back(1), window.give_back(50)] == [0, 50, 50]
    assert window.take(100)
    assert not window.take(1)


@given(st.lists(st.integers(0, 120)))
def test_what_is_out_never_exceeds_the_size(takes: list[int]) -> None:
    """Known to the peer + taken and not consumed + owed = size, after any taking and giving back."""
    window, credit = ReceiveWindow(100), 100
    for size in takes:
        assert window.take(size) == (size <= credit)
        if size > credit:
            return
        credit += window.give_back(size) - size
        assert 50 < credit <= 100
