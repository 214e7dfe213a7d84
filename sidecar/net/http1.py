"""One HTTP/1.1 connection, seen from either end: heads and bodies in order, over any stream.

It keeps the bytes that were received and not yet consumed, reads heads through `protocol/head.py` (every head is judged there),
and hands bodies on piece by piece as they arrive, so that a slow reader slows the sender down. Exchanges follow one another, so
that the connection itself is the end of whichever is on: `Http1Server` where we serve, `Http1Client` where we ask (`ends.py`).
Spec: RFC 9112.
"""

from collections.abc import Awaitable, Callable

import trio
from msgspec.structs import replace

from sidecar.model.errors import BadResponse, DownstreamGone, ProtocolViolation, Reset
from sidecar.model.message import CHUNKED, LENGTH, NO_BODY, NONE, UNTIL_CLOSE, Body, BodyKind, Headers, RequestHead, ResponseHead
from sidecar.model.reason import Reason
from sidecar.protocol import chunked
from sidecar.protocol.head import RequestReader, ResponseReader
from sidecar.protocol.render import render_request, render_response
from sidecar.protocol.trailers import allowed_trailers

from .ends import Connection
from .socket_stream import close_stream, cut, quiet_check
from .tls_stream import account_of

AT_ONCE_BYTES = 16384   # one record of TLS: OpenSSL wants what it has not taken whole again just as it was
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Http1Connection:
    """What both ends share: the bytes that arrive.

    Args:
        stream: owned by whoever made the connection.
        early: bytes that were received before.
    """

    __slots__ = ("_buffer", "_chunks", "_left", "_receive_nowait", "_send_nowait", "_wait_input", "body", "stream", "trailers")

    def __init__(self, stream: trio.abc.HalfCloseableStream, early: bytes = b"") -> None:
        self.stream = stream
        self.body = NO_BODY             # of the message being read
        self.trailers: Headers = []
        self._send_nowait: Callable[[bytes], int] | None = getattr(stream, "send_nowait", None)
        self._wait_input: Callable[[], Awaitable[None]] | None = getattr(stream, "wait_input", None)
        self._receive_nowait: Callable[[], bytes | None] = getattr(stream, "receive_nowait", bytes)
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
        data, self._buffer = self._buffer, b""
        try:
            piece = decoder.feed(data)
        except ValueError as exc:
            raise self._violated(str(exc)) from exc
        if decoder.is_done:
            self._buffer = decoder.leftover
            self.trailers = allowed_trailers(decoder.trailers)
            self._chunks = None
            self.body = NO_BODY
        return piece

    async def _receive(self) -> bytes:
        """What has come, waited for if need be; b"" at the end."""
        try:
            if (wait := self._wait_input) is None:
                return bytes(await self.stream.receive_some())
            while True:
                await wait()
                if (data := self._receive_nowait()) is not None:
                    return data
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


def _framed(kind: BodyKind, piece: bytes, is_end: bool, trailers: Headers) -> bytes:
    if kind is not CHUNKED:
        return piece
    data = chunked.frame_chunk(piece) if piece else b""
    return data + chunked.last_chunk(trailers) if is_end else data


class Http1Server(Http1Connection):
    """Where we serve. `request` is the one that is being answered."""

    __slots__ = ("_heads", "_kind", "can_go_on", "request")

    request: RequestHead

    def __init__(self, stream: trio.abc.HalfCloseableStream, early: bytes = b"") -> None:
        super().__init__(stream, early)
        self._heads = RequestReader()
        self.can_go_on = True
        self._kind = NONE      # of the response being written

    def _gone(self, detail: str) -> DownstreamGone:
        return DownstreamGone(detail)

    def _violated(self, detail: str) -> ProtocolViolation:
        return ProtocolViolation(Reason.BAD_FRAMING, detail)

    async def read_request(self, begun: Callable[[], None] | None = None) -> RequestHead | None:
        """The next request's head; None if the client closed between requests.

        Args:
            begun: called once if a part of a head is there and its end is not: then the client should hurry.
        """
        while True:
            if self._buffer:
                found = self._heads.read(self._buffer)
                if found is not None:
                    self.request, consumed = found
                    self._start_body(self.request.body, consumed)
                    return self.request
                if begun is not None:
                    begun()
                    begun = None
            data = await self._receive()
            if not data:
                if self._buffer:
                    raise DownstreamGone("closed in the middle of a request head")
                return None
            self._buffer = self._buffer + data if self._buffer else data

    async def send_interim(self, response: ResponseHead) -> None:
        """> A server MUST NOT send a 1xx response to an HTTP/1.0 client (RFC 9110 s15.2)."""
        if not self.request.is_http10:
            plain = response.status == 100
            await self.send(CONTINUE if plain else render_response(response, [], close=False, chunk_until_close=False))

    async def send_head(
        self, response: ResponseHead, piece: bytes, *, is_end: bool, closes: bool = False, trailers: Headers | None = None
    ) -> None:
        await self.send(self._answer(response, piece, is_end, closes, trailers or []))

    def answer(self, response: ResponseHead, piece: bytes, *, closes: bool) -> bytes:
        """`send_head` with all of the body, as far as there is room. The rest, which is to be sent."""
        return self._send_at_once(self._answer(response, piece, True, closes, []))

    def _answer(self, response: ResponseHead, piece: bytes, is_end: bool, closes: bool, trailers: Headers) -> bytes:
        request = self.request
        kind = response.body.kind
        # A body whose end is the connection's end is passed on in chunks, so that a cut one can be told from a complete one;
        # an HTTP/1.0 client knows no chunks and gets such a body, and a chunked one, until the connection closes.
        if kind in (UNTIL_CLOSE, CHUNKED):
            kind = UNTIL_CLOSE if request.is_http10 else CHUNKED
            response = replace(response, body=Body(kind))
        self._kind = kind
        self.can_go_on = not (closes or request.is_last or not self.is_body_done)
        text = render_response(response, [], close=not self.can_go_on, chunk_until_close=not request.is_http10)
        return text + (piece if kind is not CHUNKED else _framed(kind, piece, is_end, trailers))

    async def send_body(self, piece: bytes, *, is_end: bool, trailers: Headers | None = None) -> None:
        data = _framed(self._kind, piece, is_end, trailers or [])
        if data:
            await self.send(data)

    async def send_switch(self, response: ResponseHead, first: bytes) -> None:
        """101, and the upstream's first bytes of the other protocol. What comes after is no HTTP."""
        self.can_go_on = False
        upgrade = self.request.upgrade
        await self.send(render_response(response, [], close=False, chunk_until_close=False, upgrade=upgrade) + first)

    def cut(self) -> None:
        self.can_go_on = False
        cut(self.stream)

    def finish(self) -> None:
        """Nothing is left to do: what is in doubt was said by `Connection: close`."""


