"""The egress gateway before callers that say what they like: each gets what its own identity is granted, and nothing besides."""

import socket
from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model import ports
from sidecar.model.address import Address
from sidecar.model.egress import ClientCertificate, DnsLimits, EgressHost, EgressRange, GatewayCaller, Origination
from sidecar.model.errors import NotVerified
from sidecar.model.service import Endpoint, Service
from sidecar.model.trust import Revoked
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import ALPN_EGRESS, ALPN_HTTP1, ALPN_TCP, MESH_ALPN, https_client
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.tls_stream import TlsStream
from sidecar.proxy.gateway import PREFACE_S
from sidecar.proxy.inbound import serve_inbound
from tests.helpers import pki
from tests.helpers.exchange import OK
from tests.helpers.gateway import APPROVED, APPROVED_RANGE, AT, GATEWAY, HOST, REF, ROOTS, SERVER, Gateway, gateway, gateway_rules
from tests.helpers.leave import https, partner
from tests.helpers.mesh import call, echo, http_app, is_gone, meshed, read_rest, read_until, root, tls_of
from tests.helpers.network import NAMED, entering, leaving
from tests.helpers.pki import ORDERS, WEB
from tests.helpers.runtime import CLIENT, POD, Redirected, kept_pair, rules
from tests.helpers.tls13 import client_hello

DATABASE = Address("198.51.100.7", 5432)
GET = f"GET /a HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode()


def preface(carried: str = "tls", host: str = HOST, port: int = 443) -> bytes:
    return f"bartizan-egress/1 {carried} {host}:{port}\n".encode()


def hello(name: str | None = HOST) -> bytes:
    return client_hello(name, https_client([root("public").certificate]))


async def said(stream: TlsStream, text: bytes) -> bytes:
    """What the gateway says to a preface; b"" for an end."""
    await stream.send_all(text)
    return await read_until(stream, b"\n")


async def led(out: Gateway, carried: str = "http1", host: str = HOST, port: int = 80, identity: str = WEB) -> TlsStream:
    stream = await out.call(identity)
    assert await said(stream, preface(carried, host, port)) == b"ok\n"
    return stream


def serving(nursery: trio.Nursery, requests: list[bytes] | None = None, *callers: GatewayCaller, **server: Any) -> Gateway:
    out = gateway(nursery, gateway_rules(*callers) if callers else None)
    out.bench.dialer.servers[SERVER] = https(partner(HOST), http_app([] if requests is None else requests, OK), **server)
    return out


# -- whom it leads, and where


