"""What enters the pod, step by step. Nothing is forwarded without a Permit, and only the judge makes one.

    1  where was it going?      the kernel's word: to this pod, never to one of our own ports, never without the redirect
    2  what does it speak?      mesh mTLS by ALPN; else plaintext, refused in strict mode before a byte of it is taken
    3  who is it?               handshake, chain, exactly one SPIFFE ID
    4  may it?                  per request (`entrance.py`), or per connection and again at each change (`inbound_tcp.py`)
    5  what else?               limits, faults, answers, edits: `admit.py`
    6  forward                  to the address it was going to, the pod's own: listeners on 127.0.0.1 stay private

Trust: everything until step 3 is a stranger's bytes. Who is allowed what is decided in `policy/authorize.py` alone.
"""

import socket
from functools import partial

import trio
from msgspec.structs import replace

from sidecar.model import ports
from sidecar.model.address import Address, canonical
from sidecar.model.call import Handler, Peer
from sidecar.model.config import LONGEST_PROBE_S
from sidecar.model.decision import Denied
from sidecar.model.errors import ReasonedError, TlsRejected, Unavailable
from sidecar.model.message import RequestHead
from sidecar.model.reason import Reason
from sidecar.model.snapshot import Inbound
from sidecar.net.deadline import Deadline
from sidecar.net.listener import ConnectionHandler
from sidecar.net.original_dst import original_dst
from sidecar.net.peek import peek
from sidecar.net.service import ANSWER_S, serve_calls
from sidecar.net.socket_stream import SocketStream, linger
from sidecar.net.tls_context import ALPN_EGRESS, ALPN_HTTP1, ALPN_HTTP2, MESH_ALPN
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.tls_stream import TlsStream
from sidecar.net.verify import mesh_peer_of, refuse_revoked
from sidecar.policy.rules import Rules
from sidecar.protocol.client_hello import ClientHello
from sidecar.protocol.detect import Detected, recognise
from sidecar.protocol.gateway_preface import render_refusal
from sidecar.telemetry.access_log import Record

from .entrance import SETTLED, Entrance
from .headers import caller_headers, inbound_headers
from .http import serve_http, serve_http1
from .http2 import serve_http2
from .inbound_tcp import serve_opaque
from .plan import Decision
from .respond import TABLE, explain, explain_http2
from .runtime import Runtime
from .serve import ServeConnection

DETECT_S = 10.0
SILENT_S = 3.0      # a sidecar says its hello at once, so who says nothing for so long waits for the server's first word
HANDSHAKE_S = 10.0


async def serve_inbound(
    sock: socket.socket, runtime: Runtime, own_endpoints: dict[int, Handler], gateway: ConnectionHandler | None = None
) -> None:
    """Serve one connection that arrived at the inbound port.

    Args:
        own_endpoints: what is answered here although it was sent to the pod: health and metrics, by port.
        gateway: what serves the gateway's port where the snapshot makes this pod an egress gateway.
    """
    to = original_dst(sock)                                                                     # 1
    source = str(canonical(sock.getpeername()[0]))
    record = Record(runtime.wall(), "inbound", dst=str(to or ""), source=source)
    if to is not None and to.port in own_endpoints:
        with Deadline() as deadline:
            # A probe ends by its own time.
            await serve_calls(SocketStream(sock), own_endpoints[to.port], deadline, remote=source, answer_s=LONGEST_PROBE_S + ANSWER_S)
        return
    rules = runtime.rules.current
    if to is not None and to.port == ports.GATEWAY and rules is not None and rules.callers and gateway is not None:
        await gateway(sock)
        return
    if to is None or to.port in ports.OWN or to.port == sock.getsockname()[1]:
        record.refuse(Reason.OWN_PORT)
        runtime.tell(record)
        return
    try:
        if rules is None:
            raise Unavailable(Reason.NO_SNAPSHOT)
        if not _is_this_pod(to, rules):
            raise Unavailable(Reason.OWN_PORT, f"{to.host} is no address by which others know this pod")
        hello = await _first_bytes(sock, to, rules.snapshot.inbound)                            # 2
        if isinstance(hello, ClientHello) and set(hello.alpn) & set(MESH_ALPN):
            await _serve_mesh(sock, to, record, runtime)
        else:
            await _serve_plaintext(sock, to, hello, record, runtime, rules)
    except ReasonedError as exc:
        record.refuse(exc.reason, exc.detail)
        runtime.tell(record)
    except OSError:
        pass    # the peer reset before it had said anything


def _is_this_pod(to: Address, rules: Rules) -> bool:
    """Listeners on the loopback are private, and we are nobody's router: a packet for others that is sent our way ends here."""
    addresses = rules.snapshot.workload.addresses
    return not canonical(to.host).is_loopback and (not addresses or to.host in addresses)


async def _first_bytes(sock: socket.socket, to: Address, inbound: Inbound) -> ClientHello | Detected | None:
    """What it speaks; None: nothing that we know, or nothing yet where plaintext may enter and the server may be to speak first."""
    may_be_silent = inbound.mode_at(to.port).mode == "permissive" and inbound.ports.get(to.port) == "opaque"
    with Deadline() as deadline, trio.move_on_after(SILENT_S if may_be_silent else DETECT_S + 1):
        deadline.downstream("first bytes", DETECT_S)
        return await peek(sock, recognise)
    return None


