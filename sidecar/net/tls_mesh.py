"""The mesh's TLS contexts for one set of credentials, built once when they change."""

from collections.abc import Mapping
from dataclasses import dataclass

from .tls_context import ALPN_HTTP1, ALPN_HTTP2, ALPN_TCP, Context, Credentials, mesh_client, mesh_server


@dataclass(frozen=True, eq=False)
class MeshTls:
    credentials: Credentials
    server: Context
    clients: Mapping[bytes, Context]    # by ALPN

    @classmethod
    def of(cls, credentials: Credentials) -> "MeshTls":
        clients = {alpn: mesh_client(credentials, alpn) for alpn in (ALPN_HTTP1, ALPN_HTTP2, ALPN_TCP)}
        return cls(credentials, mesh_server(credentials), clients)
