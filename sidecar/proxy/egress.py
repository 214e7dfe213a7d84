"""External hosts: binding by construction, and TLS that the sidecar originates.

The name that was judged is resolved by the resolvers that the snapshot names; that answer is dialled, and that name is what the
certificate must be for. The address that the application dialled decides nothing; where it differs it is written down.

    plain HTTP   judged by Host, for each request; TLS originated and verified before a byte of the request is sent
    TLS          judged by SNI; passed through as it is to the address that *we* resolved

If anything is missing (Secret, roots, name, verification) the answer is a refusal that says so. Never plaintext instead.

Trust: the application chooses the name, and nothing else. Name and port have passed `policy/egress.py`; the host at the other end is
believed nothing before its certificate is verified, and its answer is judged like every upstream's.
"""

import socket
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import NamedTuple

import trio

from sidecar.model.address import Address
from sidecar.model.decision import Denied, Permit
from sidecar.model.egress import EgressHost, EgressRange
from sidecar.model.errors import Unavailable
from sidecar.model.message import RequestHead, ResponseHead
from sidecar.model.reason import Reason
from sidecar.net.deadline import Deadline
from sidecar.net.ends import Connection
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_external import ExternalTls
from sidecar.policy.egress import Kind, why_not
from sidecar.policy.rules import Rules
from sidecar.protocol.client_hello import ClientHello
from sidecar.telemetry.access_log import Record

from .headers import egress_headers
from .http import serve_http
from .originate import Originator, connect_tls, dial
from .plan import CONNECT_S, Decision, Plan, Upstream
from .runtime import Runtime
from .stay_plain import stay_plain
from .tunnel import tunnel
from .versions import client

MOST_WAYS = 64      # hosts that one connection of the application's asks in turn


def approve(host: str, port: int, runtime: Runtime, kind: Kind) -> tuple[Permit, EgressHost, Rules] | Denied:
    """The leave to reach `host` now."""
    rules = runtime.rules.current
    if rules is None:
        return Denied(Reason.NO_SNAPSHOT)
    if not runtime.is_outbound_open.current:
        return Denied(Reason.REDIRECT_LOST)
    judged = rules.outbound.host(host, port, kind, runtime.wall())
    return judged if isinstance(judged, Denied) else (judged.permit, judged.approval, rules)


# -- the application speaks plain HTTP: originate


async def serve_plain(sock: socket.socket, to: Address, originator: Originator, runtime: Runtime, known: Record) -> None:
    ways: dict[tuple[str, bool], _Way] = {}

    def new_record() -> Record:
        return Record(runtime.wall(), "outbound", dst=known.dst)

    async def decide(request: RequestHead, record: Record) -> Decision:
        record.spoken = f"plain:{to.port}"
        headers = egress_headers(request, record, runtime.rng)
        host = request.host.decode("ascii")
        if request.port not in (None, to.port):
            return Denied(Reason.MISDIRECTED, detail=f"Host says port {request.port}, the connection goes to port {to.port}")
        judged = approve(host, to.port, runtime, "plain")
        if isinstance(judged, Denied):
            return judged
        permit, approval, rules = judged
        record.rule = permit.rule
        if (denied := why_not(approval, request) or runtime.budgets.why_exhausted(approval)) is not None:
            return denied
        tls = approval.tls
        context = originator.context(tls, is_http2=request.is_http2) if tls is not None else None
        addresses = await originator.addresses(host, approval, rules)
        record.dst_mismatch = to.host not in addresses
        way = ways.get((host, request.is_http2))
        if way is None or way.approval is not approval or way.addresses is not addresses or way.context is not context:
            way = ways[host, request.is_http2] = _way(host, to.port, approval, addresses, context, runtime, is_http2=request.is_http2)
            if len(ways) > MOST_WAYS:
                del ways[next(iter(ways))]
        upstream = Upstream(
            way.key, partial(_connect, way, runtime, record), way.host, headers, way.name,
            is_shared=request.is_http2, group=way.group, security=way.security,
        )
        return Plan(permit, lambda: upstream, adapt=way.adapt, spend=runtime.budgets.spender(approval))

    await serve_http(SocketStream(sock), runtime, decide, new_record)


