import datetime

import pytest

from sidecar.net.clock import utc_text, wall_clock


def test_it_is_the_date() -> None:
    assert abs(wall_clock() - datetime.datetime.now(datetime.UTC).timestamp()) < 5


@pytest.mark.parametrize(("seconds", "text"), [
    (0.0, "1970-01-01 00:00:00 UTC"), (1_800_000_000.9, "2027-01-15 08:00:00 UTC"), (-86400, "1969-12-31 00:00:00 UTC"),
    (1e15, "1000000000000000 s since 1970"), (-1e15, "-1000000000000000 s since 1970"), (float("inf"), "inf s since 1970"),
])
def test_the_date_in_words(seconds: float, text: str) -> None:
    assert utc_text(seconds) == text
