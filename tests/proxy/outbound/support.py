"""A pod whose application sets out, and where it may go: two Services of one endpoint each, and a range."""

from sidecar.model.address import Address
from sidecar.model.egress import EgressRange, Outbound
from sidecar.model.service import Endpoint, Service
from sidecar.model.snapshot import Inbound
from sidecar.net.socket_stream import SocketStream
from sidecar.policy.rules import Rules
from tests.helpers.pki import ORDERS, WEB
from tests.helpers.runtime import POD, rules

VIP = Address("10.96.7.1", 80)
ENDPOINT = Address("10.1.0.7", 8080)
DB = Address("10.96.7.2", 5432)
FAR = Address("203.0.113.7", 5432)
ONE = Endpoint(ENDPOINT.host, ENDPOINT.port, ORDERS)
OURSELVES = Endpoint(POD, 8080, WEB)
OPAQUE = Inbound(ports={ENDPOINT.port: "opaque"})
RANGE = EgressRange("203.0.113.0/24", "far-db", (5432,))
MESH_RANGES = ("10.96.7.0/24",)     # where Services of the mesh may be


def mesh(*endpoints: Endpoint, ranges: tuple[EgressRange, ...] = ()) -> Rules:
    return rules(outbound=Outbound(services=(
        Service("orders.shop", 80, (VIP.host,), "http", endpoints),
        Service("db.shop", DB.port, (DB.host,), "opaque", endpoints),
    ), ranges=ranges))


async def ask(app: SocketStream, path: bytes = b"/") -> bytes:
    await app.send_all(b"GET %b HTTP/1.1\r\nhost: orders.shop\r\nx-request-id: id-1\r\n\r\n" % path)
    return await app.receive_some()
