"""Two TlsStreams on a real socket pair, before and after the handshake. CLIENT and SERVER believe each other."""

import socket

import trio
from OpenSSL import SSL

from sidecar.model.errors import NotVerified, ReasonedError, TlsRejected
from sidecar.net.tls_stream import TlsStream

from . import pki
from .sockets import tcp_pair

ROOT = pki.authority("root")
CLIENT = pki.mesh_client(pki.issue(ROOT, pki.uri(pki.WEB)), ROOT)
SERVER = pki.mesh_server(pki.issue(ROOT, pki.uri(pki.ORDERS)), ROOT)


def tls_pair(
    client: SSL.Context, server: SSL.Context, *, server_name: str | None = None, sockets: tuple[socket.socket, socket.socket] | None = None
) -> tuple[TlsStream, TlsStream]:
    ours, theirs = sockets or tcp_pair()
    return TlsStream(client, ours, is_server=False, server_name=server_name), TlsStream(server, theirs, is_server=True)


async def shake_hands(client: TlsStream, server: TlsStream) -> tuple[ReasonedError | None, ReasonedError | None]:
    """What each side says of the other: an error or None. After TLS 1.3's the client reads once, since it learns late that it was
    refused; a server that is content sends it one byte."""
    said: dict[str, ReasonedError | None] = {"client": None, "server": None}

    async def of_client() -> None:
        try:
            await client.handshake(NotVerified)
            try:
                await client.receive_some(1)
            except trio.BrokenResourceError as exc:
                raise NotVerified(str(exc)) from exc
        except NotVerified as exc:
            said["client"] = exc
            client.close()

    async def of_server() -> None:
        try:
            await server.handshake(TlsRejected)
            await server.send_all(b"!")
        except TlsRejected as exc:
            said["server"] = exc
            server.close()
        except trio.BrokenResourceError:
            pass    # the client refused and said so itself

    async with trio.open_nursery() as nursery:
        nursery.start_soon(of_client)
        nursery.start_soon(of_server)
    return said["client"], said["server"]


async def connected(sockets: tuple[socket.socket, socket.socket] | None = None) -> tuple[TlsStream, TlsStream]:
    client, server = tls_pair(CLIENT, SERVER, sockets=sockets)
    assert await shake_hands(client, server) == (None, None)
    return client, server
