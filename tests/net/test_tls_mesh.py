from sidecar.model.errors import NotVerified, TlsRejected
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.verify import peer_of
from tests.helpers import pki
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


def test_two_of_the_same_credentials_are_two() -> None:
    """A renewed certificate is a change, whatever it looks like."""
    credentials, anchors = pki.credentials(pki.issue(ROOT, pki.uri(pki.WEB))), pki.anchors(ROOT)
    assert MeshTls.of(credentials, anchors) != MeshTls.of(credentials, anchors)
