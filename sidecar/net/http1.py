"""One HTTP/1.1 connection, seen from either end: heads and bodies in order, over any stream.

It keeps the bytes that were received and not yet consumed, reads heads through `protocol/head.py` (every head is judged there),
and hands bodies on piece by piece as they arrive, so that a slow reader slows the sender down.
Errors are blamed on the other end of *this* connection: ProtocolViolation and DownstreamGone where we serve, BadResponse and
Reset where we ask. Spec: RFC 9112.
"""

from collections.abc import Callable

import trio

from sidecar.model.errors import BadResponse, DownstreamGone, ProtocolViolation, Reset
from sidecar.model.message import NO_BODY, Body, BodyKind, RequestHead, ResponseHead
from sidecar.model.reason import Reason
from sidecar.protocol import chunked, head


class Http1Connection:
    """
    Args:
        stream: owned by whoever made the connection.
        is_server: we serve here; else we ask.
        early: bytes that were received before.
    """

    __slots__ = ("_buffer", "_chunks", "_is_server", "_left", "body", "stream")

    def __init__(self, stream: trio.abc.HalfCloseableStream, *, is_server: bool, early: bytes = b"") -> None:
        self.stream = stream
        self.body = NO_BODY             # of the message being read
        self._is_server = is_server
        self._buffer = early
        self._left = 0                  # of a LENGTH body
        self._chunks: chunked.ChunkDecoder | None = None

    # -- heads

    async def read_request(self, begun: Callable[[], None] | None = None) -> RequestHead | None:
        """The next request's head; None if the client closed between requests.

        Args:
            begun: called once if a part of a head is there and its end is not: then the client should hurry.
        """
        while True:
            if self._buffer:
                found = head.read_request(self._buffer)
                if found is not None:
                    request, consumed = found
                    self._start_body(request.body, consumed)
                    return request
                if begun is not None:
                    begun()
                    begun = None
            data = await self._receive()
            if not data:
                if self._buffer:
                    raise DownstreamGone("closed in the middle of a request head")
                return None
            self._buffer += data

    async def read_response(self, method: bytes) -> ResponseHead:
        """The next response's head, interim ones (1xx) included."""
        while True:
            if self._buffer:
                found = head.read_response(self._buffer, method)
                if found is not None:
                    response, consumed = found
                    self._start_body(response.body, consumed)
                    return response
            data = await self._receive()
            if not data:
                raise Reset("closed before the response head" + (" was complete" if self._buffer else ""))
            self._buffer += data

    @property
    def has_leftover(self) -> bool:
        """Bytes after the message: the next request of a pipelining client, or a server that says too much."""
        return bool(self._buffer)

    # -- bodies

    def _start_body(self, body: Body, consumed: int) -> None:
        self._buffer = self._buffer[consumed:]
        self.body = body
        self._left = body.length
        self._chunks = chunked.ChunkDecoder() if body.kind is BodyKind.CHUNKED else None

    @property
    def is_body_done(self) -> bool:
        """Whether the body has been read to its end; of the kinds whose end is seen, `body` becomes NO_BODY there."""
        return self._left == 0 if self.body.kind is BodyKind.LENGTH else self.body.kind is BodyKind.NONE

    def take_buffered(self) -> bytes:
        """What of the body is here already, without waiting; b"" if nothing is."""
        if self.body.kind is BodyKind.LENGTH:
            piece = self._buffer[:self._left]
            self._buffer = self._buffer[self._left:]
            self._left -= len(piece)
            return piece
        if self._chunks is not None:
            return self._decode(b"")
        if self.body.kind is BodyKind.UNTIL_CLOSE:
            piece, self._buffer = self._buffer, b""
            return piece
        return b""

    async def read_body(self) -> bytes:
        """The next piece of the body, b"" at its end. Errors if the connection ends before the body does."""
        while True:
            piece = self.take_buffered()
            if piece or self.is_body_done:
                return piece
            data = await self._receive()
            if not data:
                if self.body.kind is BodyKind.UNTIL_CLOSE:
                    self.body = NO_BODY
                    return b""
                raise self._gone("closed in the middle of a body")
            self._buffer += data

    def _decode(self, more: bytes) -> bytes:
        decoder = self._chunks
        assert decoder is not None
        data, self._buffer = self._buffer + more, b""
        try:
            piece = decoder.feed(data)
        except ValueError as exc:
            if self._is_server:
                raise ProtocolViolation(Reason.BAD_FRAMING, str(exc)) from exc
            raise BadResponse(str(exc)) from exc
        if decoder.is_done:
            self._buffer = decoder.leftover
            self._chunks = None
            self.body = NO_BODY
        return piece

    def _gone(self, detail: str) -> DownstreamGone | Reset:
        return DownstreamGone(detail) if self._is_server else Reset(detail)

    async def _receive(self) -> bytes:
        try:
            return bytes(await self.stream.receive_some())
        except trio.BrokenResourceError as exc:
            raise self._gone(f"connection lost ({exc})") from exc

    async def send(self, data: bytes) -> None:
        try:
            await self.stream.send_all(data)
        except trio.BrokenResourceError as exc:
            raise self._gone(f"connection lost ({exc})") from exc
