"""One deadline a connection, moved from phase to phase.

A cancel scope for each wait would cost more than the wait; so a connection has one, and each step says how long it may take and
what it is called. When it fires, the phase decides whom to blame.
"""

from types import TracebackType

import trio

from sidecar.model.errors import DownstreamTimedOut, TimedOut


class Deadline:
    """Use as a context manager around the life of a connection.

    Raises on leaving, if time ran out: `TimedOut` in a phase of the upstream's, `DownstreamTimedOut` in one of the downstream's.
    """

    __slots__ = ("_cap", "_is_upstream", "_phase", "_scope")

    def __init__(self) -> None:
        self._scope = trio.CancelScope()
        self._phase = ""
        self._is_upstream = False
        self._cap = float("inf")

    def cap(self, seconds: float | None) -> None:
        """From now on all phases together have `seconds`, which are the upstream's; None: no end to them."""
        self._cap = float("inf") if seconds is None else trio.current_time() + seconds

    def upstream_waits(self, phase: str, seconds: float) -> None:
        """As `upstream`, unless there is a cap: who said how long all may take has said it of this, too."""
        self._begin(phase, trio.current_time() + seconds if self._cap == float("inf") else self._cap, is_upstream=True)

    def downstream(self, phase: str, seconds: float) -> None:
        """From now on the downstream has `seconds` for `phase`."""
        self._begin(phase, trio.current_time() + seconds, is_upstream=False)

    def upstream(self, phase: str, seconds: float) -> None:
        """From now on the upstream has `seconds` for `phase`."""
        self._begin(phase, trio.current_time() + seconds, is_upstream=True)

    def _begin(self, phase: str, at: float, *, is_upstream: bool) -> None:
        if at > self._cap:
            phase, at, is_upstream = "request", self._cap, True
        self._phase, self._is_upstream = phase, is_upstream
        self._scope.deadline = at

    @property
    def is_upstream_late(self) -> bool:
        """Time ran out in a phase of the upstream's."""
        return self._is_upstream and self._scope.cancel_called

    def lift(self) -> None:
        """No deadline until the next phase (a relay that has its own idle rule)."""
        self._scope.deadline = float("inf")

    def __enter__(self) -> "Deadline":
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        swallowed = bool(self._scope.__exit__(kind, exc, traceback))
        if self._scope.cancelled_caught:
            raise (TimedOut if self._is_upstream else DownstreamTimedOut)(self._phase)
        return swallowed
