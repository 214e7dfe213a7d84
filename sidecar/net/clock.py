"""The one place that reads the wall clock. Durations use trio's clock, which is virtual in tests; certificates need the date."""

import time  # noqa: TID251 -- this file owns it
from collections.abc import Callable

WallClock = Callable[[], float]


def wall_clock() -> float:
    """Unix seconds."""
    return time.time()
