"""External hosts: binding by construction, and TLS that the sidecar originates.

The name that was judged is resolved by the resolvers that the snapshot names; that answer is dialled, and that name is what the
certificate must be for. The address that the application dialled decides nothing; where it differs it is written down.

    plain HTTP   judged by Host, for each request; TLS originated and verified before a byte of the request is sent
    TLS          judged by SNI; passed through as it is to the address that *we* resolved
    TCP          by the name whose synthetic address was dialled: `egress_tcp.py`

If anything is missing (Secret, roots, name, verification) the answer is a refusal that says so. Never plaintext instead.

Trust: the application chooses the name, and nothing else. Name and port have passed `policy/egress.py`; the host at the other end is
believed nothing before its certificate is verified, and its answer is judged like every upstream's.
"""

import socket
from collections.abc import Callable, Sequence
from functools import partial

import trio

from sidecar.model.address import Address
from sidecar.model.decision import Denied, Permit
from sidecar.model.egress import EgressHost, EgressRange, GatewayRef
from sidecar.model.errors import Unavailable
from sidecar.model.message import RequestHead
from sidecar.model.reason import Reason
from sidecar.net.deadline import Deadline
from sidecar.net.socket_stream import SocketStream, close_stream
from sidecar.policy.egress import Kind, why_not
from sidecar.policy.rules import Rules
from sidecar.protocol.client_hello import ClientHello
from sidecar.protocol.gateway_preface import Preface
from sidecar.telemetry.access_log import Record

from . import via_gateway
from .headers import egress_headers
from .http import serve_http
from .originate import Originator, dial
from .plan import CONNECT_S, Decision
from .runtime import Runtime
from .serve import Decide
from .tunnel import tunnel
from .ways import Ways


def approve(
    host: str, port: int, runtime: Runtime, kind: Kind, caller: str | None = None
) -> tuple[Permit, EgressHost, Rules] | Denied:
    """The leave to reach `host` now.

    Args:
        caller: of an egress gateway, whom it leads out; None: our own application asks.
    """
    rules = runtime.rules.current
    if rules is None:
        return Denied(Reason.NO_SNAPSHOT)
    if not runtime.is_outbound_open.current:
        return Denied(Reason.REDIRECT_LOST)
    table = rules.outbound if caller is None else rules.callers.get(caller)
    if table is None:
        return Denied(Reason.HOST_NOT_APPROVED, detail=f"this gateway leads {caller} nowhere")
    judged = table.host(host, port, kind, runtime.wall())
    return judged if isinstance(judged, Denied) else (judged.permit, judged.approval, rules)


def is_approved(
    host: str, port: int, runtime: Runtime, kind: Kind, gateway: GatewayRef | None, caller: str | None = None
) -> bool:
    """Whether what was begun may go on: the leave stands, and by the same way."""
    judged = approve(host, port, runtime, kind, caller)
    return not isinstance(judged, Denied) and judged[1].gateway == gateway


# -- the application speaks plain HTTP: originate


async def serve_plain(sock: socket.socket, to: Address, originator: Originator, runtime: Runtime, known: Record) -> None:
    def new_record() -> Record:
        return Record(runtime.wall(), "outbound", dst=known.dst)

    await serve_http(SocketStream(sock), runtime, plain_decider(to, originator, runtime), new_record)


def plain_decider(to: Address, originator: Originator, runtime: Runtime) -> Decide:
    """How each request of a connection that the application opened to `to` is decided."""
    ways = Ways(originator, runtime)

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
        is_permitted = partial(is_approved, host, to.port, runtime, "plain", approval.gateway)
        if approval.gateway is not None:
            return via_gateway.plan_request(request, to.port, approval, permit, rules, record, runtime, is_permitted)
        return await ways.plan(request, headers, to, permit, approval, rules, record, is_permitted)

    return decide


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
    still = partial(is_approved, host, to.port, runtime, "tls", approval.gateway)
    if approval.gateway is not None:
        await via_gateway.serve_connection(sock, Preface("tls", host, to.port), approval, permit, rules, record, runtime, still)
        return
    with Deadline() as deadline:
        deadline.upstream("name resolution", CONNECT_S)
        addresses = await originator.addresses(host, approval, rules)
    record.dst_mismatch = to.host not in addresses
    await relay(sock, [Address(address, to.port) for address in addresses], permit, record, runtime, lambda _: still(), approval)


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
    record.upstream = f"{record.host or to[0].host}:{to[0].port}"
    await carry(SocketStream(sock), SocketStream(sock_up), permit, record, runtime, is_permitted, approval)


async def carry(
    app: trio.abc.HalfCloseableStream,
    upstream: trio.abc.HalfCloseableStream,
    permit: Permit,
    record: Record,
    runtime: Runtime,
    is_permitted: Callable[[Rules | None], bool],
    approval: EgressHost | EgressRange | None,
) -> None:
    """Bytes as they are between two that are connected; closes the upstream and tells the record."""
    if not record.connection:
        runtime.accounts.relay(record)
    started = trio.current_time()
    try:
        await tunnel(
            app, upstream, permit, record, runtime.rules, is_permitted, runtime.pipes,
            spend=runtime.budgets.spender(approval) if approval is not None else None,
        )
    finally:
        record.duration_ms = round((trio.current_time() - started) * 1000, 3)
        runtime.tell(record)        # while its account is open
        close_stream(upstream)
