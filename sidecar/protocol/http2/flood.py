"""Budgets for what costs its sender nothing: frames that mean no work for them and some for us.

Honest peers stay far below: what goes with real traffic is earned by it, and time gives some back.
The answer to who overdraws is GOAWAY with ENHANCE_YOUR_CALM.

Trust: every count here is driven by a stranger. Attacked by tests/protocol/http2/test_flood.py with each known flood.
Spec: RFC 9113 s10.5; CVE-2023-44487 (rapid reset), CVE-2025-8671 (MadeYouReset), CVE-2019-9511 to -9518.
"""

from .frames import Code, Http2Error

# Streams that were reset before they were complete, by the client or by us for its errors: one account for both, for it does not
# matter who says that the work was for nothing.
RESETS, RESETS_PER_S = 200, 50
# PING, SETTINGS, PRIORITY, WINDOW_UPDATE, CONTINUATION, empty DATA, unknown frames, and whatever speaks of closed streams.
CONTROL, CONTROL_PER_S = 1000, 100
EARNED_BY_TRAFFIC = 10      # a request, or a DATA frame of ours, which peers answer with two WINDOW_UPDATE and perhaps a PING
USEFUL_BYTES = 1024         # of such a frame: who opens its window byte by byte earns nothing
# Our answers that wait because their reader does not read.
MAX_QUEUED_BYTES = 65536


class Budget:
    """
    Args:
        what: it is spent on, for the words of the error.
        capacity: what can be spent at once.
        per_s: what comes back with time.
    """

    __slots__ = ("_at", "_capacity", "_left", "_per_s", "_what")

    def __init__(self, what: str, capacity: int, per_s: int) -> None:
        self._what = what
        self._capacity = capacity
        self._per_s = per_s
        self._left = float(capacity)
        self._at: float | None = None       # when time was last counted: first spent, or overdrawn

    def spend(self, now: float) -> None:
        """Raises: Http2Error if nothing is left."""
        if self._at is None:
            self._at = now
        self._left -= 1
        if self._left < 0:
            self._left = min(self._capacity, self._left + 1 + (now - self._at) * self._per_s) - 1
            self._at = now
            if self._left < 0:
                raise Http2Error(Code.ENHANCE_YOUR_CALM, f"too many {self._what}")

    def earn(self, amount: int) -> None:
        if self._left < self._capacity:
            self._left = min(self._capacity, self._left + amount)
