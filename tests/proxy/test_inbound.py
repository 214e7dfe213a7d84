"""What enters a pod: real TLS on Unix sockets, under the virtual clock."""

import pytest
import trio
from OpenSSL import SSL
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model import ports
from sidecar.model.address import Address
from sidecar.model.call import Answer, Call
from sidecar.model.config import LONGEST_PROBE_S
from sidecar.model.errors import NotVerified
from sidecar.model.reason import Reason
from sidecar.model.snapshot import Inbound
from sidecar.model.trust import Revoked
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import ALPN_HTTP1, ALPN_TCP, MESH_ALPN, https_client
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.tls_stream import TlsStream
from sidecar.protocol.http2 import frames
from tests.helpers import network, pki
from tests.helpers.exchange import GET, OK
from tests.helpers.http2 import GET as HTTP2_GET
from tests.helpers.http2 import OPENING, goaways, headers, split
from tests.helpers.inbound import PERMISSIVE, of_orders
from tests.helpers.mesh import APP, arrive, call, http_app, is_gone, meshed, read_rest, read_until, root, tls_of
from tests.helpers.pki import ORDERS, WEB
from tests.helpers.runtime import CLIENT, POD, Bench, bench

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
    known.runtime.rules.set(of_orders(Inbound(mode="permissive", permissive_until=known.wall + 60)))
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
    known = meshed(nursery, of_orders(PERMISSIVE))
    stream = SocketStream(arrive(nursery, known, to))
    assert await is_gone(stream, GET)
    assert known.dialer.dialled == []
    assert known.codes == [Reason.OWN_PORT.code]


async def test_a_listener_elsewhere_knows_itself(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Whatever port it was told to use: a connection that was not redirected would come back to it for ever."""
    known = meshed(nursery, of_orders(PERMISSIVE))
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


async def test_the_kubelet_is_answered_whatever_policies_say(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery, network.entering(of_orders(Inbound())))

    async def alive(_: Call) -> Answer:
        return Answer(200, b"alive")

    stream = SocketStream(arrive(nursery, known, Address(POD, ports.HEALTH), {ports.HEALTH: alive}))
    await stream.send_all(GET)
    assert b"alive" in await stream.receive_some()
    stream.close()


async def test_an_application_that_is_not_there(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery)
    stream = await call(arrive(nursery, known))
    await stream.send_all(GET)
    assert b"BZ0401 connect-failed" in await stream.receive_some()
    await stream.send_all(GET)      # the connection to the caller is sound
    assert b"BZ0401 connect-failed" in await stream.receive_some()


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
