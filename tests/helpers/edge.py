"""An ingress gateway, its clients, and a Service of the mesh behind it, under the virtual clock."""

import socket
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import trio
from OpenSSL import SSL

from sidecar.model.address import Address
from sidecar.model.edge import ClientCertificates, Edge, EdgeListener, EdgeRoute, TlsHost
from sidecar.model.egress import Outbound
from sidecar.model.errors import NotVerified
from sidecar.model.route import Caller
from sidecar.model.service import Backend, Endpoint, Service
from sidecar.model.snapshot import Inbound, Snapshot, Workload
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_stream import TlsStream
from sidecar.policy.rules import Rules
from sidecar.proxy.access import Clients
from sidecar.proxy.edge import serve_edge
from sidecar.proxy.originate import Originator
from tests.helpers import pki
from tests.helpers.leave import FakeResolver
from tests.helpers.mesh import ELSEWHERE, http_app, meshed, root, sidecar
from tests.helpers.pki import ORDERS
from tests.helpers.runtime import POD, Bench, Redirected, Serve, kept_pair

GATEWAY = f"spiffe://{pki.DOMAIN}/ns/bartizan-system/sa/bartizan-gateway"
AT = POD
VISITOR = "192.0.2.7"
HOST = "www.example.com"
ORDERS_80 = Service("orders.shop", 80, ("10.96.0.7",), endpoints=(Endpoint(ELSEWHERE.host, ELSEWHERE.port, ORDERS),))
TO_ORDERS = (Backend("orders.shop", 80),)
ALL = (Caller(),)
ASKS = ClientCertificates(pki.pem([root("clients").certificate]))
BELIEVES = Inbound(edges=(GATEWAY,))


@cache
def certificate(name: str) -> pki.Holder:
    return pki.issue(root("public"), pki.host(name))


def tls_host(name: str, *hosts: str, **more: Any) -> TlsHost:
    """By a certificate for `name`; its hosts are that name, unless others are given."""
    holder = certificate(name)
    return TlsHost(f"shop/{name}", hosts or (name,), holder.chain_pem, holder.key_pem, **more)


def route(name: str = "all", **more: Any) -> EdgeRoute:
    """To the Service `orders.shop` for whoever asks at ports 80 and 443, but for what is given."""
    return EdgeRoute(**{"name": name, "allow": ALL, "ports": (80, 443), "backends": TO_ORDERS, **more})


def edge_rules(
    *routes: EdgeRoute, tls: tuple[TlsHost, ...] | None = None, services: tuple[Service, ...] = (ORDERS_80,), **edge: Any
) -> Rules:
    listeners = EdgeListener(80), EdgeListener(443, (tls_host(HOST),) if tls is None else tls)
    return Rules.of(Snapshot(
        Workload(GATEWAY, "bartizan-system", addresses=(AT,)),
        outbound=Outbound(services=services), edge=Edge(listeners, routes or (route(),), **edge),
    ), "digest")


@dataclass
class Front:
    """
    Args:
        bench: the gateway's.
        pod: the bench of the sidecar behind it.
        seen: what its application was asked.
    """

    bench: Bench
    pod: Bench
    nursery: trio.Nursery
    seen: list[bytes]
    clients: Clients = field(init=False)

    def __post_init__(self) -> None:
        runtime = self.bench.runtime
        self.clients = Clients(Originator(runtime.rules, FakeResolver()), runtime)

    def arrive(self, port: int = 80, source: str = VISITOR) -> socket.socket:
        """The client's end of a connection to the gateway's `port`."""
        ours, theirs = kept_pair(self.nursery)

        async def serve() -> None:
            with Redirected(theirs, Address(AT, port), source, port=port) as sock:
                await serve_edge(sock, port, self.bench.runtime, self.clients)

        self.nursery.start_soon(serve)
        return ours

    def plain(self, port: int = 80) -> SocketStream:
        return SocketStream(self.arrive(port))

    async def tls(self, name: str | None = HOST, *, alpn: str = "http/1.1", holder: pki.Holder | None = None) -> TlsStream:
        """TLS with the gateway, whose certificate is not looked at. NotVerified if it refuses."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_alpn_protos([alpn.encode()])
        if holder is not None:
            context.use_certificate(holder.certificate)
            context.use_privatekey(holder.key)
        stream = TlsStream(context, self.arrive(443), is_server=False, server_name=name)
        await stream.handshake(NotVerified)
        return stream


def front(
    nursery: trio.Nursery, known: Rules | None = None, *, inbound: Inbound = BELIEVES, answer: bytes = b"", app: Serve | None = None
) -> Front:
    seen: list[bytes] = []
    answer = answer or b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    pod, serve = sidecar(nursery, app or http_app(seen, answer), inbound)
    made = Front(meshed(nursery, known or edge_rules(), GATEWAY), pod, nursery, seen)
    made.bench.dialer.servers[ELSEWHERE] = serve
    return made
