"""What leaves a pod for the mesh, for an address range, or for nowhere: two recipes face to face, under the virtual clock."""

import socket
from collections.abc import Awaitable, Callable

import pytest
import trio
from msgspec.structs import replace
from OpenSSL import SSL
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model import ports
from sidecar.model.address import Address
from sidecar.model.egress import EgressRange, Outbound
from sidecar.model.reason import Reason
from sidecar.model.route import Caller, Match, PathMatch, Route
from sidecar.model.service import Endpoint, Service
from sidecar.model.snapshot import Inbound
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_mesh import MeshTls
from sidecar.policy.rules import Rules
from sidecar.proxy.discovery import WAIT_S
from tests.helpers import pki
from tests.helpers.exchange import GET, OK
from tests.helpers.leave import Pod, pod
from tests.helpers.mesh import echo, http_app, is_gone, read_rest, read_until, root, sidecar, tls_of
from tests.helpers.network import NAMED, POLICY, leaving
from tests.helpers.pki import ORDERS, WEB
from tests.helpers.runtime import POD, Serve, rules
from tests.helpers.tls13 import client_hello

VIP = Address("10.96.7.1", 80)
ENDPOINT = Address("10.1.0.7", 8080)
DB = Address("10.96.7.2", 5432)
FAR = Address("203.0.113.7", 5432)


def mesh(*endpoints: Endpoint, ranges: tuple[EgressRange, ...] = ()) -> Rules:
    return rules(outbound=Outbound(services=(
        Service("orders.shop", 80, (VIP.host,), "http", endpoints),
        Service("db.shop", DB.port, (DB.host,), "opaque", endpoints),
    ), ranges=ranges))


ONE = Endpoint(ENDPOINT.host, ENDPOINT.port, ORDERS)
OPAQUE = Inbound(ports={ENDPOINT.port: "opaque"})
RANGE = EgressRange("203.0.113.0/24", "far-db", (5432,))


async def ask(app: SocketStream, path: bytes = b"/") -> bytes:
    await app.send_all(b"GET %b HTTP/1.1\r\nhost: orders.shop\r\nx-request-id: id-1\r\n\r\n" % path)
    return await app.receive_some()


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


def telling(web: Pod, told: Rules) -> Callable[[], Awaitable[None]]:
    """An injector that answers the first wish."""
    async def answer() -> None:
        wanted = await web.bench.runtime.discovery.wanted.wait_change(())
        outbound = replace(told.snapshot.outbound, mesh_ranges=RANGES, wanted=wanted)
        web.bench.runtime.rules.set(rules(outbound=outbound))
    return answer


RANGES = ("10.96.7.0/24",)
UNTOLD = rules(outbound=Outbound(mesh_ranges=RANGES, ranges=(EgressRange("10.96.0.0/16", "all"),)))


async def test_a_service_that_was_not_told_of_is_asked_for(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """By mTLS, and never as the plaintext that an approved range would let out: that range may hold the mesh."""
    web, seen = pod(nursery, UNTOLD), []
    nursery.start_soon(telling(web, mesh(ONE)))
    _, web.bench.dialer.servers[ENDPOINT] = sidecar(nursery, http_app(seen, OK))
    assert await ask(web.dial(VIP)) == OK
    assert web.bench.runtime.discovery.wanted.current == (VIP.host,)
    assert web.bench.dialer.dialled == [ENDPOINT]
    assert trio.current_time() == 0


async def test_while_nobody_tells_there_is_no_plaintext_to_what_may_be_the_mesh(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, UNTOLD)
    for _ in range(2):
        app = web.dial(VIP)
        assert b"BZ0602" in await ask(app)
        app.close()
    await wait_all_tasks_blocked()
    assert (web.bench.dialer.dialled, web.bench.codes) == ([], ["BZ0602"] * 2)
    assert WAIT_S <= trio.current_time() < 2 * WAIT_S       # the second did not wait


async def test_what_is_no_service_is_what_it_was(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, UNTOLD)
    nursery.start_soon(telling(web, UNTOLD))
    web.bench.dialer.servers[DB] = echo
    app = web.dial(DB)
    await app.send_all(b"bytes")
    assert await app.receive_some() == b"bytes"
    assert web.bench.runtime.discovery.wanted.current == (DB.host,)


async def test_outside_of_the_mesh_nobody_is_asked(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, rules(outbound=Outbound(mesh_ranges=RANGES, ranges=(RANGE,))))
    web.bench.dialer.servers[FAR] = echo
    app = web.dial(FAR)
    await app.send_all(b"bytes")
    assert await app.receive_some() == b"bytes"
    assert (web.bench.runtime.discovery.wanted.current, trio.current_time()) == ((), 0)


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


OURSELVES = Endpoint(POD, 8080, WEB)


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


# -- ranges


async def test_an_approved_range_is_relayed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ranges=(RANGE,)))
    web.bench.dialer.servers[FAR] = echo
    app = web.dial(FAR)
    await app.send_all(b"ping")
    assert await read_until(app, b"ping") == b"ping"
    web.bench.runtime.rules.set(mesh())
    assert await is_gone(app)
    (line,) = web.bench.lines
    assert (line["security"], line["rule"], line["detail"]) == ("passthrough", "far-db", "no longer permitted")


