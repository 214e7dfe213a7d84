"""`bartizan.dev/ports`: what the application speaks on a port, where that is not HTTP or not told by the Service's appProtocol."""

from collections.abc import Mapping

from sidecar.model.service import Protocol

# Protocols in which the server speaks first, or that are never HTTP: SMTP, submission, MySQL, Galera, PostgreSQL, Redis,
# Elasticsearch's transport, memcached, MongoDB. The same list as other meshes use, and MongoDB.
OPAQUE_PORTS = frozenset({25, 587, 3306, 4444, 5432, 6379, 9300, 11211, 27017})

# > appProtocol: IANA service names, or the names of KEP-3726; what is not here says nothing.
APP_PROTOCOLS: Mapping[str, Protocol] = {
    "http": "http", "kubernetes.io/ws": "http", "kubernetes.io/h2c": "http2", "grpc": "http2",
    "https": "app-tls", "tls": "app-tls", "kubernetes.io/wss": "app-tls", "tcp": "opaque",
}
