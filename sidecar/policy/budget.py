"""How many bytes may go one way in an hour, whichever hour. `now` is an argument; nothing waits here.

What was spent is kept by the minute, and counts until the last of its minute is an hour old: so no hour holds more than the limit, and
a budget costs sixty-one numbers at most.
"""

from collections import deque

HOUR_S = 3600.0
MINUTE_S = 60.0


class Budget:
    """What one rule has spent. The limit comes with each question, since a change of rules may change it."""

    def __init__(self) -> None:
        self._minutes: deque[tuple[float, float, int]] = deque()    # (first, last, bytes): when they were spent
        self._spent = 0

    def spent(self, now: float) -> int:
        """Within the last hour.

        Args:
            now: seconds of a clock that never goes back.
        """
        while self._minutes and now - self._minutes[0][1] >= HOUR_S:
            self._spent -= self._minutes.popleft()[2]
        return self._spent

    def spend(self, count: int, now: float) -> None:
        self.spent(now)
        if self._minutes and now - self._minutes[-1][0] < MINUTE_S:
            first, _, before = self._minutes.pop()
            self._minutes.append((first, now, before + count))
        else:
            self._minutes.append((now, now, count))
        self._spent += count
