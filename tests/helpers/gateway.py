"""A workload behind its sidecar, an egress gateway, and the outside that only the gateway reaches, under the virtual clock."""

import socket
from dataclasses import dataclass, field
from typing import Any

import trio
from msgspec.structs import replace

from sidecar.model import ports
from sidecar.model.address import Address
from sidecar.model.egress import EgressHost, EgressRange, GatewayCaller, GatewayRef, Origination, Outbound
from sidecar.model.service import Endpoint, Service
from sidecar.model.snapshot import Snapshot, Workload
from sidecar.net.tls_context import ALPN_EGRESS
from sidecar.net.tls_stream import TlsStream
from sidecar.policy.rules import Rules
from sidecar.proxy.gateway import serve_gateway
from sidecar.proxy.originate import Originator
from tests.helpers import pki
from tests.helpers.leave import FakeResolver, Pod, pod
from tests.helpers.mesh import call, meshed, root
from tests.helpers.pki import WEB
from tests.helpers.runtime import POD, Bench, Redirected, kept_pair

GATEWAY = f"spiffe://{pki.DOMAIN}/ns/gateways/sa/egress"
AT = Address("10.1.0.40", ports.GATEWAY)
REF = GatewayRef("egress.gateways", 443)
HOST = "api.partner.example"
SERVER = Address("203.0.113.80", 443)
RANGE = "198.51.100.0/24"
ROOTS = pki.pem([root("public").certificate])
APPROVED = EgressHost(HOST, "partners/api", tls=Origination(roots=ROOTS))
APPROVED_RANGE = EgressRange(RANGE, "partners/range", (5432,))


def caller_rules(*hosts: EgressHost, ranges: tuple[EgressRange, ...] = (), endpoints: tuple[Endpoint, ...] | None = None) -> Rules:
    """Of a workload that may go out by the gateway only."""
    if endpoints is None:
        endpoints = (Endpoint(AT.host, AT.port, GATEWAY),)
    service = Service(REF.service, REF.port, ("10.96.0.40",), endpoints=endpoints)
    return Rules.of(Snapshot(Workload(WEB, "shop", addresses=(POD,)), outbound=Outbound(
        services=(service,),
        hosts=tuple(replace(host, gateway=REF) for host in hosts or (APPROVED,)),
        ranges=tuple(replace(one, gateway=REF) for one in ranges or (APPROVED_RANGE,)),
    )), "digest")


def gateway_rules(*callers: GatewayCaller, **outbound: Any) -> Rules:
    """Of a gateway that leads `web` out to what is approved, unless it is told otherwise."""
    return Rules.of(Snapshot(
        Workload(GATEWAY, "gateways", addresses=(AT.host,)),
        outbound=Outbound(resolvers=("10.96.0.10",), **outbound),
        gateway=callers or (GatewayCaller(WEB, (APPROVED,), (APPROVED_RANGE,)),),
    ), "digest")


@dataclass
class Gateway:
    """
    Args:
        bench: its dialer leads outside.
    """

    bench: Bench
    nursery: trio.Nursery
    resolver: FakeResolver = field(default_factory=FakeResolver)

    def __post_init__(self) -> None:
        self.originator = Originator(self.bench.runtime.rules, self.resolver)

    async def serve(self, sock: socket.socket) -> None:
        with Redirected(sock, AT, POD, port=AT.port) as arrived:
            await serve_gateway(arrived, self.bench.runtime, self.originator)

    def arrive(self) -> socket.socket:
        """The other end of a connection that has come to the gateway."""
        ours, theirs = kept_pair(self.nursery)
        self.nursery.start_soon(self.serve, theirs)
        return ours

    async def call(self, identity: str = WEB, authority: str = "root", alpn: bytes = ALPN_EGRESS) -> TlsStream:
        """mTLS to it as a sidecar would, which is free to say what it likes."""
        return await call(self.arrive(), identity, authority, alpn)


def gateway(nursery: trio.Nursery, known: Rules | None = None) -> Gateway:
    made = Gateway(meshed(nursery, known or gateway_rules(), GATEWAY), nursery)
    made.resolver.names[HOST] = (SERVER.host,)
    return made


def behind(nursery: trio.Nursery, out: Gateway, known: Rules | None = None) -> Pod:
    """The workload; what it resolves or dials but the gateway leads nowhere."""
    web = pod(nursery, known or caller_rules())
    web.bench.dialer.servers[AT] = out.serve
    return web
