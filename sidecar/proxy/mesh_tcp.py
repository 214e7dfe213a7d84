"""One connection to a Service of the mesh whose protocol is opaque to us: balanced as a whole, and carried byte by byte.

The rule, the Service and the way there are as for requests (`mesh.py`). Until it is connected nothing was sent, so one endpoint
after the other is tried; from then on it lasts only while the snapshot still has both Service and endpoint.

Trust: as `mesh.py`.
"""

import socket
from collections.abc import Callable

import trio

from sidecar.model.address import Address
from sidecar.model.decision import Denied
from sidecar.model.errors import Unavailable, UpstreamError
from sidecar.net.deadline import Deadline
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import ALPN_TCP
from sidecar.net.tls_stream import TlsStream
from sidecar.policy.egress import ToService
from sidecar.policy.rules import Rules
from sidecar.policy.split import target
from sidecar.telemetry.access_log import Record

from .endpoints import Group, Member
from .entrance import ourselves
from .inbound_tcp import serve_opaque
from .relay import carry
from .runtime import Runtime

CONNECT_ATTEMPTS = 3


async def serve_mesh_connection(
    sock: socket.socket, at: Address, dialled: ToService, rules: Rules, runtime: Runtime, record: Record
) -> None:
    """
    Args:
        at: the address that the application dialled, which leads to `dialled`.
    """
    record.rule = dialled.permit.rule
    rule = dialled.rule(None)
    to = target(dialled, rule, rules.outbound, runtime.rng)
    if isinstance(to, Denied):
        raise Unavailable(to.reason, to.detail, to.rule)
    record.rule = to.permit.rule
    group = runtime.endpoints.group(rules, to.service, trio.current_time())
    member = group.pick(trio.current_time(), only=to.only)
    if member is None:
        denied = rules.why_nobody(to)
        raise Unavailable(denied.reason, denied.detail, denied.rule)
    if rules.is_this_pod(member.endpoint):
        await _enter(sock, group, member, runtime, record)
        return
    member, upstream, leave = await connect_to_one(member, group, to, rules, runtime, record)
    try:
        record.tls = upstream.connection.get_protocol_version_name()
        endpoint = member.endpoint

        def is_permitted() -> bool:
            rules = runtime.rules.current
            return rules is not None and rules.outbound.service(at) is not None and runtime.may_go_on(to.service, endpoint)

        idle_s = rule.idle_s if rule is not None else None
        await carry(SocketStream(sock), upstream, to.permit, record, runtime, is_permitted, idle_s=idle_s)
    finally:
        leave()


async def _enter(sock: socket.socket, group: Group, member: Member, runtime: Runtime, record: Record) -> None:
    """This very pod."""
    endpoint = member.endpoint
    record.peer, record.security = endpoint.identity, "in-process"
    leave = group.enter(member)
    try:
        await serve_opaque(SocketStream(sock), Address(endpoint.address, endpoint.port), ourselves(runtime), record, runtime)
    finally:
        leave()


async def connect_to_one(
    member: Member, group: Group, to: ToService, rules: Rules, runtime: Runtime, record: Record, alpn: bytes = ALPN_TCP
) -> tuple[Member, TlsStream, Callable[[], None]]:
    """A connection to `member` or, since nothing was sent yet, to another.

    Returns: whom it leads to, the stream, and what is to be called once when it is over.
    """
    avoided = [endpoint for endpoint in to.endpoints if rules.is_this_pod(endpoint)]
    failed = 0
    while True:
        try:
            stream, leave = await _connect(member, group, to, runtime, record, alpn)
        except UpstreamError:
            group.observe(member, trio.current_time, False)
            failed += 1
            avoided.append(member.endpoint)
            other = group.pick(trio.current_time(), avoid=avoided, only=to.only)
            if failed == CONNECT_ATTEMPTS or other is None or other.endpoint in avoided:
                raise
            member = other
        else:
            group.observe(member, trio.current_time, True)
            return member, stream, leave


async def _connect(
    member: Member, group: Group, to: ToService, runtime: Runtime, record: Record, alpn: bytes
) -> tuple[TlsStream, Callable[[], None]]:
    endpoint = member.endpoint
    leave = group.enter(member)
    try:
        with Deadline() as deadline:
            deadline.upstream("connect", to.service.balancing.connect_s)
            stream = await runtime.dial_mesh(endpoint, alpn)
    except BaseException:
        leave()
        raise
    record.security, record.peer, record.connection = "mtls", endpoint.identity, stream.account
    record.upstream = f"{to.service.name} {Address(endpoint.address, endpoint.port)}"
    return stream, leave
