import pytest

from injector.audit.period import Period, moment
from sidecar.model.errors import ConfigError


@pytest.mark.parametrize(("text", "expected"), [
    ("90s", 1_000_000 - 90), ("30m", 1_000_000 - 1800), ("24h", 1_000_000 - 86400), ("7d", 1_000_000 - 7 * 86400), ("0s", 1_000_000),
    ("1970-01-02T00:00Z", 86400), ("1970-01-02T01:00+01:00", 86400),
])
def test_a_moment_is_a_span_ago_or_a_date(text: str, expected: float) -> None:
    assert moment("--since", text, 1_000_000.0) == expected


@pytest.mark.parametrize("text", ["", "24", "h", "-1h", "1w", "24 h", "1.5h", "24h\n", "2026-03-01", "2026-03-01T00:00", "yesterday", "٣h"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--since"):
        moment("--since", text, 1_000_000.0)


def test_a_period_ends_before_its_end() -> None:
    assert [Period(1, 3).holds(time) for time in (0.9, 1, 2.9, 3)] == [False, True, True, False]
