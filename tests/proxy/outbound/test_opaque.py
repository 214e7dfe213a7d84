"""To a Service of the mesh whose protocol is opaque to us: two recipes face to face, under the virtual clock."""

import socket

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.service import Endpoint
from sidecar.model.snapshot import Inbound
from sidecar.net.socket_stream import SocketStream
from sidecar.policy.rules import Rules
from tests.helpers.leave import pod
from tests.helpers.mesh import echo, is_gone, read_rest, read_until, sidecar
from tests.helpers.pki import ORDERS, WEB
from tests.helpers.runtime import POD, rules
from tests.proxy.outbound.support import DB, ENDPOINT, FAR, ONE, OPAQUE, OURSELVES, RANGE, mesh

# -- opaque


async def test_opaque_bytes_through_the_mesh(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ONE))
    orders, web.bench.dialer.servers[ENDPOINT] = sidecar(nursery, echo, OPAQUE)
    app = web.dial(DB)
    await app.send_all(b"ping")
    assert await read_until(app, b"ping") == b"ping"
    await app.send_eof()
    assert await read_rest(app) == b""
    await wait_all_tasks_blocked()
    assert [(line["security"], line["peer"], line["sent"]) for line in (*web.bench.lines, *orders.lines)] == [
        ("mtls", ORDERS, 4), ("mtls", WEB, 4),
    ]


async def test_a_server_may_speak_first_on_an_opaque_port(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ONE))

    async def greet(sock: socket.socket) -> None:
        await SocketStream(sock).send_all(b"220 hello")
        await trio.sleep_forever()

    _, web.bench.dialer.servers[ENDPOINT] = sidecar(nursery, greet, OPAQUE)
    assert await read_until(web.dial(DB), b"hello") == b"220 hello"


async def test_of_opaque_bytes_none_is_taken_before_there_is_who_gets_them(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Not even looked at: their number and their sense are the endpoint's affair."""
    web = pod(nursery, mesh(ONE))
    web.bench.dialer.silent.add(ENDPOINT)
    app = web.dial(DB)
    capacity = fill(app.sock)
    await wait_all_tasks_blocked()
    assert web.bench.dialer.dialled == [ENDPOINT]
    assert (fill(app.sock), capacity > 0) == (0, True)


def fill(sock: socket.socket) -> int:
    """How many bytes it takes at once."""
    taken = 0
    try:
        while True:
            taken += sock.send(b"x" * 4096)
    except BlockingIOError:
        return taken


@pytest.mark.parametrize(("endpoints", "identity", "code"), [
    ((), ORDERS, "BZ0404"), ((ONE,), WEB, "BZ0502"), ((ONE,), "", "BZ0401"),
])
async def test_opaque_bytes_that_cannot_go(
    endpoints: tuple[Endpoint, ...], identity: str, code: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = pod(nursery, mesh(*endpoints))
    if identity:
        _, web.bench.dialer.servers[ENDPOINT] = sidecar(nursery, echo, OPAQUE, identity=identity)
    app = web.dial(DB)
    await app.send_all(b"\x00secret")
    app.sock.shutdown(socket.SHUT_WR)
    assert await is_gone(app)
    await wait_all_tasks_blocked()
    assert web.bench.codes == [code]


@pytest.mark.parametrize("change", [mesh(), rules(), mesh(Endpoint(ENDPOINT.host, ENDPOINT.port, WEB))])
async def test_opaque_bytes_are_cut_when_the_endpoint_is_withdrawn(
    change: Rules, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = pod(nursery, mesh(ONE))
    _, web.bench.dialer.servers[ENDPOINT] = sidecar(nursery, echo, OPAQUE)
    app = web.dial(DB)
    await app.send_all(b"ping")
    await read_until(app, b"ping")
    web.bench.runtime.rules.set(mesh(ONE))      # an equal one cuts nothing
    await app.send_all(b"pong")
    await read_until(app, b"pong")
    web.bench.runtime.rules.set(change)
    assert await is_gone(app)
    assert trio.current_time() == 0
    assert trio.current_time() == 0


@pytest.mark.parametrize("to", [DB, FAR])
async def test_relays_end_when_the_way_out_is_whole_no_more(
    to: Address, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = pod(nursery, mesh(ONE, ranges=(RANGE,)))
    _, web.bench.dialer.servers[ENDPOINT] = sidecar(nursery, echo, OPAQUE)
    web.bench.dialer.servers[FAR] = echo
    app = web.dial(to)
    await app.send_all(b"ping")
    await read_until(app, b"ping")
    web.bench.runtime.is_outbound_open.set(False)
    assert await is_gone(app)
    assert trio.current_time() <= 5


# -- this very pod


async def test_opaque_bytes_to_this_very_pod(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = rules(OPAQUE, mesh(OURSELVES).snapshot.outbound)
    web = pod(nursery, known)
    web.bench.dialer.servers[Address(POD, 8080)] = echo
    app = web.dial(DB)
    await app.send_all(b"ping")
    assert await read_until(app, b"ping") == b"ping"
    web.bench.runtime.rules.set(rules(Inbound(routes=()), known.snapshot.outbound))
    assert await is_gone(app)
    assert trio.current_time() == 0
