"""Passwords against bcrypt's hashes, which are made to be slow: beside the loop, one at a time, and not twice for the same browser.

What was found right is remembered for some minutes, by a keyed hash under a key of this process's: no password, and nothing that one
could be guessed from, is kept. Others wait in a bounded queue, in which one asker has few places: a flood of wrong passwords makes its
own sender wait. bcrypt is loaded with the first password (`start.py` keeps it out of pods, which have none).

Trust: name and password are a stranger's bytes. A password longer than bcrypt reads is refused, since its rest would not count.
Attacked by tests/net/test_passwords.py.
"""

import hashlib
import os
import sys
from collections import Counter
from types import ModuleType

import trio

MOST_PASSWORD_BYTES = 72    # what bcrypt reads
REMEMBERED_S = 300.0
MOST_REMEMBERED = 4096
MOST_WAITING = 64
MOST_WAITING_OF_ONE = 8     # a browser opens six connections at once


class Busy(Exception):
    """
    Args:
        is_asker: it is this asker's own doing.
    """

    def __init__(self, *, is_asker: bool) -> None:
        super().__init__("too many passwords wait to be verified")
        self.is_asker = is_asker


class Passwords:
    """One for the process.

    Args:
        most: that are remembered.
    """

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._key = os.urandom(32)
        self._right: dict[bytes, float] = {}            # until when, oldest first
        self._under_way: dict[bytes, trio.Event] = {}
        self._waiting: Counter[str] = Counter()         # by asker
        self._one_at_a_time = trio.CapacityLimiter(1)

    def is_remembered(self, name: str, password: bytes, stored: str) -> bool:
        """Whether it was found right a few minutes ago."""
        return trio.current_time() < self._right.get(self._mark(name, password, stored), 0.0)

    async def is_right(self, name: str, password: bytes, stored: str, asker: str, *, is_known: bool = True) -> bool:
        """Raises Busy, with nothing done, where too many wait.

        Args:
            stored: the hash; of somebody else where nobody has that name, so that it takes as long.
            asker: whose place in the queue it takes.
            is_known: else it is wrong, however it ends.
        """
        mark = self._mark(name, password, stored)
        if self._waiting[asker] >= MOST_WAITING_OF_ONE:
            raise Busy(is_asker=True)
        if self._waiting.total() >= MOST_WAITING:
            raise Busy(is_asker=False)
        self._waiting[asker] += 1
        try:
            while (under_way := self._under_way.get(mark)) is not None:
                await under_way.wait()
            if self.is_remembered(name, password, stored):
                return is_known
            self._under_way[mark] = done = trio.Event()
            try:
                matches = await self._verify(password, stored)
            finally:
                del self._under_way[mark]
                done.set()
        finally:
            self._waiting[asker] -= 1
            if not self._waiting[asker]:
                del self._waiting[asker]
        is_right = matches and is_known
        if is_right:
            self._remember(mark)
        return is_right

    async def _verify(self, password: bytes, stored: str) -> bool:
        bcrypt = _load()
        is_whole = len(password) <= MOST_PASSWORD_BYTES and b"\0" not in password
        # What is refused anyway is verified too, as far as bcrypt reads: it takes as long.
        read = password[:MOST_PASSWORD_BYTES].replace(b"\0", b"0")
        # Given up, the thread goes on to its end and keeps its place until then.
        matches: bool = await trio.to_thread.run_sync(
            bcrypt.checkpw, read, stored.encode(), abandon_on_cancel=True, limiter=self._one_at_a_time,
        )
        return matches and is_whole

    def _mark(self, name: str, password: bytes, stored: str) -> bytes:
        whole = b"".join(b"%d:%b" % (len(part), part) for part in (name.encode(), stored.encode(), password))
        return hashlib.blake2b(whole, key=self._key, digest_size=32).digest()

    def _remember(self, mark: bytes) -> None:
        self._right.pop(mark, None)
        if len(self._right) >= self._most:
            del self._right[next(iter(self._right))]
        self._right[mark] = trio.current_time() + REMEMBERED_S


def _load() -> ModuleType:
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    if modules.get("bcrypt", sys) is None:
        del modules["bcrypt"]
    import bcrypt

    return bcrypt
