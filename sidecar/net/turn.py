"""A turn: all that one read sets off, on whatever connections, before any task runs.

Exchanges that have no task of their own are called when there is news for them, once for all of it; and what a turn gives to send goes
out at its end, in one call for each connection however many exchanges spoke on it (32 requests in one read: 32 system calls less).
"""

from collections.abc import Iterable
from typing import Protocol

from trio.lowlevel import RunVar

_TURN: RunVar["Turn | None"] = RunVar("turn", None)


class Listener(Protocol):
    """Who has no task, and is told."""

    def look(self) -> None:
        """There is news, or was. Never waits; what it sends leaves at the end of the turn."""

    def crash(self, bug: Exception) -> None:
        """`look` raised it: its own connection is to end, and no other's. Only notes it and wakes the task that sees to it."""


class Sender(Protocol):
    def flush(self) -> None: ...

    def crash(self, bug: Exception) -> None:
        """As a listener's: `flush` raised it."""


class Turn:
    """One for each run of trio.

    Attributes:
        is_on: what is pushed now is sent at its end.
    """

    __slots__ = ("_listeners", "_senders", "is_on")

    def __init__(self) -> None:
        self.is_on = False
        self._listeners: dict[Listener, None] = {}
        self._senders: dict[Sender, None] = {}

    @classmethod
    def of_this_run(cls) -> "Turn":
        turn = _TURN.get()
        if turn is None:
            turn = cls()
            _TURN.set(turn)
        return turn

    def tell(self, listener: Listener) -> None:
        """It is called in this turn; in one of its own, if none is on."""
        self._listeners[listener] = None
        if not self.is_on:
            self.is_on = True
            self.end()

    def tell_all(self, listeners: Iterable[Listener]) -> None:
        """As one piece of news."""
        self._listeners.update(dict.fromkeys(listeners))
        if not self.is_on:
            self.is_on = True
            self.end()

    def push(self, sender: Sender) -> None:
        """It is asked to send at the end of this turn."""
        assert self.is_on
        self._senders[sender] = None

    def end(self) -> None:
        """Until nobody has news and nothing is to be sent that could be. Whose turn it is has no part in what others do wrong."""
        listeners, senders = self._listeners, self._senders
        try:
            while listeners or senders:
                while listeners:
                    listener = next(iter(listeners))
                    del listeners[listener]
                    try:
                        listener.look()
                    except Exception as bug:    # noqa: BLE001 -- it goes on in the task of the connection whose it is
                        listener.crash(bug)
                if senders:
                    sender = senders.popitem()[0]
                    try:
                        sender.flush()
                    except Exception as bug:    # noqa: BLE001 -- as above
                        sender.crash(bug)
        finally:
            self.is_on = False
