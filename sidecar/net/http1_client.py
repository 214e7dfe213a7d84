"""An HTTP/1.1 connection where we ask: one exchange at a time, and another only if nothing is in doubt after it.

Every response's head is read, and judged, by `protocol/head.py`.
Spec: RFC 9112.
"""

from collections.abc import Callable

import trio

from sidecar.model.errors import BadResponse, Reset
from sidecar.model.message import NO_BODY, NONE, Headers, RequestHead, ResponseHead
from sidecar.protocol.head import ResponseReader
from sidecar.protocol.render import render_request

from .ends import Connection
from .http1 import Http1Connection, framed
from .socket_stream import close_stream, quiet_check
from .tls_stream import account_of
from .turn import Listener


class Http1Client(Http1Connection):
    """Where we ask: a connection with room for one exchange, and the end of that exchange.

    Attributes:
        is_answered: the head that answers the request is here.
    """

    __slots__ = (
        "_heads", "_is_asked", "_is_calm", "_is_reusable", "_kind", "_method", "_tell_input", "_upgrade",
        "account", "is_answered", "is_idle", "released", "room",
    )

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        super().__init__(stream)
        self._heads = ResponseReader()
        self._is_calm = quiet_check(stream)
        self._tell_input: Callable[[Listener], None] | None = getattr(stream, "tell_input", None)
        self.account = account_of(stream)       # opened when its peer was verified
        self.room = 1
        self.is_idle = True
        self.released: Callable[[Connection], None] | None = None
        self._kind = NONE      # of the request
        self._method = b""
        self._upgrade = b""
        self._is_asked = self.is_answered = self._is_reusable = False

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
        self._is_asked = self.is_answered = self._is_reusable = False
        return self

    def close(self) -> None:
        self.room = 0
        close_stream(self.stream)

    # -- the exchange

    def begin(self, request: RequestHead, host: bytes, extra: Headers, body: bytes = b"") -> bytes:
        """`send_request` of one that is whole, as far as there is room. The rest, for `send_rest`."""
        self._kind = request.body.kind
        self._method, self._upgrade = request.method, request.upgrade
        self.body = NO_BODY
        text = render_request(request, host, extra)
        rest = self._send_at_once(text if self._kind is NONE else text + framed(self._kind, body, True, []))
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
        await self.send(text if self._kind is NONE else text + framed(self._kind, piece, is_end, []))
        self._is_asked = is_end

    async def send_body(self, piece: bytes, *, is_end: bool, trailers: Headers | None = None) -> None:
        data = framed(self._kind, piece, is_end, trailers or [])
        if data:
            await self.send(data)
        self._is_asked = is_end

    async def read_head(self) -> ResponseHead:
        while (response := self.take_head()) is None:
            data = await self._receive()
            if not data:
                raise Reset("closed before the response head" + (" was complete" if self._buffer else ""))
            self._buffer = self._buffer + data if self._buffer else data
        return response

    def head_nowait(self) -> ResponseHead | None:
        """The next response head, if all of it is here."""
        if not self._buffer:
            self._buffer = self.receive_nowait() or b""
        return self.take_head()

    def take_head(self) -> ResponseHead | None:
        """As `head_nowait`, of what has been received."""
        found = self._heads.read(self._buffer, self._method, self._upgrade) if self._buffer else None
        if found is None:
            return None
        response, consumed = found
        self._start_body(response.body, consumed)
        if response.status >= 200:
            self.is_answered = True
            self._is_reusable = not response.is_last
        return response

    @property
    def head_text(self) -> bytes:
        """The last head as `Http1Server.answer` can tell it, if it is known how."""
        return self._heads.text

    def finish(self) -> None:
        self.is_idle = True
        if self._is_asked and self.is_answered and self._is_reusable and self.is_body_done and not self._buffer:
            self.room = 1
        else:
            self.close()
        if self.released is not None:
            self.released(self)

    # -- where no task waits

    @property
    def unread(self) -> bytes:
        """What has come and was not consumed."""
        return self._buffer

    def feed(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data

    def tell_input(self, listener: Listener) -> None:
        """It is told, once, when there is something to receive."""
        assert self._tell_input is not None, "a stream that leads to an upstream can tell"
        try:
            self._tell_input(listener)
        except trio.BrokenResourceError as exc:
            raise self._gone(f"connection lost ({exc})") from exc
