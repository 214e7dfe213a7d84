"""What enters a pod: real TLS on Unix sockets, under the virtual clock."""

import socket
from typing import Any

import pytest
import trio
from msgspec.structs import replace
from OpenSSL import SSL
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model import ports
from sidecar.model.address import Address
from sidecar.model.call import Answer, Call
from sidecar.model.config import LONGEST_PROBE_S
from sidecar.model.errors import NotVerified
from sidecar.model.reason import Reason
from sidecar.model.route import (
    Caller,
    DirectResponse,
    Fault,
    HeaderEdit,
    Jwt,
    Match,
    PathMatch,
    RateLimit,
    Redirect,
    Rewrite,
    Route,
    TokenIssuer,
)
from sidecar.model.service import Endpoint, Protocol
from sidecar.model.snapshot import Inbound, PortMode
from sidecar.model.trust import Revoked
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import ALPN_HTTP1, ALPN_TCP, MESH_ALPN, https_client
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.tls_stream import TlsStream
from sidecar.policy.rules import Rules
from sidecar.protocol.http2 import frames
from tests.certs.support import JWKS, token
from tests.helpers import network, pki
from tests.helpers.exchange import GET, OK
from tests.helpers.http2 import GET as HTTP2_GET
from tests.helpers.http2 import OPENING, goaways, headers, split
from tests.helpers.leave import https, partner
from tests.helpers.mesh import APP, arrive, call, echo, http_app, is_gone, meshed, read_rest, read_until, root, tls_of
from tests.helpers.network import NAMED, POLICY
from tests.helpers.pki import ORDERS, WEB
from tests.helpers.runtime import CLIENT, POD, Bench, bench, rules

BY_WEB = (Caller("web", "shop"),)
OPAQUE: dict[int, Protocol] = {APP.port: "opaque"}
PERMISSIVE = Inbound(mode="permissive", permissive_until=4e9)
ADMIN_FIRST = Inbound(routes=(
    Route("admin", (Caller("root", "ops"),), matches=(Match(PathMatch("/admin")),)),
    Route("all", BY_WEB),
))


def of(inbound: Inbound) -> Rules:
    return rules(inbound, identity=ORDERS)


# -- identity


