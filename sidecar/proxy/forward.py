"""One permitted exchange: request up, response down, both streamed, each side held back by the other.

An exchange whose request is complete when its head arrives needs no second task; a body still on its way gets one, since one
task cannot wait on two descriptors. An upstream connection takes another exchange only after a complete one with nothing left
over; whatever is in doubt is closed. A response that was begun and cannot be completed ends with a cut, never with a quiet end.
Attempts follow one another only while the client has seen nothing of an answer. Spec: RFC 9112 s9.3, RFC 9110 s9.2.2.
"""


import trio
from msgspec.structs import replace

from sidecar.model.decision import Permit
from sidecar.model.errors import BadResponse, MeshError, PeerError, Reset, TimedOut, UpstreamError
from sidecar.model.message import BodyKind, Headers, ResponseHead
from sidecar.model.reason import BY_CODE, Reason
from sidecar.net.deadline import Deadline
from sidecar.net.ends import AskingEnd
from sidecar.policy import retry

from .exchange import Exchange
from .lease import connect, lease
from .mirror import Copy
from .plan import Plan, Upstream
from .runtime import Runtime
from .upgrade import switch

RESPONSE_HEAD_S = 60.0
BODY_IDLE_S = 60.0
STREAM_IDLE_S = 300.0   # an answer that comes in pieces may pause so long: events, gRPC streams
MAX_INTERIM = 8
OURS = b"x-bartizan-"
# A body with a length, or before an answer, is an upload and no stream: after a grace it must keep up a rate, or one byte a minute
# would hold a connection. A stream of HTTP/2 holds none.
GRACE_S = 60.0
LEAST_BYTES_PER_S = 500
# > A proxy MUST NOT automatically retry non-idempotent requests (RFC 9110 s9.2.2).
REPLAYABLE = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})


async def forward(exchange: Exchange, plan: Plan, runtime: Runtime, deadline: Deadline) -> None:
    """Carry the exchange out.

    Raises MeshError; then `exchange.has_answered` says whether a response can still be sent. After an error or cancellation the
    upstream connection takes no other exchange.
    """
    assert isinstance(plan.permit, Permit)
    end = exchange.end
    if plan.request is not None:
        exchange.request = plan.request
    if exchange.request.upgrade and exchange.request.upgrade not in plan.upgrades:
        exchange.request = replace(exchange.request, upgrade=b"")
    first = exchange.take(end.take_buffered(), plan)
    if plan.mirror is not None:
        runtime.mirrors.offer(Copy.of(end.request, first, plan.mirror, is_whole=end.is_body_done))     # as it came
    failed = 0
    while True:
        upstream = plan.choose()
        exchange.upstream = upstream.name
        try:
            if await _attempt(exchange, plan, upstream, first, failed, runtime, deadline):
                return
        finally:
            if not exchange.has_answered and deadline.is_upstream_late:
                _observe(upstream, is_good=False)
            if upstream.leave is not None:
                upstream.leave()
        failed += 1
        assert plan.retries is not None
        deadline.upstream("retry", RESPONSE_HEAD_S)
        await trio.sleep(retry.pause(plan.retries, failed, runtime.rng))


async def _attempt(
    exchange: Exchange, plan: Plan, upstream: Upstream, first: bytes, failed: int, runtime: Runtime, deadline: Deadline
) -> bool:
    """True if the exchange was carried out; False if another attempt is to be made."""
    try:
        asking, response = await _ask(exchange, plan, upstream, first, runtime, deadline)
    except UpstreamError as exc:
        _observe(upstream, is_good=False)
        if _is_worth_retrying(exchange, plan, failed, exc):
            return False
        raise
    try:
        if response is None:
            await _exchange_bodies(exchange, plan, asking, upstream, runtime, deadline)
        elif _is_worth_retrying(exchange, plan, failed, response.status):
            _observe(upstream, is_good=response.status < 500)
            return False
        elif response.status == 101:
            await switch(exchange, plan, asking, response, runtime, deadline)
        else:
            _observe(upstream, is_good=response.status < 500)
            await _answer(exchange, plan, asking, response, runtime, deadline)
    finally:
        asking.finish()
    return True


