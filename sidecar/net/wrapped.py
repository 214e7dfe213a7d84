"""A stream around another one, which it owns: it does what that does, but for what a subclass changes."""

import trio

from .socket_stream import close_stream, cut


class Wrapped(trio.abc.HalfCloseableStream):
    """
    Args:
        stream: owned from now on.
    """

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self.stream.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    def close(self) -> None:
        """At once."""
        close_stream(self.stream)

    def abort(self) -> None:
        """So that nobody takes what came for the whole."""
        cut(self.stream)

    async def aclose(self) -> None:
        await self.stream.aclose()
