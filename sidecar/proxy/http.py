"""The loop of one HTTP/1.1 downstream connection, the same for inbound, mesh and egress: read, decide, forward or explain, tell.

The recipes differ only in `decide`. It is asked for every request, so that a changed rule applies to the next one.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from sidecar.model.decision import Denied, Permit
from sidecar.model.errors import DownstreamGone, MeshError, ReasonedError
from sidecar.model.message import RequestHead
from sidecar.net.deadline import Deadline
from sidecar.net.http1 import Http1Connection
from sidecar.net.socket_stream import LAST_WORDS_S, cut, linger
from sidecar.telemetry.access_log import Record

from .forward import BODY_IDLE_S, Exchange, Upstream, forward
from .respond import TABLE, explain
from .runtime import Runtime

REQUEST_HEAD_S = 15.0   # from its first byte
KEEP_ALIVE_S = 75.0
DECISION_S = 10.0
DISCARD_BYTES = 65536   # a short body is read to its end so that the connection can go on after a refusal

Decision = tuple[Permit, Upstream] | Denied
Decide = Callable[[RequestHead, Record], Awaitable[Decision]]
NewRecord = Callable[[], Record]


async def serve_http(
    stream: trio.abc.HalfCloseableStream, runtime: Runtime, decide: Decide, new_record: NewRecord, *, early: bytes = b""
) -> None:
    """Serve until the client closes, asks to, or something is in doubt. The caller closes the stream.

    Args:
        new_record: a record with what is known of the connection; one for each exchange.
    """
    down = Http1Connection(stream, is_server=True, early=early)
    exchange: Exchange | None = None
    record = new_record()
    try:
        with Deadline() as deadline:
            deadline.downstream("first request", REQUEST_HEAD_S)
            begun = partial(deadline.downstream, "request head", REQUEST_HEAD_S)
            while (request := await down.read_request(begun)) is not None:
                record.time = runtime.wall()
                exchange = Exchange(down, request)
                goes_on = await _serve_one(exchange, record, runtime, decide, deadline)
                runtime.tell(record)
                exchange, record = None, new_record()
                if not goes_on:
                    deadline.lift()
                    await linger(stream)
                    return
                deadline.downstream("next request", KEEP_ALIVE_S)
    except ReasonedError as exc:
        if exchange is not None or down.has_leftover:   # else it was idle, and its time is over
            await _last_words(down, exchange, record, exc, runtime)
    except BaseException:   # cancelled from outside, or a bug
        if exchange is not None:
            if exchange.has_answered:
                cut(stream)
            record.detail = record.detail or "ended before it was complete"
            runtime.tell(record)
        raise


async def _serve_one(exchange: Exchange, record: Record, runtime: Runtime, decide: Decide, deadline: Deadline) -> bool:
    """True if the connection can go on. Errors that end the connection are raised."""
    request = exchange.request
    record.method = request.method.decode("ascii")
    record.host = request.host.decode("ascii")
    record.path = request.path.decode("ascii", "backslashreplace")
    started = trio.current_time()
    deadline.upstream("name resolution", DECISION_S)     # what else a decision needs, it has
    try:
        try:
            decision = await decide(request, record)
        except ReasonedError as exc:
            decision = Denied(exc.reason, record.rule, exc.detail)
        if isinstance(decision, Denied):
            return await _refuse(exchange, record, decision, deadline)
        permit, upstream = decision
        record.rule, record.upstream = permit.rule, upstream.name
        if upstream.endpoint is not None:
            runtime.in_flight[upstream.endpoint] += 1
        try:
            goes_on = await forward(exchange, permit, upstream, runtime.pool, deadline)
            if exchange.reason is not None:
                record.refuse(exchange.reason, "said by the upstream's sidecar")
            return goes_on
        except ReasonedError as exc:
            if exchange.has_answered or TABLE[exc.reason].closes or isinstance(exc, DownstreamGone):
                raise
            return await _refuse(exchange, record, Denied(exc.reason, permit.rule, exc.detail), deadline)
        finally:
            if upstream.endpoint is not None:
                runtime.leave(upstream.endpoint)
    finally:
        record.status, record.received, record.sent = exchange.status, exchange.received, exchange.sent
        record.duration_ms = round((trio.current_time() - started) * 1000, 3)


async def _refuse(exchange: Exchange, record: Record, denied: Denied, deadline: Deadline) -> bool:
    row = TABLE[denied.reason]
    request, down = exchange.request, exchange.downstream
    record.refuse(denied.reason, denied.detail)
    record.rule = denied.rule
    deadline.downstream("request body", BODY_IDLE_S)
    seen = 0
    while not request.expects_continue and not row.closes and seen < DISCARD_BYTES and (piece := await down.read_body()):
        seen += len(piece)
    close = row.closes or request.is_last or not down.is_body_done
    deadline.downstream("response", BODY_IDLE_S)
    exchange.status = row.status
    exchange.has_answered = True
    await down.send(explain(denied.reason, denied.rule, denied.detail, close=close, has_body=request.method != b"HEAD"))
    return not close


async def _last_words(
    down: Http1Connection, exchange: Exchange | None, record: Record, exc: ReasonedError, runtime: Runtime
) -> None:
    """The connection ends with an error: tell, and answer if nothing was answered yet; else cut what was begun."""
    has_begun = exchange is not None and exchange.has_answered
    is_heard = not has_begun and not isinstance(exc, DownstreamGone)
    if not record.code:
        record.refuse(exc.reason, exc.detail)
    if is_heard:
        record.status = TABLE[exc.reason].status
    record.method = record.method or "-"
    runtime.tell(record)
    if has_begun:
        cut(down.stream)
    elif is_heard:
        with trio.move_on_after(LAST_WORDS_S):
            try:
                has_body = exchange is None or exchange.request.method != b"HEAD"
                await down.send(explain(exc.reason, record.rule, exc.detail, close=True, has_body=has_body))
                await linger(down.stream)
            except MeshError:
                pass    # nobody is left to hear it
