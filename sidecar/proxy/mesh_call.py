"""One request to a Service of the mesh: which endpoint takes each attempt, and the way there.

An endpoint that was tried already is taken only if no other is left; one that is this very pod is entered in-process, since a
connection to ourselves would pass no packet rule. Between attempts time passes: each one takes the Service as it is then.
"""

from collections.abc import Callable, Collection
from functools import partial

import trio
from msgspec.structs import replace

from sidecar.model.address import Address
from sidecar.model.decision import Denied
from sidecar.model.errors import NoEndpoint, Unavailable
from sidecar.model.message import Headers, RequestHead
from sidecar.model.reason import Reason
from sidecar.model.service import Endpoint, Retries
from sidecar.net.ends import Connection
from sidecar.net.tls_context import ALPN_HTTP1, ALPN_HTTP2
from sidecar.policy.egress import ToService
from sidecar.policy.hash_key import hash_key
from sidecar.policy.rules import Rules
from sidecar.telemetry.access_log import Record

from .endpoints import Member
from .entrance import Entrance, ourselves
from .headers import caller_headers
from .plan import Decision, Plan, Upstream
from .runtime import Runtime
from .versions import client

# Where no rule speaks of retries: what reached nobody is taken to another endpoint, as a connection is (`mesh_tcp.py`).
ELSEWHERE = Retries(attempts=2, backoff_s=0.001)
UPGRADES = (b"websocket",)  # whether it may be, the route of the pod that is called says


