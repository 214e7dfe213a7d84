"""One exchange, whatever version of HTTP it came by: decide, forward or explain, and what is told of it in the end."""

from collections.abc import Awaitable, Callable

import trio
from msgspec.structs import replace

from sidecar.model.decision import Denied
from sidecar.model.errors import DownstreamGone, MeshError, ReasonedError
from sidecar.model.message import NO_BODY, ResponseHead
from sidecar.model.reason import Reason
from sidecar.net.deadline import Deadline
from sidecar.net.http1_server import Http1Server
from sidecar.net.socket_stream import LAST_WORDS_S, linger
from sidecar.protocol.grpc_timeout import grpc_timeout_s
from sidecar.telemetry.access_log import Record

from .exchange import Exchange
from .forward import forward
from .http1_prompt import forward_promptly, is_ordinary
from .plan import BODY_IDLE_S, Decide, Decision, Plan, Reply
from .respond import TABLE, explanation
from .runtime import Runtime

DECISION_S = 10.0
DISCARD_BYTES = 65536   # a short body is read to its end so that the connection can go on after a refusal
DISCARD_S = 5.0         # ... if it comes at once

NewRecord = Callable[[], Record]
ServeConnection = Callable[[trio.abc.HalfCloseableStream, Runtime, Decide, NewRecord], Awaitable[None]]


async def carry_out(
    exchange: Exchange, runtime: Runtime, decide: Decide, deadline: Deadline, *, started: float | None = None
) -> float:
    """One exchange, from its request's head to the end of its response. Errors after which the connection is in doubt are raised.

    Args:
        started: when it was begun; None: now.
    Returns: trio's time at its end.
    """
    request, record = exchange.request, exchange.record
    exchange.note_request(runtime.wall())
    now = deadline.now()
    started = now if started is None else started
    try:
        try:
            decision: Decision
            if request.is_http10 and (denied := _refusal_of_version(runtime)) is not None:
                decision = denied
            else:
                found = decide(request, record)
                if isinstance(found, (Plan, Denied, Reply)):
                    decision = found
                else:
                    deadline.upstream("name resolution", DECISION_S, now)
                    decision = await found
                    now = deadline.now()
        except ReasonedError as exc:
            decision = Denied(exc.reason, exc.rule or record.rule, exc.detail)
        if isinstance(decision, Plan):
            await _forward(exchange, decision, runtime, deadline, now)
        elif isinstance(decision, Denied):
            await _refuse(exchange, decision, runtime, deadline)
        else:
            await _reply(exchange, decision, runtime, deadline)
    finally:
        ended = deadline.now()
        record.duration_ms = int((ended - started) * 1e6) / 1000     # `round` takes ten times as long
    return ended


def _refusal_of_version(runtime: Runtime) -> Denied | None:
    rules = runtime.rules.current
    if rules is not None and rules.snapshot.accept_http10:
        return None
    return Denied(Reason.VERSION, detail="HTTP/1.0 is accepted only where a MeshPolicy says acceptHttp10")


async def _forward(exchange: Exchange, plan: Plan, runtime: Runtime, deadline: Deadline, now: float) -> None:
    record = exchange.record
    record.rule = plan.permit.rule
    try:
        asked_s = grpc_timeout_s(exchange.request) if exchange.request.is_http2 else None
        if plan.request_s is not None or asked_s is not None:
            deadline.cap(min(limit for limit in (plan.request_s, asked_s) if limit is not None))
        if plan.delay_s:
            deadline.upstream("injected delay", plan.delay_s + 1)
            await trio.sleep(plan.delay_s)
            now = deadline.now()
        left: Plan | None = plan
        if runtime.is_prompt and is_ordinary(exchange, plan):
            left = await forward_promptly(exchange, plan, runtime, deadline, now)
        if left is not None:
            await forward(exchange, left, runtime, deadline)
            exchange.note_reason()
    except ReasonedError as exc:
        if exchange.has_answered or TABLE[exc.reason].closes or isinstance(exc, DownstreamGone):
            raise
        await _refuse(exchange, Denied(exc.reason, exc.rule or plan.permit.rule, exc.detail), runtime, deadline)
    finally:
        deadline.uncap()
        if plan.done is not None:
            plan.done()


