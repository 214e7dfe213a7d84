"""The mesh's TLS contexts for one set of credentials, built once when they change."""

from dataclasses import dataclass

from OpenSSL import SSL  # noqa: TID251 -- a type only

from .tls_context import ALPN_HTTP1, ALPN_TCP, Credentials, mesh_client, mesh_server


@dataclass(frozen=True, eq=False)
class MeshTls:
    credentials: Credentials
    server: SSL.Context
    client_http: SSL.Context
    client_tcp: SSL.Context

    @classmethod
    def of(cls, credentials: Credentials) -> "MeshTls":
        return cls(
            credentials, mesh_server(credentials), mesh_client(credentials, ALPN_HTTP1), mesh_client(credentials, ALPN_TCP)
        )
