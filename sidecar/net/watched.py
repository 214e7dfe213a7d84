"""A value that changes while we run: read it whenever it is needed, or wait for the next one. Passed as a parameter, never global."""

from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Watched(Generic[T]):
    """The current value, and word of each change.

    Attributes:
        current: for reading, by everybody and at every turn; `set` is the way to change it.
    """

    def __init__(self, initial: T) -> None:
        self.current = initial
        self._changed = trio.Event()

    def set(self, value: T) -> None:
        """Make `value` the current one; an equal value wakes nobody."""
        if value == self.current:
            return
        self.current = value
        self._changed.set()
        self._changed = trio.Event()

    async def wait_change(self, seen: T) -> T:
        """The current value as soon as it is not `seen`; values in between may be missed."""
        while self.current == seen:
            await self._changed.wait()
        return self.current
