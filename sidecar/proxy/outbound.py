"""What leaves the pod, step by step.

    1  where was it going?      the kernel's word; never one of our own ports; our canary is answered, our own loop is cut
    2  is the way out whole?    a lost packet rule closes everything (`control/redirect_check.py`)
    3  a mesh destination       mTLS to exactly the identity that the snapshot names: `proxy/mesh.py`, `proxy/mesh_tcp.py`
    4  a synthetic address      TCP to the name that it was given out for: `proxy/egress_tcp.py`
    5  an approved range        TCP as it is; not where a Service of the mesh may be of which the injector has not told; where
                                NetworkPolicies alone approve, what they do not list ends here
    6  else                     by the name that it says, Host or SNI: `proxy/egress.py`; nameless bytes are refused, or observed

Trust: the application may be hostile. The address that it dialled selects mesh, ranges and, where it is synthetic, a name that is then
judged like any other; never plaintext instead of mTLS.
"""

import socket
from functools import partial

import trio

from sidecar.model import ports
from sidecar.model.address import Address
from sidecar.model.decision import Permit
from sidecar.model.errors import DownstreamTimedOut, ReasonedError, Unavailable
from sidecar.model.reason import Reason
from sidecar.net.canary import CanaryArrivals
from sidecar.net.deadline import Deadline
from sidecar.net.original_dst import original_dst
from sidecar.net.peek import peek
from sidecar.net.socket_stream import SocketStream, linger
from sidecar.policy.egress import range_holds
from sidecar.policy.rules import Rules
from sidecar.protocol.client_hello import ClientHello
from sidecar.protocol.detect import Detected, detect, recognise
from sidecar.protocol.gateway_preface import Preface
from sidecar.telemetry.access_log import Record

from . import egress, via_gateway
from .dns_guard import DnsGuard
from .egress_tcp import serve_tcp, synthetic_name
from .mesh import serve_mesh_requests
from .mesh_tcp import serve_mesh_connection
from .originate import Originator
from .relay import relay
from .respond import TABLE, explain
from .runtime import Runtime

DETECT_S = 5.0


async def serve_outbound(
    sock: socket.socket, runtime: Runtime, originator: Originator, guard: DnsGuard, arrivals: CanaryArrivals
) -> None:
    """Serve one connection of the application's that the packet rules sent here."""
    to = original_dst(sock)                                                                     # 1
    peer = sock.getpeername()
    if to is not None and arrivals.tcp(to, peer[1]):
        return
    record = Record(runtime.wall(), "outbound", dst=str(to or ""))
    if to is None or to.port in (*ports.OWN, sock.getsockname()[1]) or peer[1] in runtime.dialer.own_ports:
        record.refuse(Reason.OWN_PORT)
        runtime.tell(record)
        return
    await serve_destination(sock, to, runtime, originator, guard, record)


async def serve_destination(
    sock: socket.socket, to: Address, runtime: Runtime, originator: Originator, guard: DnsGuard, record: Record
) -> None:
    """From the second step on: where it goes is known."""
    rules = runtime.rules.current
    try:
        if rules is None:
            raise Unavailable(Reason.NO_SNAPSHOT)
        if not runtime.is_outbound_open.current:                                                # 2
            raise Unavailable(Reason.REDIRECT_LOST)
        if to.port == ports.NAME_SERVER:
            await guard.serve_tcp(sock, str(to))
            return
        mesh = rules.outbound.service(to)
        if mesh is None and rules.outbound.may_be_mesh(to):
            rules = await runtime.discovery.look_for(to.host, rules)
            mesh = rules.outbound.service(to)
        if mesh is not None:                                                                    # 3
            if mesh.service.is_http:
                await serve_mesh_requests(sock, to, runtime, record)
            else:
                await serve_mesh_connection(sock, to, mesh, rules, runtime, record)
        elif (name := synthetic_name(to, runtime, rules)) is not None:                          # 4
            await serve_tcp(sock, to, name, originator, runtime, record)
        elif (permit := rules.outbound.range(to)) is not None:                                  # 5
            await _serve_range(sock, to, permit, rules, runtime, record)
        elif (denied := rules.why_unlisted(to)) is not None and not rules.outbound.observes(runtime.wall()):
            raise Unavailable(denied.reason, denied.detail, denied.rule)
        else:                                                                                   # 6
            await _serve_named(sock, to, rules, runtime, originator, record)
    except ReasonedError as exc:
        record.rule = exc.rule or record.rule
        await _refuse_connection(sock, exc.reason, exc.detail, record, runtime)
    except OSError:
        pass    # the application reset before it had said anything


