"""The loop of one HTTP/2 downstream connection: one task reads, and each exchange has its own, or needs none (`http2_prompts.py`).

What HTTP/2 needs is loaded with the first connection that speaks it: 1.5 MB that most pods never use.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import trio

from sidecar.model.errors import ProtocolViolation, ReasonedError
from sidecar.net.deadline import Deadline
from sidecar.net.socket_stream import linger
from sidecar.telemetry.access_log import Record

from .exchange import Exchange
from .plan import Decide
from .runtime import Runtime
from .serve import NewRecord, abandon, carry_out, conclude

if TYPE_CHECKING:
    from sidecar.net.http2_server import Http2Server, Http2ServingEnd, Refused


async def serve_http2(
    stream: trio.abc.HalfCloseableStream, runtime: Runtime, decide: Decide, new_record: NewRecord, *, early: bytes = b""
) -> None:
    """Serve until the client closes, is idle for long or breaks the rules, or we drain. The caller closes the stream.

    Args:
        new_record: a record with what is known of the connection; one for each exchange. Its time is said here.
    """
    from sidecar.net.http2_server import Http2Server, Refused

    from .http2_prompts import Prompts

    server = Http2Server(stream, early)
    async with trio.open_nursery() as watch:
        watch.start_soon(_drain_when_told, server, runtime)
        async with trio.open_nursery() as exchanges:
            prompts: AbstractContextManager[None] = nullcontext()
            if runtime.is_prompt:
                prompts = Prompts(server, runtime, decide, new_record, exchanges.start_soon, watch.start_soon, _serve)
            try:
                with prompts:
                    while (found := await server.next_exchange()) is not None:
                        if isinstance(found, Refused):
                            exchanges.start_soon(_refuse, found, new_record(), runtime)
                        else:
                            exchanges.start_soon(_serve, found, new_record(), runtime, decide)
            except ProtocolViolation as exc:
                _tell(exc, new_record(), runtime)
        watch.cancel_scope.cancel()
    await linger(stream)    # so that GOAWAY arrives


async def _drain_when_told(server: "Http2Server", runtime: Runtime) -> None:
    while not runtime.draining.current:
        await runtime.draining.wait_change(False)
    server.drain()


async def _serve(
    end: "Http2ServingEnd", record: Record, runtime: Runtime, decide: Decide, started: float | None = None
) -> None:
    exchange = Exchange(end, record)
    try:
        with end.scope:
            try:
                with Deadline() as deadline:
                    await carry_out(exchange, runtime, decide, deadline, started=started)
                runtime.tell(record)
            except ReasonedError as exc:
                await conclude(exchange, exc, runtime)
            except BaseException:   # given up by the client, cancelled from outside, or a bug
                record.detail = str(end.failure or "")
                abandon(exchange, runtime)
                raise
    finally:
        end.finish()


async def _refuse(refused: "Refused", record: Record, runtime: Runtime) -> None:
    """A request against the law; it is explained if anything can be said."""
    error = ProtocolViolation(refused.reason, refused.detail)
    if refused.end is None:
        _tell(error, record, runtime)
        return
    record.time, record.method = runtime.wall(), "-"
    try:
        with refused.end.scope:
            await conclude(Exchange(refused.end, record), error, runtime)
    finally:
        refused.end.finish()


def _tell(error: ProtocolViolation, record: Record, runtime: Runtime) -> None:
    record.time, record.method = runtime.wall(), "-"
    record.refuse(error.reason, error.detail)
    runtime.tell(record)
