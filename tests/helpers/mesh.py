"""Both sides of a meshed connection: callers with certificates before the inbound recipe, applications behind it."""

import socket
from collections.abc import Callable
from functools import cache

import trio

from sidecar.model import ports
from sidecar.model.address import Address
from sidecar.model.call import Handler
from sidecar.model.errors import NotVerified
from sidecar.model.snapshot import Inbound
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import ALPN_HTTP1
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.tls_stream import TlsStream
from sidecar.policy.rules import Rules
from sidecar.proxy.inbound import serve_inbound
from tests.helpers import pki
from tests.helpers.pki import ORDERS, WEB
from tests.helpers.runtime import POD, Bench, Redirected, Serve, bench, kept_pair, rules

APP = Address(POD, 8080)
ELSEWHERE = Address("10.1.0.7", 8080)     # another pod


_authority = cache(pki.authority)   # keys are slow to make, so made once


def root(name: str = "root") -> pki.Holder:
    return _authority(name)


def tls_of(identity: str, authority: str = "root") -> MeshTls:
    """A workload's credentials, the same each time; its roots are its own authority's."""
    return _tls_of(identity, authority)


@cache
def _tls_of(identity: str, authority: str) -> MeshTls:
    return pki.mesh_tls(pki.issue(root(authority), pki.uri(identity)), root(authority), identity)


def meshed(nursery: trio.Nursery, known: Rules | None = None, identity: str = ORDERS) -> Bench:
    """A bench whose workload has a certificate; the clock on the wall agrees with it."""
    tls = tls_of(identity)
    made = bench(nursery, known if known is not None else rules(identity=identity), tls)
    made.wall = tls.credentials.not_after - 1800
    return made


def arrive(
    nursery: trio.Nursery, known: Bench, to: Address | None = APP, own_endpoints: dict[int, Handler] | None = None,
    port: int = ports.INBOUND,
) -> socket.socket:
    """The caller's end of a connection that goes to `to` and came to the inbound listener."""
    ours, theirs = kept_pair(nursery)

    async def serve() -> None:
        with Redirected(theirs, to, port=port) as sock:
            await serve_inbound(sock, known.runtime, own_endpoints or {})

    nursery.start_soon(serve)
    return ours


def sidecar(
    nursery: trio.Nursery, app: Serve, inbound: Inbound = Inbound(), identity: str = ORDERS, at: Address = ELSEWHERE  # noqa: B008
) -> tuple[Bench, Serve]:
    """The destination's sidecar before its application: its bench, and what plays it."""
    known = meshed(nursery, rules(inbound, identity=identity, address=at.host), identity)
    known.dialer.servers[at] = app

    async def serve(sock: socket.socket) -> None:
        with Redirected(sock, at) as arrived:
            await serve_inbound(arrived, known.runtime, {})

    return known, serve


async def call(sock: socket.socket, identity: str = WEB, authority: str = "root", alpn: bytes = ALPN_HTTP1) -> TlsStream:
    """Mesh mTLS over `sock` by the workload `identity`. NotVerified if the handshake fails."""
    tls = tls_of(identity, authority)
    stream = TlsStream(tls.client(alpn), sock, is_server=False)
    await stream.handshake(NotVerified)
    return stream


async def read_until(stream: trio.abc.ReceiveStream, end: bytes) -> bytes:
    """Up to and with `end`, which must be the last that was sent so far."""
    data = b""
    while not data.endswith(end):
        piece = await stream.receive_some()
        assert piece, f"the end came after {data!r}"
        data += piece
    return data


async def read_rest(stream: trio.abc.ReceiveStream) -> bytes:
    data = b""
    while piece := await stream.receive_some():
        data += piece
    return data


async def is_gone(stream: trio.abc.HalfCloseableStream, last: bytes = b"") -> bool:
    """Whether nothing but the end, or a reset, comes; however much of `last` can still be sent."""
    try:
        if last:
            await stream.send_all(last)
        return await read_rest(stream) == b""
    except trio.BrokenResourceError:
        return True


def http_app(seen: list[bytes], answer: bytes | Callable[[bytes], bytes]) -> Serve:
    """An application that notes each request's head and answers it."""
    async def serve(sock: socket.socket) -> None:
        stream, data = SocketStream(sock), b""
        while piece := await stream.receive_some():
            data += piece
            while b"\r\n\r\n" in data:
                head, _, data = data.partition(b"\r\n\r\n")
                seen.append(head)
                await stream.send_all(answer if isinstance(answer, bytes) else answer(head))

    return serve


async def echo(sock: socket.socket) -> None:
    stream = SocketStream(sock)
    try:
        while data := await stream.receive_some():
            await stream.send_all(data)
        await stream.send_eof()
    except trio.BrokenResourceError:
        pass
