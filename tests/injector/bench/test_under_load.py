import pytest

from injector.bench.errors import NotAvailable
from injector.bench.under_load import STUCK_S, says


def test_what_a_load_generator_says_is_handed_on() -> None:
    assert says(["echo", "1 request"], 1) == "1 request\n"


def test_a_load_generator_that_fails_has_no_result() -> None:
    with pytest.raises(NotAvailable, match="sh failed: no such host"):
        says(["sh", "-c", "echo no such host >&2; exit 1"], 1)


def test_a_load_generator_that_gets_stuck_is_not_waited_for() -> None:
    with pytest.raises(NotAvailable, match="sleep had not ended 20 s after its time"):
        says(["sleep", "60"], 0.05 - STUCK_S)