async def test_what_goes_to_a_range_ends_where_a_budget_comes(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ranges=(RANGE,)))
    web.bench.dialer.servers[FAR] = echo
    app = web.dial(FAR)
    await app.send_all(b"ping")
    await read_until(app, b"ping")
    web.bench.runtime.rules.set(mesh(ranges=(replace(RANGE, bytes_per_hour=1),)))
    assert await is_gone(app)
    assert trio.current_time() == 0


async def test_an_approved_range_where_nobody_is(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ranges=(RANGE,)))
    app = web.dial(FAR)
    await app.send_all(GET)     # HTTP hears why
    assert b"BZ0401 connect-failed" in await app.receive_some()
    silent = Address("203.0.113.9", 5432)
    web.bench.dialer.silent.add(silent)
    app = web.dial(silent)
    await app.send_all(b"\x00\x00")
    app.sock.shutdown(socket.SHUT_WR)
    assert await is_gone(app)
    assert trio.current_time() == 5


# -- nowhere


@pytest.mark.parametrize("to", [
    Address("203.0.113.7", 5433), Address("203.0.114.7", 5432), Address("169.254.169.254", 80), Address("127.0.0.1", 5432),
])
async def test_bytes_without_a_name_go_nowhere(to: Address, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ONE, ranges=(RANGE,)))
    app = web.dial(to)
    assert await is_gone(app, b"\x00\x01\x02")
    assert web.bench.codes == [Reason.ADDRESS_NOT_APPROVED.code]
    assert web.bench.dialer.dialled == []


async def test_a_protocol_in_which_the_server_speaks_first(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh())
    app = web.dial(FAR)
    assert await app.receive_some() == b""
    assert trio.current_time() == 6     # five for a first byte, one more in case it was HTTP after all
    assert web.bench.codes == [Reason.TIMED_OUT_DOWNSTREAM.code]


@pytest.mark.parametrize("to", [None, *(Address("10.1.0.9", port) for port in sorted(ports.OWN)), Address("127.0.0.1", 25001)])
async def test_the_listener_relays_to_no_listener(to: Address | None, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ONE, ranges=(EgressRange("0.0.0.0/0", "all"),)))
    port = to.port if to is not None and to.port == 25001 else 15001
    app = web.dial(to, port)
    assert await is_gone(app)
    assert web.bench.codes == [Reason.OWN_PORT.code]
    assert web.bench.dialer.dialled == []


