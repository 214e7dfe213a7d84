"""The loop of one HTTP downstream connection, the same for inbound, mesh and egress: read, decide, forward or explain, tell.

The recipes differ only in `decide`. It is asked for every request, so that a changed rule applies to the next one. HTTP/1.1 has one
exchange after the other on one task; HTTP/2 (`http2.py`) one task for each.
"""

import trio

from sidecar.model.errors import DownstreamGone, MeshError, ReasonedError
from sidecar.net.deadline import Deadline
from sidecar.net.http1_server import Http1Server
from sidecar.net.socket_stream import LAST_WORDS_S, linger
from sidecar.protocol.detect import PREFACE
from sidecar.telemetry.access_log import Record

from .exchange import Exchange
from .http2 import serve_http2
from .plan import Decide
from .respond import TABLE, explain
from .runtime import Runtime
from .serve import NewRecord, abandon, carry_out, conclude

REQUEST_HEAD_S = 15.0   # from its first byte
KEEP_ALIVE_S = 75.0
DRAINING_S = 1.0


async def serve_http(stream: trio.abc.HalfCloseableStream, runtime: Runtime, decide: Decide, new_record: NewRecord) -> None:
    """Serve the version of HTTP that the client's first bytes are: HTTP/2 with prior knowledge (RFC 9113 s3.3), or HTTP/1.1."""
    first = b""
    try:
        with trio.fail_after(REQUEST_HEAD_S):
            while PREFACE.startswith(first) and len(first) < len(PREFACE):
                data = await stream.receive_some()
                if not data:
                    return
                first += bytes(data)
    except (trio.BrokenResourceError, trio.TooSlowError):
        return      # nothing was asked
    serve = serve_http2 if first.startswith(PREFACE) else serve_http1
    await serve(stream, runtime, decide, new_record, early=first)


async def serve_http1(
    stream: trio.abc.HalfCloseableStream, runtime: Runtime, decide: Decide, new_record: NewRecord, *, early: bytes = b""
) -> None:
    """Serve until the client closes, asks to, something is in doubt, or we drain. The caller closes the stream.

    Args:
        new_record: a record with what is known of the connection; one for each exchange. Its time is said here.
    """
    end = Http1Server(stream, early)
    exchange: Exchange | None = None
    record = new_record()
    # When we drain, callers' idle connections are ended; an application may go on using its own.
    idle = runtime.idle if record.direction != "outbound" else set()
    deadline = Deadline()

    def begun() -> None:
        idle.discard(deadline)
        deadline.downstream("request head", REQUEST_HEAD_S)

    try:
        with deadline:
            deadline.downstream("first request", REQUEST_HEAD_S)
            while end.request_nowait() or await end.read_request(begun):
                idle.discard(deadline)
                exchange = Exchange(end, record)
                ended = await carry_out(exchange, runtime, decide, deadline)
                runtime.tell(record)
                exchange, record = None, new_record()
                if not end.can_go_on:
                    deadline.lift()
                    await linger(stream)
                    return
                # An answer that was begun before we drained has not said that it is the last.
                deadline.downstream("next request", DRAINING_S if runtime.draining.current else KEEP_ALIVE_S, ended)
                idle.add(deadline)
                if end.has_leftover:    # perhaps 2000 requests, answered here without a wait: others have their turns between them
                    await trio.lowlevel.checkpoint()
                else:
                    await end.arrival()
    except ReasonedError as exc:
        if exchange is not None:
            await conclude(exchange, exc, runtime)
        elif end.has_leftover:      # else it was idle, and its time is over
            await _last_words(end, record, exc, runtime)
    except BaseException:   # cancelled from outside, or a bug
        if exchange is not None:
            abandon(exchange, runtime)
        raise
    finally:
        idle.discard(deadline)


async def _last_words(end: Http1Server, record: Record, exc: ReasonedError, runtime: Runtime) -> None:
    """The connection ends with bytes that are no request."""
    record.time = runtime.wall()
    record.refuse(exc.reason, exc.detail)
    is_heard = not isinstance(exc, DownstreamGone)
    if is_heard:
        record.status = TABLE[exc.reason].status
    record.method = "-"
    runtime.tell(record)
    if is_heard:
        with trio.move_on_after(LAST_WORDS_S):
            try:
                await end.send(explain(exc.reason, "", exc.detail))
                await linger(end.stream)
            except MeshError:
                pass    # nobody is left to hear it
