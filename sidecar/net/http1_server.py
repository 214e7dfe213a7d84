"""An HTTP/1.1 connection where we serve: requests in order, each answered before the next is read.

Every request's head is read, and judged, by `protocol/head.py`.
Spec: RFC 9112.
"""

from collections.abc import Callable

import trio
from msgspec.structs import replace

from sidecar.model.errors import DownstreamGone, ProtocolViolation
from sidecar.model.message import CHUNKED, NONE, UNTIL_CLOSE, Body, Headers, RequestHead, ResponseHead
from sidecar.model.reason import Reason
from sidecar.protocol.head import RequestReader
from sidecar.protocol.render import render_response

from .http1 import Http1Connection, framed
from .socket_stream import cut

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


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
        while (request := self._request()) is None:
            if self._buffer and begun is not None:
                begun()
                begun = None
            data = await self._receive()
            if not data:
                if self._buffer:
                    raise DownstreamGone("closed in the middle of a request head")
                return None
            self._buffer = self._buffer + data if self._buffer else data
        return request

    def request_nowait(self) -> RequestHead | None:
        """The next request's head, if all of it is here."""
        if not self._buffer:
            self._buffer = self.receive_nowait() or b""
        return self._request()

    def _request(self) -> RequestHead | None:
        found = self._heads.read(self._buffer) if self._buffer else None
        if found is None:
            return None
        self.request, consumed = found
        self._start_body(self.request.body, consumed)
        return self.request

    async def send_interim(self, response: ResponseHead) -> None:
        """> A server MUST NOT send a 1xx response to an HTTP/1.0 client (RFC 9110 s15.2)."""
        if not self.request.is_http10:
            plain = response.status == 100
            await self.send(CONTINUE if plain else render_response(response, [], close=False, chunk_until_close=False))

    async def send_head(
        self, response: ResponseHead, piece: bytes, *, is_end: bool, closes: bool = False, trailers: Headers | None = None
    ) -> None:
        await self.send(self._answer(response, piece, is_end, closes, trailers or []))

    def answer(self, response: ResponseHead, piece: bytes, *, closes: bool, text: bytes = b"") -> bytes:
        """`send_head` with all of the body, as far as there is room. The rest, which is to be sent.

        Args:
            text: the head as who may go on is told it, for it is known (`ResponseReader`); rendered anew for others.
        """
        if not text or closes or self.request.is_last or not self.is_body_done:
            return self._send_at_once(self._answer(response, piece, True, closes, []))
        self._kind, self.can_go_on = response.body.kind, True
        return self._send_at_once(text + piece)

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
        return text + (piece if kind is not CHUNKED else framed(kind, piece, is_end, trailers))

    async def send_body(self, piece: bytes, *, is_end: bool, trailers: Headers | None = None) -> None:
        data = framed(self._kind, piece, is_end, trailers or [])
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
