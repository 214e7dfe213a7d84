"""Streams in memory, for the virtual clock: with as much room as a test wants, and with TCP's bad manners.

Closing while bytes wait unread resets the connection, and a reset takes away what the other end has not read yet: so a test sees
it when a last word would be lost.
"""

import trio

from sidecar.net.ends import BodyReader
from sidecar.net.turn import Listener, Turn

ROOM_BYTES = 65536


class _Way:
    """One direction: what was sent and not yet read."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.data = bytearray()
        self.taken = 0
        self.is_ended = False   # by its writer
        self.is_cut = False     # by either
        self.moved = trio.Event()
        self.listener: Listener | None = None       # is told, once, of what there is to read

    def tell(self) -> None:
        self.moved.set()
        self.moved = trio.Event()
        listener = self.listener
        if listener is not None and (self.data or self.is_ended or self.is_cut):
            self.listener = None
            Turn.of_this_run().tell(listener)

    def take(self, count: int) -> None:
        del self.data[:count]
        self.taken += count
        self.tell()

    def cut(self) -> None:
        self.is_cut = True
        self.data.clear()
        self.tell()


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end. `sent` counts what the other end had room for."""

    def __init__(self, inwards: _Way, outwards: _Way) -> None:
        self._in = inwards
        self._out = outwards
        self.is_closed = False
        self.is_aborted = False
        self.sent = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        while True:
            if self.is_closed:
                raise trio.ClosedResourceError
            if self._in.is_cut:
                raise trio.BrokenResourceError("reset")
            if self._in.data:
                piece = bytes(self._in.data[:max_bytes or ROOM_BYTES])
                self._in.take(len(piece))
                return piece
            if self._in.is_ended:
                return b""
            await self._in.moved.wait()

    def tell_input(self, listener: Listener) -> None:
        if self.is_closed:
            raise trio.ClosedResourceError
        self._in.listener = listener
        if self._in.data or self._in.is_ended or self._in.is_cut:
            self._in.tell()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        rest = bytes(data)
        while True:
            if self.is_closed:
                raise trio.ClosedResourceError
            if self._out.is_cut:
                raise trio.BrokenResourceError("reset")
            piece = rest[:max(0, self._out.room - len(self._out.data))]
            self._out.data += piece
            self.sent += len(piece)
            rest = rest[len(piece):]
            if piece:
                self._out.tell()
            if not rest:
                return
            await self._out.moved.wait()

    def receive_nowait(self) -> bytes | None:
        if self.is_closed:
            raise trio.ClosedResourceError
        if self._in.is_cut:
            raise trio.BrokenResourceError("reset")
        if not self._in.data:
            return b"" if self._in.is_ended else None
        piece = bytes(self._in.data[:ROOM_BYTES])
        self._in.take(len(piece))
        return piece

    def send_nowait(self, data: bytes | memoryview) -> int:
        if self.is_closed:
            raise trio.ClosedResourceError
        if self._out.is_cut:
            raise trio.BrokenResourceError("reset")
        piece = bytes(data[:max(0, self._out.room - len(self._out.data))])
        self._out.data += piece
        self.sent += len(piece)
        if piece:
            self._out.tell()
        return len(piece)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()
        while len(self._out.data) >= self._out.room and not (self.is_closed or self._out.is_cut):
            await self._out.moved.wait()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._out.is_cut:
            raise trio.BrokenResourceError("reset")
        self._out.is_ended = True
        self._out.tell()

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        if self._in.data:
            self._out.cut()
        self._out.is_ended = True
        self._out.tell()
        self._in.cut()

    def abort(self) -> None:
        if self.is_closed:
            return
        self.is_closed = self.is_aborted = True
        self._out.cut()
        self._in.cut()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    # -- for tests that play one end

    @property
    def taken(self) -> int:
        """How many bytes were read."""
        return self._in.taken

    async def read(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        data = b""
        while len(data) < count:
            piece = await self.receive_some(count - len(data))
            assert piece, f"the end came after {data!r}"
            data += piece
        return data

    async def read_until(self, end: bytes = b"\r\n\r\n") -> bytes:
        """Up to and with `end`."""
        data = b""
        while not data.endswith(end):
            piece = await self.receive_some(1)
            assert piece, f"the end came after {data!r}"
            data += piece
        return data

    async def read_rest(self) -> bytes:
        """Up to the end."""
        data = b""
        while piece := await self.receive_some():
            data += piece
        return data


async def whole(reader: BodyReader) -> bytes:
    """The rest of the body that arrives at one end of an exchange."""
    body = b""
    while piece := await reader.read_body():
        body += piece
    assert reader.is_body_done
    return body


def stream_pair(room: int = ROOM_BYTES) -> tuple[MemoryStream, MemoryStream]:
    """
    Args:
        room: bytes that each direction holds before its writer has to wait.
    """
    one, other = _Way(room), _Way(room)
    return MemoryStream(one, other), MemoryStream(other, one)