async def _refuse(exchange: Exchange, denied: Denied, runtime: Runtime, deadline: Deadline) -> None:
    row = TABLE[denied.reason]
    exchange.record.refuse(denied.reason, denied.detail)
    exchange.record.rule = denied.rule
    if not row.closes:
        await _discard_body(exchange, deadline)
    deadline.downstream("response", BODY_IDLE_S)
    await _explain(exchange, denied, closes=row.closes or runtime.draining.current)


async def _discard_body(exchange: Exchange, deadline: Deadline) -> None:
    """A short body is read to its end, so that the connection can go on. HTTP/2 goes on anyway, and its client may wait for us."""
    if exchange.request.is_http2 or exchange.request.expects_continue or exchange.end.is_body_done:
        return
    deadline.downstream("request body", BODY_IDLE_S)
    seen = 0
    with trio.move_on_after(DISCARD_S):     # who is slow gets the answer, and the connection ends with it
        while seen < DISCARD_BYTES and (piece := await exchange.end.read_body()):
            seen += len(piece)


async def _explain(exchange: Exchange, denied: Denied, *, closes: bool) -> None:
    head, body = explanation(denied.reason, denied.rule, denied.detail, is_grpc=exchange.request.is_grpc, challenges=denied.challenges)
    await _send_own(exchange, head, body, closes=closes)


async def _send_own(exchange: Exchange, head: ResponseHead, body: bytes, *, closes: bool) -> None:
    """An answer of ours, whole."""
    if exchange.request.method == b"HEAD":
        head, body = replace(head, body=NO_BODY), b""
    exchange.record.status = head.status
    exchange.has_answered = True
    exchange.record.sent = len(body)
    await exchange.end.send_head(head, body, is_end=True, closes=closes)


async def _reply(exchange: Exchange, reply: Reply, runtime: Runtime, deadline: Deadline) -> None:
    exchange.record.rule = reply.permit.rule
    if reply.denied is not None:
        exchange.record.refuse(reply.denied.reason, reply.denied.detail)
    if reply.delay_s:
        deadline.upstream("injected delay", reply.delay_s + 1)
        await trio.sleep(reply.delay_s)
    await _discard_body(exchange, deadline)
    deadline.downstream("response", BODY_IDLE_S)
    await _send_own(exchange, reply.response, reply.body, closes=runtime.draining.current)


async def conclude(exchange: Exchange, exc: ReasonedError, runtime: Runtime) -> None:
    """The exchange ends with an error: tell, and answer if nothing was answered yet; else cut what was begun."""
    record = exchange.record
    if not record.code:
        record.refuse(exc.reason, exc.detail)
    is_heard = not exchange.has_answered and not isinstance(exc, DownstreamGone)
    if is_heard:
        record.status = 200 if exchange.request.is_grpc else TABLE[exc.reason].status
    runtime.tell(record)
    if not is_heard:
        exchange.end.cut()
        return
    with trio.move_on_after(LAST_WORDS_S):
        try:
            await _explain(exchange, Denied(exc.reason, record.rule, exc.detail), closes=True)
            if isinstance(exchange.end, Http1Server):
                await linger(exchange.end.stream)
        except MeshError:
            pass    # nobody is left to hear it


def abandon(exchange: Exchange, runtime: Runtime) -> None:
    """Cancelled from outside, or a bug: cut what was begun, and tell."""
    if exchange.has_answered:
        exchange.end.cut()
    record = exchange.record
    record.detail = record.detail or "ended before it was complete"
    runtime.tell(record)
