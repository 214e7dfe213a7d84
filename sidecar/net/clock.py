"""The one place that reads the wall clock. Durations use trio's clock, which is virtual in tests; certificates need the date."""

import time  # noqa: TID251 -- this file owns it
from collections.abc import Callable
from datetime import UTC, datetime

WallClock = Callable[[], float]


def wall_clock() -> float:
    """Unix seconds."""
    return time.time()


def utc_text(seconds: float) -> str:
    """Unix seconds as people read them; a number that is no date stays one."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} s since 1970"
