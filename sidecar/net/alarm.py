"""An alarm: somebody without a task is told when a time has come.

It is a deadline that cancels nothing, on the same clock (`deadline.py`); whoever is told is told in a turn (`turn.py`), so that a bug
there is the affair of its own connection, and the clock goes on for all others. As with every deadline, it may ring early.
"""

from .deadline import NEVER, Deadline
from .turn import Listener, Turn


class Alarm(Deadline):
    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self._listener = listener
        self._turn = Turn.of_this_run()

    def start(self) -> None:
        self._alarm.live += 1
        self.rings_at = NEVER

    def stop(self) -> None:
        """For good."""
        self._alarm.live -= 1
        self.rings_at = -NEVER
        del self._listener      # a connection that is over, and all that it holds: the clock keeps what it was set for

    def look_by(self, at: float) -> None:
        """The listener is told then, or before."""
        if at < self.rings_at:
            self._at = at
            self._set_alarm()

    def ring(self, now: float) -> None:
        self.rings_at = NEVER
        self._turn.tell(self._listener)
