"""Counting by keys that a stranger may choose: so many are told apart, the rest are counted as one."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

OTHERS = "(others)"     # in a key: what is not told apart any more

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Tally(Generic[K, V]):
    """
    Args:
        make: an empty count for a key.
        rest: the key under which everything beyond `most` keys is counted.
    """

    def __init__(self, make: Callable[[K], V], rest: K, most: int) -> None:
        self._make = make
        self._rest = rest
        self._most = most
        self.found: dict[K, V] = {}

    def at(self, key: K) -> V:
        found = self.found.get(key)
        if found is None:
            if len(self.found) >= self._most:
                key = self._rest
            found = self.found.setdefault(key, self._make(key))
        return found

    def values(self) -> list[V]:
        return list(self.found.values())