class Http1Client(Http1Connection):
    """Where we ask: a connection with room for one exchange, and the end of that exchange."""

    __slots__ = (
        "_heads", "_is_answered", "_is_asked", "_is_calm", "_is_reusable", "_kind", "_method", "_upgrade",
        "account", "is_idle", "released", "room",
    )

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        super().__init__(stream)
        self._heads = ResponseReader()
        self._is_calm = quiet_check(stream)
        self.account = account_of(stream)       # opened when its peer was verified
        self.room = 1
        self.is_idle = True
        self.released: Callable[[Connection], None] | None = None
        self._kind = NONE      # of the request
        self._method = b""
        self._upgrade = b""
        self._is_asked = self._is_answered = self._is_reusable = False

    def _gone(self, detail: str) -> Reset:
        return Reset(detail)

    def _violated(self, detail: str) -> BadResponse:
        return BadResponse(detail)

    # -- the connection

    @property
    def is_spent(self) -> bool:
        return self.is_idle and not self.room

    def retire(self) -> None:
        self.room = 0

    def is_quiet(self) -> bool:
        return not self._buffer and self._is_calm()

    def open(self) -> "Http1Client":
        assert self.room, "one exchange at a time"
        self.room = 0
        self.is_idle = False
        self._is_asked = self._is_answered = self._is_reusable = False
        return self

    def close(self) -> None:
        self.room = 0
        close_stream(self.stream)

    # -- the exchange

    def begin(self, request: RequestHead, host: bytes, extra: Headers) -> bytes:
        """`send_request` of one that has no body, as far as there is room. The rest, for `send_rest`."""
        self._kind = NONE
        self._method, self._upgrade = request.method, request.upgrade
        self.body = NO_BODY
        rest = self._send_at_once(render_request(request, host, extra))
        self._is_asked = not rest
        return rest

    async def send_rest(self, rest: bytes) -> None:
        await super().send_rest(rest)
        self._is_asked = True

    async def send_request(self, request: RequestHead, host: bytes, extra: Headers, piece: bytes, *, is_end: bool) -> None:
        self._kind = request.body.kind
        self._method, self._upgrade = request.method, request.upgrade
        self.body = NO_BODY
        text = render_request(request, host, extra)
        await self.send(text if self._kind is NONE else text + _framed(self._kind, piece, is_end, []))
        self._is_asked = is_end

    async def send_body(self, piece: bytes, *, is_end: bool, trailers: Headers | None = None) -> None:
        data = _framed(self._kind, piece, is_end, trailers or [])
        if data:
            await self.send(data)
        self._is_asked = is_end

    async def read_head(self) -> ResponseHead:
        while True:
            if self._buffer:
                found = self._heads.read(self._buffer, self._method, self._upgrade)
                if found is not None:
                    response, consumed = found
                    self._start_body(response.body, consumed)
                    if response.status >= 200:
                        self._is_answered = True
                        self._is_reusable = not response.is_last
                    return response
            data = await self._receive()
            if not data:
                raise Reset("closed before the response head" + (" was complete" if self._buffer else ""))
            self._buffer = self._buffer + data if self._buffer else data

    def finish(self) -> None:
        self.is_idle = True
        if self._is_asked and self._is_answered and self._is_reusable and self.is_body_done and not self._buffer:
            self.room = 1
        else:
            self.close()
        if self.released is not None:
            self.released(self)
