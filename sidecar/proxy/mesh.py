"""Calls to a Service of the mesh: which endpoint takes each attempt, and mTLS to exactly the identity that the snapshot names.

    1  the rule         the most specific of those that the destination declared for its callers
    2  the Service      the one that was dialled, or a backend among which the rule splits
    3  the endpoint     for each attempt anew; one that was tried already only if no other is left
    4  the connection   verified before a byte is sent; an endpoint that is this very pod enters in-process

Trust: the application chose the address and wrote the request; both select among endpoints of the snapshot and nothing else.
Whichever Service a rule leads to is reached in the same way, and never in plaintext.
"""

import socket
from collections.abc import Callable, Collection
from functools import partial

import trio
from msgspec.structs import replace

from sidecar.model.address import Address
from sidecar.model.decision import Denied
from sidecar.model.errors import NoEndpoint, NotVerified, Unavailable, UpstreamError, WrongIdentity
from sidecar.model.message import Headers, RequestHead
from sidecar.model.reason import Reason
from sidecar.model.service import Backend, CallRule, Endpoint, Mirror
from sidecar.net.deadline import Deadline
from sidecar.net.ends import Connection
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import ALPN_HTTP1, ALPN_HTTP2, ALPN_TCP
from sidecar.net.tls_stream import TlsStream
from sidecar.net.verify import peer_of
from sidecar.policy.egress import ToService
from sidecar.policy.hash_key import hash_key
from sidecar.policy.rules import Rules
from sidecar.policy.split import split
from sidecar.telemetry.access_log import Record

from .endpoints import Group, Member
from .headers import caller_headers, mesh_headers
from .http import serve_http
from .inbound import enter, ourselves, serve_opaque
from .plan import Decision, Plan, Upstream
from .runtime import Runtime
from .tunnel import tunnel
from .versions import client

CONNECT_ATTEMPTS = 3    # of one opaque connection
UPGRADES = (b"websocket",)  # whether it may be, the route of the pod that is called says


async def connect_mesh(endpoint: Endpoint, runtime: Runtime, alpn: bytes) -> TlsStream:                     # 4
    """mTLS to `endpoint`, which has proved the identity that the snapshot names, or an error; never anything less."""
    tls = runtime.valid_tls()
    if tls is None:
        raise Unavailable(Reason.NO_IDENTITY)
    sock = await runtime.dialer.connect(Address(endpoint.address, endpoint.port))
    stream = TlsStream(tls.clients[alpn], sock, is_server=False)
    try:
        await stream.handshake(NotVerified)
        peer = peer_of(stream.connection, tls.credentials.trust_domain, NotVerified)
        if peer.identity != endpoint.identity:
            raise WrongIdentity(f"{endpoint.address} proved {peer.identity}, not {endpoint.identity}")
        if not stream.connection.get_alpn_proto_negotiated():
            raise NotVerified("the endpoint does not speak the mesh's protocol")
    except BaseException:
        stream.close()
        raise
    return stream


def _is_this_pod(endpoint: Endpoint, rules: Rules) -> bool:
    return endpoint.address in rules.snapshot.workload.addresses


# -- rules


def _rule(dialled: ToService, request: RequestHead | None) -> CallRule | None:
    found = dialled.rules.find(dialled.service.port, request) if dialled.rules else None
    return found.rule if found is not None else None


def _target(dialled: ToService, rule: CallRule | None, rules: Rules, runtime: Runtime) -> ToService:        # 2
    """The Service that takes one request, or connection. Raises NoEndpoint."""
    if rule is None or not rule.backends:
        return dialled
    drawn = split(rule.backends, lambda backend: _named(backend, rules, dialled) is not None, runtime.rng)
    found = _named(drawn, rules, dialled) if drawn is not None else None
    if found is None:
        raise NoEndpoint(f"no backend of the rule {rule.name!r} is in the mesh")
    return found


def _named(what: Backend | Mirror, rules: Rules, dialled: ToService) -> ToService | None:
    """The Service that a rule names, if it is of the same kind; the very one that was dialled stays as it was dialled."""
    if (what.service, what.port) == (dialled.service.name, dialled.service.port):
        return dialled
    found = rules.outbound.service_named(what.service, what.port)
    return found if found is not None and found.service.is_http == dialled.service.is_http else None


# -- requests


