"""Small HTTP endpoints of our own: health, metrics, admin, issuer, webhook, stream. And the client that calls them.

Trust: requests are a stranger's until the handler has looked at `Call.peer` or a token; heads are judged like everybody's,
bodies are bounded, every wait has a deadline.
"""

import re
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import trio
from cryptography import x509

from sidecar.model.address import Address, canonical, is_address
from sidecar.model.call import Answer, Call, Handler, Peer
from sidecar.model.errors import (
    BadResponse,
    ConfigError,
    ConnectFailed,
    DownstreamGone,
    NotVerified,
    PeerError,
    ProtocolViolation,
    TlsRejected,
)
from sidecar.model.message import NO_BODY, Body, BodyKind, Headers, RequestHead, ResponseHead
from sidecar.model.trust import NOBODY, DenyList
from sidecar.protocol import render
from sidecar.protocol.authority import parse_authority

from .deadline import Deadline
from .dial import Dialer
from .http1_client import Http1Client
from .http1_server import CONTINUE, Http1Server
from .listener import Tally, listen_tcp, serve_listener
from .socket_stream import SocketStream, linger
from .tls_context import Context, Credentials, ServerCredentials, https_client, https_server
from .tls_stream import TlsStream
from .verify import peer_of, refuse_revoked_server
from .verify_host import verify_host

HANDSHAKE_S = 10.0
REQUEST_S = 15.0
ANSWER_S = 60.0
MAX_ANSWER_BYTES = 8 << 20
_TARGET = re.compile(r"/[!-~]*")


async def serve_calls(
    stream: trio.abc.HalfCloseableStream,
    handler: Handler,
    deadline: Deadline,
    *,
    remote: str = "",
    peer: Peer | None = None,
    max_body_bytes: int = 0,
    is_single: bool = False,
    answer_s: float = ANSWER_S,
) -> None:
    """Answer requests until the client closes, or breaks a rule (which is answered, and ends the connection).

    Args:
        answer_s: how long the handler may take.
        is_single: one request a connection.
        max_body_bytes: of a request. Bodies are held whole before anybody has looked at the caller, so none is the default.
    """
    connection = Http1Server(stream)
    while True:
        deadline.downstream("request", REQUEST_S)
        try:
            request = await connection.read_request()
            if request is None:
                return
            call = await _read_call(connection, request, remote, peer, max_body_bytes)
        except ProtocolViolation as exc:
            await _send_answer(connection, Answer(400, f"{exc.reason.token}: {exc}\n".encode(), "text/plain"), close=True)
            break
        if call is None:
            await _send_answer(connection, Answer(413, b"body too large\n", "text/plain"), close=True)
            break
        deadline.downstream("answer", answer_s)
        answer = await handler(call)
        is_last = request.is_last or is_single
        await _send_answer(connection, answer, close=is_last, has_body=request.method != b"HEAD")
        if request.is_last:
            return
        if is_last:
            break
    await linger(stream)


async def _read_call(
    connection: Http1Server, request: RequestHead, remote: str, peer: Peer | None, max_body_bytes: int
) -> Call | None:
    if request.body.length > max_body_bytes:
        return None
    if request.expects_continue:
        await connection.send(CONTINUE)
    body = bytearray()
    while piece := await connection.read_body():
        body += piece
        if len(body) > max_body_bytes:
            return None
    path, _, query = request.target.decode("ascii").partition("?")
    headers: dict[str, str] = {}
    for name, value in request.headers:     # one that repeats is a list (RFC 9110 s5.3), so that nobody reads a part of it for the whole
        key = name.decode("ascii").lower()
        text = value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return Call(request.method.decode("ascii"), path, query, headers, bytes(body), remote, peer)


async def _send_answer(connection: Http1Server, answer: Answer, *, close: bool, has_body: bool = True) -> None:
    headers: Headers = [(b"content-type", answer.content_type.encode())]
    headers += [(name.encode(), value.encode()) for name, value in answer.headers]
    body = Body(BodyKind.LENGTH, len(answer.body)) if answer.body else NO_BODY
    head = ResponseHead(answer.status, b"", headers, body, len(answer.body), False)
    text = render.render_response(head, [], close=close, chunk_until_close=False)
    await connection.send(text + answer.body if has_body else text)


