"""What a recipe decides about one request: a Plan to carry it out, a Reply of our own, or a Denied.

The plan holds everything that differs between entering, mesh and egress, so that one loop (`http.py`) and one `forward` serve them.
"""

from collections.abc import Awaitable, Callable, Hashable

import msgspec
from msgspec.structs import replace

from sidecar.model.decision import Denied, Permit
from sidecar.model.errors import UpstreamError
from sidecar.model.message import Headers, RequestHead, ResponseHead
from sidecar.model.service import Limits, Retries
from sidecar.net.ends import AskingEnd, Connection
from sidecar.telemetry.access_log import Record

CONNECT_S = 10.0
BODY_IDLE_S = 60.0
# A body with a length, or before an answer, is an upload and no stream: after a grace it must keep up a rate, or one byte a minute
# would hold a connection. A stream of HTTP/2 holds none.
GRACE_S = 60.0


class Patience(msgspec.Struct, frozen=True):
    """With how slow a client an exchange is carried out.

    Args:
        grace_s: after so long its upload must have kept up a rate.
        take_s: for each piece of the answer.
        is_strict: the rate is asked from a body's first byte on, and of what comes by HTTP/2, too, but for gRPC, whose streams may pause.
    """

    grace_s: float = GRACE_S
    take_s: float = BODY_IDLE_S
    is_strict: bool = False


PATIENT = Patience()


class Begun(msgspec.Struct, frozen=True):
    """A request that is on its way already, on a connection that was at hand.

    Args:
        left_s: for the head of its answer; None: the deadline is set.
        send_rest: sends what there was no room for; None: all is sent.
        head: that came already.
        failure: what came instead.
    """

    asking: AskingEnd
    left_s: float | None = None
    head: ResponseHead | None = None
    failure: UpstreamError | None = None
    send_rest: Callable[[], Awaitable[None]] | None = None


class Upstream(msgspec.Struct, frozen=True):
    """Where one attempt goes.

    Args:
        key: what makes a pooled connection this one; see `net/pool.py`.
        connect: makes a new connection, verified as far as it is to be.
        host: what Host says there.
        headers: added to the request.
        name: for the log.
        is_mesh: a sidecar of the mesh answers there, whose word about refusals counts; nobody else may say `x-bartizan-*`.
        connect_s: time for it.
        is_shared: a connection carries many exchanges.
        group: whose connections are counted together, against `limits`.
        refused: called where one of these limits is reached.
        observe: told once for each attempt whether it succeeded: an answer below 500 did, a failed connection or reset did not.
        leave: called once when the attempt is over, however it ended.
        security, peer, tls: for the log once there is a connection, which has proved it; empty: of no concern to it.
        begun: what of the attempt is done.
    """

    key: Hashable
    connect: Callable[[], Awaitable[Connection]]
    host: bytes
    headers: Headers
    name: str
    is_mesh: bool = False
    connect_s: float = CONNECT_S
    is_shared: bool = False
    group: Hashable = None
    limits: Limits | None = None
    refused: Callable[[], None] | None = None
    observe: Callable[[bool], None] | None = None
    leave: Callable[[], None] | None = None
    security: str = ""
    peer: str = ""
    tls: str = ""
    begun: Begun | None = None


Choose = Callable[[], Upstream]


class Plan(msgspec.Struct, frozen=True):
    """How a permitted exchange is carried out.

    Args:
        choose: the upstream of the next attempt; raises UpstreamError or Unavailable if there is none. What it takes (a place at an
            endpoint) is given back through `Upstream.leave`.
        request: what is sent on, where that differs from what came: rewritten, header fields edited.
        adapt: changes the response's head, or None.
        request_s: for the whole exchange.
        idle_s: without a byte of the body either way; None: what all have.
        may_retry: takes one retry out of the budget, if there is one.
        delay_s: wait so long first (an injected fault).
        max_body_bytes: of the request.
        upgrades: protocols that the connection may be upgraded to.
        is_permitted: asked again and again while an upgraded connection lasts.
        mirror: gets a copy.
        spend: called with how many bytes of the request are about to go; raises Unavailable where they are too many.
        done: called once when the exchange is over, however it ended.
        patience: with the client.
    """

    permit: Permit
    choose: Choose
    request: RequestHead | None = None
    adapt: Callable[[ResponseHead], ResponseHead] | None = None
    request_s: float | None = None
    idle_s: float | None = None
    retries: Retries | None = None
    may_retry: Callable[[], bool] | None = None
    delay_s: float = 0.0
    max_body_bytes: int | None = None
    upgrades: tuple[bytes, ...] = ()
    is_permitted: Callable[[], bool] | None = None
    mirror: Upstream | None = None
    spend: Callable[[int], None] | None = None
    done: Callable[[], None] | None = None
    patience: Patience = PATIENT

    def beginning_with(self, upstream: Upstream) -> "Plan":
        """The same, which has chosen for its next attempt already."""
        chosen, choose = [upstream], self.choose
        return replace(self, choose=lambda: chosen.pop() if chosen else choose())


class Reply(msgspec.Struct, frozen=True):
    """An answer of our own that a rule asks for: direct response, redirection, injected abort.

    Args:
        delay_s: wait so long first.
        denied: the reason to write down, for an injected abort.
    """

    permit: Permit
    response: ResponseHead
    body: bytes = b""
    delay_s: float = 0.0
    denied: Denied | None = None


Decision = Plan | Reply | Denied

# Of one request, with what will be told of it: at once where nothing has to be waited for, and nearly always nothing has.
Decide = Callable[[RequestHead, Record], Decision | Awaitable[Decision]]


async def decided(found: Decision | Awaitable[Decision]) -> Decision:
    """For whoever may wait, and does not mind which it is."""
    return found if isinstance(found, (Plan, Denied, Reply)) else await found
