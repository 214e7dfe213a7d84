"""To a Service of the mesh whose protocol is HTTP: two recipes face to face, under the virtual clock."""

import socket

import pytest
import trio
from OpenSSL import SSL
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.route import Caller, Match, PathMatch, Route
from sidecar.model.service import Endpoint
from sidecar.model.snapshot import Inbound
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_mesh import MeshTls
from sidecar.policy.rules import Rules
from tests.helpers import pki
from tests.helpers.exchange import GET, OK
from tests.helpers.leave import pod
from tests.helpers.mesh import http_app, read_rest, root, sidecar, tls_of
from tests.helpers.pki import ORDERS, WEB
from tests.helpers.runtime import POD, Serve, rules
from tests.proxy.outbound.support import ENDPOINT, ONE, OURSELVES, VIP, ask, mesh

# -- the mesh


async def test_from_application_to_application(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, seen = pod(nursery, mesh(ONE)), []
    orders, web.bench.dialer.servers[ENDPOINT] = sidecar(nursery, http_app(seen, OK))
    app = web.dial(VIP)
    for _ in range(3):
        assert await ask(app) == OK
    assert web.bench.dialer.dialled == [ENDPOINT]       # one connection
    assert b"\r\nhost: orders.shop\r\n" in seen[0]
    assert f"By={ORDERS};".encode() in seen[0]
    assert f"URI={WEB}".encode() in seen[0]
    app.close()
    await wait_all_tasks_blocked()
    ours, theirs = web.bench.lines[0], orders.lines[0]
    assert (ours["security"], ours["peer"], ours["rule"]) == ("mtls", ORDERS, "service/orders.shop")
    assert (theirs["security"], theirs["peer"]) == ("mtls", WEB)
    assert ours["request_id"] == theirs["request_id"] == "id-1"


async def test_the_caller_hears_why_the_other_side_refused(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, only = pod(nursery, mesh(ONE)), Route("only-post", (Caller("web", "shop"),), matches=(Match(PathMatch("/"), "POST"),))
    other = Route("not-you", (Caller("other", "shop"),), matches=(Match(PathMatch("/secret")),))
    orders, web.bench.dialer.servers[ENDPOINT] = sidecar(nursery, http_app([], OK), Inbound(routes=(only, other)))
    app = web.dial(VIP)
    assert b"\r\nx-bartizan-reason: BZ0101 no-route\r\n" in await ask(app)
    refused = await ask(app, b"/secret")
    assert b"\r\nx-bartizan-reason: BZ0102 identity-not-allowed\r\nx-bartizan-rule: not-you\r\n" in refused
    app.close()
    await wait_all_tasks_blocked()
    assert web.bench.codes == orders.codes == ["BZ0101", "BZ0102"]


async def test_an_endpoint_that_is_somebody_else(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A stale endpoint or an impostor: its certificate is good, its identity is not the one."""
    web, seen = pod(nursery, mesh(ONE)), []
    thief, web.bench.dialer.servers[ENDPOINT] = sidecar(nursery, http_app(seen, OK), identity=WEB)
    app = web.dial(VIP)
    assert b"BZ0502 wrong-identity" in await ask(app)
    assert seen == []
    app.close()
    await wait_all_tasks_blocked()
    assert thief.lines == []        # not a byte of the request
    assert len(web.bench.runtime.pool) == 0


async def test_an_endpoint_without_a_sidecar_never_gets_plaintext(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, heard = pod(nursery, mesh(ONE)), []

    async def bare(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        heard.append(await stream.receive_some())
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    web.bench.dialer.servers[ENDPOINT] = bare
    app = web.dial(VIP)
    assert b"BZ0206" in await ask(app)
    assert heard[0].startswith(b"\x16\x03")
    assert b"GET" not in heard[0]


async def test_an_endpoint_that_is_not_the_meshs(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Right identity, right roots, but no protocol of the mesh was agreed on: nothing is said."""
    from sidecar.model.errors import TlsRejected
    from sidecar.net.tls_stream import TlsStream

    web, heard = pod(nursery, mesh(ONE)), []
    credentials = tls_of(ORDERS).credentials
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(credentials.chain[0])
    context.use_privatekey(credentials.key)

    async def other(sock: socket.socket) -> None:
        stream = TlsStream(context, sock, is_server=True)
        await stream.handshake(TlsRejected)
        heard.append(await read_rest(stream))
        stream.close()

    web.bench.dialer.servers[ENDPOINT] = other
    app = web.dial(VIP)
    assert b"BZ0206" in await ask(app)
    await wait_all_tasks_blocked()
    assert heard == [b""]


async def test_an_endpoint_that_is_silent(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ONE))

    async def silent(sock: socket.socket) -> None:
        await trio.sleep_forever()

    web.bench.dialer.servers[ENDPOINT] = silent     # connected, and never a handshake
    app = web.dial(VIP)
    assert b" 504 " in await ask(app)
    assert trio.current_time() == 5


async def test_nobody_is_called_verified_who_was_not_reached(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ONE))
    app = web.dial(VIP)
    assert b" 503 " in await ask(app)       # nobody listens there
    await wait_all_tasks_blocked()
    (line,) = web.bench.lines
    assert not {"security", "tls", "peer"} & line.keys()
    _, web.bench.dialer.servers[ENDPOINT] = sidecar(nursery, http_app([], OK))
    assert await ask(web.dial(VIP)) == OK
    await wait_all_tasks_blocked()
    line = web.bench.lines[-1]
    assert (line["security"], line["tls"], line["peer"]) == ("mtls", "TLSv1.3", ORDERS)


async def test_new_credentials_mean_new_connections(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ONE))
    _, web.bench.dialer.servers[ENDPOINT] = sidecar(nursery, http_app([], OK))
    app = web.dial(VIP)
    assert await ask(app) == OK
    web.bench.runtime.tls.set(pki.mesh_tls(pki.issue(root(), pki.uri(WEB)), root()))
    assert await ask(app) == OK
    assert web.bench.dialer.dialled == [ENDPOINT, ENDPOINT]
    (old, new) = web.bench.runtime.pool._kept
    assert old != new
    assert any(isinstance(part, MeshTls) for part in new)   # itself, not its address, which the next one may be given