async def serve_mesh_requests(sock: socket.socket, to: Address, runtime: Runtime, known: Record) -> None:
    """One connection of an application that speaks HTTP; each request is judged and balanced for itself."""
    def new_record() -> Record:
        return Record(runtime.wall(), "outbound", dst=known.dst, security="mtls", tls="TLSv1.3")

    async def decide(request: RequestHead, record: Record) -> Decision:
        headers = mesh_headers(request, record, runtime.rng)
        rules = runtime.rules.current
        if rules is None:
            return Denied(Reason.NO_SNAPSHOT)
        if not runtime.is_outbound_open.current:
            return Denied(Reason.REDIRECT_LOST)
        dialled = rules.outbound.service(to)
        if dialled is None:
            return Denied(Reason.ADDRESS_NOT_APPROVED, detail=f"{to} is in the mesh no longer")
        record.rule = dialled.permit.rule
        return _call(request, headers, dialled, rules, record, runtime)

    await serve_http(SocketStream(sock), runtime, decide, new_record)


def _call(
    request: RequestHead, headers: Headers, dialled: ToService, rules: Rules, record: Record, runtime: Runtime
) -> Decision:
    rule = _rule(dialled, request)                                                                          # 1
    decision = Attempts(request, headers, _target(dialled, rule, rules, runtime), rules, record, runtime).decide()
    if rule is None or not isinstance(decision, Plan):
        return decision
    plan = replace(decision, request_s=rule.request_s, idle_s=rule.idle_s)
    if rule.mirror is not None and runtime.rng.random() * 100 < rule.mirror.percent:
        to = _named(rule.mirror, rules, dialled)
        plan = replace(plan, mirror=Attempts(request, headers, to, rules, record, runtime).copy() if to is not None else None)
    if rule.retries is not None and record.security != "in-process":
        now = trio.current_time()
        group = runtime.endpoints.group(rules, dialled.service, now)
        group.deposit(rule, now)
        plan = replace(plan, retries=rule.retries, may_retry=lambda: group.may_retry(rule, trio.current_time()))
    return plan


class Attempts:
    """The endpoints of one Service that one request meets.

    Args:
        headers: what goes with it to whichever endpoint.
        to: the Service; a single endpoint if the application dialled a pod itself.
    """

    __slots__ = ("_first", "_group", "_headers", "_key", "_only", "_record", "_request", "_rules", "_runtime", "_to", "_tried")

    def __init__(
        self, request: RequestHead, headers: Headers, to: ToService, rules: Rules, record: Record, runtime: Runtime
    ) -> None:
        self._request = request
        self._headers = headers
        self._to = to
        self._rules = rules
        self._record = record
        self._runtime = runtime
        self._tried: list[Endpoint] = []
        self._first: Member | None = None
        self._only = to.only
        self._group = runtime.endpoints.group(rules, to.service, trio.current_time())
        on = to.service.balancing.hash_on
        self._key = hash_key(on, request) if on is not None else None

    def decide(self) -> Decision:
        """The plan of a request; the pod's own inbound recipe decides where its turn has come."""
        self._first = self._pick(())                                                                        # 3
        if self._first is None:
            return Denied(Reason.NO_ENDPOINT, self._to.permit.rule)
        if _is_this_pod(self._first.endpoint, self._rules):
            return self._enter(self._first)
        return Plan(self._to.permit, self.choose, upgrades=UPGRADES, is_permitted=self.is_there)

    def is_there(self) -> bool:
        """Whether the endpoint of the last attempt still is one; asked while an upgraded connection lasts."""
        rules, service = self._runtime.rules.current, self._to.service
        found = rules.outbound.service_named(service.name, service.port) if rules is not None else None
        return self._runtime.is_outbound_open.current and found is not None and self._tried[-1] in found.endpoints

    def choose(self) -> Upstream:
        """Where the next attempt goes. Raises NoEndpoint or Unavailable."""
        member = self._first
        if self._tried:
            self._look_again()
            member = self._pick((*self._tried, *self._own()))
        if member is None or _is_this_pod(member.endpoint, self._rules):
            raise NoEndpoint(f"{self._to.service.name} has no other endpoint")
        self._tried.append(member.endpoint)
        self._record.peer = member.endpoint.identity
        return self._upstream(member, leave=self._group.enter(member), observe=partial(_observe, self._group, member))

    def copy(self) -> Upstream | None:
        """Where a copy goes, which is not counted and does not enter the pod itself; None: nowhere."""
        member = self._pick(self._own())
        if member is None or self._group.is_full or _is_this_pod(member.endpoint, self._rules):
            return None
        return self._upstream(member)

    def _pick(self, avoid: Collection[Endpoint]) -> Member | None:
        return self._group.pick(trio.current_time(), key=self._key, avoid=avoid, only=self._only)

    def _own(self) -> tuple[Endpoint, ...]:
        return tuple(endpoint for endpoint in self._to.service.endpoints if _is_this_pod(endpoint, self._rules))

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
        endpoint, service, runtime, request = member.endpoint, self._to.service, self._runtime, self._request
        at = Address(endpoint.address, endpoint.port)

        is_http2 = request.is_http2

        async def connect() -> Connection:
            stream = await connect_mesh(endpoint, runtime, ALPN_HTTP2 if is_http2 else ALPN_HTTP1)
            return client(stream, is_http2=is_http2)

        return Upstream(
            key=("mesh", endpoint.identity, at, is_http2, runtime.tls.current),
            connect=connect,
            host=request.host if request.port is None else request.host + b":%d" % request.port,
            headers=self._headers,
            name=f"{service.name} {at}",
            is_mesh=True,
            is_shared=is_http2,
            connect_s=service.balancing.connect_s,
            group=(service.name, service.port),
            limits=service.balancing.limits,
            observe=observe,
            leave=leave,
        )

    def _enter(self, member: Member) -> Decision:
        """This very pod: a connection to ourselves would pass no packet rule, so it enters in-process, judged like all others."""
        record, group = self._record, self._group
        record.peer, record.security = member.endpoint.identity, "in-process"
        at = Address(member.endpoint.address, member.endpoint.port)
        us = ourselves(self._runtime)
        headers = caller_headers(self._runtime, us, "", at.host) + self._headers
        decision = enter(self._request, headers, at, us, record, self._runtime)
        if not isinstance(decision, Plan):
            return decision
        inner = decision.choose

        def choose() -> Upstream:
            upstream = inner()
            assert upstream.leave is None       # the pod's own application is no endpoint
            return replace(upstream, leave=group.enter(member), observe=partial(_observe, group, member))

        return replace(decision, choose=choose)


