"""One permitted exchange: request up, response down, both streamed, each side held back by the other.

An exchange whose request is complete when its head arrives needs no second task; a body still on its way gets one, since one
task cannot wait on two descriptors. An upstream connection goes back to the pool only after a complete exchange with nothing
left over; whatever is in doubt is closed. A response that was begun and cannot be completed ends with a cut connection, never
with a quiet end. Spec: RFC 9112 s9.3, RFC 9110 s9.2.2.
"""

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, replace

import trio

from sidecar.model.address import Address
from sidecar.model.decision import Permit
from sidecar.model.errors import BadResponse, MeshError, PeerError, Reset, UpstreamError
from sidecar.model.message import Body, BodyKind, Headers, RequestHead, ResponseHead
from sidecar.model.reason import BY_CODE, Reason
from sidecar.net.deadline import Deadline
from sidecar.net.http1 import Http1Connection
from sidecar.net.pool import Pool, close_all
from sidecar.protocol.chunked import LAST_CHUNK, frame_chunk
from sidecar.protocol.render import render_request, render_response

CONNECT_S = 10.0
RESPONSE_HEAD_S = 60.0
BODY_IDLE_S = 60.0
MAX_INTERIM = 8
OURS = b"x-bartizan-"
# > A proxy MUST NOT automatically retry non-idempotent requests (RFC 9110 s9.2.2).
REPLAYABLE = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})


@dataclass(frozen=True)
class Upstream:
    """Where an exchange goes.

    Args:
        key: what makes a pooled connection this one; see `net/pool.py`.
        connect: makes a new connection, verified as far as it is to be.
        host: what Host says there.
        headers: added to the request.
        adapt: changes the response's head (a rewritten Location), or None.
        name: for the log.
        is_mesh: a sidecar of the mesh answers there, whose word about refusals counts; nobody else may say `x-bartizan-*`.
        endpoint: whose exchanges in flight are counted, for balancing.
    """

    key: Hashable
    connect: Callable[[], Awaitable[trio.abc.HalfCloseableStream]]
    host: bytes
    headers: Headers
    name: str
    adapt: Callable[[ResponseHead], ResponseHead] | None = None
    is_mesh: bool = False
    endpoint: Address | None = None


class Exchange:
    """One request on its way: what has happened to it so far, for whoever has to tell or to answer."""

    __slots__ = ("downstream", "has_answered", "reason", "received", "request", "says_close", "sent", "status")

    def __init__(self, downstream: Http1Connection, request: RequestHead) -> None:
        self.downstream = downstream
        self.request = request
        self.has_answered = False       # response bytes went out: no other answer is possible
        self.says_close = False         # and they said that no other request is served here
        self.status = 0
        self.reason: Reason | None = None   # why the upstream's sidecar refused
        self.received = 0
        self.sent = 0


async def forward(exchange: Exchange, permit: Permit, upstream: Upstream, pool: Pool, deadline: Deadline) -> bool:
    """Carry the exchange out; True if the downstream connection can take another request.

    Raises MeshError; then `exchange.has_answered` says whether a response can still be sent. After an error or cancellation the
    upstream connection is closed, never pooled.
    """
    assert isinstance(permit, Permit)
    down, request = exchange.downstream, exchange.request
    first = _framed(request.body.kind, down.take_buffered())
    is_whole = down.is_body_done
    if is_whole and request.body.kind is BodyKind.CHUNKED:
        first += LAST_CHUNK
    exchange.received += len(first)
    opening = render_request(request, upstream.host, upstream.headers) + first

    connection, stale = pool.take_nowait(upstream.key)
    close_all(stale)
    is_reused = connection is not None
    try:
        while True:
            if connection is None:
                deadline.upstream("connect", CONNECT_S)
                connection = Http1Connection(await upstream.connect(), is_server=False)
            deadline.upstream("response", RESPONSE_HEAD_S)
            try:
                await connection.send(opening)
                response = await _final_head(exchange, connection, deadline) if is_whole else None
                break
            except Reset:
                # The keep-alive race: the server closed just as we asked. Nothing of an answer was seen.
                if not (is_reused and is_whole and request.method in REPLAYABLE) or exchange.has_answered:
                    raise
                close_all([connection])
                connection, is_reused = None, False
        if response is not None:
            is_reusable = await _answer(exchange, connection, response, upstream, deadline)
        else:
            is_reusable = await _exchange_bodies(exchange, connection, upstream, deadline)
    except BaseException:
        if connection is not None:
            close_all([connection])
        raise
    if is_reusable and not connection.has_leftover:
        close_all(pool.give_back(upstream.key, connection))
    else:
        close_all([connection])
    return not exchange.says_close


