"""One HTTP/1.1 connection, seen from either end: the bytes that arrive and the body in them, over any stream.

It keeps the bytes that were received and not yet consumed, and hands bodies on piece by piece as they arrive, so that a slow reader
slows the sender down. Exchanges follow one another, so that the connection itself is the end of whichever is on (`ends.py`):
`http1_server.py` where we serve, `http1_client.py` where we ask. Heads are read there.
Spec: RFC 9112.
"""

from collections.abc import Awaitable, Callable

import trio

from sidecar.model.errors import BadResponse, DownstreamGone, ProtocolViolation, Reset
from sidecar.model.message import CHUNKED, LENGTH, NO_BODY, NONE, UNTIL_CLOSE, Body, BodyKind, Headers
from sidecar.protocol import chunked
from sidecar.protocol.trailers import allowed_trailers

AT_ONCE_BYTES = 16384   # one record of TLS: OpenSSL wants what it has not taken whole again just as it was


class Http1Connection:
    """What both ends share: the bytes that arrive.

    Args:
        stream: owned by whoever made the connection.
        early: bytes that were received before.
    """

    __slots__ = (
        "_buffer", "_chunks", "_left", "_receive_nowait", "_send_nowait", "_violation", "_wait_input", "body", "stream", "trailers",
    )

    def __init__(self, stream: trio.abc.HalfCloseableStream, early: bytes = b"") -> None:
        self.stream = stream
        self.body = NO_BODY             # of the message being read
        self.trailers: Headers = []
        self._send_nowait: Callable[[bytes], int] | None = getattr(stream, "send_nowait", None)
        self._wait_input: Callable[[], Awaitable[None]] = getattr(stream, "wait_input", _no_wait)
        self._receive_nowait: Callable[[], bytes | None] = getattr(stream, "receive_nowait", _nothing)
        self._violation: ProtocolViolation | BadResponse | None = None
        self._buffer = early
        self._left = 0                  # of a LENGTH body
        self._chunks: chunked.ChunkDecoder | None = None

    def _gone(self, detail: str) -> DownstreamGone | Reset:
        raise NotImplementedError

    def _violated(self, detail: str) -> ProtocolViolation | BadResponse:
        raise NotImplementedError

    @property
    def has_leftover(self) -> bool:
        """Bytes after the message: the next request of a pipelining client, or a server that says too much."""
        return bool(self._buffer)

    def take_leftover(self) -> bytes:
        """What followed the head of an upgrade: the first bytes of another protocol."""
        leftover, self._buffer = self._buffer, b""
        return leftover

    def _start_body(self, body: Body, consumed: int) -> None:
        self._buffer = self._buffer[consumed:]
        self.body = body
        self._left = body.length
        if self.trailers:
            self.trailers = []
        if body.kind is CHUNKED:
            self._chunks = chunked.ChunkDecoder()

    @property
    def is_body_done(self) -> bool:
        """Whether the body has been read to its end; of the kinds whose end is seen, `body` becomes NO_BODY there."""
        return self._left == 0 if self.body.kind is LENGTH else self.body.kind is NONE

    def take_whole(self) -> bytes | None:
        """As `take_buffered`, if that would end the body; None: it would not, or nobody knows, as the end is in its bytes."""
        kind = self.body.kind
        if kind is NONE:
            return b""
        if kind is not LENGTH or len(self._buffer) < self._left:
            return None
        piece, self._buffer, self._left = self._buffer[:self._left], self._buffer[self._left:], 0
        return piece

    def take_buffered(self) -> bytes:
        """What of the body is here already, without waiting; b"" if nothing is."""
        kind = self.body.kind
        if kind is NONE or not self._buffer:
            return b""
        if kind is LENGTH:
            piece = self._buffer[:self._left]
            self._buffer = self._buffer[self._left:]
            self._left -= len(piece)
            return piece
        if kind is CHUNKED:
            return self._decode()
        piece, self._buffer = self._buffer, b""
        return piece

    async def read_body(self) -> bytes:
        """The next piece of the body, b"" at its end. Errors if the connection ends before the body does."""
        while True:
            piece = self.take_buffered()
            if piece or self.is_body_done:
                return piece
            data = await self._receive()
            if not data:
                if self.body.kind is UNTIL_CLOSE:
                    self.body = NO_BODY
                    return b""
                raise self._gone("closed in the middle of a body")
            self._buffer += data

    def _decode(self) -> bytes:
        decoder = self._chunks
        assert decoder is not None
        if self._violation is not None:
            raise self._violation       # whoever asks again hears the same
        try:
            piece = decoder.feed(self._buffer)
        except ValueError as exc:
            self._violation = self._violated(str(exc))
            raise self._violation from exc
        self._buffer = b""
        if decoder.is_done:
            self._buffer = decoder.leftover
            self.trailers = allowed_trailers(decoder.trailers)
            self._chunks = None
            self.body = NO_BODY
        return piece

    async def _receive(self) -> bytes:
        """What has come, waited for if need be; b"" at the end."""
        if self._wait_input is _no_wait:
            try:
                return bytes(await self.stream.receive_some())
            except trio.BrokenResourceError as exc:
                raise self._gone(f"connection lost ({exc})") from exc
        while True:
            await self.arrival()
            if (data := self.receive_nowait()) is not None:
                return data

    def arrival(self) -> Awaitable[None]:
        """What to await before `request_nowait` or `head_nowait`: then something may have come. No frame of ours is in that wait, as
        there are four in one for a whole head; two waits make an exchange.
        """
        try:
            return self._wait_input()
        except trio.BrokenResourceError as exc:
            raise self._gone(f"connection lost ({exc})") from exc

    def receive_nowait(self) -> bytes | None:
        """What has come; b"" at the end; None: nothing has."""
        try:
            return self._receive_nowait()
        except trio.BrokenResourceError as exc:
            raise self._gone(f"connection lost ({exc})") from exc

    async def send(self, data: bytes) -> None:
        """Where there is room, as there nearly always is, without a turn of the loop: with TLS it costs 8 us, and what is waited for
        is the answer.
        """
        if rest := self._send_at_once(data):
            await self.send_rest(rest)

    def _send_at_once(self, data: bytes) -> bytes:
        """What there is no room for."""
        if self._send_nowait is None or len(data) > AT_ONCE_BYTES:
            return data
        try:
            count = self._send_nowait(data)
        except trio.BrokenResourceError as exc:
            raise self._gone(f"connection lost ({exc})") from exc
        return data[count:] if count < len(data) else b""

    async def send_rest(self, rest: bytes) -> None:
        """What an earlier call has left."""
        try:
            await self.stream.send_all(rest)
        except trio.BrokenResourceError as exc:
            raise self._gone(f"connection lost ({exc})") from exc


async def _no_wait() -> None:
    """Of a stream that only those read who wait."""


def _nothing() -> None:
    """What came there without."""


def framed(kind: BodyKind, piece: bytes, is_end: bool, trailers: Headers) -> bytes:
    """A piece of a body as it goes on the wire."""
    if kind is not CHUNKED:
        return piece
    data = chunked.frame_chunk(piece) if piece else b""
    return data + chunked.last_chunk(trailers) if is_end else data
