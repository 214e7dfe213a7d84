"""Receive windows: what the peer may send, given back only as the recipe consumes, so that a stalled reader holds up its sender.

Spec: RFC 9113 s5.2, s6.9.
"""

STREAM_BYTES = 65535
CONNECTION_BYTES = 262144   # what a stalled reader costs at most


class ReceiveWindow:
    __slots__ = ("_half", "_left", "_owed")

    def __init__(self, size: int) -> None:
        self._left = size       # what the peer knows that it may send
        self._owed = 0          # consumed and not yet credited
        self._half = size // 2

    def take(self, size: int) -> bool:
        """False if the peer sent more than it may."""
        self._left -= size
        return self._left >= 0

    def give_back(self, size: int) -> int:
        """The credit to announce now: none until half the window is owed, for an update a frame would double the frames."""
        self._owed += size
        if self._owed < self._half:
            return 0
        credit, self._owed = self._owed, 0
        self._left += credit
        return credit