@pytest.mark.parametrize("known", [mesh(), mesh(Endpoint(ENDPOINT.host, ENDPOINT.port, ORDERS))])
async def test_no_endpoint(known: Rules, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, known)
    app = web.dial(VIP)
    assert (b"BZ0401" if known.outbound.service(VIP).endpoints else b"BZ0404") in await ask(app)   # type: ignore[union-attr]


async def test_each_request_is_judged_by_the_rules_of_its_moment(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ONE))
    _, web.bench.dialer.servers[ENDPOINT] = sidecar(nursery, http_app([], OK))
    app = web.dial(VIP)
    assert await ask(app) == OK
    web.bench.runtime.rules.set(mesh())
    assert b"BZ0404 no-endpoint" in await ask(app)
    web.bench.runtime.rules.set(mesh(ONE))
    assert await ask(app) == OK
    web.bench.runtime.is_outbound_open.set(False)
    refused = await ask(app)
    assert b" 503 " in refused
    assert b"BZ0207 redirect-lost" in refused
    assert await read_rest(app) == b""
    app = web.dial(VIP)
    web.bench.runtime.is_outbound_open.set(True)
    assert await ask(app) == OK
    web.bench.runtime.rules.set(rules())
    assert b"BZ0202" in await ask(app)


async def test_a_certificate_that_has_ended_is_not_shown(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ONE))
    _, web.bench.dialer.servers[ENDPOINT] = sidecar(nursery, http_app([], OK))
    web.bench.wall += 1800
    app = web.dial(VIP)
    assert b"BZ0503 no-identity" in await ask(app)
    assert web.bench.dialer.dialled == []


async def test_requests_spread_over_the_endpoints(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Of two drawn at random the one with fewer exchanges in flight: one that hangs gets no more."""
    addresses = [Address(f"10.1.0.{i}", 8080) for i in (7, 8)]
    known = mesh(*(Endpoint(address.host, 8080, ORDERS) for address in addresses))
    web = pod(nursery, known)
    hung: list[Address] = []

    def play(address: Address) -> Serve:
        async def app(sock: socket.socket) -> None:
            if not hung or address in hung:
                hung.append(address)
                await trio.sleep_forever()
            await http_app([], OK)(sock)

        return sidecar(nursery, app, at=address)[1]

    for address in addresses:
        web.bench.dialer.servers[address] = play(address)
    await web.dial(VIP).send_all(GET)
    await wait_all_tasks_blocked()
    for _ in range(10):
        app = web.dial(VIP)
        assert await ask(app) == OK
        app.close()
    assert len(hung) == 1
    await trio.sleep(61)
    assert web.bench.runtime.endpoints.group(known, known.snapshot.outbound.services[0], 0).in_flight == 0


# -- this very pod


async def test_a_service_may_choose_the_pod_that_asks(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """In-process, judged like everybody: a connection from here to here would pass no packet rule."""
    known, seen = mesh(OURSELVES), []
    web = pod(nursery, known)
    web.bench.dialer.servers[Address(POD, 8080)] = http_app(seen, OK)
    app = web.dial(VIP)
    assert await ask(app) == OK
    assert f"By={WEB};".encode() in seen[0]
    assert f"URI={WEB}".encode() in seen[0]
    web.bench.runtime.rules.set(rules(Inbound(routes=()), known.snapshot.outbound))
    assert b"BZ0101 no-route" in await ask(app)
    web.bench.wall += 1800
    assert b"BZ0503 no-identity" in await ask(app)
    assert len(seen) == 1
