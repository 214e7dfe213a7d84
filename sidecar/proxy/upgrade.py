"""After 101: the connection carries another protocol, byte by byte, on routes that opted in (RFC 9110 s7.8, RFC 6455).

The upstream's connection is nobody else's any more, and ends with this one. What was judged was the request; so the leave is asked
for again at each change, as for any tunnel.
"""

from sidecar.model.errors import BadResponse
from sidecar.model.message import ResponseHead
from sidecar.net.deadline import Deadline
from sidecar.net.ends import AskingEnd
from sidecar.net.http1_client import Http1Client
from sidecar.net.http1_server import Http1Server

from .exchange import Exchange
from .plan import Plan
from .runtime import Runtime
from .tunnel import tunnel

SEND_S = 60.0


async def switch(
    exchange: Exchange, plan: Plan, asking: AskingEnd, response: ResponseHead, runtime: Runtime, deadline: Deadline
) -> None:
    end = exchange.end
    if not isinstance(asking, Http1Client) or not isinstance(end, Http1Server):
        raise BadResponse("101 where no upgrade is possible")
    exchange.has_answered = True
    exchange.record.status = response.status
    deadline.downstream("response", SEND_S)
    first = asking.take_leftover()
    await end.send_switch(response, first)
    exchange.record.sent += len(first)
    early = end.take_leftover()
    if early:
        if plan.spend is not None:
            plan.spend(len(early))
        deadline.upstream("response", SEND_S)
        await asking.send(early)
        exchange.record.received += len(early)
    deadline.lift()
    await tunnel(
        end.stream, asking.stream, plan.permit, exchange.record, runtime.rules, plan.is_permitted or (lambda: True), runtime.pipes,
        plan.idle_s, plan.spend,
    )
