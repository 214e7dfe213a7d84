"""Notices that the clock of the machine was set, which certificates and end dates are judged by, and names it.

A clock that is set, or a machine that slept, shows in the distance between the wall clock and the monotonic one. Small steps, as
NTP makes them all the time, are none of our business.
"""

import sys
from collections.abc import Callable

import trio

from sidecar.model.ledger import Entry
from sidecar.net.clock import WallClock, utc_text

LOOK_EVERY_S = 2.0
JUMP_S = 5.0


class ClockWatch:
    """
    Args:
        wall: Unix seconds.
        monotonic: seconds since some time.
        tell: writes the jump down.
        jumped: called after each jump.
    Attributes:
        jumps: how many there were.
    """

    def __init__(
        self, wall: WallClock, monotonic: Callable[[], float], tell: Callable[[Entry], object], jumped: Callable[[], object]
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._tell = tell
        self._jumped = jumped
        self.jumps = 0

    async def run(self) -> None:
        """For ever."""
        apart = self._wall() - self._monotonic()
        while True:
            await trio.sleep(LOOK_EVERY_S)
            now, before = self._wall(), apart
            apart = now - self._monotonic()
            if abs(by := apart - before) > JUMP_S:
                self._name(now, by)

    def _name(self, now: float, by: float) -> None:
        self.jumps += 1
        what = f"the clock was set from {utc_text(now - by)} to {utc_text(now)}, by {by:+.1f} s, or the machine slept"
        print(f"bartizan: {what}", file=sys.stderr, flush=True)
        self._tell(Entry("clock", detail=what))
        self._jumped()
