"""A value that changes while we run: read it whenever it is needed, or wait for the next one. Passed as a parameter, never global."""

from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Watched(Generic[T]):
    """The current value, and word of each change."""

    def __init__(self, initial: T) -> None:
        self._current = initial
        self._changed = trio.Event()

    @property
    def current(self) -> T:
        return self._current

    def set(self, value: T) -> None:
        """Make `value` the current one; an equal value wakes nobody."""
        if value == self._current:
            return
        self._current = value
        self._changed.set()
        self._changed = trio.Event()

    async def wait_change(self, seen: T) -> T:
        """The current value as soon as it is not `seen`; values in between may be missed."""
        while self._current == seen:
            await self._changed.wait()
        return self._current
