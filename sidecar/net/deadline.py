"""One deadline a connection, moved from phase to phase.

A cancel scope for each wait would cost more than the wait; so a connection has one, and each step says how long it may take and
what it is called. When it fires, the phase decides whom to blame.

Nor is the scope's own deadline moved, which costs 2 us, five times a request: most phases end long before their time, and most begin
with more of it than the last had left. So a deadline is a number, and one alarm clock for all of them looks at it when the earliest
time for which it was set has come: then the time is over, or the alarm is set anew. It may ring early, never late.
"""

from heapq import heapify, heappop, heappush
from itertools import count
from types import TracebackType

import trio
from trio.lowlevel import RunVar

from sidecar.model.errors import DownstreamTimedOut, TimedOut

NEVER = float("inf")
SPARE = 1000    # entries that count no more, before the clock sweeps them out

_ALARM: RunVar["AlarmClock | None"] = RunVar("alarm clock", None)


class AlarmClock:
    """One for each run of trio.

    Attributes:
        live: deadlines that are entered.
    """

    def __init__(self) -> None:
        self.live = 0
        self._heap: list[tuple[float, int, Deadline]] = []
        self._order = count()
        self._sleep = trio.CancelScope()

    @classmethod
    def of_this_run(cls) -> "AlarmClock":
        clock = _ALARM.get()
        if clock is None:
            clock = cls()
            _ALARM.set(clock)
            trio.lowlevel.spawn_system_task(clock._run)
        return clock

    def __len__(self) -> int:
        """How many times it is set for, some of which count no more."""
        return len(self._heap)

    def set(self, at: float, deadline: "Deadline") -> None:
        if len(self._heap) > 2 * self.live + SPARE:
            self._heap = [entry for entry in self._heap if entry[2].rings_at == entry[0]]
            heapify(self._heap)
        heappush(self._heap, (at, next(self._order), deadline))
        if at < self._sleep.deadline:
            self._sleep.deadline = at

    async def _run(self) -> None:
        while True:
            self._sleep = trio.CancelScope(deadline=self._heap[0][0] if self._heap else NEVER)
            with self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            while self._heap and self._heap[0][0] <= now:
                at, _, deadline = heappop(self._heap)
                if at == deadline.rings_at:
                    deadline.ring(now)


class Deadline:
    """Use as a context manager around the life of a connection.

    Raises on leaving, if time ran out: `TimedOut` in a phase of the upstream's, `DownstreamTimedOut` in one of the downstream's.

    Attributes:
        now: trio's clock.
        rings_at: what the alarm clock is set for, never later than this deadline.
    """

    __slots__ = ("_alarm", "_at", "_cap", "_is_upstream", "_phase", "_scope", "now", "rings_at")

    def __init__(self) -> None:
        self._scope = trio.CancelScope()
        self.now = trio.lowlevel.current_clock().current_time
        self._alarm = AlarmClock.of_this_run()
        self._phase = ""
        self._is_upstream = False
        self._at = self._cap = NEVER
        self.rings_at = -NEVER      # not set outside of the scope

    def cap(self, seconds: float) -> None:
        """From now on all phases together have `seconds`, which are the upstream's."""
        self._cap = self.now() + seconds

    def uncap(self) -> None:
        self._cap = NEVER

    def upstream_waits(self, phase: str, seconds: float, now: float | None = None) -> None:
        """As `upstream`, unless there is a cap: who said how long all may take has said it of this, too."""
        if self._cap == NEVER:
            self.upstream(phase, seconds, now)
        else:
            self._begin(phase, self._cap, True)

    def downstream(self, phase: str, seconds: float, now: float | None = None) -> None:
        """From now on the downstream has `seconds` for `phase`.

        Args:
            now: for whoever has just looked at the clock.
        """
        at = (self.now() if now is None else now) + seconds
        if self.rings_at <= at <= self._cap:    # nearly always: as `_begin`
            self._phase, self._is_upstream, self._at = phase, False, at
        else:
            self._begin(phase, at, False)

    def upstream(self, phase: str, seconds: float, now: float | None = None) -> None:
        """From now on the upstream has `seconds` for `phase`."""
        at = (self.now() if now is None else now) + seconds
        if self.rings_at <= at <= self._cap:
            self._phase, self._is_upstream, self._at = phase, True, at
        else:
            self._begin(phase, at, True)

    def _begin(self, phase: str, at: float, is_upstream: bool) -> None:
        if at > self._cap:
            phase, at, is_upstream = "request", self._cap, True
        self._phase, self._is_upstream, self._at = phase, is_upstream, at
        if at < self.rings_at:
            self._set_alarm()

    def _set_alarm(self) -> None:
        self.rings_at = self._at
        if self._at < NEVER:
            self._alarm.set(self._at, self)

    def ring(self, now: float) -> None:
        """The alarm clock's call: it is `rings_at`."""
        if self._at <= now:
            self._scope.cancel()
        else:
            self._set_alarm()

    @property
    def is_upstream_late(self) -> bool:
        """Time ran out in a phase of the upstream's."""
        return self._is_upstream and (self._scope.cancel_called or self._at <= self.now())

    def lift(self) -> None:
        """No deadline until the next phase (a relay that has its own idle rule)."""
        self._at = NEVER

    def __enter__(self) -> "Deadline":
        self._scope.__enter__()
        self._alarm.live += 1
        self._set_alarm()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        self._alarm.live -= 1
        self.rings_at = -NEVER
        self._scope.__exit__(kind, exc, traceback)
        if self._scope.cancelled_caught:
            raise (TimedOut if self._is_upstream else DownstreamTimedOut)(self._phase)
