"""HTTP/2 where we ask: one connection that carries many exchanges to the same upstream.

It has no task of its own: whichever exchange waits for an answer reads for all (`http2_pump.py`), and while none is on the pool asks
`is_quiet`.

Trust: what comes is an upstream's, judged in `protocol/http2`; an answer that nobody asked for ends the connection, and one that
breaks off is an error, never an end. Attacked by tests/net/test_http2_client.py. Spec: RFC 9113.
"""

from collections import deque
from collections.abc import Callable

import trio

from sidecar.model.errors import BadResponse, MeshError, Reset
from sidecar.model.message import Headers, RequestHead, ResponseHead
from sidecar.protocol.http2.engine import Engine
from sidecar.protocol.http2.events import ResponseReceived, StreamReset
from sidecar.protocol.http2.frames import Code, Http2Error
from sidecar.protocol.pseudo import request_fields

from .ends import Connection
from .http2 import Http2End, Http2Link
from .tls_stream import account_of
from .turn import Listener


class Http2AskingEnd(Http2End):
    """An `AskingEnd` of `net/ends.py`. Its stream is opened with the request, for numbers go up in the order of sending."""

    __slots__ = ("_client", "_heads", "_is_finished")

    def __init__(self, client: "Http2Client") -> None:
        super().__init__(client._link, 0)
        self._client = client
        self._heads: deque[ResponseHead] = deque()
        self._is_finished = False

    @property
    def account(self) -> str:
        return account_of(self._link.stream)

    def answer(self, head: ResponseHead, is_end: bool) -> None:
        self._heads.append(head)
        self.has_end = is_end
        self.wake()

    async def send_request(self, request: RequestHead, host: bytes, extra: Headers, piece: bytes, *, is_end: bool) -> None:
        link = self._link
        while link.is_backed_up:
            await link.wait(self, self._has_room)
        if link.failure is not None or link.engine.is_going_away:
            raise Reset("the connection takes no exchange any more", is_unprocessed=True)
        self.stream = link.engine.open_stream(request.method)
        link.ends[self.stream] = self
        await self._send_head(request_fields(request, host, extra, self._client.scheme), piece, is_end, None)

    @property
    def may_begin(self) -> bool:
        """Whether the connection takes the request now."""
        return not self._link.engine.is_going_away

    def send_request_nowait(self, request: RequestHead, host: bytes, extra: Headers, piece: bytes) -> None:
        """A request that is whole; there is room, and `may_begin`."""
        link = self._link
        self.stream = link.engine.open_stream(request.method)
        link.ends[self.stream] = self
        self.send_nowait(request_fields(request, host, extra, self._client.scheme), piece, True)

    def attend(self, listener: Listener) -> None:
        self.listener = listener

    @property
    def is_stuck(self) -> bool:
        """Nothing more comes."""
        return self.failure is not None

    @property
    def head(self) -> ResponseHead | None:
        """What `read_head` would return at once."""
        return self._heads[0] if self._heads else None

    def take_head(self) -> ResponseHead:
        return self._heads.popleft()

    @property
    def link(self) -> Http2Link:
        return self._link

    async def read_head(self) -> ResponseHead:
        while not self._heads:
            self.check()
            await self._link.wait(self, self._has_head)
        return self._heads.popleft()

    def _has_head(self) -> bool:
        return bool(self._heads) or self.failure is not None

    def finish(self) -> None:
        """What is not complete is cancelled (RST_STREAM with CANCEL); the other exchanges go on."""
        if self._is_finished:
            return
        self._is_finished = True
        if self.stream:
            del self._link.ends[self.stream]
            self.leave(Code.CANCEL)
        self._client.on_finished()


class Http2Client:
    """A `Connection` of `net/ends.py`.

    Args:
        scheme: what `:scheme` says; nobody's word but that of whoever connected.
    Attributes:
        released: as `net/ends.py` says.
    """

    def __init__(self, stream: trio.abc.HalfCloseableStream, scheme: bytes = b"http") -> None:
        self._link = _ClientLink(stream)
        self.scheme = scheme
        self.released: Callable[[Connection], None] | None = None
        self._open = 0
        self._is_retired = False

    @property
    def room(self) -> int:
        link = self._link
        if self._is_retired or link.failure is not None or link.engine.is_going_away:
            return 0
        return max(0, link.engine.max_streams - self._open)

    @property
    def is_idle(self) -> bool:
        return self._open == 0

    @property
    def is_spent(self) -> bool:
        return self.is_idle and not self.room

    def retire(self) -> None:
        self._is_retired = True

    def is_quiet(self) -> bool:
        """Takes what has arrived meanwhile, if nobody reads: PING is answered, GOAWAY obeyed, anything else ends it."""
        link = self._link
        if link.has_pump:
            return self.room > 0
        assert self.is_idle, "while exchanges are on they read"
        try:
            while link.failure is None and (data := link.receive_nowait()) is not None:
                link.feed(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            link.fail(link.gone(f"connection lost ({exc})"))
        return self.room > 0

    def open(self) -> Http2AskingEnd:
        assert self.room, "no more exchanges here"
        self._open += 1
        return Http2AskingEnd(self)

    def close(self) -> None:
        """With a last word, if there is room for it."""
        link = self._link
        if link.failure is None:
            link.engine.goaway()
            link.flush()
            link.fail(link.gone("closed by us"))
        link.close()

    def on_finished(self) -> None:
        self._open -= 1
        if self.released is not None:
            self.released(self)


class _ClientLink(Http2Link):
    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        super().__init__(stream, Engine(is_server=False))

    def on_response(self, event: ResponseReceived) -> None:
        end = self.ends[event.stream]
        assert isinstance(end, Http2AskingEnd)
        end.answer(event.head, event.is_end)

    def on_reset(self, event: StreamReset) -> None:
        failure: MeshError = Reset(event.detail, is_unprocessed=event.is_unprocessed, is_alone=True)
        if event.is_malformed:
            failure = BadResponse(event.detail)
        self.ends[event.stream].fail(failure)

    def gone(self, detail: str) -> Reset:
        return Reset(detail)

    def violated(self, error: Http2Error) -> BadResponse:
        return BadResponse(f"HTTP/2: {error.detail}")