def _observe(upstream: Upstream, *, is_good: bool) -> None:
    if upstream.observe is not None:
        upstream.observe(is_good)


def _is_worth_retrying(exchange: Exchange, plan: Plan, failed: int, failure: UpstreamError | int) -> bool:
    retries = plan.retries
    if retries is None or failed >= retries.attempts or exchange.has_begun or exchange.has_answered:
        return False
    was_sent = not retry.is_harmless(failure)
    return (
        (not was_sent or not exchange.received)     # what is kept no longer, or may have been acted upon, is not sent again
        and retry.is_worth(retries, exchange.request.method, failure)
        and (plan.may_retry is None or plan.may_retry())
    )


async def _ask(
    exchange: Exchange, plan: Plan, upstream: Upstream, first: bytes, runtime: Runtime, deadline: Deadline
) -> tuple[AskingEnd, ResponseHead | None]:
    """Send the request, as far as it is here; the response's head if that was all of it."""
    if plan.retries is None or plan.retries.attempt_s is None:
        return await _ask_once(exchange, plan, upstream, first, runtime, deadline)
    try:
        with trio.fail_after(plan.retries.attempt_s):
            return await _ask_once(exchange, plan, upstream, first, runtime, deadline)
    except trio.TooSlowError as exc:
        raise TimedOut(f"no answer from {upstream.name} within {plan.retries.attempt_s} s") from exc


async def _ask_once(
    exchange: Exchange, plan: Plan, upstream: Upstream, first: bytes, runtime: Runtime, deadline: Deadline
) -> tuple[AskingEnd, ResponseHead | None]:
    request, is_whole = exchange.request, exchange.end.is_body_done
    asking, is_reused = await lease(upstream, runtime.pool, deadline)
    while True:
        try:
            deadline.upstream_waits("response", RESPONSE_HEAD_S)
            trailers = exchange.end.trailers if is_whole and request.takes_trailers else None
            await asking.send_request(request, upstream.host, upstream.headers, first, is_end=is_whole and not trailers)
            if trailers:
                await asking.send_body(b"", is_end=True, trailers=trailers)
            if not is_whole:
                return asking, None
            exchange.end.take_buffered()    # there is no more, and `first` has gone on
            return asking, await _final_head(exchange, plan, asking, upstream, deadline)
        except Reset as exc:
            asking.finish()
            # The keep-alive race: the server closed just as we asked. Nothing of an answer was seen.
            is_race = is_reused and not exc.is_alone and is_whole and not first and request.method in REPLAYABLE
            if exchange.has_begun or not (is_race or (exc.is_unprocessed and is_reused)):
                raise
            deadline.upstream("connect", upstream.connect_s)
            asking, is_reused = await connect(upstream, runtime.pool), False
        except BaseException:
            asking.finish()
            raise


async def _exchange_bodies(
    exchange: Exchange, plan: Plan, asking: AskingEnd, upstream: Upstream, runtime: Runtime, deadline: Deadline
) -> None:
    """The request's body goes up while the response comes down; ends with the response, whether or not all went up."""
    failures: list[MeshError] = []
    async with trio.open_nursery() as nursery:

        async def upload() -> None:
            try:
                await _send_body(exchange, plan, asking, deadline)
            except UpstreamError:
                pass    # it may have answered before it stopped listening: the answer decides
            except PeerError as exc:
                failures.append(exc)
                nursery.cancel_scope.cancel()

        nursery.start_soon(upload)
        try:
            response = await _final_head(exchange, plan, asking, upstream, deadline)
            _observe(upstream, is_good=response.status < 500)
            await _answer(exchange, plan, asking, response, runtime, deadline)
        except MeshError as exc:
            if isinstance(exc, UpstreamError):
                _observe(upstream, is_good=False)
            failures.append(exc)
        nursery.cancel_scope.cancel()
    if failures:
        raise failures[0]


