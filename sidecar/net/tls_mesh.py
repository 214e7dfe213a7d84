"""The mesh's TLS contexts for one set of credentials, built once when they change, and the connection that they make.

Trust: an endpoint is nobody before its certificate is verified; what is returned here leads to exactly the identity that the
snapshot names, or nothing is. Attacked by tests/proxy/outbound/test_mesh.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from sidecar.model.address import Address
from sidecar.model.call import Peer
from sidecar.model.errors import NotVerified, WrongIdentity
from sidecar.model.service import Endpoint

from .anchors import Anchors
from .dial import Dialer
from .tls_context import ALPN_EGRESS, MESH_ALPN, Context, Credentials, mesh_client, mesh_server
from .tls_stream import TlsStream
from .verify import Peers, mesh_peer_of, refuse_revoked


@dataclass(frozen=True, eq=False)
class MeshTls:
    credentials: Credentials
    anchors: Anchors
    server: Context
    clients: Mapping[bytes, Context]    # by ALPN

    @classmethod
    def of(cls, credentials: Credentials, anchors: Anchors) -> "MeshTls":
        clients = {alpn: mesh_client(credentials, anchors.roots, alpn) for alpn in MESH_ALPN}
        return cls(credentials, anchors, mesh_server(credentials, anchors.roots), clients)

    @cached_property
    def peers(self) -> Peers:
        """Who was met under these credentials."""
        return Peers(self.credentials.trust_domain)

    # Few sidecars are an egress gateway, or go out by one: these two are made with the first connection.

    @cached_property
    def gateway(self) -> Context:
        """The gateway's side."""
        return mesh_server(self.credentials, self.anchors.roots, (ALPN_EGRESS,))

    @cached_property
    def _to_gateway(self) -> Context:
        return mesh_client(self.credentials, self.anchors.roots, ALPN_EGRESS)

    def client(self, alpn: bytes) -> Context:
        """The caller's side."""
        return self._to_gateway if alpn == ALPN_EGRESS else self.clients[alpn]


async def connect_mesh(tls: MeshTls, dialer: Dialer, endpoint: Endpoint, alpn: bytes) -> tuple[TlsStream, Peer]:
    """mTLS to `endpoint`, and who it is; or an error, never anything less. The caller sets the deadline."""
    sock = await dialer.connect(Address(endpoint.address, endpoint.port))
    stream = TlsStream(tls.client(alpn), sock, is_server=False)
    try:
        await stream.handshake(NotVerified)
        peer = mesh_peer_of(stream.connection, tls.peers, NotVerified)
        refuse_revoked(peer, tls.anchors.deny, NotVerified)
        if peer.identity != endpoint.identity:
            raise WrongIdentity(f"{endpoint.address} proved {peer.identity}, not {endpoint.identity}")
        if not stream.connection.get_alpn_proto_negotiated():
            raise NotVerified("the endpoint does not speak the mesh's protocol")
    except BaseException:
        stream.close()
        raise
    return stream, peer