async def test_the_application_learns_who_calls(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, seen = meshed(nursery), []
    known.dialer.servers[APP] = http_app(seen, OK)
    stream = await call(arrive(nursery, known))
    await stream.send_all(b"GET /a HTTP/1.1\r\nhost: orders.shop:8080\r\nx-request-id: abc-1\r\n\r\n")
    assert await read_until(stream, b"ok") == OK
    fingerprint = tls_of(WEB).credentials.chain[0].fingerprint(pki.hashes.SHA256()).hex()
    assert seen[0].decode().split("\r\n") == [
        "GET /a HTTP/1.1", "host: orders.shop:8080",
        f"x-forwarded-for: {CLIENT}", "x-forwarded-proto: https", f"forwarded: for={CLIENT};proto=https",
        f"x-forwarded-client-cert: By={ORDERS};Hash={fingerprint};URI={WEB}", "x-bartizan-tls: TLSv1.3", "x-request-id: abc-1",
    ]
    stream.close()
    await wait_all_tasks_blocked()
    (line,) = known.lines
    told = [line[name] for name in ("security", "tls", "peer", "source", "dst", "rule", "status", "request_id")]
    assert told == ["mtls", "TLSv1.3", WEB, CLIENT, str(APP), "without-routes", 200, "abc-1"]


async def test_an_application_cannot_speak_as_its_sidecar(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery)
    known.dialer.servers[APP] = http_app([], b"HTTP/1.1 403 No\r\nx-bartizan-reason: BZ0102 a\r\ncontent-length: 0\r\n\r\n")
    stream = await call(arrive(nursery, known))
    await stream.send_all(GET)
    assert b"bartizan" not in await read_until(stream, b"\r\n\r\n")


# -- who is nobody


async def by(holder: pki.Holder, known: Bench, nursery: trio.Nursery, alpn: bytes = ALPN_HTTP1) -> TlsStream:
    """A connection whose client believes itself in. TLS 1.3: it learns only later what we think of its certificate."""
    stream = TlsStream(pki.mesh_client(holder, root(), alpn), arrive(nursery, known), is_server=False)
    await stream.handshake(NotVerified)
    return stream


async def test_a_certificate_of_another_root(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery)
    stream = await by(pki.issue(root("stranger"), pki.uri(WEB)), known, nursery)
    with pytest.raises(trio.BrokenResourceError, match="unknown ca"):
        await stream.receive_some()
    stream.close()
    await wait_all_tasks_blocked()
    assert known.codes == [Reason.PEER_NOT_VERIFIED.code]
    assert known.dialer.dialled == []


@pytest.mark.parametrize(("name", "revoked", "reason"), [
    ("spiffe://other.example/ns/shop/sa/web", Revoked(), Reason.PEER_NOT_VERIFIED), (WEB, Revoked(identities=(WEB,)), Reason.REVOKED),
])
@pytest.mark.parametrize("alpn", MESH_ALPN)
async def test_a_certificate_that_proves_nothing_here_is_told_so_in_tls(
    name: str, revoked: Revoked, reason: Reason, alpn: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    known = meshed(nursery)
    tls = tls_of(ORDERS)
    known.runtime.tls.set(MeshTls.of(tls.credentials, pki.anchors(root(), revoked=revoked)))
    stream = await by(pki.issue(root(), pki.uri(name)), known, nursery, alpn)
    said = await read_rest(stream)
    assert (reason.code.encode() in said) == (alpn != ALPN_TCP)
    assert said.startswith(b"HTTP/1.1 403 ") == (alpn == ALPN_HTTP1)
    stream.close()
    await wait_all_tasks_blocked()
    assert known.codes == [reason.code]
    assert known.dialer.dialled == []


async def test_a_certificate_of_the_application_is_no_sidecars(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It proves the same name; but who dials with it has passed no sidecar, whose judgement and whose records count."""
    known = meshed(nursery)
    stream = await by(pki.issue(root(), pki.uri(WEB), pod_uid="uid-1", holder="application"), known, nursery)
    assert b"held by the application" in await read_rest(stream)
    stream.close()
    await wait_all_tasks_blocked()
    assert known.codes == [Reason.PEER_NOT_VERIFIED.code]
    assert known.dialer.dialled == []


async def test_plaintext_is_refused_with_a_reason(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery)
    stream = SocketStream(arrive(nursery, known))
    await stream.send_all(GET)
    answer = (await read_rest(stream)).decode()
    assert answer.startswith("HTTP/1.1 403 ")
    assert "x-bartizan-reason: BZ0103 plaintext-refused" in answer
    assert known.dialer.dialled == []
    stream.close()
    await wait_all_tasks_blocked()
    assert (known.codes, known.lines[0]["status"], known.lines[0]["security"]) == (["BZ0103"], 403, "plaintext")


async def test_http2_in_plaintext_is_refused_in_its_own_words(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery)
    stream = SocketStream(arrive(nursery, known))
    await stream.send_all(OPENING + headers(1, HTTP2_GET))
    answer = await read_rest(stream)
    assert split(answer)[0][0] == frames.SETTINGS       # else it is no HTTP/2 (RFC 9113 s3.4)
    assert goaways(answer) == [(0, frames.Code.INADEQUATE_SECURITY)]
    assert answer.endswith(b"BZ0103 plaintext-refused; see: bartizan explain BZ0103")
    assert known.dialer.dialled == []
    stream.close()
    await wait_all_tasks_blocked()
    (line,) = known.lines
    assert (line["code"], line["security"], line["detail"]) == ("BZ0103", "plaintext", "it spoke HTTP/2")


@pytest.mark.parametrize("said", [b"\x00\x01binary", b"EHLO there\r\n\x00", b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00"])
async def test_other_plaintext_is_closed(said: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery)
    stream = SocketStream(arrive(nursery, known))
    await stream.send_all(said)
    assert await is_gone(stream)
    assert known.codes == ["BZ0103"]
    assert known.dialer.dialled == []


async def test_tls_that_is_not_the_meshs(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery)
    stream = TlsStream(https_client([root().certificate]), arrive(nursery, known), is_server=False, server_name="orders.shop")
    with pytest.raises(NotVerified):
        await stream.handshake(NotVerified)
    await wait_all_tasks_blocked()
    assert known.codes == ["BZ0103"]
    assert known.dialer.dialled == []


async def test_permissive_lets_plaintext_in_until_its_date(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, seen = meshed(nursery), []
    known.runtime.rules.set(of(Inbound(mode="permissive", permissive_until=known.wall + 60)))
    known.dialer.servers[APP] = http_app(seen, OK)
    stream = SocketStream(arrive(nursery, known))
    await stream.send_all(GET[:-2] + b"x-forwarded-client-cert: EVIL\r\nx-request-id: theirs\r\n\r\n")
    assert await read_until(stream, b"ok") == OK
    assert b"EVIL" not in seen[0]
    assert b"\r\nx-forwarded-proto: http\r\n" in seen[0]
    assert b"theirs" not in seen[0]
    known.wall += 60
    await stream.send_all(GET)      # the same connection, one second too late
    assert b"BZ0104 permissive-ended" in await stream.receive_some()
    assert len(seen) == 1
    stream.close()
    await wait_all_tasks_blocked()
    assert [(line["security"], line.get("code", "")) for line in known.lines] == [("plaintext", ""), ("plaintext", "BZ0104")]


# -- where to


@pytest.mark.parametrize("to", [
    None, *(Address(POD, port) for port in sorted(ports.OWN)), Address("127.0.0.1", 8080), Address("10.1.0.99", 8080),
    Address("169.254.169.254", 80),
])
async def test_only_the_applications_ports_are_reached(
    to: Address | None, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Never our own ports, never the loopback, never somebody else's address: the sidecar is nobody's relay."""
    known = meshed(nursery, of(PERMISSIVE))
    stream = SocketStream(arrive(nursery, known, to))
    assert await is_gone(stream, GET)
    assert known.dialer.dialled == []
    assert known.codes == [Reason.OWN_PORT.code]


async def test_a_listener_elsewhere_knows_itself(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Whatever port it was told to use: a connection that was not redirected would come back to it for ever."""
    known = meshed(nursery, of(PERMISSIVE))
    arrive(nursery, known, Address(POD, 25006), port=25006)
    await wait_all_tasks_blocked()
    assert known.codes == [Reason.OWN_PORT.code]


async def test_health_is_answered_here(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def health(request: Call) -> Answer:
        return Answer(200, f"{request.path} {request.remote}".encode())

    known = meshed(nursery)
    stream = SocketStream(arrive(nursery, known, Address(POD, ports.HEALTH), {ports.HEALTH: health}))
    await stream.send_all(b"GET /healthz/ready HTTP/1.1\r\nhost: a\r\n\r\n")
    assert (await read_until(stream, b"/healthz/ready " + CLIENT.encode())).startswith(b"HTTP/1.1 200 ")
    assert known.lines == []


async def test_a_hook_may_take_as_long_as_it_takes(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def health(request: Call) -> Answer:
        await trio.sleep(LONGEST_PROBE_S)
        return Answer(200, b"done")

    stream = SocketStream(arrive(nursery, meshed(nursery), Address(POD, ports.HEALTH), {ports.HEALTH: health}))
    await stream.send_all(b"GET /app-health/app/prestop HTTP/1.1\r\nhost: a\r\n\r\n")
    await read_until(stream, b"done")
    assert trio.current_time() == LONGEST_PROBE_S


async def test_an_application_that_is_not_there(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery)
    stream = await call(arrive(nursery, known))
    await stream.send_all(GET)
    assert b"BZ0401 connect-failed" in await stream.receive_some()
    await stream.send_all(GET)      # the connection to the caller is sound
    assert b"BZ0401 connect-failed" in await stream.receive_some()


# -- may it?


async def test_each_request_is_judged_by_the_rules_of_its_moment(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, seen = meshed(nursery, of(ADMIN_FIRST)), []
    known.dialer.servers[APP] = http_app(seen, OK)
    stream = await call(arrive(nursery, known))

    async def ask(path: bytes) -> bytes:
        await stream.send_all(b"GET %b HTTP/1.1\r\nhost: a\r\n\r\n" % path)
        return await stream.receive_some()

    assert await ask(b"/x") == OK
    assert b"x-bartizan-reason: BZ0102 identity-not-allowed\r\nx-bartizan-rule: admin\r\n" in await ask(b"/admin/x")
    assert await ask(b"/x") == OK
    known.runtime.rules.set(of(Inbound(routes=())))
    assert b"BZ0101 no-route" in await ask(b"/x")
    known.runtime.rules.set(of(Inbound(without_routes="nothing")))
    assert b"BZ0101 no-route" in await ask(b"/x")
    assert len(seen) == 2


async def test_a_peer_whose_certificate_has_ended_meanwhile(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery)
    known.dialer.servers[APP] = http_app([], OK)
    stream = await call(arrive(nursery, known))
    await stream.send_all(GET)
    await read_until(stream, b"ok")
    known.wall = tls_of(WEB).credentials.not_after
    await stream.send_all(GET)
    assert b"BZ0501 peer-not-verified" in await read_rest(stream)


async def opaque(nursery: trio.Nursery, known: Bench) -> TlsStream:
    return await call(arrive(nursery, known), alpn=ALPN_TCP)


async def test_opaque_bytes_and_half_close(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery, of(Inbound(ports=OPAQUE, routes=(Route("db", BY_WEB),))))
    known.dialer.servers[APP] = echo
    stream = await opaque(nursery, known)
    await stream.send_all(b"ping")
    assert await read_until(stream, b"ping") == b"ping"
    await stream.send_eof()
    assert await read_rest(stream) == b""
    stream.close()
    await wait_all_tasks_blocked()
    (line,) = known.lines
    assert (line["rule"], line["peer"], line["received"], line["sent"]) == ("db", WEB, 4, 4)


async def test_opaque_bytes_pause_as_long_as_their_rule_says(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery, of(Inbound(ports=OPAQUE, routes=(Route("db", BY_WEB, idle_s=7),))))
    known.dialer.servers[APP] = echo
    assert await is_gone(await opaque(nursery, known))
    assert trio.current_time() == 7


async def test_opaque_bytes_are_cut_when_the_leave_is_withdrawn(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery, of(Inbound(ports=OPAQUE, routes=(Route("db", BY_WEB),))))
    known.dialer.servers[APP] = echo
    stream = await opaque(nursery, known)
    await stream.send_all(b"ping")
    await read_until(stream, b"ping")
    known.runtime.rules.set(of(Inbound(ports=OPAQUE, routes=(Route("db", ()),))))
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    assert trio.current_time() == 0


async def greet(sock: socket.socket) -> None:
    await SocketStream(sock).send_all(b"220 hello")
    await trio.sleep_forever()


@pytest.mark.parametrize(("change", "greeting", "at", "codes"), [
    ({}, b"220 hello", 3, []),
    ({"ports": {8080: "http"}}, b"", 10, ["BZ0311"]),
    ({"mode": "strict"}, b"", 10, ["BZ0311"]),
    ({"port_modes": {8080: PortMode("strict")}}, b"", 10, ["BZ0311"]),
    ({"routes": (Route("db", (Caller(source="192.0.2.0/24"),)),)}, b"", 3, ["BZ0102"]),
])
async def test_a_server_that_speaks_first_to_who_has_no_sidecar(
    change: dict[str, Any], greeting: bytes, at: float, codes: list[str], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Where plaintext may enter, nobody is asked for a first byte on an opaque port; whom rules refuse is refused all the same."""
    known = meshed(nursery, of(replace(PERMISSIVE, **{"ports": OPAQUE, **change})))
    known.dialer.servers[APP] = greet
    stream = SocketStream(arrive(nursery, known))
    assert await stream.receive_some() == greeting
    assert (trio.current_time(), known.codes) == (at, codes)
    stream.close()


@pytest.mark.parametrize("declared", [{8080: "app-tls"}, {8080: "opaque"}, {}])
async def test_the_applications_own_tls_passes_where_plaintext_may_enter(
    declared: dict[int, Protocol], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The certificate is the application's, and what is said in between nobody here can read."""
    known, holder, heard = meshed(nursery, of(replace(PERMISSIVE, ports=declared))), partner("orders.shop"), []
    known.dialer.servers[APP] = https(holder, http_app(heard, OK))
    stream = TlsStream(https_client([root("public").certificate]), arrive(nursery, known), is_server=False, server_name="orders.shop")
    await stream.handshake(NotVerified)
    assert stream.connection.get_peer_certificate(as_cryptography=True) == holder.certificate
    await stream.send_all(GET)
    assert await read_until(stream, b"ok") == OK
    assert b"x-forwarded" not in heard[0]
    stream.close()


@pytest.mark.parametrize(("inbound", "code"), [
    (Inbound(routes=(Route("db", (Caller("other", "shop"),)),)), "BZ0102"),
    (Inbound(routes=(Route("only-http", BY_WEB, matches=(Match(PathMatch("/")),)),)), "BZ0101"),
    (ADMIN_FIRST, "BZ0101"),
    (Inbound(ports={8080: "http"}), "BZ0310"),
    (Inbound(), "BZ0310"),
    (Inbound(without_routes="nothing"), "BZ0101"),
])
async def test_bytes_that_nobody_reads_pass_no_rule_about_requests(
    inbound: Inbound, code: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Else who may call `/` of a port could call `/admin`, too, by not saying that it speaks HTTP."""
    known = meshed(nursery, of(inbound))
    known.dialer.servers[APP] = echo
    stream = await opaque(nursery, known)
    await stream.send_all(b"GET /admin HTTP/1.1\r\nhost: a\r\n\r\n")
    assert await is_gone(stream)
    assert known.dialer.dialled == []
    assert known.codes == [code]


async def test_plaintext_that_does_not_look_like_http_neither(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery, of(Inbound(mode="permissive", permissive_until=4e9, routes=ADMIN_FIRST.routes)))
    known.dialer.servers[APP] = echo
    stream = SocketStream(arrive(nursery, known))
    await stream.send_all(b"G\xc9T /admin HTTP/1.1\r\nhost: a\r\n\r\n")
    assert await is_gone(stream)
    assert known.dialer.dialled == []


async def test_who_is_refused_sees_an_end_and_no_reset(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery, of(replace(PERMISSIVE, ports={8080: "http2"})))
    stream = SocketStream(arrive(nursery, known))
    await stream.send_all(b"INVALID CONNECTION PREFACE\r\n\r\n")
    assert await read_rest(stream) == b""
    assert known.codes == [Reason.NOT_HTTP.code]


# -- our own state


async def test_without_a_snapshot_nothing_enters(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = bench(nursery, None, tls_of(ORDERS))
    stream = SocketStream(arrive(nursery, known))
    assert await is_gone(stream, GET)
    assert known.codes == [Reason.NO_SNAPSHOT.code]


@pytest.mark.parametrize("is_ended", [False, True])
async def test_without_a_certificate_nobody_is_let_in(is_ended: bool, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery)
    if is_ended:
        known.wall += 1800
    else:
        known.runtime.tls.set(None)
    with pytest.raises(NotVerified):
        await call(arrive(nursery, known))
    assert known.codes == [Reason.NO_IDENTITY.code]


# -- times


async def test_who_says_nothing_is_gone_after_ten_seconds(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery)
    sock = arrive(nursery, known)
    assert await SocketStream(sock).receive_some() == b""
    assert trio.current_time() == 10
    assert known.codes == [Reason.TIMED_OUT_DOWNSTREAM.code]


async def test_a_stalled_handshake_is_gone_after_ten_seconds(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery)
    sock = arrive(nursery, known)
    stream = TlsStream(tls_of(WEB).clients[ALPN_HTTP1], sock, is_server=False)
    with pytest.raises(SSL.WantReadError):
        stream.connection.do_handshake()    # the hello, and not a byte more
    await trio.sleep(9.9)
    assert known.lines == []
    await trio.sleep(0.2)
    assert known.codes == [Reason.TIMED_OUT_DOWNSTREAM.code]
    sock.close()


async def test_a_peer_that_resets_before_it_speaks_is_nobodys_bug(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery)
    arrive(nursery, known).close()
    await wait_all_tasks_blocked()
    assert known.dialer.dialled == []




# -- what rules say beyond leave

ISSUER = "https://issuer.example"
WITH_TOKEN = Route("r", (Caller(claims={"groups": ("admins",)}),), jwt=Jwt(ISSUER, ("shop",)))


def told(known: Bench, *fields: str) -> list[list[object]]:
    return [[line.get(field, "") for field in fields] for line in known.lines]


async def entering(nursery: trio.Nursery, *routes: Route, answer: bytes = OK, **more: Any) -> tuple[Bench, TlsStream, list[bytes]]:
    known, seen = meshed(nursery, of(Inbound(routes=routes, **more))), []
    known.dialer.servers[APP] = http_app(seen, answer)
    return known, await call(arrive(nursery, known)), seen


async def ask(stream: trio.abc.Stream, target: str = "/", *fields: str, end: bytes = b"ok") -> str:
    lines = [f"GET {target} HTTP/1.1", "host: orders.shop:8080", *fields]
    await stream.send_all(("\r\n".join(lines) + "\r\n\r\n").encode())
    return (await read_until(stream, end)).decode()


async def test_heads_are_edited_both_ways(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    _, stream, seen = await entering(
        nursery,
        Route("r", BY_WEB, matches=(Match(PathMatch("/api")),), rewrite=Rewrite(prefix="/", hostname="inner"),
              request_headers=HeaderEdit({"x-a": "1"}, remove=("cookie",)), response_headers=HeaderEdit({"cache-control": "no-store"})),
    )
    answer = await ask(stream, "/api/x%40y?q=/api", "cookie: a=b", "X-A: 9")
    assert seen[0].split(b"\r\n")[:3] == [b"GET /x%40y?q=/api HTTP/1.1", b"host: inner", b"x-a: 1"]
    assert b"cookie" not in seen[0]
    assert answer == OK.decode().replace("content-length", "cache-control: no-store\r\ncontent-length")
    stream.close()


@pytest.mark.parametrize("target", ["/a", "/a%40b?x=%zz&y", "/%C3%A9/a@b", "/100%25", "/a?b?c"])
async def test_the_path_that_was_judged_reaches_the_application(
    nursery: trio.Nursery, autojump_clock: MockClock, target: str
) -> None:
    known, stream, seen = await entering(nursery, Route("r", BY_WEB, matches=(Match(PathMatch("/")),), max_body_bytes=1))
    await ask(stream, target)
    assert seen[0].startswith(f"GET {target} HTTP/1.1\r\n".encode())
    stream.close()
    await wait_all_tasks_blocked()
    assert told(known, "path") == [[target.partition("?")[0]]]


@pytest.mark.parametrize("target", ["/secret", "/%73ecret", "/secret/", "/%73%65cret/x", "/secret?x=/public", "/s%65cret%2Cx/../secret"])
async def test_no_spelling_dodges_the_narrow_rule(nursery: trio.Nursery, autojump_clock: MockClock, target: str) -> None:
    _, stream, seen = await entering(
        nursery, Route("all", BY_WEB), Route("narrow", (Caller("root"),), matches=(Match(PathMatch("/secret")),)),
    )
    answer = await ask(stream, target, end=b"\n")
    assert answer.startswith(("HTTP/1.1 403", "HTTP/1.1 400"))
    assert seen == []
    stream.close()


async def test_rules_answer_by_themselves(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, stream, seen = await entering(
        nursery,
        Route("moved", BY_WEB, matches=(Match(PathMatch("/old")),), redirect=Redirect(prefix="/new", status=308)),
        Route("closed", BY_WEB, direct_response=DirectResponse(404, "gone fishing")),
    )
    assert await ask(stream, "/old/x?y", end=b"\r\n\r\n") == (
        "HTTP/1.1 308 Permanent Redirect\r\nlocation: /new/x?y\r\ncontent-length: 0\r\n\r\n"
    )
    assert await ask(stream, "/", end=b"fishing") == (
        "HTTP/1.1 404 Not Found\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 12\r\n\r\ngone fishing"
    )
    await stream.send_all(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert await read_until(stream, b"content-length: 12\r\n\r\n")
    assert seen == []
    stream.close()
    await wait_all_tasks_blocked()
    assert told(known, "rule", "status", "code") == [["moved", 308, ""], ["closed", 404, ""], ["closed", 404, ""]]


async def test_faults(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, stream, seen = await entering(
        nursery,
        Route("slow", BY_WEB, matches=(Match(PathMatch("/slow")),), fault=Fault(2.5)),
        Route("broken", BY_WEB, fault=Fault(1.0, abort_status=418)),
    )
    started = trio.current_time()
    await ask(stream, "/slow")
    assert trio.current_time() - started == 2.5
    answer = await ask(stream, "/", end=b"over.\n")
    assert trio.current_time() - started == 3.5
    assert answer.startswith("HTTP/1.1 418 ")
    assert len(seen) == 1
    stream.close()
    await wait_all_tasks_blocked()
    assert told(known, "rule", "status", "code") == [["slow", 200, ""], ["broken", 418, "BZ0111"]]


async def test_concurrency_counts_until_the_end_of_the_exchange(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, stream, _ = await entering(nursery, Route("r", BY_WEB, concurrency=1))
    waiting = trio.Event()

    async def slow(sock: socket.socket) -> None:
        app = SocketStream(sock)
        await app.receive_some()
        await waiting.wait()
        await app.send_all(OK)
        await trio.sleep_forever()

    known.dialer.servers[APP] = slow
    await stream.send_all(GET)
    await wait_all_tasks_blocked()
    other = await call(arrive(nursery, known))
    assert (await ask(other, end=b"\n")).startswith("HTTP/1.1 503 ")
    waiting.set()
    await read_until(stream, b"ok")
    await wait_all_tasks_blocked()
    assert not known.runtime.admission.under_way
    for end in (stream, other):
        end.close()


@pytest.mark.parametrize("chunks", [[b"5\r\nabcXY\r\n0\r\n\r\n"], [b"3\r\nabc\r\n", b"2\r\nXY\r\n", b"0\r\n\r\n"]])
async def test_a_body_without_a_length_has_its_limit_too(
    chunks: list[bytes], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The application gets no end of it, and so takes it for none."""
    known, stream, _ = await entering(nursery, Route("r", BY_WEB, max_body_bytes=4))
    arrived: list[bytes] = []

    async def serve(sock: socket.socket) -> None:
        while piece := await SocketStream(sock).receive_some():
            arrived.append(piece)

    known.dialer.servers[APP] = serve
    await stream.send_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
    for chunk in chunks:
        await stream.send_all(chunk)
        await wait_all_tasks_blocked()
    assert (await read_rest(stream)).startswith(b"HTTP/1.1 413 ")
    assert known.codes == ["BZ0108"]
    assert b"XY" not in b"".join(arrived)
    assert not b"".join(arrived).endswith(b"0\r\n\r\n")
    stream.close()


async def test_a_place_is_given_back_whoever_breaks_off(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, stream, _ = await entering(nursery, Route("r", BY_WEB, concurrency=1))
    del known.dialer.servers[APP]
    assert (await ask(stream, end=b"\n")).startswith("HTTP/1.1 503 ")
    known.dialer.silent.add(APP)
    await stream.send_all(GET)
    await wait_all_tasks_blocked()
    assert known.runtime.admission.under_way == {"r": 1}
    assert (await read_until(stream, b"\n")).startswith(b"HTTP/1.1 50")
    assert not known.runtime.admission.under_way
    stream.close()


async def test_limits_hold_for_tcp_connections_too(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery, of(Inbound(ports=OPAQUE, routes=(Route("db", BY_WEB, concurrency=1, rate_limit=RateLimit(2, 60.0)),))))
    known.dialer.servers[APP] = echo
    one = await call(arrive(nursery, known), alpn=ALPN_TCP)
    await one.send_all(b"a")
    assert await one.receive_some() == b"a"
    two = await call(arrive(nursery, known), alpn=ALPN_TCP)
    assert await is_gone(two)
    one.close()
    await wait_all_tasks_blocked()
    three = await call(arrive(nursery, known), alpn=ALPN_TCP)
    assert await is_gone(three)
    await wait_all_tasks_blocked()
    assert known.codes == ["BZ0107", "", "BZ0106"]
    assert not known.runtime.admission.under_way
    for end in (two, three):
        end.close()


@pytest.mark.parametrize("protocol", ["http", "http1", "http2"])
async def test_a_port_that_speaks_http_takes_no_other_connection(
    nursery: trio.Nursery, autojump_clock: MockClock, protocol: Any
) -> None:
    known = meshed(nursery, of(Inbound(ports={APP.port: protocol})))
    known.dialer.servers[APP] = echo
    stream = await call(arrive(nursery, known), alpn=ALPN_TCP)
    assert await is_gone(stream)
    assert known.codes == ["BZ0310"]
    stream.close()


async def test_tokens(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, stream, seen = await entering(nursery, WITH_TOKEN, issuers=(TokenIssuer(ISSUER, JWKS.decode()),))

    def bearer(**changed: object) -> str:
        claims = {"iss": ISSUER, "aud": "shop", "exp": known.wall + 600, "groups": ["admins"], **changed}
        return f"authorization: Bearer {token(claims)}"

    good = bearer()
    assert (await ask(stream, "/", good)).startswith("HTTP/1.1 200")
    assert good.encode() in seen[0]     # the application may want to read it too
    for field, why in (
        ("x: y", "there is none"), (bearer(aud="web"), "audience"), (bearer(exp=known.wall - 61), "expired"), (good + "x", "the token: "),
    ):
        answer = await ask(stream, "/", field, end=b"this one.\n")
        assert answer.startswith("HTTP/1.1 401 Unauthorized\r\n")
        assert "\r\nwww-authenticate: Bearer\r\n" in answer
        assert why in answer
    assert (await ask(stream, "/", bearer(groups=["users"]), end=b"\n")).startswith("HTTP/1.1 403")
    known.wall += 700
    assert (await ask(stream, "/", good, end=b"\n")).startswith("HTTP/1.1 401")     # remembered, and ended all the same
    assert len(seen) == 1
    stream.close()


async def test_plaintext_is_let_in_by_its_source(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    for source, status in ((f"{CLIENT}/32", b"200"), ("10.2.0.0/16", b"403")):
        inbound = Inbound("permissive", 4e9, (Route("r", (*BY_WEB, Caller(source=source))),))
        known = meshed(nursery, of(inbound))
        known.dialer.servers[APP] = http_app([], OK)
        stream = SocketStream(arrive(nursery, known))
        await stream.send_all(GET)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 " + status)
        stream.close()


# -- NetworkPolicies

FROM_WEB = Endpoint(CLIENT, APP.port, WEB)      # the address and identity of who calls
ANYBODY = Route("r", (Caller(),))


@pytest.mark.parametrize(("listed", "port", "is_let"), [
    ((FROM_WEB,), None, True),
    ((FROM_WEB,), APP.port, True),
    ((FROM_WEB,), 9090, False),
    ((Endpoint(CLIENT, APP.port, ORDERS),), None, False),       # that pod's service account is another
    ((Endpoint(CLIENT, APP.port, ""),), None, False),           # that pod has no sidecar
    ((Endpoint("10.1.0.99", APP.port, WEB),), None, False),     # another pod of the same service account
    (("10.1.0.0/24",), None, True),
    ((f"10.1.0.0/24!{CLIENT}/32",), None, False),
    ((), None, False),
])
async def test_who_is_listed_may_ask(
    listed: tuple[Endpoint | str, ...], port: int | None, is_let: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    known = meshed(nursery, network.entering(of(Inbound(routes=(ANYBODY,))), *listed, port=port))
    known.dialer.servers[APP] = http_app([], OK)
    stream = await call(arrive(nursery, known))
    await stream.send_all(GET)
    answer = await stream.receive_some()
    stream.close()
    await wait_all_tasks_blocked()
    (line,) = known.lines
    if is_let:
        assert answer == OK
        assert line["rule"] == "r"
        return
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"x-bartizan-reason: BZ0112 network-policy\r\n" in answer
    assert (line["code"], line["rule"], line["peer"]) == ("BZ0112", NAMED, WEB)
    assert POLICY in line["detail"]
    assert any(NAMED in entry.rules for entry in known.ledger.entries)
    assert known.dialer.dialled == []


@pytest.mark.parametrize(("listed", "is_let"), [
    ((Endpoint(CLIENT, APP.port, ""),), True), ((f"{CLIENT}/32",), True),
    ((FROM_WEB,), False),       # it is a pod with a sidecar: its address alone is nothing
    ((), False),
])
@pytest.mark.parametrize("is_opaque", [False, True])
async def test_plaintext_is_judged_by_its_address(
    listed: tuple[Endpoint | str, ...], is_let: bool, is_opaque: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    inbound = replace(PERMISSIVE, routes=(ANYBODY,), ports=OPAQUE if is_opaque else {})
    known = meshed(nursery, network.entering(of(inbound), *listed))
    known.dialer.servers[APP] = echo if is_opaque else http_app([], OK)
    stream = SocketStream(arrive(nursery, known))
    await stream.send_all(GET)
    answer = await stream.receive_some()
    stream.close()
    await wait_all_tasks_blocked()
    assert (answer in (GET, OK)) is is_let
    assert known.codes == ([""] if is_let else ["BZ0112"])
    if not is_let:
        assert known.lines[0]["rule"] == NAMED
        assert POLICY.encode() not in answer        # a stranger learns no names


async def test_a_policy_does_not_let_plaintext_into_a_strict_port(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery, network.entering(of(Inbound()), "0.0.0.0/0"))
    stream = SocketStream(arrive(nursery, known))
    await stream.send_all(GET)
    assert b"BZ0103" in await read_rest(stream)
    stream.close()


async def test_bytes_that_are_listed_no_longer_end(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    inbound = Inbound(ports=OPAQUE)
    known = meshed(nursery, network.entering(of(inbound), FROM_WEB))
    known.dialer.servers[APP] = echo
    stream = await call(arrive(nursery, known), alpn=ALPN_TCP)
    await stream.send_all(b"ping")
    assert await read_until(stream, b"ping") == b"ping"
    known.runtime.rules.set(network.entering(of(inbound), FROM_WEB, port=9090))
    assert await is_gone(stream)
    other = await call(arrive(nursery, known), alpn=ALPN_TCP)
    assert await is_gone(other)
    await wait_all_tasks_blocked()
    assert known.codes == ["", "BZ0112"]
    assert known.dialer.dialled == [APP]


async def test_each_request_is_judged_by_the_policies_of_now(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery, network.entering(of(Inbound()), FROM_WEB))
    known.dialer.servers[APP] = http_app([], OK)
    stream = await call(arrive(nursery, known))
    await stream.send_all(GET)
    assert await stream.receive_some() == OK
    known.runtime.rules.set(network.entering(of(Inbound())))
    await stream.send_all(GET)
    assert b"BZ0112" in await stream.receive_some()
    stream.close()


async def test_the_kubelet_is_answered_whatever_policies_say(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery, network.entering(of(Inbound())))

    async def alive(_: Call) -> Answer:
        return Answer(200, b"alive")

    stream = SocketStream(arrive(nursery, known, Address(POD, ports.HEALTH), {ports.HEALTH: alive}))
    await stream.send_all(GET)
    assert b"alive" in await stream.receive_some()
    stream.close()