async def _send_body(exchange: Exchange, plan: Plan, asking: AskingEnd, deadline: Deadline) -> None:
    end, request = exchange.end, exchange.request
    is_upload = request.body.kind is BodyKind.LENGTH
    idle_s = plan.idle_s or (BODY_IDLE_S if is_upload else STREAM_IDLE_S)
    if not request.expects_continue:    # else it is the upstream's turn
        deadline.downstream("request body", idle_s)
    started = trio.current_time()
    is_end = False
    while not is_end:
        piece = exchange.take(await end.read_body(), plan)
        is_end = end.is_body_done
        deadline.upstream("request body", idle_s)
        await asking.send_body(piece, is_end=is_end, trailers=end.trailers if is_end and request.takes_trailers else None)
        if is_end:
            end.take_buffered()     # there is no more, and the last piece has gone on
            deadline.upstream_waits("response", RESPONSE_HEAD_S if is_upload else idle_s)
        elif is_upload or not (request.is_http2 or exchange.has_answered):
            spent_s = trio.current_time() - started
            deadline.downstream("request body", min(idle_s, GRACE_S + exchange.received / LEAST_BYTES_PER_S - spent_s))
        else:
            deadline.downstream("request body", idle_s)


async def _final_head(
    exchange: Exchange, plan: Plan, asking: AskingEnd, upstream: Upstream, deadline: Deadline
) -> ResponseHead:
    """As it is passed on, as are the interim ones before it."""
    for seen in range(MAX_INTERIM + 1):
        response = _as_told(exchange, plan, upstream, await asking.read_head())
        if response.status >= 200 or response.status == 101:
            return response
        if seen == MAX_INTERIM:
            break
        if response.status != 100 or exchange.request.expects_continue:
            if response.status == 100:
                deadline.downstream("request body", BODY_IDLE_S)
            exchange.has_begun = True
            await exchange.end.send_interim(response)
    raise BadResponse(f"more than {MAX_INTERIM} interim responses")


def _as_told(exchange: Exchange, plan: Plan, upstream: Upstream, response: ResponseHead) -> ResponseHead:
    """What the client is told of `response`; nobody but a sidecar of the mesh says our words."""
    ours = [field for field in response.headers if field[0][:len(OURS)].lower() == OURS]
    if upstream.is_mesh:
        exchange.reason = _reason_told(ours)
    elif ours:
        response = replace(response, headers=[field for field in response.headers if field not in ours])
    return response if plan.adapt is None else plan.adapt(response)


def _reason_told(fields: Headers) -> Reason | None:
    """The one reason that `fields` name, if it is one of ours: a code is a label of our metrics."""
    told = [value for name, value in fields if name.lower() == b"x-bartizan-reason"]
    return BY_CODE.get(told[0][:6].decode("latin-1")) if len(told) == 1 else None


async def _answer(
    exchange: Exchange, plan: Plan, asking: AskingEnd, response: ResponseHead, runtime: Runtime, deadline: Deadline
) -> None:
    """The response's head and body."""
    end, takes_trailers = exchange.end, exchange.request.takes_trailers
    piece = asking.take_buffered()
    is_end = asking.is_body_done
    exchange.has_answered = True
    exchange.status = response.status
    exchange.sent += len(piece)
    deadline.downstream("response", BODY_IDLE_S)
    await end.send_head(
        response, piece, is_end=is_end, closes=runtime.draining.current,
        trailers=asking.trailers if is_end and takes_trailers else None,
    )
    idle_s = plan.idle_s or STREAM_IDLE_S
    while not is_end:
        deadline.upstream("response body", idle_s)
        piece = await asking.read_body()
        is_end = asking.is_body_done
        exchange.sent += len(piece)
        deadline.downstream("response", BODY_IDLE_S)
        await end.send_body(piece, is_end=is_end, trailers=asking.trailers if is_end and takes_trailers else None)
