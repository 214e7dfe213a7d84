"""A caller before several endpoints of a Service, each a whole sidecar with its application, under the virtual clock."""

import socket
from collections import Counter
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.egress import Outbound
from sidecar.model.network import Isolation
from sidecar.model.service import Backend, Balancing, CallRule, Ejection, Endpoint, Service
from sidecar.model.snapshot import Inbound, Snapshot, Workload
from sidecar.policy.rules import Rules
from tests.helpers.leave import Pod, pod
from tests.helpers.mesh import echo, http_app, sidecar
from tests.helpers.pki import ORDERS, WEB
from tests.helpers.runtime import POD, Serve

VIP, NEW_VIP, TCP_VIP = Address("10.96.7.1", 80), Address("10.96.7.9", 80), Address("10.96.7.2", 5432)
A, B, C = (Endpoint(f"10.1.0.{i}", 8080, ORDERS) for i in (7, 8, 9))
OURSELVES = Endpoint(POD, 8080, WEB)
BROKEN = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
IN_TURN = Balancing("RoundRobin", ejection=None)
FIRST_FAILS = Balancing("RoundRobin", ejection=Ejection(failures=1, for_s=30))


def address(endpoint: Endpoint) -> Address:
    return Address(endpoint.address, endpoint.port)


def orders(*endpoints: Endpoint, balancing: Balancing = IN_TURN, rule: CallRule | None = None, **more: Any) -> Service:
    return Service("orders.shop", 80, (VIP.host,), endpoints=endpoints, balancing=balancing, rules=(rule,) if rule else (), **more)


def new_orders(*endpoints: Endpoint, balancing: Balancing = IN_TURN, **more: Any) -> Service:
    return Service("new-orders.shop", 80, (NEW_VIP.host,), endpoints=endpoints, balancing=balancing, **more)


def db(*endpoints: Endpoint, balancing: Balancing = IN_TURN) -> Service:
    return Service("db.shop", 5432, (TCP_VIP.host,), "opaque", endpoints, balancing=balancing)


def knows(*services: Service, zone: str = "", isolation: Isolation | None = None) -> Rules:
    """The rules of the caller, on whose own ports TCP is served, too."""
    inbound = Inbound(ports={OURSELVES.port: "opaque"} if any(service.protocol == "opaque" for service in services) else {})
    outbound = Outbound(services, isolation=isolation)
    return Rules.of(Snapshot(Workload(WEB, "shop", addresses=(POD,), zone=zone), inbound=inbound, outbound=outbound), "digest")


def says(text: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text)


class World:
    """A caller, and endpoints whose applications say which one they are."""

    def __init__(self, nursery: trio.Nursery, *services: Service, zone: str = "", isolation: Isolation | None = None) -> None:
        self.nursery = nursery
        self.web: Pod = pod(nursery, knows(*services, zone=zone, isolation=isolation))
        self.seen: dict[Endpoint, list[bytes]] = {}
        for endpoint in (A, B, C):
            self.answers(endpoint, says(endpoint.address.encode()))

    def plays(self, endpoint: Endpoint, app: Serve) -> None:
        """What is no HTTP is `echo`."""
        inbound = Inbound(ports={endpoint.port: "opaque"} if app is echo else {})
        self.web.bench.dialer.servers[address(endpoint)] = sidecar(self.nursery, app, inbound, at=address(endpoint))[1]

    def answers(self, endpoint: Endpoint, answer: bytes) -> None:
        self.plays(endpoint, http_app(self.seen.setdefault(endpoint, []), answer))

    def is_down(self, *endpoints: Endpoint) -> None:
        for endpoint in endpoints:
            del self.web.bench.dialer.servers[address(endpoint)]

    def become(self, *services: Service, isolation: Isolation | None = None) -> None:
        self.web.bench.runtime.rules.set(knows(*services, isolation=isolation))

    async def ask(self, path: str = "/", *, method: str = "GET", more: str = "", to: Address = VIP) -> bytes:
        app = self.web.dial(to)
        await app.send_all(f"{method} {path} HTTP/1.1\r\nhost: orders.shop\r\n{more}\r\n".encode())
        answer = bytes(await app.receive_some())
        app.close()
        await wait_all_tasks_blocked()
        return answer

    async def asked(self, times: int = 12, **how: Any) -> Counter[bytes]:
        return Counter([(await self.ask(**how)).rpartition(b"\r\n")[2] for _ in range(times)])

    def in_flight(self) -> int:
        return sum(group.in_flight for group in self.web.bench.runtime.endpoints._groups.values())

    def counted(self, name: str, service: str = "orders.shop:80") -> float:
        return self.web.bench.runtime.metrics.get(name, (("service", service),))


async def hang(sock: socket.socket) -> None:
    await trio.sleep_forever()


def names(*endpoints: Endpoint) -> set[bytes]:
    return {endpoint.address.encode() for endpoint in endpoints}


def to_both(old: int, new: int) -> CallRule:
    return CallRule("canary", backends=(Backend("orders.shop", 80, old), Backend("new-orders.shop", 80, new)))
