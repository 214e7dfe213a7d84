"""The two versions of HTTP, as client or as server, who say and hear the very same messages."""

from collections.abc import Callable
from dataclasses import dataclass, field

import h2.events
import trio

from sidecar.model.message import Headers
from tests.helpers import strict_http
from tests.helpers.h2_peer import Peer
from tests.helpers.http2 import POST
from tests.helpers.streams import MemoryStream

PIECE_BYTES = 16384


@dataclass(frozen=True)
class Message:
    """
    Args:
        start: the method, or the status.
        length: what Content-Length says; None: nothing, the body ends by itself.
        is_end: nothing follows the head.
    """

    start: bytes
    body: bytes = b""
    length: int | None = None
    trailers: Headers = field(default_factory=list)
    fields: Headers = field(default_factory=list)
    is_end: bool = False

    @property
    def is_chunked(self) -> bool:
        return not self.is_end and self.length is None

    @property
    def heard(self) -> tuple[bytes, bytes, int, Headers]:
        """What does not depend on the version."""
        return self.start, self.body, self.length or 0, self.trailers


class Old:
    """HTTP/1.1, read by the strictest of readers. One exchange."""

    def __init__(self, stream: MemoryStream, *, is_client: bool) -> None:
        self.stream = stream
        self.is_client = is_client
        self._data = b""
        self._method = b"GET"

    async def begin(self) -> None:
        pass

    async def say(self, message: Message) -> None:
        await self.say_head(message)
        await self.say_body(message)

    async def say_head(self, message: Message) -> None:
        if self.is_client:
            self._method = message.start
            lines = [message.start + b" /a HTTP/1.1", b"host: orders", b"te: trailers", b"connection: te"]
        else:
            lines = [b"HTTP/1.1 %b Fine" % message.start]
        lines += [b"%b: %b" % one for one in message.fields]
        if message.length is not None:
            lines.append(b"content-length: %d" % message.length)
        elif message.is_chunked:
            lines.append(b"transfer-encoding: chunked")
        await self.stream.send_all(b"\r\n".join(lines) + b"\r\n\r\n")

    async def say_body(self, message: Message) -> None:
        is_chunked = message.is_chunked
        for at in range(0, len(message.body), PIECE_BYTES):
            piece = message.body[at:at + PIECE_BYTES]
            await self.stream.send_all(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
        if is_chunked:
            await self.stream.send_all(b"0\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % one for one in message.trailers))

    async def hear_head(self) -> None:
        while b"\r\n\r\n" not in self._data:
            self._data += await self.stream.read(1)

    async def hear(self) -> Message:
        """The next message; interim responses are messages."""
        while (found := self._parse()) is None:
            piece = await self.stream.receive_some()
            assert piece, f"the end came after {self._data[-200:]!r}"
            self._data += piece
        return found

    def _parse(self) -> Message | None:
        found: strict_http.Message | None = None
        if self.is_client:
            end = self._data.find(b"\r\n\r\n") + 4
            is_interim = end > 4 and self._data.startswith(b"HTTP/1.1 1")
            try:
                said = strict_http.read_responses(self._data[:end] if is_interim else self._data, (self._method,), has_ended=False)
            except strict_http.Incomplete:
                return None
            if said:
                found, self._data = said[0], self._data[end:] if is_interim else b""
                assert len(said) == 1
        else:
            found, end = next(strict_http.read_requests(self._data), (None, 0))
            self._data = self._data[end:]
        if found is None:
            return None
        length = [int(value) for value in found.values(b"content-length")]
        return Message(found.start[0], found.body, length[0] if length else None, found.trailers, found.fields)


class New:
    """HTTP/2, by the library h2. One exchange."""

    def __init__(self, stream: MemoryStream, *, is_client: bool) -> None:
        self.peer = Peer(stream, is_client=is_client)
        self.is_client = is_client
        self._interim = 0

    async def begin(self) -> None:
        await self.peer.begin()

    async def say(self, message: Message) -> None:
        await self.say_head(message)
        await self.say_body(message)

    async def say_head(self, message: Message) -> None:
        fields: Headers = [(b":status", message.start)]
        if self.is_client:
            fields = [(b":method", message.start), *POST[1:], (b"te", b"trailers")]
        fields += message.fields
        if message.length is not None:
            fields.append((b"content-length", b"%d" % message.length))
        is_interim = message.start.startswith(b"1")
        has_more = bool(message.body or message.trailers or is_interim)
        self.peer.h2.send_headers(1, fields, end_stream=not has_more)
        await self.peer.flush()

    async def say_body(self, message: Message) -> None:
        peer, body = self.peer, message.body
        while body:
            room = min(PIECE_BYTES, peer.h2.local_flow_control_window(1), len(body))
            if not room:
                assert await peer.read()
                continue
            peer.h2.send_data(1, body[:room], end_stream=room == len(body) and not message.trailers)
            body = body[room:]
            await peer.flush()
        if message.trailers:
            peer.h2.send_headers(1, message.trailers, end_stream=True)
            await peer.flush()

    async def hear_head(self) -> None:
        await self.peer.first(h2.events.ResponseReceived if self.is_client else h2.events.RequestReceived)

    async def hear(self) -> Message:
        peer = self.peer
        if self.is_client:
            await peer.until(lambda: self._new_interim() is not None or bool(peer.of(h2.events.StreamEnded)))
            event = self._new_interim()
            if event is not None:
                self._interim += 1
                return Message(dict(event.headers)[b":status"], fields=list(event.headers))     # type: ignore[index, arg-type]
        await peer.first(h2.events.StreamEnded)
        head = peer.of(h2.events.ResponseReceived if self.is_client else h2.events.RequestReceived)[0]
        fields: Headers = list(head.headers)    # type: ignore[arg-type]
        (start,) = [value for name, value in fields if name in (b":method", b":status")]
        lengths = [int(value) for name, value in fields if name == b"content-length"]
        trailers: Headers = [field for event in peer.of(h2.events.TrailersReceived) for field in event.headers]  # type: ignore[misc]
        return Message(start, peer.body(1), lengths[0] if lengths else None, trailers, fields)

    def _new_interim(self) -> h2.events.InformationalResponseReceived | None:
        said = self.peer.of(h2.events.InformationalResponseReceived)
        return said[self._interim] if len(said) > self._interim else None


Speaker = Old | New
VERSIONS: dict[str, Callable[..., Speaker]] = {"h1": Old, "h2": New}


async def converse(*tasks: Callable[[], object]) -> None:
    """All at once."""
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task)     # type: ignore[arg-type]
