"""A leave is withdrawn, or changed, while traffic rests on it: each kind of traffic ends at the change, and in five seconds at most where a
date has passed or the packet rules are lost; the next request on a connection that lives is judged by what holds then.
"""

import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import h2.events
import pytest
import trio
from OpenSSL import SSL
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.egress import ClientCertificate, EgressHost, EgressRange, GatewayCaller, GatewayRef, Origination, Outbound, Waiver
from sidecar.model.errors import NotVerified
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_stream import TlsStream
from sidecar.policy.rules import Rules
from tests.helpers import gateway as by_gateway
from tests.helpers import pki
from tests.helpers.exchange import GET, OK
from tests.helpers.h2_peer import Peer
from tests.helpers.leave import Pod, https, own_tls, partner, pod
from tests.helpers.mesh import http_app, is_gone, read_until, root
from tests.helpers.runtime import Bench, Serve, rules

HOST = "api.partner.example"
SERVER = "203.0.113.80"
ROOTS = pki.pem([root("public").certificate])
PORTS = (80, 443, 5432)
HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhalf"
PIN = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="     # of nobody's key
WITHIN_S = 5.0


def host(**changed: Any) -> EgressHost:
    """Plain HTTP and the application's own TLS, or with `tcp_ports` by its synthetic address."""
    of_tls = {"roots": ROOTS} | {name: changed.pop(name) for name in list(changed) if name in Origination.__struct_fields__}
    return EgressHost(HOST, "partners/api", **{"tls": Origination(**of_tls)} | changed)


def approving(*hosts: EgressHost, ranges: tuple[EgressRange, ...] = (), **outbound: Any) -> Rules:
    return rules(outbound=Outbound(hosts=hosts, ranges=ranges, resolvers=("10.96.0.10",), **outbound))


NOTHING = approving()
TCP: dict[str, Any] = {"plain_ports": (), "tls_ports": (), "tcp_ports": (5432,)}


@dataclass
class Live:
    """Traffic that is on, or a connection that is kept.

    Args:
        ended: when the host saw it end.
        withdraw: takes the leave back.
        benches: of the sidecars on its way.
        is_kept: the application's connection goes on.
        is_told: the host sees it at once; else when it next says something.
    """

    web: Pod
    app: SocketStream | TlsStream
    ended: list[float]
    withdraw: Callable[[], None]
    benches: list[Bench] = field(default_factory=list)
    is_kept: bool = False
    is_told: bool = True

    def lose_the_rules(self) -> None:
        self.web.bench.runtime.is_outbound_open.set(False)