def _framed(kind: BodyKind, piece: bytes) -> bytes:
    return frame_chunk(piece) if kind is BodyKind.CHUNKED and piece else piece


async def _exchange_bodies(exchange: Exchange, connection: Http1Connection, upstream: Upstream, deadline: Deadline) -> bool:
    """The request's body goes up while the response comes down; ends with the response, whether or not all went up.

    Returns: whether the upstream connection could take another request. Where a part of the body is missing it could not: the
        next request would be read as that part.
    """
    failures: list[MeshError] = []
    is_reusable = is_sent = False
    async with trio.open_nursery() as nursery:

        async def upload() -> None:
            nonlocal is_sent
            down, kind = exchange.downstream, exchange.request.body.kind
            try:
                if not exchange.request.expects_continue:   # else it is the upstream's turn
                    deadline.downstream("request body", BODY_IDLE_S)
                while piece := await down.read_body():
                    exchange.received += len(piece)
                    deadline.upstream("request body", BODY_IDLE_S)
                    await connection.send(_framed(kind, piece))
                    deadline.downstream("request body", BODY_IDLE_S)
                deadline.upstream("response", RESPONSE_HEAD_S)
                if kind is BodyKind.CHUNKED:
                    await connection.send(LAST_CHUNK)
                is_sent = True
            except UpstreamError:
                pass    # it may have answered before it stopped listening: the answer decides
            except PeerError as exc:
                failures.append(exc)
                nursery.cancel_scope.cancel()

        nursery.start_soon(upload)
        try:
            response = await _final_head(exchange, connection, deadline)
            is_reusable = await _answer(exchange, connection, response, upstream, deadline)
        except MeshError as exc:
            failures.append(exc)
        nursery.cancel_scope.cancel()
    if failures:
        raise failures[0]
    return is_reusable and is_sent


async def _final_head(exchange: Exchange, connection: Http1Connection, deadline: Deadline) -> ResponseHead:
    for _ in range(MAX_INTERIM + 1):
        response = await connection.read_response(exchange.request.method)
        if response.status >= 200:
            return response
        if response.status == 100 and exchange.request.expects_continue:
            deadline.downstream("request body", BODY_IDLE_S)
            await exchange.downstream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    raise BadResponse(f"more than {MAX_INTERIM} interim responses")


def _reason_told(fields: Headers) -> Reason | None:
    """The one reason that `fields` name, if it is one of ours: a code is a label of our metrics."""
    told = [value for name, value in fields if name.lower() == b"x-bartizan-reason"]
    return BY_CODE.get(told[0][:6].decode("latin-1")) if len(told) == 1 else None


async def _answer(
    exchange: Exchange, connection: Http1Connection, response: ResponseHead, upstream: Upstream, deadline: Deadline
) -> bool:
    """The response's head and body; True if the upstream connection could take another request."""
    down, request = exchange.downstream, exchange.request
    if upstream.adapt is not None:
        response = upstream.adapt(response)
    if ours := [field for field in response.headers if field[0][:len(OURS)].lower() == OURS]:
        if upstream.is_mesh:
            exchange.reason = _reason_told(ours)
        else:
            response = replace(response, headers=[field for field in response.headers if field not in ours])
    kind = response.body.kind
    # A body whose end is the connection's end is passed on in chunks, so that a cut one can be told from a complete one;
    # an HTTP/1.0 client knows no chunks and gets such a body, and a chunked one, until the connection closes.
    if kind in (BodyKind.UNTIL_CLOSE, BodyKind.CHUNKED):
        kind = BodyKind.UNTIL_CLOSE if request.is_http10 else BodyKind.CHUNKED
        response = replace(response, body=Body(kind))
    exchange.says_close = request.is_last or not down.is_body_done
    text = render_response(response, [], close=exchange.says_close, chunk_until_close=not request.is_http10)
    piece = connection.take_buffered()
    exchange.has_answered = True
    exchange.status = response.status
    while True:
        exchange.sent += len(piece)
        text += _framed(kind, piece)
        if connection.is_body_done and kind is BodyKind.CHUNKED:
            text += LAST_CHUNK
        if text:
            deadline.downstream("response", BODY_IDLE_S)
            await down.send(text)
        if connection.is_body_done:
            return not response.is_last
        deadline.upstream("response body", BODY_IDLE_S)
        piece = await connection.read_body()
        text = b""
