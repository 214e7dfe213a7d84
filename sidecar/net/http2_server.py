"""HTTP/2 where we serve: exchanges as they come, each answered by a task of its own.

    server = Http2Server(stream, early)
    while (found := await server.next_exchange()) is not None:      # one task, which also reads for all the others
        ...                                                         # Refused: log, and answer by found.end if there is one
        nursery.start_soon(serve, found)                            # with found.scope: ... finally: found.finish()

Trust: what the peer sends is judged below, in `protocol/http2`; here its pace is: an exchange that the client gave up ends at
once, and one that it gave up before anybody looked is never shown. Attacked by tests/net/test_http2_server.py.
Spec: RFC 9113.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import trio
from msgspec.structs import replace

from sidecar.model.errors import DownstreamGone, MeshError, ProtocolViolation
from sidecar.model.message import NO_BODY, Headers, RequestHead, ResponseHead
from sidecar.model.reason import Reason
from sidecar.protocol.http2.engine import Engine
from sidecar.protocol.http2.events import RequestReceived, RequestRefused, StreamReset
from sidecar.protocol.http2.frames import Code, Http2Error
from sidecar.protocol.pseudo import response_fields

from .http2 import Http2End, Http2Link
from .http2_pump import Waiter

FIRST_REQUEST_S = 15.0
IDLE_S = 75.0       # without any exchange


class Http2ServingEnd(Http2End):
    """A `ServingEnd` of `net/ends.py`. `closes` is not its affair: what is wrong with one exchange is no other's business.

    Attributes:
        scope: run the exchange in it; cancelled when the client resets the stream or is gone. `failure` then says so.
    """

    __slots__ = ("_scope", "_server", "request")

    def __init__(self, server: "Http2Server", stream: int, request: RequestHead) -> None:
        super().__init__(server._link, stream)
        self._server = server
        self.request = request
        self._scope: trio.CancelScope | None = None

    @property
    def can_go_on(self) -> bool:
        return self._link.failure is None

    @property
    def scope(self) -> trio.CancelScope:
        if self._scope is None:
            self._scope = trio.CancelScope()
            if self.failure is not None:
                self._scope.cancel()
        return self._scope

    def fail(self, failure: MeshError) -> None:
        super().fail(failure)
        if self._scope is not None:
            self._scope.cancel()

    async def send_interim(self, response: ResponseHead) -> None:
        self.check()
        self._link.engine.send_head(self.stream, response_fields(response, []), is_end=False)
        self._link.push()

    async def send_head(
        self, response: ResponseHead, piece: bytes, *, is_end: bool, closes: bool = False, trailers: Headers | None = None
    ) -> None:
        await self._send_head(response_fields(response, []), piece, is_end, trailers)

    def cut(self) -> None:
        """RST_STREAM with INTERNAL_ERROR."""
        if self.failure is None:
            self.failure = DownstreamGone("cut by us")
            self._link.engine.reset(self.stream, Code.INTERNAL_ERROR)
            self._link.push()

    def finish(self) -> None:
        """> [A server that does not need the rest of a request] MAY request that the client stop [with] NO_ERROR (s8.1)."""
        if self._link.ends.pop(self.stream, None) is not None:
            self.leave(Code.NO_ERROR if self._is_sent else Code.INTERNAL_ERROR)
            self._server.on_finished()


@dataclass(frozen=True, slots=True)
class Refused:
    """A request against the law, or none that could be one.

    Args:
        end: to answer by, and to be finished; its `request` holds method and content type for the answer's form and nothing
            to forward. None: what came was malformed, the stream is over, and there is only something to tell.
    """

    reason: Reason
    detail: str
    end: Http2ServingEnd | None


class Http2Server(Waiter):
    """
    Args:
        early: bytes that were received before, the preface perhaps.
        host: see `Engine`.
    Attributes:
        offer: is given each request first, at the end of the read that it came with: False if `next_exchange` is to return it.
    """

    def __init__(self, stream: trio.abc.HalfCloseableStream, early: bytes = b"", *, host: bytes | None = None) -> None:
        self._link = _ServerLink(stream, self, host)
        super().__init__(self._link.turn)
        self._found: deque[Http2ServingEnd | Refused] = deque()
        self._is_over = False
        self._bug: Exception | None = None
        self.offer: Callable[[Http2ServingEnd], bool] | None = None
        self._link.idle_for(FIRST_REQUEST_S)
        self._early = early

    async def next_exchange(self) -> Http2ServingEnd | Refused | None:
        """The next request; None once the client has closed or been idle for long, or `drain` is done.

        Exchanges that are on do not hold it up, save that a drain waits for them. After cancellation nothing is lost.
        Raises: ProtocolViolation (HTTP2_VIOLATION, HTTP2_FLOOD); the client has been told, other exchanges are over.
        """
        if self._early:
            early, self._early = self._early, b""
            self._link.feed(early)
        self._link.push()
        while True:
            await self._link.wait(self, self._has_news)
            while self._found:
                found = self._found.popleft()
                end = found if isinstance(found, Http2ServingEnd) else found.end
                if end is None or end.failure is None:
                    return found
                end.finish()    # given up before anybody looked
            if self._bug is not None:
                raise self._bug
            if isinstance(self._link.failure, ProtocolViolation):
                raise self._link.failure
            if self._has_ended():
                return None

    def _has_news(self) -> bool:
        return bool(self._found) or self._has_ended()

    def _has_ended(self) -> bool:
        link = self._link
        is_broken = link.failure is not None or self._bug is not None
        return is_broken or ((self._is_over or link.engine.is_drained) and not (link.ends or link.is_unsent))

    def drain(self) -> None:
        """Take no new requests, once the client knows; `next_exchange` ends with the last one that is on."""
        self._link.engine.drain()
        self._link.push()

    # -- what the turn asks

    def look(self) -> None:
        """Who has no task gets what is found."""
        assert self.offer is not None
        for _ in range(len(self._found)):
            found = self._found.popleft()
            if isinstance(found, Refused):
                self._found.append(found)
            elif found.failure is not None:
                found.finish()      # given up before anybody looked
            elif not self.offer(found):
                self._found.append(found)
        if self._found:
            self.wake()

    def crash(self, bug: Exception) -> None:
        """`next_exchange` raises it."""
        self._bug = bug
        self.wake()
        self._link.poke()

    # -- what the link tells

    def on_request(self, event: RequestReceived | RequestRefused) -> None:
        if isinstance(event, RequestReceived):
            # Equal heads are one value below, and recipes take fields out of theirs.
            end = Http2ServingEnd(self, event.stream, replace(event.head, headers=list(event.head.headers)))
            self._found.append(end)
        else:
            kind = [field for field in event.headers if field[0] == b"content-type"]
            end = Http2ServingEnd(self, event.stream, RequestHead(event.method, b"/", b"", None, kind, NO_BODY, False))
            self._found.append(Refused(event.reason, event.detail, end))
        self._link.ends[event.stream] = end
        if event.is_end:
            end.arrive(b"", True)
        self._link.never_idle()
        self._tell()

    def _tell(self) -> None:
        if self.offer is not None:
            self.turn.tell(self)
        else:
            self.wake()

    def on_malformed(self, detail: str) -> None:
        self._found.append(Refused(Reason.HTTP2_VIOLATION, detail, None))
        self._tell()

    def on_idle(self) -> None:
        link = self._link
        self._is_over = True
        link.engine.goaway()
        link.push()
        if link.is_unsent:
            link.fail(link.gone(f"did not take the last answers within {IDLE_S:g} s"))

    def on_finished(self) -> None:
        if not self._link.ends:
            self._link.idle_for(IDLE_S)
            if self._link.engine.is_going_away:
                self._link.poke()       # the drain may be done


class _ServerLink(Http2Link):
    def __init__(self, stream: trio.abc.HalfCloseableStream, server: Http2Server, host: bytes | None) -> None:
        super().__init__(stream, Engine(is_server=True, host=host))
        self._server = server

    def on_request(self, event: RequestReceived | RequestRefused) -> None:
        self._server.on_request(event)

    def on_reset(self, event: StreamReset) -> None:
        end = self.ends.get(event.stream)
        if end is not None:
            end.fail(DownstreamGone(event.detail))
        elif event.is_malformed:
            self._server.on_malformed(event.detail)

    def on_idle(self) -> None:
        self._server.on_idle()

    def gone(self, detail: str) -> DownstreamGone:
        return DownstreamGone(detail)

    def violated(self, error: Http2Error) -> ProtocolViolation:
        return ProtocolViolation(Reason.HTTP2_FLOOD if error.is_flood else Reason.HTTP2_VIOLATION, error.detail)