def _observe(group: Group, member: Member, is_success: bool) -> None:
    group.observe(member, trio.current_time(), is_success)


# -- connections


async def serve_mesh_connection(
    sock: socket.socket, to: Address, dialled: ToService, rules: Rules, runtime: Runtime, record: Record
) -> None:
    """One connection of an application whose protocol is opaque to us."""
    record.security, record.rule = "mtls", dialled.permit.rule
    rule = _rule(dialled, None)
    target = _target(dialled, rule, rules, runtime)
    record.rule = target.permit.rule
    group = runtime.endpoints.group(rules, target.service, trio.current_time())
    member = group.pick(trio.current_time(), only=target.only)
    if member is None:
        raise NoEndpoint(target.service.name)
    if _is_this_pod(member.endpoint, rules):
        record.peer, record.security = member.endpoint.identity, "in-process"
        at = Address(member.endpoint.address, member.endpoint.port)
        leave = group.enter(member)
        try:
            await serve_opaque(SocketStream(sock), at, ourselves(runtime), record, runtime)
        finally:
            leave()
        return
    member, upstream, leave = await _connect_to_one(member, group, target, rules, runtime, record)
    started = trio.current_time()
    try:
        record.tls = upstream.connection.get_protocol_version_name()
        endpoint = member.endpoint

        def is_permitted(rules: Rules | None) -> bool:
            if rules is None or not runtime.is_outbound_open.current or rules.outbound.service(to) is None:
                return False
            now = rules.outbound.service_named(target.service.name, target.service.port)
            return now is not None and endpoint in now.endpoints

        idle_s = rule.idle_s if rule is not None else None
        await tunnel(SocketStream(sock), upstream, target.permit, record, runtime.rules, is_permitted, runtime.pipes, idle_s)
    finally:
        leave()
        upstream.close()
        record.duration_ms = round((trio.current_time() - started) * 1000, 3)
        runtime.tell(record)


async def _connect_to_one(
    member: Member, group: Group, target: ToService, rules: Rules, runtime: Runtime, record: Record
) -> tuple[Member, TlsStream, Callable[[], None]]:
    """A connection to `member` or, since nothing was sent yet, to another: who it is, the stream, and what ends its being counted."""
    own = [endpoint for endpoint in target.endpoints if _is_this_pod(endpoint, rules)]
    tried: list[Endpoint] = []
    while True:
        endpoint = member.endpoint
        record.peer = endpoint.identity
        leave = group.enter(member)
        try:
            with Deadline() as deadline:
                deadline.upstream("connect", target.service.balancing.connect_s)
                stream = await connect_mesh(endpoint, runtime, ALPN_TCP)
        except BaseException as exc:
            leave()
            if not isinstance(exc, UpstreamError):
                raise
            _observe(group, member, False)
            tried.append(endpoint)
            other = group.pick(trio.current_time(), avoid=[*tried, *own], only=target.only)
            if len(tried) == CONNECT_ATTEMPTS or other is None or other.endpoint in [*tried, *own]:
                raise
            member = other
        else:
            _observe(group, member, True)
            record.upstream = f"{target.service.name} {Address(endpoint.address, endpoint.port)}"
            return member, stream, leave
