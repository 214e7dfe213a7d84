"""The library h2 on a stream, as the other end of one of our connections."""

from collections.abc import Callable
from typing import TypeVar

import h2.connection
import h2.events
import h2.exceptions
import trio

from .http2 import h2_peer
from .streams import MemoryStream

E = TypeVar("E", bound=h2.events.Event)


class Peer:
    """
    Args:
        credits: give back each byte that was read at once.
    Attributes:
        events: all that came, in its order.
    """

    def __init__(self, stream: MemoryStream | trio.abc.HalfCloseableStream, *, is_client: bool, credits: bool = True) -> None:
        self.stream = stream
        self.h2 = h2_peer(is_client=is_client)
        self.events: list[h2.events.Event] = []
        self.credits = credits
        self._moved = trio.Event()      # something came
        self._order = trio.Lock()       # what h2 wrote first leaves first, and whole

    async def begin(self) -> None:
        self.h2.initiate_connection()
        await self.flush()

    async def flush(self) -> None:
        async with self._order:
            if data := self.h2.data_to_send():
                await self.stream.send_all(data)

    async def ask(self, stream: int, fields: list[tuple[bytes, bytes]], body: bytes | None = None, *, is_end: bool = True) -> None:
        self.h2.send_headers(stream, fields, end_stream=body is None and is_end)
        if body is not None:
            self.h2.send_data(stream, body, end_stream=is_end)
        await self.flush()

    async def read(self) -> bool:
        """One read; answers what is to be answered. False: the end."""
        data = await self.stream.receive_some()
        told = list(self.h2.receive_data(bytes(data))) if data else []
        self.events += told
        self._moved.set()
        self._moved = trio.Event()
        for event in told:
            if isinstance(event, h2.events.DataReceived) and self.credits and event.flow_controlled_length:
                self.h2.increment_flow_control_window(event.flow_controlled_length)
                try:
                    self.h2.increment_flow_control_window(event.flow_controlled_length, event.stream_id)
                except h2.exceptions.StreamClosedError:
                    pass
        await self.flush()
        return bool(data)

    async def until(self, is_there: Callable[[], bool]) -> None:
        while not is_there():
            assert await self.read() or is_there(), f"the end came after {self.events}"

    async def first(self, kind: type[E], stream: int | None = None) -> E:
        """The first event of that kind, perhaps of one stream."""
        await self.until(lambda: bool(self.of(kind, stream)))
        return self.of(kind, stream)[0]

    def of(self, kind: type[E], stream: int | None = None) -> list[E]:
        return [
            event for event in self.events
            if isinstance(event, kind) and (stream is None or getattr(event, "stream_id", None) == stream)
        ]

    def body(self, stream: int) -> bytes:
        return b"".join(event.data for event in self.of(h2.events.DataReceived, stream))

    async def ended(self, stream: int) -> bytes:
        """The whole body of a stream."""
        await self.first(h2.events.StreamEnded, stream)
        return self.body(stream)

    async def upload(self, stream: int, body: bytes) -> None:
        """All of `body`, as windows allow, while somebody else reads."""
        while body:
            room = min(self.h2.local_flow_control_window(stream), 16384, len(body))
            if room:
                self.h2.send_data(stream, body[:room])
                body = body[room:]
                await self.flush()
            else:
                await self._moved.wait()
        self.h2.end_stream(stream)
        await self.flush()
