import socket

import pytest
import trio
from trio.testing import MockClock

from sidecar.model.address import Address
from sidecar.model.errors import NotVerified, TlsRejected
from sidecar.model.service import Endpoint
from sidecar.net.tls_context import ALPN_HTTP1
from sidecar.net.tls_mesh import MeshTls, connect_mesh
from sidecar.net.tls_stream import TlsStream
from sidecar.net.verify import peer_of
from tests.helpers import pki
from tests.helpers.runtime import FakeDialer
from tests.helpers.tls import shake_hands, tls_pair

ROOT = pki.authority("root")


async def test_one_workload_calls_another_by_either_protocol() -> None:
    web = pki.mesh_tls(pki.issue(ROOT, pki.uri(pki.WEB)), ROOT)
    orders = pki.mesh_tls(pki.issue(ROOT, pki.uri(pki.ORDERS)), ROOT, pki.ORDERS)
    for context, protocol in ((context, alpn) for alpn, context in web.clients.items()):
        ours, theirs = tls_pair(context, orders.server)
        async with ours, theirs:
            assert await shake_hands(ours, theirs) == (None, None)
            assert theirs.connection.get_alpn_proto_negotiated() == protocol
            assert peer_of(ours.connection, pki.DOMAIN, NotVerified).identity == pki.ORDERS
            assert peer_of(theirs.connection, pki.DOMAIN, TlsRejected).identity == pki.WEB


@pytest.mark.parametrize(("holder", "is_taken"), [("", True), ("application", False)])
async def test_an_endpoint_is_a_sidecar(holder: str, is_taken: bool, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pki.mesh_tls(pki.issue(ROOT, pki.uri(pki.WEB)), ROOT)
    server = pki.mesh_server(pki.issue(ROOT, pki.uri(pki.ORDERS), holder=holder), ROOT)

    async def serve(sock: socket.socket) -> None:
        await TlsStream(server, sock, is_server=True).handshake(TlsRejected)

    dialer = FakeDialer(nursery)
    dialer.servers[Address("10.1.0.7", 80)] = serve
    endpoint = Endpoint("10.1.0.7", 80, pki.ORDERS)
    if is_taken:
        stream, peer = await connect_mesh(web, dialer, endpoint, ALPN_HTTP1)
        assert peer.identity == pki.ORDERS
        stream.close()
    else:
        with pytest.raises(NotVerified, match="held by the application"):
            await connect_mesh(web, dialer, endpoint, ALPN_HTTP1)


def test_two_of_the_same_credentials_are_two() -> None:
    """A renewed certificate is a change, whatever it looks like."""
    credentials, anchors = pki.credentials(pki.issue(ROOT, pki.uri(pki.WEB))), pki.anchors(ROOT)
    assert MeshTls.of(credentials, anchors) != MeshTls.of(credentials, anchors)
