"""External hosts: binding by construction, and TLS that the sidecar originates.

The name that was judged is resolved by the resolvers that the snapshot names; that answer is dialled, and that name is what the
certificate must be for. The address that the application dialled decides nothing; where it differs it is written down.

    plain HTTP   judged by Host, for each request; TLS originated and verified before a byte of the request is sent
    TLS          judged by SNI; passed through as it is to the address that *we* resolved
    TCP          by the name whose synthetic address was dialled: `egress_tcp.py`

An ExternalName Service stands for a host: plain HTTP that says its name is judged, resolved, verified and sent on as if it had said the
host's; TLS that says its name is refused, since nobody's certificate is for it.

If anything is missing (Secret, roots, name, verification) the answer is a refusal that says so. Never plaintext instead.

Trust: the application chooses the name, and nothing else. Name and port have passed `policy/egress.py`; the host at the other end is
believed nothing before its certificate is verified, and its answer is judged like every upstream's.
"""

import socket
from collections.abc import Awaitable
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from sidecar.model.address import Address
from sidecar.model.decision import Denied, Permit
from sidecar.model.egress import Alias, EgressHost
from sidecar.model.errors import Unavailable
from sidecar.model.message import RequestHead
from sidecar.model.reason import Reason
from sidecar.net.deadline import Deadline
from sidecar.net.socket_stream import SocketStream
from sidecar.policy.egress import Kind, holds, why_not
from sidecar.policy.rules import Rules
from sidecar.protocol.client_hello import ClientHello
from sidecar.protocol.gateway_preface import Preface
from sidecar.telemetry.access_log import Record

from . import via_gateway
from .headers import egress_headers
from .http import serve_http
from .originate import Originator
from .plan import CONNECT_S, Decide, Decision
from .relay import relay
from .runtime import Runtime
from .ways import Ways


class Leave(NamedTuple):
    """
    Args:
        rules: by which it was judged, and the way on goes.
    """

    permit: Permit
    approval: EgressHost
    rules: Rules


def approve(host: str, port: int, runtime: Runtime, kind: Kind, caller: str | None = None, now: float | None = None) -> Leave | Denied:
    """The leave to reach `host` now.

    Args:
        caller: of an egress gateway, whom it leads out; None: our own application asks.
        now: Unix seconds, of whoever has just looked at the clock.
    """
    rules = runtime.rules.current
    if rules is None:
        return Denied(Reason.NO_SNAPSHOT)
    if not runtime.is_outbound_open.current:
        return Denied(Reason.REDIRECT_LOST)
    table = rules.outbound if caller is None else rules.callers.get(caller)
    if table is None:
        return Denied(Reason.HOST_NOT_APPROVED, detail=f"this gateway leads {caller} nowhere")
    judged = table.host(host, port, kind, runtime.wall() if now is None else now)
    return judged if isinstance(judged, Denied) else Leave(judged.permit, judged.approval, rules)


def is_approved(host: str, port: int, runtime: Runtime, kind: Kind, begun: EgressHost) -> bool:
    """Whether what was begun may go on: there is a leave, and it demands nothing that was not fulfilled then."""
    judged = approve(host, port, runtime, kind)
    return not isinstance(judged, Denied) and holds(begun, judged.approval, kind)


def demand(judged: Leave | Denied, record: Record) -> Leave:
    """For a connection, which has no answer but its end: the leave, with its rule written down, or Unavailable."""
    if isinstance(judged, Denied):
        record.rule = judged.rule
        raise Unavailable(judged.reason, judged.detail)
    record.rule = judged.permit.rule
    return judged


def alias_of(host: str, runtime: Runtime) -> Alias | None:
    """The ExternalName Service that our application means."""
    rules = runtime.rules.current
    return rules.alias(host) if rules is not None and rules.outbound.has_aliases else None


def _leads_nowhere(alias: Alias) -> Denied:
    return Denied(Reason.HOST_NOT_APPROVED, detail=f"the Service {alias.name} leads nowhere: {alias.problem}")


