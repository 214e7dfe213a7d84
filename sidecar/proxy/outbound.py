"""What leaves the pod, step by step.

    1  where was it going?      the kernel's word; never one of our own ports; our canary is answered, our own loop is cut
    2  is the way out whole?    a lost packet rule closes everything (`control/redirect_check.py`)
    3  a mesh destination       mTLS to exactly the identity that the snapshot names, on the application's own port
    4  an approved range        TCP as it is
    5  else                     by the name that it says, Host or SNI: `proxy/egress.py`; nameless bytes are refused

Trust: the application may be hostile. The address that it dialled selects mesh and ranges only; never plaintext instead of mTLS.
"""

import socket
from functools import partial

import trio

from sidecar.model import ports
from sidecar.model.address import Address
from sidecar.model.decision import Denied
from sidecar.model.errors import NotVerified, ReasonedError, Unavailable, WrongIdentity
from sidecar.model.message import RequestHead
from sidecar.model.reason import Reason
from sidecar.model.service import Endpoint
from sidecar.net.canary import CanaryArrivals
from sidecar.net.deadline import Deadline
from sidecar.net.ends import Connection
from sidecar.net.original_dst import original_dst
from sidecar.net.peek import peek
from sidecar.net.socket_stream import SocketStream, linger
from sidecar.net.tls_context import ALPN_HTTP1, ALPN_HTTP2, ALPN_TCP
from sidecar.net.tls_stream import TlsStream
from sidecar.net.verify import peer_of
from sidecar.policy.balance import choose
from sidecar.policy.egress import ToService
from sidecar.policy.rules import Rules
from sidecar.protocol.client_hello import ClientHello
from sidecar.protocol.detect import Detected, detect, recognise
from sidecar.telemetry.access_log import Record

from . import egress
from .dns_guard import DnsGuard
from .headers import request_id
from .http import serve_http
from .inbound import enter, ourselves, serve_opaque
from .plan import CONNECT_S, Decision, Plan, Upstream
from .respond import TABLE, explain
from .runtime import Runtime
from .tunnel import tunnel
from .versions import client

DETECT_S = 5.0
DNS_PORT = 53


