"""From when to when a report looks."""

import re
from datetime import datetime

import msgspec

from sidecar.model.errors import ConfigError

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SPAN = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)


class Period(msgspec.Struct, frozen=True, rename="camel"):
    """Unix seconds; `until` is no longer within."""

    since: float
    until: float

    def holds(self, time: float) -> bool:
        return self.since <= time < self.until


def widened(first: float, last: float, begin: float, end: float) -> tuple[float, float]:
    """The span that holds both; a first of 0: none yet."""
    return min(first or begin, begin), max(last, end)


def moment(where: str, text: str, now: float) -> float:
    """The moment that `24h` (ago) or `2026-03-01T00:00Z` means, in Unix seconds. ConfigError if it is neither."""
    if span := SPAN.fullmatch(text):
        return now - int(span[1]) * UNITS[span[2]]
    try:
        date = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ConfigError(where, f"{text!r} is no span such as 90s, 30m, 24h or 7d, and no date such as 2026-03-01T00:00Z") from exc
    if date.tzinfo is None:
        raise ConfigError(where, f"{text!r} does not say its time zone; write a Z behind it for UTC")
    return date.timestamp()