class _Way(NamedTuple):
    """What the requests of one connection to one host have in common, as long as approval, addresses and context are the same.

    Args:
        judged: the name; `host` is what Host says to it.
    """

    judged: str
    approval: EgressHost
    addresses: tuple[str, ...]
    context: ExternalTls | None
    port: int
    is_http2: bool
    is_permitted: Callable[[], bool]
    key: Hashable
    group: Hashable
    host: bytes
    name: str
    security: str
    adapt: Callable[[ResponseHead], ResponseHead] | None


def _way(
    host: str, dialled: int, approval: EgressHost, addresses: tuple[str, ...], context: ExternalTls | None, runtime: Runtime, *,
    is_http2: bool,
) -> _Way:
    tls, named = approval.tls, host.encode()
    port, default, security = (dialled, 80, "plaintext") if tls is None else (tls.port, 443, "tls")

    def is_permitted() -> bool:
        return not isinstance(approve(host, dialled, runtime, "plain"), Denied)

    return _Way(
        host, approval, addresses, context, port, is_http2, is_permitted,
        key=("egress", host, port, addresses, context, is_http2), group=("egress", host),
        host=named if port == default else b"%b:%d" % (named, port), name=f"{host}:{port}", security=security,
        adapt=partial(stay_plain, host=named, port=dialled, tls_port=port) if tls is not None else None,
    )


async def _connect(way: _Way, runtime: Runtime, record: Record) -> Connection:
    """Without settings as the application speaks: an observed host, or one for which a policy says so."""
    settings, context = way.approval.tls, way.context
    if settings is None or context is None:
        sock, _ = await dial(way.addresses, way.port, runtime)
        runtime.withdrawals.watch(sock, way.is_permitted)
        return client(SocketStream(sock), is_http2=way.is_http2)
    stream = await connect_tls(way.judged, way.addresses, way.port, settings, context, runtime, record, way.is_permitted)
    return client(stream, is_http2=stream.connection.get_alpn_proto_negotiated() == b"h2", scheme=b"https")


# -- the application speaks TLS itself: pass through


async def serve_tls(
    sock: socket.socket, to: Address, hello: ClientHello, originator: Originator, runtime: Runtime, record: Record
) -> None:
    record.security, record.spoken = "passthrough", f"tls:{to.port}"
    if hello.server_name is None:
        raise Unavailable(Reason.ADDRESS_NOT_APPROVED, f"TLS to {to} without a server name, and no approved range holds it")
    host = record.host = hello.server_name
    judged = approve(host, to.port, runtime, "tls")
    if isinstance(judged, Denied):
        record.rule = judged.rule
        raise Unavailable(judged.reason, judged.detail)
    permit, approval, rules = judged
    record.rule = permit.rule
    with Deadline() as deadline:
        deadline.upstream("name resolution", CONNECT_S)
        addresses = await originator.addresses(host, approval, rules)
    record.dst_mismatch = to.host not in addresses

    def is_permitted(_: Rules | None) -> bool:
        return not isinstance(approve(host, to.port, runtime, "tls"), Denied)

    await relay(sock, [Address(address, to.port) for address in addresses], permit, record, runtime, is_permitted, approval)


async def relay(
    sock: socket.socket,
    to: Sequence[Address],
    permit: Permit,
    record: Record,
    runtime: Runtime,
    is_permitted: Callable[[Rules | None], bool],
    approval: EgressHost | EgressRange | None = None,
) -> None:
    """Bytes as they are, to the first of `to` that takes the connection.

    Args:
        approval: whose budget they are taken from.
    """
    record.rule = permit.rule
    if approval is not None and (denied := runtime.budgets.why_exhausted(approval)) is not None:
        raise Unavailable(denied.reason, denied.detail)
    with Deadline() as deadline:
        deadline.upstream("connect", CONNECT_S)
        sock_up, _ = await dial([address.host for address in to], to[0].port, runtime)
    upstream = SocketStream(sock_up)
    record.upstream = f"{record.host or to[0].host}:{to[0].port}"
    started = trio.current_time()
    try:
        await tunnel(
            SocketStream(sock), upstream, permit, record, runtime.rules, is_permitted, runtime.pipes,
            spend=runtime.budgets.spender(approval) if approval is not None else None,
        )
    finally:
        upstream.close()
        record.duration_ms = round((trio.current_time() - started) * 1000, 3)
        runtime.tell(record)