def _by_its_own_name(alias: Alias) -> Denied:
    """Of TLS, whose name the server's certificate is verified for by the application, nothing can be changed."""
    if alias.problem:
        return _leads_nowhere(alias)
    words = f"the Service {alias.name} stands for {alias.host}: TLS must say that name, which the certificate is for"
    return Denied(Reason.HOST_NOT_APPROVED, detail=words)


def judge_name(host: str, approval: EgressHost, rules: Rules, record: Record, runtime: Runtime) -> Denied | None:
    """Why a name that our application says is not looked up: it could be data on its way to the name server."""
    if approval.host == host:       # nothing of it is the application's
        return None
    return runtime.names.judge(host, approval, rules, record, is_observed=lambda: rules.outbound.observes(runtime.wall()))


# -- the application speaks plain HTTP: originate


async def serve_plain(sock: socket.socket, to: Address, originator: Originator, runtime: Runtime, known: Record) -> None:
    new_record = partial(replace, Record(known.time, "outbound", dst=known.dst))
    await serve_http(SocketStream(sock), runtime, plain_decider(to, originator, runtime), new_record)


def plain_decider(to: Address, originator: Originator, runtime: Runtime) -> Decide:
    """How each request of a connection that the application opened to `to` is decided."""
    ways, spoken = Ways(originator, runtime), f"plain:{to.port}"

    def decide(request: RequestHead, record: Record) -> Decision | Awaitable[Decision]:
        record.spoken = spoken
        headers = egress_headers(request, record, runtime.rng)
        host = request.host.decode("ascii")
        alias = alias_of(host, runtime)
        if alias is not None:
            if alias.problem:
                return _leads_nowhere(alias)
            # From here on there is no other name: a host outside knows nothing of the cluster's.
            host = record.host = alias.host
            request = replace(request, host=host.encode())
        if request.port not in (None, to.port):
            return Denied(Reason.MISDIRECTED, detail=f"Host says port {request.port}, the connection goes to port {to.port}")
        judged = approve(host, to.port, runtime, "plain", now=record.time)
        if isinstance(judged, Denied):
            return judged
        permit, approval, rules = judged
        record.rule = permit.rule
        denied = why_not(approval, request) or runtime.budgets.why_exhausted(approval) or judge_name(host, approval, rules, record, runtime)
        if denied is not None:
            return denied
        is_permitted = partial(is_approved, host, to.port, runtime, "plain", approval)
        if approval.gateway is not None:
            return via_gateway.plan_request(request, to.port, approval, permit, rules, record, runtime, is_permitted)
        return ways.plan(request, headers, to, permit, approval, rules, record, is_permitted)

    return decide


# -- the application speaks TLS itself: pass through


async def serve_tls(
    sock: socket.socket, to: Address, hello: ClientHello, originator: Originator, runtime: Runtime, record: Record
) -> None:
    record.security, record.spoken = "passthrough", f"tls:{to.port}"
    if hello.server_name is None:
        raise Unavailable(Reason.ADDRESS_NOT_APPROVED, f"TLS to {to} without a server name, and no approved range holds it")
    host = record.host = hello.server_name
    if (alias := alias_of(host, runtime)) is not None:
        demand(_by_its_own_name(alias), record)
    permit, approval, rules = demand(approve(host, to.port, runtime, "tls"), record)
    if (denied := judge_name(host, approval, rules, record, runtime)) is not None:
        raise Unavailable(denied.reason, denied.detail)
    still = partial(is_approved, host, to.port, runtime, "tls", approval)
    if approval.gateway is not None:
        await via_gateway.serve_connection(sock, Preface("tls", host, to.port), approval, permit, rules, record, runtime, still)
        return
    with Deadline() as deadline:
        deadline.upstream("name resolution", CONNECT_S)
        addresses = await originator.addresses(host, approval, rules)
    record.dst_mismatch = to.host not in addresses
    await relay(sock, [Address(address, to.port) for address in addresses], permit, record, runtime, still, approval)