def holding(ended: list[float], says: bytes) -> Serve:
    """Hears something, says so much, and notes when it is left alone."""
    async def serve(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        try:
            await stream.receive_some()
            await stream.send_all(says)
            await is_gone(stream)
        finally:
            ended.append(trio.current_time())

    return serve


def holding_http2(ended: list[float]) -> Serve:
    context, holder = SSL.Context(SSL.TLS_SERVER_METHOD), partner(HOST)
    context.use_certificate(holder.certificate)
    context.use_privatekey(holder.key)
    context.set_alpn_select_callback(lambda *_: b"h2")

    async def serve(sock: socket.socket) -> None:
        stream = TlsStream(context, sock, is_server=True)
        await stream.handshake(NotVerified)
        peer = Peer(stream, is_client=False)
        await peer.begin()
        await peer.first(h2.events.RequestReceived)
        peer.h2.send_headers(1, [(b":status", b"200")])
        await peer.flush()
        try:
            with suppress(trio.BrokenResourceError):
                while await peer.read():
                    pass
        finally:
            ended.append(trio.current_time())

    return serve


def outside(nursery: trio.Nursery, known: Rules, serve: Serve) -> Pod:
    web = pod(nursery, known)
    web.resolver.names[HOST] = (SERVER,)
    for port in PORTS:
        web.bench.dialer.servers[Address(SERVER, port)] = serve
    return web


def live(web: Pod, app: SocketStream | TlsStream, ended: list[float], *, is_kept: bool = False) -> Live:
    return Live(web, app, ended, lambda: web.bench.runtime.rules.set(NOTHING), [web.bench], is_kept)


async def exchange(nursery: trio.Nursery, says: bytes = HALF, **approval: Any) -> Live:
    """Plain HTTP, in the middle of its answer; or its connection is kept."""
    ended: list[float] = []
    serve = holding(ended, says)
    web = outside(nursery, approving(host(**approval)), serve if approval.get("tls", ...) is None else https(partner(HOST), serve))
    app = web.dial(Address(SERVER, 80))
    await app.send_all(f"GET /a HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    await read_until(app, b"half\r\n" if says == UNTIL_CLOSE else says[-4:])    # which goes on in chunks
    return live(web, app, ended, is_kept=says == OK)


async def kept(nursery: trio.Nursery) -> Live:
    return await exchange(nursery, OK)


async def in_plaintext(nursery: trio.Nursery) -> Live:
    return await exchange(nursery, tls=None)


async def stream_of_http2(nursery: trio.Nursery) -> Live:
    ended: list[float] = []
    web = outside(nursery, approving(host()), holding_http2(ended))
    app = web.dial(Address(SERVER, 80))
    peer = Peer(app, is_client=True)
    await peer.begin()
    await peer.ask(1, [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", HOST.encode()), (b":path", b"/a")])
    await peer.first(h2.events.ResponseReceived, 1)

    async def until_reset() -> None:
        await peer.first(h2.events.StreamReset, 1)
        app.close()

    nursery.start_soon(until_reset)
    return live(web, app, ended, is_kept=True)


async def tunnel_of_tls(nursery: trio.Nursery, **approval: Any) -> Live:
    ended: list[float] = []
    web = outside(nursery, approving(host(**approval)), https(partner(HOST), holding(ended, b"half")))
    app = await own_tls(web.dial(Address(SERVER, 443)))
    await app.send_all(b"x")
    await read_until(app, b"half")
    return live(web, app, ended)


async def named_tcp(nursery: trio.Nursery, **approval: Any) -> Live:
    ended: list[float] = []
    serve = holding(ended, b"half")
    known = approving(host(**TCP, **approval))
    web = outside(nursery, known, serve if approval.get("tls", ...) is None else https(partner(HOST), serve))
    address = web.bench.runtime.synthetic.address(HOST)
    assert address is not None
    app = web.dial(Address(address, 5432))
    await app.send_all(b"x")
    await read_until(app, b"half")
    return live(web, app, ended)


async def named_tcp_in_plaintext(nursery: trio.Nursery) -> Live:
    return await named_tcp(nursery, tls=None)


async def range_of_tcp(nursery: trio.Nursery) -> Live:
    ended: list[float] = []
    web = outside(nursery, approving(ranges=(EgressRange("203.0.113.0/24", "partners/range"),)), holding(ended, b"half"))
    app = web.dial(Address(SERVER, 5432))
    await app.send_all(b"x")
    await read_until(app, b"half")
    return live(web, app, ended)


def behind_a_gateway(nursery: trio.Nursery, serve: Serve, approval: EgressHost) -> tuple[Pod, by_gateway.Gateway]:
    reach = EgressRange("203.0.113.0/24", "partners/range", (5432,))
    out = by_gateway.gateway(nursery, by_gateway.gateway_rules(GatewayCaller(pki.WEB, (approval,), (reach,))))
    for port in PORTS:
        out.bench.dialer.servers[Address(SERVER, port)] = serve
    return by_gateway.behind(nursery, out, by_gateway.caller_rules(approval, ranges=(reach,))), out


def without_leave(web: Pod) -> None:
    """The workload still knows the gateway, and nothing to reach by it."""
    known = web.bench.runtime.rules.current
    assert known is not None
    web.bench.runtime.rules.set(rules(outbound=Outbound(services=known.snapshot.outbound.services)))


async def by_the_gateway(nursery: trio.Nursery, way: str, *, at_gateway: bool) -> Live:
    """The leave ends in the one snapshot or in the other."""
    ended: list[float] = []
    approval = host() if way in ("http", "tls") else host(**TCP)
    web, out = behind_a_gateway(nursery, https(partner(HOST), holding(ended, HALF)), approval)
    app: SocketStream | TlsStream
    if way == "range":
        out.bench.dialer.servers[Address(SERVER, 5432)] = holding(ended, HALF)
        app = web.dial(Address(SERVER, 5432))
    elif way == "tcp":
        address = web.bench.runtime.synthetic.address(HOST)
        assert address is not None
        app = web.dial(Address(address, 5432))
    else:
        app = web.dial(Address(SERVER, 80 if way == "http" else 443))
        app = await own_tls(app) if way == "tls" else app
    await app.send_all(GET.replace(b"a.example", HOST.encode()) if way != "http" else f"GET /a HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    await read_until(app, b"half")

    def withdraw() -> None:
        if at_gateway:
            out.bench.runtime.rules.set(by_gateway.gateway_rules(GatewayCaller(pki.WEB)))
        else:
            without_leave(web)

    return Live(web, app, ended, withdraw, [web.bench, out.bench], is_told=way != "http" or at_gateway)


Begin = Callable[[trio.Nursery], Awaitable[Live]]
STRAIGHT: dict[str, Begin] = {
    "HTTP exchange": exchange, "kept connection": kept, "exchange in plaintext": in_plaintext, "stream of HTTP/2": stream_of_http2,
    "the application's own TLS": tunnel_of_tls, "named TCP": named_tcp, "named TCP in plaintext": named_tcp_in_plaintext,
    "range": range_of_tcp,
}


def _by(way: str, *, at_gateway: bool) -> Begin:
    async def begin(nursery: trio.Nursery) -> Live:
        return await by_the_gateway(nursery, way, at_gateway=at_gateway)

    return begin


LED = {
    f"{way} by the gateway, withdrawn {'there' if there else 'here'}": _by(way, at_gateway=there)
    for way in ("http", "tls", "tcp", "range") for there in (False, True)
}


async def begun(nursery: trio.Nursery, begin: Begin) -> Live:
    """As it is in a sidecar that runs."""
    traffic = await begin(nursery)
    for bench in traffic.benches:
        nursery.start_soon(bench.runtime.withdrawals.run, bench.runtime.rules)
    await wait_all_tasks_blocked()
    assert trio.current_time() == 0
    assert traffic.ended == []
    return traffic


async def has_ended(traffic: Live, at: float) -> None:
    if not traffic.is_kept:
        assert await is_gone(traffic.app)
    else:
        await trio.sleep(at)
        await wait_all_tasks_blocked()
    await wait_all_tasks_blocked()
    assert traffic.ended == ([at] if traffic.is_told else [])
    assert trio.current_time() == at


@pytest.mark.parametrize("name", [*STRAIGHT, *LED])
async def test_it_ends_when_the_leave_is_withdrawn(name: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    traffic = await begun(nursery, (STRAIGHT | LED)[name])
    traffic.withdraw()
    await has_ended(traffic, 0)


@pytest.mark.parametrize("name", [*STRAIGHT, *(name for name in LED if name.endswith("withdrawn here"))])
async def test_it_ends_in_time_when_the_packet_rules_are_lost(name: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    traffic = await begun(nursery, (STRAIGHT | LED)[name])
    traffic.lose_the_rules()
    await has_ended(traffic, WITHIN_S)


@pytest.mark.parametrize("name", [*STRAIGHT, *LED])
async def test_rules_that_say_the_same_end_nothing(name: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    traffic = await begun(nursery, (STRAIGHT | LED)[name])
    for bench in traffic.benches:
        assert bench.runtime.rules.current is not None
        bench.runtime.rules.set(Rules.of(bench.runtime.rules.current.snapshot, "another"))
    await trio.sleep(60)
    assert traffic.ended == []


@pytest.mark.parametrize("approval", [{}, {"tls": None}], ids=["TLS", "plaintext"])
async def test_a_body_that_we_cut_has_no_end(approval: dict[str, Any], nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It lasts until its connection ends, and that is ended by us: to its reader the half must not be all of it."""
    traffic = await begun(nursery, partial(exchange, says=UNTIL_CLOSE, **approval))
    traffic.withdraw()
    rest = b""
    with suppress(trio.BrokenResourceError):
        while piece := await traffic.app.receive_some():
            rest += piece
    await wait_all_tasks_blocked()
    assert (rest, traffic.ended) == (b"", [0])


# -- what the leave demands is changed


EXPIRED = pki.issue(root("public"), pki.host(HOST), begins=-2 * pki.HOUR, ends=-pki.HOUR / 2)
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a pin more": ({}, {"key_pins": (PIN,)}),
    "a name more": ({}, {"subject_alt_names": ("b.partner.example",)}),
    "other roots": ({}, {"roots": pki.pem([root("stranger").certificate])}),
    "a special address less": ({"special_addresses": ("203.0.113.0/24",)}, {}),
    "a gateway": ({}, {"gateway": GatewayRef("egress.gateways", 443)}),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["HTTP exchange", "kept connection", "named TCP"])
async def test_what_was_not_verified_so_ends(name: str, change: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    before, after = CHANGES[change]
    more = TCP if name == "named TCP" else {}

    async def begin(nursery: trio.Nursery) -> Live:
        if name == "named TCP":
            return await named_tcp(nursery, **before)
        return await exchange(nursery, OK if name == "kept connection" else HALF, **before)

    traffic = await begun(nursery, begin)
    traffic.web.bench.runtime.rules.set(approving(host(**more, **after)))
    await has_ended(traffic, 0)


async def test_a_waiver_that_is_taken_back_ends_what_needed_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    ended: list[float] = []
    web = outside(nursery, NOTHING, https(EXPIRED, holding(ended, HALF)))
    web.bench.runtime.rules.set(approving(host(waivers=(Waiver("expiry", web.bench.wall + 600),))))
    app = web.dial(Address(SERVER, 80))
    await app.send_all(f"GET /a HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    await read_until(app, b"half")
    traffic = await begun(nursery, lambda _: _as_it_is(live(web, app, ended)))
    web.bench.runtime.rules.set(approving(host()))
    await has_ended(traffic, 0)


async def _as_it_is(traffic: Live) -> Live:
    return traffic


def _certificate(name: str) -> ClientCertificate:
    client = pki.issue(root("clients"), subject="shop", purposes=[pki.CLIENT])
    return ClientCertificate(name, client.chain_pem, client.key_pem)


@pytest.mark.parametrize(("name", "goes_on"), [("s", True), ("another", False)])
async def test_a_client_certificate_is_renewed_under_its_name(
    name: str, goes_on: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A Secret is rotated each few weeks; a long upload is none the worse."""
    traffic = await begun(nursery, partial(exchange, client_certificate=_certificate("s")))
    traffic.web.bench.runtime.rules.set(approving(host(client_certificate=_certificate(name))))
    await trio.sleep(60)
    assert (traffic.ended == []) is goes_on


# -- it is withdrawn while the connection is made


@pytest.mark.parametrize("way", ["tls", "plaintext", "gateway"])
async def test_a_leave_that_ends_meanwhile_sends_no_request(way: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    seen: list[bytes] = []
    serve = http_app(seen, OK)
    if way == "gateway":
        web, out = behind_a_gateway(nursery, https(partner(HOST), serve), host())
        reached, inner = by_gateway.AT, out.serve
    else:
        web = outside(nursery, approving(host(**({"tls": None} if way == "plaintext" else {}))), serve)
        reached, inner = Address(SERVER, 80 if way == "plaintext" else 443), serve if way == "plaintext" else https(partner(HOST), serve)

    async def late(sock: socket.socket) -> None:
        without_leave(web)
        await wait_all_tasks_blocked()      # whoever looks for what has lost its leave has looked
        await inner(sock)

    web.bench.dialer.servers[reached] = late
    nursery.start_soon(web.bench.runtime.withdrawals.run, web.bench.runtime.rules)
    app = web.dial(Address(SERVER, 80))
    await app.send_all(f"GET /secret HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    assert b"BZ0201 host-not-approved" in await app.receive_some()
    assert seen == []
    assert len(web.bench.runtime.pool) == 0
    await wait_all_tasks_blocked()
    assert len(web.bench.runtime.accounts) == 0


# -- the next request


async def garbage(sock: socket.socket) -> None:
    stream = SocketStream(sock)
    await stream.receive_some()
    await stream.send_all(b"no TLS at all")



NEXT: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    **{name: (before, after, code) for (name, (before, after)), code in zip(
        CHANGES.items(), ("BZ0206", "BZ0206", "BZ0206", "BZ0204", "BZ0214"), strict=True)},
    "methods": ({}, {"methods": ("PUT",)}, "BZ0210"),
    "paths": ({}, {"paths": ("/v1",)}, "BZ0210"),
    "another port": ({}, {"plain_ports": (8080,)}, "BZ0201"),
    "TLS alone": ({}, {"plain_ports": ()}, "BZ0201"),
    "another port of TLS": ({}, {"port": 8443}, "BZ0401"),
    "a higher floor": ({}, {"min_version": "1.3"}, "BZ0206"),
    "a client certificate that is missing": ({}, {"client_certificate": ClientCertificate("s")}, "BZ0203"),
    "roots that are none": ({}, {"roots": "no PEM"}, "BZ0205"),
    "a budget": ({"bytes_per_hour": 1_000_000}, {"bytes_per_hour": 1}, "BZ0209"),
    "TLS where there was none": ({"tls": None}, {}, "BZ0206"),
    "nothing at all": ({}, {}, "BZ0201"),
}
SHUT = "203.0.113.0/24"     # of the cluster, so that an approval has to name it


@pytest.mark.parametrize(("name", "is_http2"), [
    (name, is_http2) for name, (before, *_) in NEXT.items() for is_http2 in (False, True) if not is_http2 or "tls" not in before
])
async def test_a_change_counts_for_the_next_request(
    name: str, is_http2: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The application's connection goes on, and is told why."""
    before, after, code = NEXT[name]
    ranges = (SHUT,) if "special" in name else ()
    seen: list[bytes] = []
    most = SSL.TLS1_2_VERSION if name == "a higher floor" else SSL.TLS1_3_VERSION
    web = outside(nursery, approving(host(**before), cluster_ranges=ranges), https(partner(HOST), http_app(seen, OK), most=most))
    if before.get("tls", ...) is None:
        web.bench.dialer.servers |= {Address(SERVER, 80): http_app(seen, OK), Address(SERVER, 443): garbage}
    ask = await asker(web.dial(Address(SERVER, 80)), is_http2=is_http2)
    assert await ask() == (b"200", b"")
    web.bench.runtime.rules.set(NOTHING if name == "nothing at all" else approving(host(**after), cluster_ranges=ranges))
    status, reason = await ask()
    assert (status[:1] in b"45", reason[:6]) == (True, code.encode())
    web.bench.runtime.rules.set(approving(host(**before), cluster_ranges=ranges))
    assert await ask() == (b"200", b"")
    assert len(seen) == 2


async def asker(app: SocketStream, *, is_http2: bool) -> Callable[[], Awaitable[tuple[bytes, bytes]]]:
    """Asks on the one connection: status and reason."""
    if not is_http2:
        async def ask() -> tuple[bytes, bytes]:
            await app.send_all(f"GET /a HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
            answer = await app.receive_some()
            return answer[9:12], answer.partition(b"x-bartizan-reason: ")[2].partition(b"\r\n")[0]

        return ask
    peer = Peer(app, is_client=True)
    await peer.begin()
    streams = iter(range(1, 99, 2))

    async def ask_http2() -> tuple[bytes, bytes]:
        stream = next(streams)
        await peer.ask(stream, [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", HOST.encode()), (b":path", b"/a")])
        told = dict((await peer.first(h2.events.ResponseReceived, stream)).headers)
        await peer.ended(stream)
        return told[b":status"], told.get(b"x-bartizan-reason", b"")

    return ask_http2
