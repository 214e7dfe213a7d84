"""The loop of one HTTP/1.1 downstream connection, the same for inbound, mesh and egress: read, decide, forward or explain, tell.

The recipes differ only in `decide`. It is asked for every request, so that a changed rule applies to the next one.
"""

from collections.abc import Awaitable, Callable

import trio

from sidecar.model.decision import Denied, Permit
from sidecar.model.errors import DownstreamGone, MeshError, ReasonedError
from sidecar.model.message import RequestHead
from sidecar.net.deadline import Deadline
from sidecar.net.http1 import Http1Connection
from sidecar.telemetry.access_log import Record

from .forward import BODY_IDLE_S, Exchange, Upstream, forward
from .respond import TABLE, explain
from .runtime import Runtime

REQUEST_HEAD_S = 15.0
KEEP_ALIVE_S = 75.0
LAST_WORDS_S = 5.0
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
    current: list[tuple[Exchange | None, Record]] = []
    try:
        with Deadline() as deadline:
            deadline.downstream("first request", REQUEST_HEAD_S)
            while True:
                current[:] = [(None, new_record())]
                request = await down.read_request()
                if request is None:
                    return
                record = current[0][1]
                record.time = runtime.wall()
                exchange = Exchange(down, request)
                current[:] = [(exchange, record)]
                if not await _serve_one(exchange, record, runtime, decide, deadline):
                    return
                deadline.downstream("next request", KEEP_ALIVE_S)
    except ReasonedError as exc:
        await _last_words(down, *current[0], exc, runtime)


async def _serve_one(exchange: Exchange, record: Record, runtime: Runtime, decide: Decide, deadline: Deadline) -> bool:
    """True if the connection can go on. Errors that end the connection are raised."""
    request = exchange.request
    record.method = request.method.decode("ascii")
    record.host = request.host.decode("ascii")
    record.path = request.path.decode("ascii", "backslashreplace")
    started = trio.current_time()
    try:
        try:
            decision = await decide(request, record)
        except ReasonedError as exc:
            decision = Denied(exc.reason, record.rule, exc.detail)
        if isinstance(decision, Denied):
            record.refuse(decision.reason, decision.detail)
            record.rule = decision.rule
            return await _refuse(exchange, record, decision, deadline)
        permit, upstream = decision
        record.rule, record.upstream = permit.rule, upstream.name
        try:
            return await forward(exchange, permit, upstream, runtime.pool, deadline)
        except ReasonedError as exc:
            if exchange.has_answered or TABLE[exc.reason].closes or isinstance(exc, DownstreamGone):
                raise
            record.refuse(exc.reason, exc.detail)
            return await _refuse(exchange, record, Denied(exc.reason, permit.rule, exc.detail), deadline)
        finally:
            record.status = exchange.status
            if exchange.peer_reason:
                record.code, _, record.reason = exchange.peer_reason.decode("latin-1").partition(" ")
    finally:
        record.received, record.sent = exchange.received, exchange.sent
        record.duration_ms = round((trio.current_time() - started) * 1000, 3)
        if record.status or record.code:
            runtime.tell(record)
            record.method = ""      # told


async def _refuse(exchange: Exchange, record: Record, denied: Denied, deadline: Deadline) -> bool:
    row = TABLE[denied.reason]
    request, down = exchange.request, exchange.downstream
    deadline.downstream("response", BODY_IDLE_S)
    seen = 0
    while not request.expects_continue and not row.closes and seen < DISCARD_BYTES and (piece := await down.read_body()):
        seen += len(piece)
    close = row.closes or request.is_last or not down.is_body_done
    record.status = exchange.status = row.status
    exchange.has_answered = True
    await down.send(explain(denied.reason, denied.rule, denied.detail, close=close, has_body=request.method != b"HEAD"))
    if close:
        await linger(down.stream)
    return not close


async def _last_words(
    down: Http1Connection, exchange: Exchange | None, record: Record, exc: ReasonedError, runtime: Runtime
) -> None:
    """The connection ends with an error: answer if nothing was answered yet, tell, and cut what was begun."""
    is_idle = exchange is None and not down.has_leftover
    has_begun = exchange is not None and exchange.has_answered
    if isinstance(exc, DownstreamGone) or is_idle or has_begun:
        if has_begun:
            _cut(down.stream)
    else:
        record.status = TABLE[exc.reason].status
        with trio.move_on_after(LAST_WORDS_S):
            try:
                await down.send(explain(exc.reason, record.rule, exc.detail, close=True))
                await linger(down.stream)
            except MeshError:
                pass    # nobody is left to hear it
    if not is_idle and not record.code:
        record.refuse(exc.reason, exc.detail)
        record.method = exchange.request.method.decode("ascii") if exchange else record.method or "-"
        runtime.tell(record)


def _cut(stream: trio.abc.HalfCloseableStream) -> None:
    cut = getattr(stream, "abort", None)
    if cut is not None:
        cut()


async def linger(stream: trio.abc.HalfCloseableStream) -> None:
    """Half-close and drain for a moment: closing with unread bytes would reset, and the reason would never arrive."""
    with trio.move_on_after(LAST_WORDS_S):
        try:
            await stream.send_eof()
            seen = 0
            while seen < 16 * DISCARD_BYTES and (data := await stream.receive_some(DISCARD_BYTES)):
                seen += len(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
