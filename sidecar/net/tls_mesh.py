"""The mesh's TLS contexts for one set of credentials, built once when they change."""

from dataclasses import dataclass

from .tls_context import ALPN_HTTP1, ALPN_TCP, Context, Credentials, mesh_client, mesh_server


@dataclass(frozen=True, eq=False)
class MeshTls:
    credentials: Credentials
    server: Context
    client_http: Context
    client_tcp: Context

    @classmethod
    def of(cls, credentials: Credentials) -> "MeshTls":
        return cls(
            credentials, mesh_server(credentials), mesh_client(credentials, ALPN_HTTP1), mesh_client(credentials, ALPN_TCP)
        )