async def _serve_range(sock: socket.socket, to: Address, permit: Permit, rules: Rules, runtime: Runtime, record: Record) -> None:
    record.spoken = f"tcp:{to.port}"
    approval = rules.outbound.approved_range(to)

    def is_permitted() -> bool:
        """The leave stands, and asks no more than it did."""
        rules = runtime.rules.current
        if rules is None or not runtime.is_outbound_open.current:
            return False
        now = rules.outbound.approved_range(to)
        if approval is None:        # a NetworkPolicy's, which asks nothing
            return rules.outbound.range(to) is not None and (now is None or now.gateway is None)
        return now is not None and range_holds(approval, now)

    if approval is not None and approval.gateway is not None:
        await via_gateway.serve_connection(sock, Preface("tcp", *to), approval, permit, rules, record, runtime, is_permitted)
        return
    if rules.outbound.may_be_mesh(to):      # it was asked, and nobody answered
        raise Unavailable(Reason.NOT_TOLD)
    record.security = "passthrough"
    await relay(sock, (to,), permit, record, runtime, is_permitted, approval)


def _is_observed(to: Address, runtime: Runtime) -> bool:
    rules = runtime.rules.current
    if not runtime.is_outbound_open.current or rules is None:
        return False
    approval = rules.outbound.approved_range(to)
    if approval is not None:
        return approval.gateway is None
    return rules.outbound.observed_address(to, runtime.wall()) is not None


async def _serve_named(
    sock: socket.socket, to: Address, rules: Rules, runtime: Runtime, originator: Originator, record: Record
) -> None:
    observed = rules.outbound.observed_address(to, runtime.wall())
    first: ClientHello | Detected | None = Detected.OTHER
    try:
        with Deadline() as deadline:
            deadline.downstream("first bytes", DETECT_S)
            first = await peek(sock, recognise)
    except DownstreamTimedOut:
        if observed is None:
            raise       # else the server is the one that speaks first
    if isinstance(first, ClientHello) and (first.server_name is not None or observed is None):
        await egress.serve_tls(sock, to, first, originator, runtime, record)
    elif first in (Detected.HTTP1, Detected.HTTP2):
        await egress.serve_plain(sock, to, originator, runtime, record)
    else:
        record.security, record.spoken = "passthrough", f"tcp:{to.port}"
        if observed is None:
            raise Unavailable(Reason.ADDRESS_NOT_APPROVED, f"{to} says neither Host nor SNI, and no approved range holds it")
        await relay(sock, (to,), observed, record, runtime, partial(_is_observed, to, runtime))


async def _refuse_connection(sock: socket.socket, reason: Reason, detail: str, record: Record, runtime: Runtime) -> None:
    """Close; to a client that speaks HTTP say why first."""
    record.refuse(reason, detail)
    if record.upstream == "" and sock.fileno() >= 0:
        try:
            with trio.move_on_after(1):
                if await peek(sock, detect) is Detected.HTTP1:
                    record.status = TABLE[reason].status
                    stream = SocketStream(sock)
                    await stream.send_all(explain(reason, record.rule, detail))
                    await linger(stream)
        except (OSError, trio.BrokenResourceError, ReasonedError):
            pass
    runtime.tell(record)
