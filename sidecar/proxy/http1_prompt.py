"""Prompt exchanges of HTTP/1.1, from end to end in one function: nearly all are.

The request has no body, the decision asks for nothing special, a connection to the upstream is at hand, and what it reads first holds
the whole answer. Whatever is out of the ordinary is handed over, from just where the exchange is, to the way of all others: `forward.py`,
`attempt.py`. So nothing is tried again, refused or blamed on anybody here; half of what an exchange costs of our own is saved.

Held to that way by tests/proxy/test_http1_prompt.py, which has both carry out the same exchanges.
"""

from msgspec.structs import replace

from sidecar.model.errors import UpstreamError
from sidecar.model.message import NONE
from sidecar.net.deadline import Deadline
from sidecar.net.http1_client import Http1Client
from sidecar.net.http1_server import Http1Server
from sidecar.policy import retry

from .attempt import RESPONSE_HEAD_S, Attempt
from .exchange import Exchange
from .plan import Begun, Plan, Upstream
from .runtime import Runtime


def is_ordinary(exchange: Exchange, plan: Plan) -> bool:
    request = exchange.request
    return (
        type(exchange.end) is Http1Server and request.body.kind is NONE and not request.upgrade
        and plan.request is None and plan.mirror is None and plan.spend is None
        and (plan.retries is None or plan.retries.attempt_s is None)
    )


async def forward_promptly(exchange: Exchange, plan: Plan, runtime: Runtime, deadline: Deadline, now: float) -> Plan | None:
    """Carry an ordinary exchange out; raises what `forward` does. What is left for `forward`, if anything is.

    Args:
        now: trio's time.
    """
    end, request, record = exchange.end, exchange.request, exchange.record
    assert isinstance(end, Http1Server)
    upstream = plan.choose()
    asking = None if upstream.is_shared else runtime.pool.take_nowait(upstream.key, now)
    if not isinstance(asking, Http1Client):
        return plan.beginning_with(upstream)
    try:
        record.upstream = upstream.name
        if upstream.security:
            exchange.reach(upstream)
        if asking.account:
            runtime.accounts.carry(record, asking.account)
        deadline.upstream_waits("response", RESPONSE_HEAD_S, now)
        try:
            if rest := asking.begin(request, upstream.host, upstream.headers):
                await asking.send_rest(rest)
            await asking.arrival()
            response = asking.head_nowait() or await asking.read_head()
        except UpstreamError as exc:
            return _handed_over(plan, upstream, Begun(asking, failure=exc))
        status = response.status
        # No rule can ask for another attempt after a status below 400.
        if status < 200 or response.may_hold_ours or (status >= 400 and _is_worth_another(plan, request.method, status)):
            return _handed_over(plan, upstream, Begun(asking, head=response))
        text = asking.head_text
        if plan.adapt is not None and (adapted := plan.adapt(response)) is not response:
            response, text = adapted, b""
        if upstream.observe is not None:
            upstream.observe(status < 500)
        piece = asking.take_whole()
        if piece is None:
            with Attempt(exchange, plan, upstream, runtime, deadline, asking) as attempt:
                asking = None
                await attempt.answer(response)
            return None
        exchange.has_answered = True
        record.status = status
        record.sent = len(piece)
        if rest := end.answer(response, piece, closes=runtime.draining.current, text=text):
            deadline.downstream("response", plan.patience.take_s)       # only who waits needs to be told how long
            await end.send_rest(rest)
    except BaseException:
        if asking is not None:
            with Attempt(exchange, plan, upstream, runtime, deadline, asking):
                raise
        raise
    asking.finish()
    if upstream.leave is not None:
        upstream.leave()
    return None


def _is_worth_another(plan: Plan, method: bytes, status: int) -> bool:
    return plan.retries is not None and retry.is_worth(plan.retries, method, status, has_body=False)


def _handed_over(plan: Plan, upstream: Upstream, begun: Begun) -> Plan:
    return plan.beginning_with(replace(upstream, begun=begun))