async def _serve_mesh(sock: socket.socket, to: Address, record: Record, runtime: Runtime) -> None:
    tls = runtime.own_tls()
    stream = TlsStream(tls.server, sock, is_server=True)
    try:
        peer = await accept_mesh(stream, tls, record, runtime)                                  # 3
        alpn = stream.connection.get_alpn_proto_negotiated()
        if alpn == ALPN_HTTP1:
            await _serve_requests(stream, to, peer, record, runtime, serve_http1)
        elif alpn == ALPN_HTTP2:
            await _serve_requests(stream, to, peer, record, runtime, serve_http2)
        else:
            await serve_opaque(stream, to, peer, record, runtime)
    finally:
        stream.close()


async def accept_mesh(stream: TlsStream, tls: MeshTls, record: Record, runtime: Runtime) -> Peer:
    """Handshake, and who it is, with its account opened. TlsRejected, or the deadline's error, if it is nobody."""
    with Deadline() as deadline:
        deadline.downstream("TLS handshake", HANDSHAKE_S)
        try:
            await stream.handshake(TlsRejected)
        except TlsRejected:
            await _half_close(stream.sock)      # so that the alert arrives before the end does
            raise
        try:
            peer = mesh_peer_of(stream.connection, tls.peers, TlsRejected)
            # Before it is asked for on the deny-list: the caller's sidecar, which cannot know, writes the connection down, too.
            runtime.accounts.open_mesh(stream, tls, peer, "inbound", dst=record.dst, source=record.source)
            record.security, record.peer, record.connection = "mtls", str(peer.identity), stream.account
            record.tls = stream.connection.get_protocol_version_name()
            refuse_revoked(peer, tls.anchors.deny, TlsRejected)
        except TlsRejected as exc:
            await _explain_in_tls(stream, stream.connection.get_alpn_proto_negotiated(), exc)
            raise
    return peer


async def _explain_in_tls(stream: TlsStream, alpn: bytes, exc: TlsRejected) -> None:
    """TLS is content with the certificate, and we are not: the caller's sidecar gets to know, before it takes the end for a fault."""
    if alpn == ALPN_HTTP1:
        await _part(stream, explain(exc.reason, "", exc.detail))
    elif alpn == ALPN_HTTP2:
        await _part(stream, explain_http2(exc.reason))
    elif alpn == ALPN_EGRESS:
        await _part(stream, render_refusal(exc.reason, exc.detail))
    else:
        await _part(stream, b"")


async def _half_close(sock: socket.socket) -> None:
    try:
        await linger(SocketStream(sock))
    except (trio.BrokenResourceError, OSError):
        pass


async def _serve_plaintext(
    sock: socket.socket, to: Address, kind: object, record: Record, runtime: Runtime, rules: Rules
) -> None:
    """The peer has no identity. Strict mode refuses it here, before a byte is taken; permissive mode writes it down."""
    record.security = "plaintext"
    stream = SocketStream(sock)
    judged = Entrance(to, None, record.source, runtime).judge(None)
    if isinstance(judged, Denied) and judged.reason in SETTLED:
        record.rule = judged.rule
        record.refuse(judged.reason, judged.detail)
        if kind is Detected.HTTP1:
            record.status = TABLE[judged.reason].status
            await _part(stream, explain(judged.reason, "", ""))
        elif kind is Detected.HTTP2:
            record.detail = judged.detail or "it spoke HTTP/2"
            await _part(stream, explain_http2(judged.reason))
        runtime.tell(record)
    elif kind in (Detected.HTTP1, Detected.HTTP2) and rules.snapshot.inbound.ports.get(to.port) not in ("opaque", "app-tls"):
        account = runtime.accounts.open_plaintext(dst=record.dst, source=record.source)
        record.connection = account.entry.id
        try:
            await _serve_requests(stream, to, None, record, runtime, serve_http)
        finally:
            runtime.accounts.close(account)
    else:
        await serve_opaque(stream, to, None, record, runtime)


async def _part(stream: trio.abc.HalfCloseableStream, last_words: bytes) -> None:
    try:
        if last_words:
            await stream.send_all(last_words)
        await linger(stream)
    except trio.BrokenResourceError:
        pass


async def _serve_requests(
    stream: trio.abc.HalfCloseableStream, to: Address, peer: Peer | None, known: Record, runtime: Runtime, serve: ServeConnection
) -> None:
    new_record = partial(replace, known)
    entrance = Entrance(to, peer, known.source, runtime)
    caller = caller_headers(runtime, peer, known.tls, known.source)

    def is_edge() -> bool:
        rules = runtime.rules.current
        return peer is not None and rules is not None and peer.identity in rules.snapshot.inbound.edges

    def decide(request: RequestHead, record: Record) -> Decision:
        headers = inbound_headers(request, record, caller, runtime.rng, is_mesh=peer is not None, is_edge=is_edge)
        return entrance.decide(request, headers, record.time)

    await serve(stream, runtime, decide, new_record)