async def test_plain_http_is_originated_for_the_caller(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    seen: list[bytes] = []
    out = serving(nursery, seen)
    stream = await led(out)
    for _ in range(2):
        await stream.send_all(GET.replace(b"\r\n\r\n", b"\r\nx-request-id: r1\r\ntraceparent: x\r\n\r\n"))
        assert await stream.receive_some() == OK
    assert seen == [f"GET /a HTTP/1.1\r\nhost: {HOST}".encode()] * 2
    assert out.bench.dialer.dialled == [SERVER]
    stream.close()
    await wait_all_tasks_blocked()
    line = out.bench.lines[0]
    told = [line[name] for name in ("direction", "peer", "host", "dst", "upstream", "rule", "security", "status", "source", "request_id")]
    assert told == ["gateway", WEB, HOST, f"{HOST}:80", f"{HOST}:443", "partners/api", "tls", 200, CLIENT_ADDRESS, "r1"]
    out.bench.runtime.pool.close()
    await wait_all_tasks_blocked()
    entry = next(entry for entry in out.bench.ledger.entries if entry.host == HOST)
    assert (entry.kind, entry.direction, entry.local, entry.caller, entry.peer) == ("connection", "outbound", GATEWAY, WEB, "")
    assert (entry.security, entry.dst, entry.rules, entry.spoken) == ("tls", str(SERVER), {"partners/api": 2}, {"plain:80": 2})
    assert entry.sent > 0 < entry.received
    inner = next(entry for entry in out.bench.ledger.entries if entry.direction == "inbound")
    assert (inner.peer, inner.security, inner.caller) == (WEB, "mtls", "")


CLIENT_ADDRESS = POD    # the address that `Gateway.serve` says its callers have


async def test_two_callers_share_no_connection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    connections: list[TlsStream] = []
    mutual = {who: pki.issue(root("clients"), subject=who, purposes=[pki.CLIENT]) for who in ("web", "orders")}

    def with_certificate(who: str) -> EgressHost:
        certificate = ClientCertificate(who, mutual[who].chain_pem, mutual[who].key_pem)
        return EgressHost(HOST, f"for-{who}", tls=Origination(roots=ROOTS, client_certificate=certificate))

    out = serving(
        nursery, None, GatewayCaller(WEB, (with_certificate("web"),)), GatewayCaller(ORDERS, (with_certificate("orders"),)),
        client_root=root("clients"), seen=connections,
    )
    for identity in (WEB, ORDERS, WEB, ORDERS):
        stream = await led(out, identity=identity)
        await stream.send_all(GET)
        assert await stream.receive_some() == OK
        stream.close()
    shown = [one.connection.get_peer_certificate(as_cryptography=True) for one in connections]
    assert shown == [mutual["web"].certificate, mutual["orders"].certificate]


async def test_the_same_approval_of_two_callers_makes_two_connections(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = serving(nursery, None, GatewayCaller(WEB, (APPROVED,)), GatewayCaller(ORDERS, (APPROVED,)))
    for identity in (WEB, ORDERS):
        stream = await led(out, identity=identity)
        await stream.send_all(GET)
        assert await stream.receive_some() == OK
    assert out.bench.dialer.dialled == [SERVER, SERVER]


async def test_tls_passes_through(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = gateway(nursery)
    out.bench.dialer.servers[SERVER] = echo
    stream, first = await led(out, "tls", port=443), hello()
    await stream.send_all(first[:5])
    await wait_all_tasks_blocked()
    await stream.send_all(first[5:])
    assert await stream.receive_some() == first
    await stream.send_eof()
    assert await read_rest(stream) == b""
    await wait_all_tasks_blocked()
    (line,) = out.bench.lines
    told = [line[name] for name in ("security", "peer", "host", "dst", "rule", "received", "sent")]
    assert told == ["passthrough", WEB, HOST, str(SERVER), "partners/api", len(first), len(first)]
    entry = next(entry for entry in out.bench.ledger.entries if entry.security == "passthrough")
    assert (entry.caller, entry.peer, entry.host, entry.dst, entry.received) == (WEB, "", HOST, str(SERVER), len(first))


async def test_tcp_by_range_and_by_name(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    named = EgressHost("db.example", "db", (), (), (5432,), tls=None)
    out = gateway(nursery, gateway_rules(GatewayCaller(WEB, (named,), (APPROVED_RANGE,))))
    out.resolver.names["db.example"] = ("203.0.113.9",)
    out.bench.dialer.servers |= {DATABASE: echo, Address("203.0.113.9", 5432): echo}
    for host in (DATABASE.host, "db.example"):
        stream = await led(out, "tcp", host, 5432)
        await stream.send_all(b"\x00ping")
        assert await read_until(stream, b"ping") == b"\x00ping"
        stream.close()
    await wait_all_tasks_blocked()
    assert [line["rule"] for line in out.bench.lines] == ["partners/range", "db"]
    assert [line["dst"] for line in out.bench.lines] == [str(DATABASE), "203.0.113.9:5432"]


async def test_tls_is_originated_for_named_tcp(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    named = EgressHost("db.example", "db", (), (), (5432,), tls=Origination(roots=ROOTS))
    out = gateway(nursery, gateway_rules(GatewayCaller(WEB, (named,))))
    out.resolver.names["db.example"] = ("203.0.113.9",)
    at, heard = Address("203.0.113.9", 5432), []
    out.bench.dialer.servers[at] = https(partner("db.example"), echo)
    stream = await led(out, "tcp", "db.example", 5432)
    await stream.send_all(b"\x00ping")
    assert await read_until(stream, b"ping") == b"\x00ping"
    stream.close()
    await wait_all_tasks_blocked()
    assert [out.bench.lines[0][name] for name in ("security", "peer", "tls")] == ["tls", WEB, "TLSv1.3"]

    async def plain(sock: socket.socket) -> None:
        heard.append(await SocketStream(sock).receive_some())

    out.bench.dialer.servers[at] = plain
    stream = await out.call()
    assert b"no BZ0206 " in await said(stream, preface("tcp", "db.example", 5432))
    assert b"ping" not in heard[0]


@pytest.mark.parametrize(("identity", "text", "answer"), [
    (WEB, preface("tls", "evil.example"), b"no BZ0201 evil.example is not approved"),
    (WEB, preface("tls", HOST, 8443), b"no BZ0201 "), (WEB, preface("http1", HOST, 443), b"no BZ0201 "),
    (WEB, preface("http2", "evil.example", 80), b"no BZ0201 "), (WEB, preface("tcp", HOST, 443), b"no BZ0201 "),
    (WEB, preface("tcp", "198.51.100.7", 22), b"no BZ0202 "), (WEB, preface("tcp", "192.0.2.7", 5432), b"no BZ0202 "),
    (WEB, preface("tls", "198.51.100.7", 5432), b"no BZ0201 "),
    (WEB, preface("tcp", "169.254.169.254", 5432), b"no BZ0202 "), (WEB, preface("tcp", "127.0.0.1", 15001), b"no BZ0202 "),
    (WEB, preface("tcp", AT.host, AT.port), b"no BZ0202 "),
    (ORDERS, preface(), f"no BZ0201 this gateway leads {ORDERS} nowhere".encode()),
    (ORDERS, preface("tcp", "198.51.100.7", 5432), b"no BZ0202 "), (ORDERS, preface("http1", HOST, 80), b"no BZ0201 "),
    (GATEWAY, preface(), b"no BZ0201 "),
])
async def test_what_is_not_granted_to_the_caller(
    identity: str, text: bytes, answer: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Its sidecar may have been taken over, and asks for what is not in its list."""
    out = gateway(nursery)
    assert (await said(await out.call(identity), text)).startswith(answer)
    await wait_all_tasks_blocked()
    assert out.bench.dialer.dialled == []
    assert out.resolver.asked == []
    (line,) = out.bench.lines
    assert (line["peer"], line["code"], line["direction"]) == (identity, answer[3:9].decode(), "gateway")
    refusal = next(entry for entry in out.bench.ledger.entries if entry.kind == "refusal")
    assert (refusal.caller, refusal.peer, refusal.direction) == (identity, "", "outbound")
    assert refusal.host in text.decode()


@pytest.mark.parametrize(("request_", "code"), [
    (GET.replace(HOST.encode(), b"evil.example"), b"BZ0208"), (GET.replace(HOST.encode(), b"%b:8080" % HOST.encode()), b"BZ0208"),
    (GET.replace(b"/a", b"/b"), b"BZ0210"), (GET.replace(b"GET", b"PUT"), b"BZ0210"),
    (GET.replace(b"GET", b"TRACE"), b"BZ0305"), (f"CONNECT {HOST}:443 HTTP/1.1\r\nhost: {HOST}:443\r\n\r\n".encode(), b"BZ0305"),
    (GET.replace(b"\r\n\r\n", b"\r\nhost: evil.example\r\n\r\n"), b"BZ0303"), (b"\x00" * 20 + b"\r\n\r\n", b"BZ0301"),
])
async def test_each_request_is_judged_again(request_: bytes, code: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = serving(nursery, None, GatewayCaller(WEB, (replace(APPROVED, methods=("GET",), paths=("/a",)),)))
    stream = await led(out)
    await stream.send_all(request_)
    assert b"x-bartizan-reason: " + code in await stream.receive_some()
    stream.close()
    await wait_all_tasks_blocked()
    assert out.bench.dialer.dialled == []
    assert (out.bench.lines[0]["peer"], out.bench.lines[0]["code"]) == (WEB, code.decode())


@pytest.mark.parametrize("first", [
    hello("evil.example"), hello(None), hello().replace(HOST.encode(), b"api.partner\x00example"), GET, b"\x00\x01",
    b"\x16\x03\x01\xff\xff",
    b"\x16\x03\x01\x00\x01\x01" * 80, b"",
], ids=["another name", "no name", "a name cut short", "HTTP", "bytes", "a huge record", "many records", "nothing"])
async def test_the_server_name_must_be_the_one_announced(first: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    heard: list[bytes] = []
    out = gateway(nursery)

    async def server(sock: socket.socket) -> None:
        heard.append(await read_rest(SocketStream(sock)))

    out.bench.dialer.servers[SERVER] = server
    stream = await led(out, "tls", port=443)
    await (stream.send_all(first) if first else stream.send_eof())
    with pytest.raises(trio.BrokenResourceError):       # no quiet end, which could pass for the server's
        await stream.receive_some()
    await wait_all_tasks_blocked()
    assert heard == [b""]
    assert out.bench.codes == ["BZ0208"]


async def test_a_hello_that_does_not_come(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = gateway(nursery)
    out.bench.dialer.servers[SERVER] = echo
    stream = await led(out, "tls", port=443)
    await stream.send_all(hello()[:20])
    assert await is_gone(stream)
    await wait_all_tasks_blocked()
    assert out.bench.codes == ["BZ0311"]


@pytest.mark.parametrize(("found", "code"), [
    (("169.254.169.254",), b"BZ0204"), (("127.0.0.1",), b"BZ0204"), (("192.0.2.9",), b"BZ0204"), ((), b"BZ0406"),
    (("203.0.113.99",), b"BZ0401"), ((AT.host,), b"BZ0204"), (("203.0.113.50",), b"BZ0204"), (("203.0.113.51",), b"BZ0204"),
])
async def test_a_name_leads_nowhere_special_and_not_back_into_the_mesh(
    found: tuple[str, ...], code: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Even where an approval names all there is: of the mesh are the gateway itself, a Service's address and a pod's."""
    is_ours = found[:1] in ((AT.host,), ("203.0.113.50",), ("203.0.113.51",))
    approval = replace(APPROVED, special_addresses=("0.0.0.0/0", f"{AT.host}/32")) if is_ours else APPROVED
    pods = Service("orders.shop", 80, ("203.0.113.50",), endpoints=(Endpoint("203.0.113.51", 8080, ORDERS),))
    out = gateway(nursery, gateway_rules(GatewayCaller(WEB, (approval,)), cluster_ranges=("192.0.2.0/24",), services=(pods,)))
    out.resolver.names[HOST] = found
    assert b"no " + code in await said(await out.call(), preface())
    stream = await led(out)
    await stream.send_all(GET)
    assert code in await stream.receive_some()
    assert [to.host for to in out.bench.dialer.dialled] == (["203.0.113.99"] * 2 if code == b"BZ0401" else [])


async def test_a_range_leads_not_back_into_the_mesh(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pods = Service("orders.shop", 80, ("203.0.113.50",), endpoints=(Endpoint("203.0.113.51", 8080, ORDERS),))
    everywhere = (EgressRange("203.0.113.0/24", "r"), EgressRange(f"{AT.host}/32", "r"))
    out = gateway(nursery, gateway_rules(GatewayCaller(WEB, ranges=everywhere), services=(pods,)))
    out.bench.dialer.servers[Address("203.0.113.52", 80)] = echo
    for host in ("203.0.113.50", "203.0.113.51", AT.host):
        assert b"no BZ0202" in await said(await out.call(), preface("tcp", host, 80))
    await led(out, "tcp", "203.0.113.52")
    assert [to.host for to in out.bench.dialer.dialled] == ["203.0.113.52"]


async def test_no_gateway_leads_to_another(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What an approval says of a gateway is for callers; here it goes straight out."""
    out = serving(nursery, None, GatewayCaller(WEB, (replace(APPROVED, gateway=REF),)))
    stream = await led(out)
    await stream.send_all(GET)
    assert await stream.receive_some() == OK
    assert out.bench.dialer.dialled == [SERVER]


# -- who it is


@pytest.mark.parametrize("alpn", MESH_ALPN)
async def test_a_call_of_the_mesh_is_none_of_a_gateway(alpn: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = gateway(nursery)
    sock = out.arrive()
    with pytest.raises(NotVerified):
        await call(sock, alpn=alpn)
    sock.close()
    await wait_all_tasks_blocked()
    assert out.bench.codes == ["BZ0501"]


async def test_what_is_for_a_gateway_enters_no_other_sidecar(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    bench = meshed(nursery, rules(identity=ORDERS))
    for to in (Address(POD, 8080), Address(POD, ports.GATEWAY)):
        ours, theirs = kept_pair(nursery)

        async def serve(sock: socket.socket = theirs, to: Address = to) -> None:
            with Redirected(sock, to, CLIENT) as arrived:
                await serve_inbound(arrived, bench.runtime, {}, Gateway(bench, nursery).serve)

        nursery.start_soon(serve)
        with pytest.raises(NotVerified):
            await call(ours, alpn=ALPN_EGRESS)
    await wait_all_tasks_blocked()
    assert bench.codes == ["BZ0103", "BZ0105"]
    assert bench.dialer.dialled == []


async def test_a_meshed_pod_is_a_gateway_at_its_port(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Packet rules bring it there; its other ports are the application's."""
    out = serving(nursery)
    ours, theirs = kept_pair(nursery)

    async def serve() -> None:
        with Redirected(theirs, AT, CLIENT) as arrived:
            await serve_inbound(arrived, out.bench.runtime, {}, out.serve)

    nursery.start_soon(serve)
    stream = await call(ours, alpn=ALPN_EGRESS)
    assert await said(stream, preface("http1", HOST, 80)) == b"ok\n"
    await stream.send_all(GET)
    assert await stream.receive_some() == OK


async def test_who_is_of_another_mesh(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = gateway(nursery)
    stranger = MeshTls.of(pki.credentials(pki.issue(root("stranger"), pki.uri(WEB))), pki.anchors(root()))
    stream = TlsStream(stranger.client(ALPN_EGRESS), out.arrive(), is_server=False)
    await stream.handshake(NotVerified)     # TLS 1.3: the client learns of it with its first read
    assert await is_gone(stream, preface())
    stream.close()
    await wait_all_tasks_blocked()
    assert out.bench.codes == ["BZ0501"]


async def test_an_applications_certificate_is_no_sidecars(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = gateway(nursery)
    held = pki.mesh_tls(pki.issue(root(), pki.uri(WEB), holder="application"), root())
    stream = TlsStream(held.client(ALPN_EGRESS), out.arrive(), is_server=False)
    await stream.handshake(NotVerified)
    assert (await read_until(stream, b"\n")).startswith(b"no BZ0501 ")
    stream.close()
    await wait_all_tasks_blocked()
    assert out.bench.codes == ["BZ0501"]
    assert out.bench.lines[0]["direction"] == "gateway"


async def test_who_was_revoked(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = serving(nursery)
    live, tunnelled = await led(out), await led(out, "tls", port=443)
    tls = tls_of(GATEWAY)
    out.bench.runtime.tls.set(MeshTls.of(tls.credentials, pki.anchors(root(), revoked=Revoked(identities=(WEB,)))))
    await live.send_all(GET)
    assert b"BZ0504" in await live.receive_some()
    stream = await out.call()
    assert (await read_until(stream, b"\n")).startswith(b"no BZ0504 ")
    out.bench.runtime.accounts.part(out.bench.runtime.why_no_longer)
    assert await is_gone(tunnelled)
    assert out.bench.dialer.dialled == [SERVER]     # for the tunnel, before


@pytest.mark.parametrize("first", [GET, hello(), b"\x00" * 100, preface()])
async def test_without_mtls_nothing_is_read(first: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = gateway(nursery)
    stream = SocketStream(out.arrive())
    await stream.send_all(first)
    assert b"ok" not in await read_all(stream)
    stream.close()
    await wait_all_tasks_blocked()
    assert out.bench.codes == ["BZ0501"]
    assert out.bench.dialer.dialled == []


async def read_all(stream: SocketStream) -> bytes:
    try:
        return await read_rest(stream)
    except trio.BrokenResourceError:
        return b""


@pytest.mark.parametrize("text", [
    b"\n", GET, hello(), preface() + b"x", preface() + hello(), b"x" * 400, b"x" * 100_000, preface("udp"), preface(host="A.example"),
], ids=["empty", "HTTP", "TLS", "early byte", "early hello", "no line", "huge", "kind", "case"])
async def test_a_preface_that_is_none(text: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = gateway(nursery)
    stream = await out.call()
    await stream.send_all(text)
    assert (await read_until(stream, b"\n")).startswith(b"no BZ0301 ")
    await wait_all_tasks_blocked()
    assert out.bench.codes == ["BZ0301"]
    assert out.bench.lines[0]["peer"] == WEB
    assert out.bench.dialer.dialled == []


@pytest.mark.parametrize("text", [b"", preface()[:-1]])
async def test_a_preface_that_does_not_come(text: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = gateway(nursery)
    stream = await out.call()
    started = trio.current_time()
    if text:
        await stream.send_all(text)
    assert (await read_until(stream, b"\n")).startswith(b"no BZ0311 ")
    assert trio.current_time() - started == PREFACE_S


async def test_one_byte_a_second(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = gateway(nursery)
    stream = await out.call()
    for byte in preface()[:4]:
        await stream.send_all(bytes((byte,)))
        await trio.sleep(1)
    assert (await read_until(stream, b"\n")).startswith(b"no BZ0311 ")


async def test_a_caller_that_leaves_after_its_preface(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = gateway(nursery)
    out.bench.dialer.servers[SERVER] = echo
    for text in (preface(), preface("http1", HOST, 80), b""):
        stream = await out.call()
        if text:
            await stream.send_all(text)
        stream.abort()
        await wait_all_tasks_blocked()
    assert len(out.bench.runtime.accounts) == 0


# -- what is withdrawn


async def test_what_is_withdrawn_ends(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = gateway(nursery)
    out.bench.dialer.servers |= {SERVER: echo, DATABASE: echo}
    tunnels = [await led(out, "tls", port=443), await led(out, "tcp", DATABASE.host, 5432)]
    await tunnels[0].send_all(hello())
    await tunnels[1].send_all(b"x")
    for stream in tunnels:
        await stream.receive_some()
    out.bench.runtime.rules.set(gateway_rules(GatewayCaller(ORDERS, (APPROVED,), (APPROVED_RANGE,))))
    for stream in tunnels:
        assert await is_gone(stream)
    await wait_all_tasks_blocked()
    assert [line["detail"] for line in out.bench.lines] == ["no longer permitted"] * 2


async def test_a_request_under_way_ends_too(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = gateway(nursery)

    async def slow(sock: socket.socket) -> None:
        await SocketStream(sock).send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        await trio.sleep_forever()

    out.bench.dialer.servers[SERVER] = https(partner(HOST), slow)
    stream = await led(out)
    await stream.send_all(GET)
    assert (await stream.receive_some()).endswith(b"half")
    out.bench.runtime.rules.set(gateway_rules(GatewayCaller(WEB)))
    out.bench.runtime.withdrawals.part()
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    await wait_all_tasks_blocked()
    assert len(out.bench.runtime.pool) == 0


async def test_the_next_request_is_judged_by_the_next_snapshot(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = serving(nursery)
    stream = await led(out)
    await stream.send_all(GET)
    assert await stream.receive_some() == OK
    out.bench.runtime.rules.set(gateway_rules(GatewayCaller(WEB)))
    await stream.send_all(GET)
    assert b"BZ0201" in await stream.receive_some()
    out.bench.runtime.rules.set(gateway_rules())
    await stream.send_all(GET)
    assert await stream.receive_some() == OK


@pytest.mark.parametrize("alpn", [ALPN_HTTP1, ALPN_TCP])
async def test_the_contexts_differ(alpn: bytes) -> None:
    """The ALPN is what tells a judged exit from a call of the application's: no context offers or takes both."""
    tls = tls_of(WEB)
    assert tls.client(ALPN_EGRESS) is not tls.client(alpn)
    assert tls.gateway is not tls.server


async def test_without_a_certificate_or_a_snapshot(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = serving(nursery)
    stream = await out.call()
    out.bench.runtime.rules.set(None)
    assert (await said(stream, preface())).startswith(b"no BZ0601 ")
    out.bench.runtime.tls.set(None)
    with pytest.raises(NotVerified):
        await out.call()
    await wait_all_tasks_blocked()
    assert out.bench.codes == ["BZ0601", "BZ0503"]


@pytest.mark.parametrize(("carried", "changed"), [
    ("http1", {"tls": Origination(roots=ROOTS, key_pins=(f"sha256/{'A' * 43}=",))}), ("http1", {"methods": ("POST",)}),
    ("tls", {"special_addresses": (), "tls_ports": ()}),
])
async def test_what_is_begun_ends_where_more_is_asked_of_it(
    carried: str, changed: dict[str, Any], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    out = gateway(nursery)

    async def slow(sock: socket.socket) -> None:
        await SocketStream(sock).send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        await trio.sleep_forever()

    out.bench.dialer.servers[SERVER] = slow if carried == "tls" else https(partner(HOST), slow)
    stream = await led(out, carried, port=443 if carried == "tls" else 80)
    await stream.send_all(hello() if carried == "tls" else GET)
    assert (await stream.receive_some()).endswith(b"half")
    out.bench.runtime.rules.set(gateway_rules())        # an equal one ends nothing
    out.bench.runtime.withdrawals.part()
    await wait_all_tasks_blocked()
    assert out.bench.lines == []
    out.bench.runtime.rules.set(gateway_rules(GatewayCaller(WEB, (replace(APPROVED, **changed),))))
    out.bench.runtime.withdrawals.part()
    assert await is_gone(stream)
    assert trio.current_time() == 0


async def test_a_leave_that_ends_before_the_hello_sends_none(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out, heard = gateway(nursery), list[bytes]()

    async def listen(sock: socket.socket) -> None:
        heard.append(await SocketStream(sock).receive_some())

    out.bench.dialer.servers[SERVER] = listen
    stream, first = await led(out, "tls", port=443), hello()
    await stream.send_all(first[:100])
    await wait_all_tasks_blocked()
    out.bench.runtime.rules.set(gateway_rules(GatewayCaller(ORDERS)))
    await stream.send_all(first[100:])
    assert await is_gone(stream)
    await wait_all_tasks_blocked()
    assert b"".join(heard) == b""


@pytest.mark.parametrize("carried", ["http1", "tls", "tcp"])
async def test_a_callers_names_carry_no_data_and_cost_nobody_else(carried: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Its sidecar, which should have seen to that, may have been taken over."""
    wild = EgressHost("*.partner.example", "partners", plain_ports=(80,), tls_ports=(443,), tcp_ports=(5432,), tls=None)
    out = gateway(nursery, gateway_rules(*(GatewayCaller(one, (wild,)) for one in (WEB, ORDERS)), dns=DnsLimits(per_s=1, burst=3)))
    port = {"http1": 80, "tls": 443, "tcp": 5432}[carried]

    async def looked_up(identity: str, name: str) -> bool:
        seen = len(out.resolver.asked)
        stream = await out.call(identity)
        await stream.send_all(preface(carried, f"{name}.partner.example", port))
        if carried == "http1":
            await read_until(stream, b"\n")
            await stream.send_all(f"GET / HTTP/1.1\r\nhost: {name}.partner.example\r\n\r\n".encode())
        await stream.receive_some()
        stream.close()
        return len(out.resolver.asked) > seen

    assert not await looked_up(WEB, "q7w2e9r4t1y8u3i0p5a6")
    assert [await looked_up(WEB, str(i)) for i in range(5)] == [True] * 3 + [False] * 2
    assert await looked_up(ORDERS, "4")
    assert "BZ0212" in out.bench.codes


# -- NetworkPolicies


@pytest.mark.parametrize("carried", ["http1", "tls", "tcp"])
async def test_a_gateway_dials_what_its_own_policies_list(carried: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = serving(nursery)
    out.bench.dialer.servers[DATABASE] = echo
    known = gateway_rules()
    out.bench.runtime.rules.set(leaving(known, f"{SERVER.host}/32", f"{DATABASE.host}/32"))
    host, port = {"http1": (HOST, 80), "tls": (HOST, 443), "tcp": (DATABASE.host, 5432)}[carried]
    stream = await led(out, carried, host, port)
    if carried != "http1":
        await stream.send_all(hello())
        assert await stream.receive_some()
        out.bench.runtime.rules.set(leaving(known, "192.0.2.0/24"))
        assert await is_gone(stream)
        assert trio.current_time() == 0
        assert b"BZ0216" in await said(await out.call(), preface(carried, host, port))
    else:
        await stream.send_all(GET)
        assert await stream.receive_some() == OK
        out.bench.runtime.rules.set(leaving(known, "192.0.2.0/24"))
        out.bench.runtime.withdrawals.part()
        await stream.send_all(GET)
        assert b"BZ0216" in await stream.receive_some()
    assert len(out.bench.dialer.dialled) == 1
    await wait_all_tasks_blocked()
    assert out.bench.lines[-1]["rule"] == NAMED


@pytest.mark.parametrize("carried", ["http1", "tls", "tcp"])
async def test_who_is_not_listed_is_not_led(carried: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out, caller = serving(nursery), Endpoint(POD, 1, WEB)
    host, port = {"http1": (HOST, 80), "tls": (HOST, 443), "tcp": (DATABASE.host, 5432)}[carried]
    out.bench.dialer.servers[DATABASE] = echo
    out.bench.runtime.rules.set(entering(gateway_rules(), caller, port=ports.GATEWAY))
    await led(out, carried, host, port)
    out.bench.runtime.rules.set(entering(gateway_rules(), Endpoint(POD, 1, ORDERS)))
    assert b"BZ0112" in await said(await out.call(), preface(carried, host, port))
    await wait_all_tasks_blocked()
    assert [line["rule"] for line in out.bench.lines if line.get("code") == "BZ0112"] == [NAMED]
