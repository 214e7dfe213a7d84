"""A stream whose next bytes can be looked at, and stay where they are for whoever reads it then.

For streams that the kernel cannot look into (TLS), and for bytes of which some are taken before the rest is carried on; what is left
whole to another reader on a socket is `peek.py`'s.
"""

from collections.abc import Callable
from typing import TypeVar

import trio

from .wrapped import Wrapped

T = TypeVar("T")


class Ahead(Wrapped):
    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        super().__init__(stream)
        self._seen = b""

    async def look(self, read: Callable[[bytes], T | None]) -> T | None:
        """What `read` makes of ever longer beginnings of what comes, which it must bound; None at the end of the stream.

        After cancellation nothing has been taken.
        """
        while (found := read(self._seen)) is None:
            piece = await self.stream.receive_some()
            if not piece:
                return None
            self._seen += piece
        return found

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._seen:
            return await super().receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        end = max_bytes or len(self._seen)
        piece, self._seen = self._seen[:end], self._seen[end:]
        return piece