async def serve_outbound(
    sock: socket.socket, runtime: Runtime, originator: egress.Originator, guard: DnsGuard, arrivals: CanaryArrivals
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
    rules = runtime.rules.current
    try:
        if rules is None:
            raise Unavailable(Reason.NO_SNAPSHOT)
        if not runtime.is_outbound_open.current:                                                # 2
            raise Unavailable(Reason.REDIRECT_LOST)
        if to.port == DNS_PORT:
            await guard.serve_tcp(sock)
            return
        mesh = rules.outbound.service(to)
        if mesh is not None:                                                                    # 3
            if mesh.service.protocol == "http":
                await _serve_mesh_requests(sock, to, runtime, record)
            else:
                await _serve_mesh_opaque(sock, to, mesh, runtime, record)
        elif (permit := rules.outbound.range(to)) is not None:                                  # 4
            record.security = "passthrough"
            await egress.relay(sock, (to,), permit, record, runtime, partial(_is_in_range, to=to, runtime=runtime))
        else:                                                                                   # 5
            await _serve_named(sock, to, runtime, originator, record)
    except ReasonedError as exc:
        await _refuse_connection(sock, exc.reason, exc.detail, record, runtime)
    except OSError:
        pass    # the application reset before it had said anything


def _is_in_range(rules: Rules | None, to: Address, runtime: Runtime) -> bool:
    return runtime.is_outbound_open.current and rules is not None and rules.outbound.range(to) is not None


async def _serve_named(
    sock: socket.socket, to: Address, runtime: Runtime, originator: egress.Originator, record: Record
) -> None:
    with Deadline() as deadline:
        deadline.downstream("first bytes", DETECT_S)
        first = await peek(sock, recognise)
    if isinstance(first, ClientHello):
        await egress.serve_tls(sock, to, first, originator, runtime, record)
    elif first in (Detected.HTTP1, Detected.HTTP2):
        await egress.serve_plain(sock, to, originator, runtime, record)
    else:
        raise Unavailable(Reason.ADDRESS_NOT_APPROVED, f"{to} says neither Host nor SNI, and no approved range holds it")


async def _refuse_connection(sock: socket.socket, reason: Reason, detail: str, record: Record, runtime: Runtime) -> None:
    """Close; to a client that speaks HTTP say why first."""
    record.refuse(reason, detail)
    if record.upstream == "" and sock.fileno() >= 0:
        try:
            with trio.move_on_after(1):
                if await peek(sock, detect) is Detected.HTTP1:
                    record.status = TABLE[reason].status
                    stream = SocketStream(sock)
                    await stream.send_all(explain(reason, "", detail))
                    await linger(stream)
        except (OSError, trio.BrokenResourceError):
            pass
    runtime.tell(record)


# -- mesh destinations


async def connect_mesh(endpoint: Endpoint, runtime: Runtime, alpn: bytes) -> TlsStream:
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


async def _serve_mesh_requests(sock: socket.socket, to: Address, runtime: Runtime, known: Record) -> None:
    def new_record() -> Record:
        return Record(runtime.wall(), "outbound", dst=known.dst, security="mtls", tls="TLSv1.3")

    async def decide(request: RequestHead, record: Record) -> Decision:
        record.request_id = request_id(request, is_trusted=True)
        rules = runtime.rules.current
        if rules is None:
            return Denied(Reason.NO_SNAPSHOT)
        mesh = rules.outbound.service(to)
        if not runtime.is_outbound_open.current:
            return Denied(Reason.REDIRECT_LOST)
        if mesh is None:
            return Denied(Reason.ADDRESS_NOT_APPROVED, detail=f"{to} is in the mesh no longer")
        endpoint = choose(mesh.endpoints, runtime.in_flight, runtime.rng)
        if endpoint is None:
            return Denied(Reason.NO_ENDPOINT, mesh.permit.rule)
        record.peer = endpoint.identity
        at = Address(endpoint.address, endpoint.port)
        if endpoint.address in rules.snapshot.workload.addresses:
            record.security = "in-process"
            return enter(request, at, ourselves(runtime), record, runtime)
        host = request.host if request.port is None else request.host + b":%d" % request.port
        key = ("mesh", endpoint.identity, at, request.is_http2, runtime.tls.current)
        headers = [(b"x-request-id", record.request_id.encode())]
        name = f"{mesh.service.name} {at}"

        is_http2 = request.is_http2

        async def connect() -> Connection:
            stream = await connect_mesh(endpoint, runtime, ALPN_HTTP2 if is_http2 else ALPN_HTTP1)
            return client(stream, is_http2=is_http2)

        runtime.in_flight[at] += 1
        upstream = Upstream(
            key, connect, host, headers, name, is_mesh=True, is_shared=is_http2, group=mesh.service.name, leave=partial(runtime.leave, at)
        )
        return Plan(mesh.permit, lambda: upstream)

    await serve_http(SocketStream(sock), runtime, decide, new_record)


async def _serve_mesh_opaque(sock: socket.socket, to: Address, mesh: ToService, runtime: Runtime, record: Record) -> None:
    record.security, record.rule = "mtls", mesh.permit.rule
    endpoint = choose(mesh.endpoints, runtime.in_flight, runtime.rng)
    if endpoint is None:
        raise Unavailable(Reason.NO_ENDPOINT, mesh.service.name)
    record.peer = endpoint.identity
    at = Address(endpoint.address, endpoint.port)
    known = runtime.rules.current
    if known is not None and endpoint.address in known.snapshot.workload.addresses:
        record.security = "in-process"
        await serve_opaque(SocketStream(sock), at, ourselves(runtime), record, runtime)
        return
    with Deadline() as deadline:
        deadline.upstream("connect", CONNECT_S)
        upstream = await connect_mesh(endpoint, runtime, ALPN_TCP)
    record.upstream = f"{mesh.service.name} {at}"
    record.tls = upstream.connection.get_protocol_version_name()
    started = trio.current_time()

    def is_permitted(rules: Rules | None) -> bool:
        now = rules.outbound.service(to) if rules else None
        return runtime.is_outbound_open.current and now is not None and endpoint in now.endpoints

    runtime.in_flight[at] += 1
    try:
        await tunnel(SocketStream(sock), upstream, mesh.permit, record, runtime.rules, is_permitted)
    finally:
        runtime.leave(at)
        upstream.close()
        record.duration_ms = round((trio.current_time() - started) * 1000, 3)
        runtime.tell(record)