async def serve_https(
    host: str,
    port: int,
    credentials: Callable[[], ServerCredentials],
    handler: Handler,
    *,
    trust_domain: str = "",
    max_body_bytes: int = 0,
    tally: Tally | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve for ever; reports the port once it listens.

    Args:
        credentials: asked for each connection, so that a renewed certificate counts at once.
        trust_domain: of the client's SVID, where the credentials demand one.
        max_body_bytes: see `serve_calls`.
    """
    listener = listen_tcp(host, port)
    built: tuple[ServerCredentials, Context] | None = None

    async def connection(sock: socket.socket) -> None:
        nonlocal built
        current = credentials()
        if built is None or built[0] is not current:
            built = current, https_server(current)
        remote = str(canonical(sock.getpeername()[0]))
        stream = TlsStream(built[1], sock, is_server=True)
        try:
            with Deadline() as deadline:
                deadline.downstream("handshake", HANDSHAKE_S)
                await stream.handshake(TlsRejected)
                demanded = current.client_roots is not None
                peer = peer_of(stream.connection, trust_domain, TlsRejected) if demanded else None
                # Of a client with a certificate each request is a connection: none outlives the trust by which it was verified.
                await serve_calls(
                    stream, handler, deadline, remote=remote, peer=peer, max_body_bytes=max_body_bytes, is_single=demanded)
        except (PeerError, DownstreamGone):
            pass  # a client that goes away or talks nonsense is its own business
        finally:
            stream.close()

    task_status.started(listener.getsockname()[1])
    await serve_listener(listener, connection, tally or Tally())


async def call_https(
    dialer: Dialer,
    addresses: Sequence[str],
    url: str,
    method: str,
    *,
    roots: Sequence[x509.Certificate],
    credentials: Credentials | None = None,
    headers: Headers | None = None,
    body: bytes = b"",
    deny: DenyList = NOBODY,
) -> Answer:
    """Call one of the mesh's own endpoints: chain to `roots`, DNS name verified. The caller sets the deadline.

    Args:
        addresses: what the host of `url` was resolved to; tried in turn.
        url: https://host[:port]/path.
        credentials: ours, to present.
        deny: nothing is sent to a server that is on it.

    Raises:
        UpstreamError: nobody there, not verified, or no HTTP.
    """
    return await call_with(https_client(roots, credentials), dialer, addresses, url, method, headers=headers, body=body, deny=deny)


async def call_with(
    context: Context,
    dialer: Dialer,
    addresses: Sequence[str],
    url: str,
    method: str,
    *,
    headers: Headers | None = None,
    body: bytes = b"",
    deny: DenyList = NOBODY,
) -> Answer:
    """As `call_https`, trusting whom `context` trusts. Redirections are answers like others; nobody follows them."""
    async with exchange_with(context, dialer, addresses, url, method, headers=headers, body=body, deny=deny) as (response, connection):
        return await _whole(response, connection)


@asynccontextmanager
async def exchange_with(
    context: Context,
    dialer: Dialer,
    addresses: Sequence[str],
    url: str,
    method: str,
    *,
    headers: Headers | None = None,
    body: bytes = b"",
    deny: DenyList = NOBODY,
) -> AsyncIterator[tuple[ResponseHead, Http1Client]]:
    """As `call_with`, for an answer that is read as it comes: its head, and the connection whose `read_body` has the rest."""
    host, port, target = split_url(url)
    error: ConnectFailed | None = None
    for address in addresses:
        try:
            sock = await dialer.connect(Address(address, port))
            break
        except ConnectFailed as exc:
            error = exc
    else:
        raise error or ConnectFailed(f"no address for {host}")
    stream = TlsStream(context, sock, is_server=False, server_name=None if is_address(host) else host)
    try:
        await stream.handshake(NotVerified)
        verify_host(stream.connection.get_peer_certificate(as_cryptography=True), host)
        refuse_revoked_server(stream.connection, deny)
        yield await _ask(stream, method, host, target, headers or [], body)
    finally:
        stream.close()


async def control_addresses(url: str) -> list[str]:
    """Where issuer and injector are. By the pod's own resolver: their certificates, not their addresses, are what counts."""
    try:
        host, port, _ = split_url(url)
    except ValueError as exc:
        raise ConfigError("url", str(exc)) from exc
    try:
        found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    except OSError as exc:
        raise ConnectFailed(f"{host}: {exc.strerror}") from exc
    return list(dict.fromkeys(str(item[4][0]) for item in found))


async def call_unix(path: str, method: str, target: str, body: bytes = b"") -> Answer:
    """Call an endpoint behind a Unix socket."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)     # to a server that accepts nobody any more a connection would wait, and with it the whole process
    try:
        sock.connect(path)
    except OSError as exc:
        sock.close()
        raise ConnectFailed(f"{path}: {exc.strerror}") from exc
    stream = SocketStream(sock)
    try:
        return await _whole(*await _ask(stream, method, "localhost", target, [], body))
    finally:
        stream.close()


async def _ask(
    stream: trio.abc.HalfCloseableStream, method: str, host: str, target: str, headers: Headers, body: bytes
) -> tuple[ResponseHead, Http1Client]:
    connection = Http1Client(stream)
    framing = Body(BodyKind.LENGTH, len(body)) if body else NO_BODY
    authority = (f"[{host}]" if ":" in host else host).encode()
    head = RequestHead(method.encode(), target.encode(), authority, None, headers, framing, True)
    await connection.send_request(head, authority, [(b"connection", b"close")], body, is_end=True)
    return await connection.read_head(), connection


async def _whole(response: ResponseHead, connection: Http1Client) -> Answer:
    text = await read_whole(connection, MAX_ANSWER_BYTES)
    if text is None:
        raise BadResponse(f"the answer has more than {MAX_ANSWER_BYTES:,} bytes")
    kind = next((value.decode("latin-1") for name, value in response.headers if name.lower() == b"content-type"), "")
    return Answer(response.status, text, kind)


async def read_whole(connection: Http1Client, most: int) -> bytes | None:
    """What is left of the body; None: it is more than `most` bytes."""
    text = bytearray()
    while piece := await connection.read_body():
        text += piece
        if len(text) > most:
            return None
    return bytes(text)


def split_url(url: str) -> tuple[str, int, str]:
    """(host, port, target) of an https URL, an IPv6 host without its brackets; ValueError if it is none."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    target = slash + path or "/"
    try:
        host, port = parse_authority(authority.encode("ascii"))
    except ValueError:
        host, port = b"", None
    if scheme != "https" or not host or _TARGET.fullmatch(target) is None:
        raise ValueError(f"{url!r} is not of the form https://host[:port][/path]")
    return host.decode("ascii").strip("[]"), port or 443, target
