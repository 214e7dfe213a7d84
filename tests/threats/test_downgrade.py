"""Can plaintext reach a port that is strict, because another port of the same pod is not?"""

import pytest
import trio
from trio.testing import MockClock

from sidecar.model.address import Address
from sidecar.model.snapshot import Inbound, PortMode
from sidecar.net.socket_stream import SocketStream
from tests.helpers.attack import Origin, request
from tests.helpers.mesh import APP, ORDERS, arrive, call, meshed
from tests.helpers.runtime import POD, rules

BESIDE = Address(POD, 9090)
FOREVER = 4e9
OPEN = PortMode("permissive", FOREVER)
INBOUNDS = {
    "one-port-is-open": Inbound(port_modes={BESIDE.port: OPEN}),
    "one-port-is-strict": Inbound("permissive", FOREVER, port_modes={APP.port: PortMode("strict")}),
    "open-and-over": Inbound("permissive", FOREVER, port_modes={APP.port: PortMode("permissive", 1.0)}),
    "opaque": Inbound(port_modes={BESIDE.port: OPEN}, ports={APP.port: "opaque", BESIDE.port: "opaque"}),
}
ATTACKS = {
    "HTTP": request(), "named-for-the-other": request(host=b"orders.shop:9090"), "in-the-target": request(b"http://orders.shop:9090/"),
    "bytes": b"\x00\x01\x02\x03 more", "nothing": b"",
}


@pytest.mark.parametrize("said", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize("inbound", INBOUNDS.values(), ids=INBOUNDS)
async def test_a_strict_port_stays_strict_beside_a_permissive_one(
    inbound: Inbound, said: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    bench, strict, beside = meshed(nursery, rules(inbound, identity=ORDERS)), Origin(), Origin()
    bench.dialer.servers |= {APP: strict.serve, BESIDE: beside.serve}
    for port in (BESIDE, APP):
        stream = SocketStream(arrive(nursery, bench, port))
        await stream.send_all(request() if port == BESIDE else said)
        await trio.sleep(30)
        stream.close()
    assert beside.logs != []            # plaintext enters where it may
    assert APP not in bench.dialer.dialled
    assert strict.logs == []
    meshed_stream = await call(arrive(nursery, bench, APP))     # and a verified peer enters here
    await meshed_stream.send_all(request())
    assert b"200" in await meshed_stream.receive_some()
    meshed_stream.close()
