"""One permitted exchange: attempts that follow one another until the client has seen something of an answer, or none is worth making.

What one attempt does stands in `attempt.py`. A response that was begun and cannot be completed ends with a cut, never with a quiet
end; whoever calls sees to that.
"""

from itertools import count

import trio
from msgspec.structs import replace

from sidecar.model.decision import Permit
from sidecar.model.errors import UpstreamError
from sidecar.net.deadline import Deadline
from sidecar.policy import retry

from .attempt import RESPONSE_HEAD_S, Attempt
from .exchange import Exchange
from .mirror import Copy
from .plan import Plan
from .runtime import Runtime


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
    first = end.take_buffered()
    if first:
        exchange.take(first, plan)
    if plan.mirror is not None:
        runtime.mirrors.offer(Copy.of(end.request, first, plan.mirror, is_whole=end.is_body_done))     # as it came
    for failed in count():
        upstream = plan.choose()
        exchange.record.upstream = upstream.name
        with Attempt(exchange, plan, upstream, runtime, deadline) as attempt:
            try:
                response = await attempt.ask(first)
            except UpstreamError as exc:
                if not _may_retry(exchange, plan, failed, exc):
                    raise
            else:
                if response is None or not _may_retry(exchange, plan, failed, response.status):
                    await attempt.answer(response)
                    return
        assert plan.retries is not None
        deadline.upstream("retry", RESPONSE_HEAD_S)
        await trio.sleep(retry.pause(plan.retries, failed + 1, runtime.rng))


def _may_retry(exchange: Exchange, plan: Plan, failed: int, failure: UpstreamError | int) -> bool:
    """Whether another attempt is made; then it is paid for."""
    retries = plan.retries
    return (
        retries is not None and failed < retries.attempts and not exchange.has_begun
        and retry.is_worth(retries, exchange.request.method, failure, has_body=exchange.record.received > 0)
        and (plan.may_retry is None or plan.may_retry())
    )