async def test_our_own_connection_that_came_back(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The exemption is lost: what we dial ourselves comes to our listener, which would dial again."""
    web = pod(nursery, mesh(ranges=(RANGE,)))
    web.bench.runtime.dialer.own_ports.add(40000)
    assert await is_gone(web.dial(FAR))
    assert web.bench.codes == [Reason.OWN_PORT.code]


async def test_a_canary_is_nobodys_traffic(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ranges=(EgressRange("0.0.0.0/0", "all"),)))
    to = Address(ports.NAT_CANARY[4], ports.CANARY_PORT)
    with web.arrivals.expect(Address(to.host, 40000)) as arrived:
        assert await is_gone(web.dial(to))
        assert arrived.is_set()
    assert web.bench.lines == []


@pytest.mark.parametrize(("is_open", "known", "code"), [(False, mesh(ONE), "BZ0207"), (True, None, "BZ0601")])
async def test_our_own_state(
    is_open: bool, known: Rules | None, code: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = pod(nursery, known)
    web.bench.runtime.is_outbound_open.set(is_open)
    for to in (VIP, DB, FAR, Address("10.96.0.10", 53)):
        app = web.dial(to)
        await app.send_all(GET)
        assert code.encode() in await app.receive_some()
        app.close()
        await wait_all_tasks_blocked()
    assert web.bench.codes == [code] * 4
    assert web.bench.dialer.dialled == []


async def test_a_refusal_of_bytes_that_are_not_http_is_an_end(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ONE))
    web.bench.runtime.is_outbound_open.set(False)
    app = web.dial(DB)
    await app.send_all(b"\x00\x00")
    assert await is_gone(app)
    assert web.bench.codes == ["BZ0207"]


# -- observed


NEWS = "news.example"
OBSERVED_S = 600.0


def observer(nursery: trio.Nursery) -> Pod:
    web = pod(nursery, None)
    outbound = Outbound(
        mode="observe", observe_until=web.bench.wall + OBSERVED_S, cluster_ranges=("192.0.2.0/24",), resolvers=("10.96.0.10",))
    web.bench.runtime.rules.set(rules(outbound=outbound))
    web.resolver.names[NEWS] = (FAR.host,)
    return web


def seen_of(web: Pod) -> list[tuple[str, str, str, dict[str, int], dict[str, int], int]]:
    """What the ledger holds: how, by which identity, where to, spoken how to which port, by which rule, bytes sent."""
    found = [entry for entry in web.bench.ledger.entries if entry.kind == "connection"]
    assert {entry.local for entry in found} == {WEB}
    return [(entry.security, entry.host, entry.dst, entry.spoken, entry.rules, entry.sent) for entry in found]


async def test_observed_plain_http_goes_on_as_it_is_and_is_written_down(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, seen = observer(nursery), []
    web.bench.dialer.servers[Address(FAR.host, 8080)] = http_app(seen, OK)
    app = web.dial(Address("198.51.100.9", 8080))
    await app.send_all(f"POST /a HTTP/1.1\r\nhost: {NEWS}:8080\r\ncontent-length: 4\r\n\r\nbody".encode())
    assert await app.receive_some() == OK
    assert seen[0].startswith(f"POST /a HTTP/1.1\r\nhost: {NEWS}:8080\r\n".encode())
    app.close()
    await wait_all_tasks_blocked()
    dst = "198.51.100.9:8080"
    assert seen_of(web) == [("plaintext", NEWS, dst, {"plain:8080": 1}, {"(observed)": 1}, 4)]
    assert web.bench.lines[0]["spoken"] == "plain:8080"


async def test_observed_tls_passes_by_its_name(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, sent = observer(nursery), client_hello(NEWS)
    web.bench.dialer.servers[Address(FAR.host, 8443)] = echo
    app = web.dial(Address(FAR.host, 8443))
    await app.send_all(sent)
    await read_until(app, sent)
    app.close()
    await wait_all_tasks_blocked()
    assert seen_of(web) == [("passthrough", NEWS, f"{FAR.host}:8443", {"tls:8443": 1}, {"(observed)": 1}, len(sent))]


@pytest.mark.parametrize("first", [b"\x00\x01\x02\x03", b"EHLO web\r\n", client_hello(None)], ids=["binary", "lines", "tls-without-name"])
async def test_observed_bytes_without_a_name_go_to_the_address(
    first: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = observer(nursery)
    web.bench.dialer.servers[FAR] = echo
    app = web.dial(FAR)
    await app.send_all(first)
    await read_until(app, first)
    app.close()
    await wait_all_tasks_blocked()
    assert seen_of(web) == [("passthrough", "", str(FAR), {f"tcp:{FAR.port}": 1}, {"(observed)": 1}, len(first))]


async def test_an_observed_server_that_speaks_first(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = observer(nursery)

    async def greet(sock: socket.socket) -> None:
        await SocketStream(sock).send_all(b"220 ready\r\n")

    web.bench.dialer.servers[FAR] = greet
    assert await read_rest(web.dial(FAR)) == b"220 ready\r\n"
    assert trio.current_time() == 5


async def test_an_observed_connection_that_lasts_is_told_of_while_it_does(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = observer(nursery)
    web.bench.dialer.servers[FAR] = echo
    app = web.dial(FAR)
    for sent in (b"\x00\x01", b"\x02"):
        await app.send_all(sent)
        await read_until(app, sent)
        web.bench.runtime.accounts.tell_open()      # which `main` does every ten minutes
    app.close()
    await wait_all_tasks_blocked()
    web.bench.runtime.accounts.tell_open()
    entries = web.bench.ledger.entries
    assert [(entry.sent, entry.is_open) for entry in entries] == [(2, True), (3, True), (3, False)]
    assert {(entry.id, entry.dst, str(entry.spoken), str(entry.rules)) for entry in entries} == {
        (web.bench.lines[0]["connection"], str(FAR), f"{{'tcp:{FAR.port}': 1}}", "{'(observed)': 1}")}


@pytest.mark.parametrize("host", [
    "127.0.0.1", "169.254.169.254", "10.1.0.9", "192.0.2.7", "192.168.1.1", "240.0.0.1", POD,
])
@pytest.mark.parametrize("first", [
    b"\x00\x01\x02\x03", client_hello(None), client_hello("inner.example"), b"GET / HTTP/1.1\r\nhost: inner.example\r\n\r\n",
], ids=["binary", "tls-without-name", "tls", "plain"])
async def test_nobody_is_observed_within(host: str, first: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Addresses of the pod, the node, the cluster and private networks are for approvals that mean them."""
    web = observer(nursery)
    web.resolver.names["inner.example"] = (host,)
    app = web.dial(Address(host, 80))
    await app.send_all(first)
    app.sock.shutdown(socket.SHUT_WR)
    await wait_all_tasks_blocked()
    assert web.bench.dialer.dialled == []
    assert web.bench.codes in (["BZ0202"], ["BZ0204"])


async def test_an_observation_ends_at_its_date(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = observer(nursery)
    for port in (5432, 443):
        web.bench.dialer.servers[Address(FAR.host, port)] = echo
    opaque, own = web.dial(FAR), web.dial(Address(FAR.host, 443))
    for app, first in (opaque, b"\x00\x01"), (own, client_hello(NEWS)):
        await app.send_all(first)
        await read_until(app, first)
    web.bench.dialer.servers[Address(FAR.host, 80)] = http_app([], OK)
    plain = web.dial(Address(FAR.host, 80))
    await plain.send_all(f"GET / HTTP/1.1\r\nhost: {NEWS}\r\n\r\n".encode())
    assert await plain.receive_some() == OK
    assert len(web.bench.runtime.pool) == 1
    web.bench.wall += OBSERVED_S
    assert await is_gone(opaque)
    assert await is_gone(own)
    assert trio.current_time() <= 5
    web.bench.runtime.withdrawals.part()        # which `main` does every few seconds
    await plain.send_all(f"GET / HTTP/1.1\r\nhost: {NEWS}\r\n\r\n".encode())
    assert b"BZ0201 host-not-approved" in await plain.receive_some()
    assert await is_gone(web.dial(FAR), b"\x00\x01")
    assert len(web.bench.dialer.dialled) == 3


async def test_an_observed_connection_goes_on_where_it_was_approved_meanwhile(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = observer(nursery)
    web.bench.dialer.servers[FAR] = echo
    app = web.dial(FAR)
    await app.send_all(b"\x00\x01")
    await read_until(app, b"\x00\x01")
    web.bench.runtime.rules.set(mesh(ranges=(RANGE,)))
    await trio.sleep(60)
    await app.send_all(b"\x00\x02")
    await read_until(app, b"\x00\x02")
    web.bench.runtime.rules.set(mesh())
    assert await is_gone(app)


async def test_what_was_refused_says_how_it_was_spoken(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh())
    for first in (client_hello(NEWS), b"\x00\x01\x02\x03", f"GET / HTTP/1.1\r\nhost: {NEWS}\r\n\r\n".encode()):
        app = web.dial(Address(FAR.host, 80))
        await app.send_all(first)
        app.sock.shutdown(socket.SHUT_WR)
        await wait_all_tasks_blocked()
    refused = [(entry.code, entry.host, entry.spoken) for entry in web.bench.ledger.entries]
    assert refused == [("BZ0201", NEWS, {"tls:80": 1}), ("BZ0202", "", {"tcp:80": 1}), ("BZ0201", NEWS, {"plain:80": 1})]


# -- NetworkPolicies


async def reaches(web: Pod, to: Address, text: bytes = b"ping") -> bool:
    app = web.dial(to)
    try:
        await app.send_all(text)
        return await app.receive_some() == text
    except trio.BrokenResourceError:
        return False
    finally:
        app.close()
        await wait_all_tasks_blocked()


async def test_an_approved_range_leads_where_a_policy_lists_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, near = pod(nursery, leaving(mesh(ranges=(RANGE,)), "203.0.113.8/32")), Address("203.0.113.8", 5432)
    web.bench.dialer.servers |= {FAR: echo, near: echo}
    assert await reaches(web, near)
    assert not await reaches(web, FAR)
    assert web.bench.dialer.dialled == [near]
    assert [(line.get("code", ""), line["rule"]) for line in web.bench.lines] == [("", RANGE.rule), ("BZ0216", NAMED)]


async def test_a_range_ends_when_no_policy_lists_it_any_more(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, leaving(mesh(ranges=(RANGE,)), "203.0.113.0/24"))
    web.bench.dialer.servers[FAR] = echo
    app = web.dial(FAR)
    await app.send_all(b"ping")
    assert await read_until(app, b"ping") == b"ping"
    web.bench.runtime.rules.set(leaving(mesh(ranges=(RANGE,)), "203.0.113.0/24!203.0.113.7/32"))
    assert await is_gone(app)
    assert trio.current_time() == 0
    await wait_all_tasks_blocked()
    assert web.bench.lines[0]["detail"] == "no longer permitted"


@pytest.mark.parametrize(("listed", "port", "to", "is_let"), [
    ("203.0.113.0/24", None, FAR, True),
    ("203.0.113.0/24", 5432, FAR, True),
    ("203.0.113.0/24", 5433, FAR, False),
    ("203.0.113.0/24!203.0.113.7/32", None, FAR, False),
    ("203.0.112.0/24", None, FAR, False),
    ("0.0.0.0/0", None, FAR, True),
])
async def test_a_policy_approves_what_its_blocks_list_where_no_other_does(
    listed: str, port: int | None, to: Address, is_let: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = pod(nursery, leaving(rules(), listed, port=port, approves=True))
    web.bench.dialer.servers[to] = echo
    assert await reaches(web, to) is is_let
    (line,) = web.bench.lines
    assert (line.get("code", ""), line["rule"]) == (("", NAMED) if is_let else ("BZ0216", NAMED))
    assert (web.bench.dialer.dialled == [to]) is is_let


async def test_http_to_an_address_that_no_policy_lists_is_told_by_which(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, leaving(rules(), "203.0.113.0/24", approves=True))
    app = web.dial(Address("198.51.100.9", 80))
    await app.send_all(b"GET / HTTP/1.1\r\nhost: 198.51.100.9\r\n\r\n")
    answer = await read_rest(app)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"x-bartizan-reason: BZ0216 network-policy-out\r\n" in answer
    assert POLICY.encode() in answer


@pytest.mark.parametrize("to", ["10.9.9.9", "169.254.169.254", "192.0.2.9"])
async def test_a_policys_block_must_mean_a_special_address(to: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, at = rules(outbound=Outbound(cluster_ranges=("192.0.2.0/24",))), Address(to, 5432)
    web = pod(nursery, leaving(known, "0.0.0.0/0", approves=True))
    web.bench.dialer.servers[at] = echo
    assert not await reaches(web, at, b"\x00ping")
    assert web.bench.codes == ["BZ0202"]        # listed, and not approved
    web.bench.runtime.rules.set(leaving(known, f"{to}/32", approves=True))
    assert await reaches(web, at)


async def test_a_policy_that_does_not_approve_only_narrows(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, leaving(rules(), "203.0.113.0/24"))
    web.bench.dialer.servers[FAR] = echo
    assert not await reaches(web, FAR, b"\x00ping")
    assert web.bench.codes == ["BZ0202"]


async def test_a_policys_approval_leads_to_no_service_that_was_not_told_of(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, leaving(rules(outbound=Outbound(mesh_ranges=RANGES)), "10.96.0.0/16", approves=True))
    web.bench.dialer.servers[DB] = echo
    assert not await reaches(web, DB)
    assert web.bench.codes == ["BZ0602"]


async def test_what_a_policy_approved_ends_when_it_does_no_longer(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, leaving(rules(), "203.0.113.0/24", approves=True))
    web.bench.dialer.servers[FAR] = echo
    app = web.dial(FAR)
    await app.send_all(b"ping")
    assert await read_until(app, b"ping") == b"ping"
    web.bench.runtime.rules.set(leaving(rules(), "203.0.113.0/24"))     # an EgressPolicy selects the pod now
    assert await is_gone(app)
    assert trio.current_time() == 0