class MeshCall:
    """
    Args:
        headers: our own fields, which go with it to whichever endpoint.
        rules: in which `to` was found.
        to: the Service; a single endpoint if the application dialled a pod itself.
        is_http2: whether that is spoken with the endpoint's sidecar; None: where the request came by it.
    """

    __slots__ = (
        "_began", "_first", "_group", "_headers", "_is_http2", "_key", "_only", "_record", "_request", "_rules", "_runtime", "_to",
        "_tried",
    )

    def __init__(
        self, request: RequestHead, headers: Headers, to: ToService, rules: Rules, record: Record, runtime: Runtime,
        *, is_http2: bool | None = None,
    ) -> None:
        self._request = request
        self._is_http2 = request.is_http2 if is_http2 is None else is_http2
        self._headers = headers
        self._to = to
        self._rules = rules
        self._record = record
        self._runtime = runtime
        self._tried: list[Endpoint] = []
        self._first: Member | None = None
        self._only = to.only        # `to` is the whole Service after `_look_again`
        self._began = trio.current_time()
        self._group = runtime.endpoints.group(rules, to.service, self._began)
        on = to.service.balancing.hash_on
        self._key = hash_key(on, request) if on is not None else None

    def decide(self) -> Decision:
        """The plan of a request; the pod's own inbound recipe decides where its turn has come."""
        self._first = self._group.pick(self._began, key=self._key, only=self._only)
        if self._first is None:
            return self._rules.why_nobody(self._to)
        if self._rules.is_this_pod(self._first.endpoint):
            if self._rules.snapshot.edge is not None:   # no application stands behind it, and the request would come back to it
                return Denied(Reason.NO_ENDPOINT, self._to.permit.rule, "the Service leads to the ingress gateway itself")
            return self._enter(self._first)
        return Plan(
            self._to.permit, self.choose, retries=ELSEWHERE, may_retry=self.has_other, upgrades=UPGRADES, is_permitted=self.is_there
        )

    def is_there(self) -> bool:
        """Whether the endpoint of the last attempt still is one; asked while an upgraded connection lasts."""
        return self._runtime.may_go_on(self._to.service, self._tried[-1])

    def has_other(self) -> bool:
        """Whether there is an endpoint that was not tried."""
        avoided = (*self._tried, *self._own())
        member = self._pick(avoided)
        return member is not None and member.endpoint not in avoided

    def choose(self) -> Upstream:
        """Where the next attempt goes. Raises NoEndpoint or Unavailable."""
        member = self._first
        if self._tried or member is None:
            self._look_again()
            member = self._pick((*self._tried, *self._own()))
            if member is None or self._rules.is_this_pod(member.endpoint):
                raise NoEndpoint(f"{self._to.service.name} has no other endpoint")
        self._tried.append(member.endpoint)
        group = self._group
        return self._upstream(member, leave=group.enter(member), observe=partial(group.observe, member, trio.current_time))

    def copy(self) -> Upstream | None:
        """Where a copy goes, which is not counted and does not enter the pod itself; None: nowhere."""
        member = self._pick(self._own())
        if member is None or self._group.is_full or self._rules.is_this_pod(member.endpoint):
            return None
        return self._upstream(member)

    def _pick(self, avoid: Collection[Endpoint]) -> Member | None:
        return self._group.pick(trio.current_time(), key=self._key, avoid=avoid, only=self._only)

    def _own(self) -> tuple[Endpoint, ...]:
        return tuple(endpoint for endpoint in self._to.service.endpoints if self._rules.is_this_pod(endpoint))

    def _look_again(self) -> None:
        """Time has passed since the first attempt: take the Service as it is now."""
        rules, service = self._runtime.rules.current, self._to.service
        if not self._runtime.is_outbound_open.current:
            raise Unavailable(Reason.REDIRECT_LOST)
        found = rules.outbound.service_named(service.name, service.port) if rules is not None else None
        if rules is None or found is None:
            raise NoEndpoint(f"{service.name} is in the mesh no longer")
        self._rules, self._to = rules, found
        self._group = self._runtime.endpoints.group(rules, found.service, trio.current_time())

    def _upstream(
        self, member: Member, leave: Callable[[], None] | None = None, observe: Callable[[bool], None] | None = None
    ) -> Upstream:
        request, ways, is_http2 = self._request, self._group.ways, self._is_http2
        way = ways.get((member, is_http2))
        if way is None:
            way = ways[member, is_http2] = self._way(member.endpoint)
        assert isinstance(way.key, tuple)
        return replace(
            way, key=(*way.key, self._runtime.tls.current), headers=self._headers,
            host=request.host if request.port is None else request.host + b":%d" % request.port, observe=observe, leave=leave,
        )

    def _way(self, endpoint: Endpoint) -> Upstream:
        """What all requests to it have in common."""
        service, at, is_http2 = self._to.service, Address(endpoint.address, endpoint.port), self._is_http2
        return Upstream(
            key=("mesh", endpoint.identity, at, is_http2),
            connect=partial(_connect, endpoint, self._runtime, is_http2=is_http2),
            host=b"",
            headers=[],
            name=f"{service.name} {at}",
            is_mesh=True,
            is_shared=is_http2,
            connect_s=service.balancing.connect_s,
            group=(service.name, service.port),
            limits=service.balancing.limits,
            refused=self._group.count_refused,
            security="mtls",
            peer=endpoint.identity,
            tls="TLSv1.3",      # the mesh speaks no other
        )

    def _enter(self, member: Member) -> Decision:
        """This very pod: a connection to ourselves would pass no packet rule, so it enters in-process, judged like all others."""
        record, group = self._record, self._group
        record.peer, record.security = member.endpoint.identity, "in-process"
        at = Address(member.endpoint.address, member.endpoint.port)
        us = ourselves(self._runtime)
        headers = caller_headers(self._runtime, us, "", at.host) + self._headers
        decision = Entrance(at, us, record.source, self._runtime).decide(self._request, headers, record.time)
        if not isinstance(decision, Plan):
            return decision
        inner = decision.choose

        def choose() -> Upstream:
            upstream = inner()
            assert upstream.leave is None       # the pod's own application is no endpoint
            return replace(upstream, leave=group.enter(member), observe=partial(group.observe, member, trio.current_time))

        return replace(decision, choose=choose)


async def _connect(endpoint: Endpoint, runtime: Runtime, *, is_http2: bool) -> Connection:
    stream = await runtime.dial_mesh(endpoint, ALPN_HTTP2 if is_http2 else ALPN_HTTP1)
    try:
        runtime.withdrawals.watch(stream.sock, lambda: runtime.may_call(endpoint))
    except BaseException:
        stream.close()
        raise
    return client(stream, is_http2=is_http2)
