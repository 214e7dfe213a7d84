"""The application played over Unix sockets: what it says, and what a probe makes of it."""

import socket
from collections.abc import Awaitable, Callable

import h2.events
import pytest
import trio
from OpenSSL import SSL
from trio.testing import MockClock

from sidecar.model import ports
from sidecar.model.address import Address
from sidecar.model.config import Probe, ProbeHeader
from sidecar.model.errors import BadResponse, ConnectFailed, MeshError, Reset, TlsRejected, UpstreamError
from sidecar.net.app_probe import AppProber
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import https_server
from sidecar.net.tls_stream import TlsStream
from tests.helpers import pki
from tests.helpers.h2_peer import Peer
from tests.helpers.mesh import http_app
from tests.helpers.runtime import POD, FakeDialer, Serve

APP = Address(POD, 8080)
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SERVING, NOT_SERVING = b"\0\0\0\0\2\x08\1", b"\0\0\0\0\2\x08\2"
SELF_SIGNED = pki.issue(None, pki.host("somebody.else"), ends=-pki.HOUR / 2, subject="somebody else")     # and expired


@pytest.fixture
def dialer(nursery: trio.Nursery, autojump_clock: MockClock) -> FakeDialer:
    return FakeDialer(nursery)


async def ask(dialer: FakeDialer, probe: Probe) -> int:
    with trio.fail_after(60):
        return await AppProber(dialer).ask(probe, POD)


def says(answer: bytes, then: Callable[[SocketStream], Awaitable[object]] | None = None) -> Serve:
    """Takes what comes first, says `answer`, and ends, or goes on."""
    async def serve(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        await stream.receive_some()
        await stream.send_all(answer)
        if then is not None:
            await then(stream)

    return serve


async def silence(stream: object) -> None:
    await trio.sleep_forever()


# -- TCP


async def test_a_connection_is_enough(dialer: FakeDialer) -> None:
    ends: list[bytes] = []

    async def listens(sock: socket.socket) -> None:
        ends.append(await SocketStream(sock).receive_some())

    dialer.servers[APP] = listens
    assert await ask(dialer, Probe(8080)) == 200
    await trio.testing.wait_all_tasks_blocked()
    assert ends == [b""]


@pytest.mark.parametrize("by", ["tcp", "http", "https", "grpc"])
async def test_a_dead_application(by: str, dialer: FakeDialer) -> None:
    with pytest.raises(ConnectFailed, match="Connection refused"):
        await ask(dialer, Probe(8080, by))  # type: ignore[arg-type]


@pytest.mark.parametrize("by", ["tcp", "http", "https", "grpc"])
@pytest.mark.parametrize("port", sorted(ports.OWN))
async def test_our_own_ports_are_never_asked(by: str, port: int, dialer: FakeDialer) -> None:
    """Not even by a configuration that somebody else has written into a pod."""
    with pytest.raises(ConnectFailed, match="is the sidecar's"):
        await ask(dialer, Probe(port, by))  # type: ignore[arg-type]
    assert dialer.dialled == []


# -- HTTP


@pytest.mark.parametrize(("answer", "status"), [
    (ANSWER, 200), (b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", 404), (b"HTTP/1.1 304 x\r\n\r\n", 304),
    (b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nuntil the end", 200),
    (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200),
    (b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" * 5 + ANSWER, 200),
    (b"HTTP/1.1 302 x\r\nlocation: http://elsewhere.example/\r\ncontent-length: 0\r\n\r\n", 302),
])
async def test_the_status_is_the_result(answer: bytes, status: int, dialer: FakeDialer) -> None:
    dialer.servers[APP] = says(answer)
    assert await ask(dialer, Probe(8080, "http")) == status


async def test_what_the_application_is_asked(dialer: FakeDialer) -> None:
    seen: list[bytes] = []
    dialer.servers[APP] = http_app(seen, ANSWER)
    headers = (ProbeHeader("Host", "shop.example"), ProbeHeader("X-Key", "1"))
    await ask(dialer, Probe(8080, "http", "/healthz?x=1", headers))
    assert seen == [b"GET /healthz?x=1 HTTP/1.1\r\nhost: shop.example\r\nuser-agent: kube-probe/1.36\r\naccept: */*\r\nx-key: 1\r\n"
                    b"connection: close"]


@pytest.mark.parametrize(("answer", "error"), [
    (b"", Reset), (b"SSH-2.0-x\r\n\r\n", BadResponse), (b"HTTP/1.1 200 OK\r\ncontent-le", Reset),
    (b"HTTP/1.1 100 Continue\r\n\r\n", Reset), (b"HTTP/1.1 103 x\r\n\r\n" * 6 + ANSWER, BadResponse),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok", Reset),
    (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", UpstreamError),
])
async def test_what_is_no_answer(answer: bytes, error: type[MeshError], dialer: FakeDialer) -> None:
    dialer.servers[APP] = says(answer)
    with pytest.raises(error):
        await ask(dialer, Probe(8080, "http"))


@pytest.mark.parametrize("rest", [b"", b"x" * 10000])
async def test_a_body_that_stops_coming_is_no_answer(rest: bytes, dialer: FakeDialer, autojump_clock: MockClock) -> None:
    dialer.servers[APP] = says(b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n" + rest, silence)
    with pytest.raises(trio.TooSlowError):
        await ask(dialer, Probe(8080, "http"))


async def test_of_an_endless_body_no_more_is_read_than_the_kubelet_would(dialer: FakeDialer) -> None:
    sent = 0

    async def endless(stream: SocketStream) -> None:
        nonlocal sent
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await stream.send_all(b"x" * 1024)
                sent += 1024

    dialer.servers[APP] = says(b"HTTP/1.0 200 OK\r\n\r\n", endless)
    assert await ask(dialer, Probe(8080, "http")) == 200
    await trio.testing.wait_all_tasks_blocked()
    assert sent < 1 << 20


async def test_redirections_within_the_pod_are_followed(dialer: FakeDialer) -> None:
    asked: list[bytes] = []

    def first(head: bytes) -> bytes:
        asked.append(head.partition(b" HTTP")[0])
        return b"HTTP/1.1 301 x\r\nlocation: http://10.1.0.5:9090/well?\r\ncontent-length: 0\r\n\r\n"

    dialer.servers[APP] = http_app([], first)
    dialer.servers[Address(POD, 9090)] = http_app(asked, b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n")
    assert await ask(dialer, Probe(8080, "http", "/a")) == 503
    assert asked[0] == b"GET /a"
    assert asked[1].startswith(b"GET /well HTTP/1.1\r\nhost: 10.1.0.5:9090\r\n")


@pytest.mark.parametrize(("location", "error"), [
    (b"/again", BadResponse), (b"http://10.1.0.5:15020/metrics", ConnectFailed), (b"ftp://10.1.0.5/", BadResponse),
    (b"http://10.1.0.5:9090/", ConnectFailed),
])
async def test_redirections_that_lead_nowhere(location: bytes, error: type[MeshError], dialer: FakeDialer) -> None:
    dialer.servers[APP] = http_app([], b"HTTP/1.1 302 x\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n" % location)
    with pytest.raises(error):
        await ask(dialer, Probe(8080, "http"))
    assert {to.host for to in dialer.dialled} == {POD}
    assert len(dialer.dialled) <= 10


# -- HTTPS


def tls_app(serve: Callable[[TlsStream], Awaitable[object]], *spoken: bytes, offered: list[bytes] | None = None) -> Serve:
    """
    Args:
        spoken: ALPN; none: it knows nothing of it.
        offered: is told what was.
    """
    context = https_server(pki.server_credentials(SELF_SIGNED))

    def select(conn: SSL.Connection, options: list[bytes]) -> bytes | object:
        if offered is not None:
            offered.extend(options)
        return next((one for one in spoken if one in options), SSL.NO_OVERLAPPING_PROTOCOLS)

    context.set_alpn_select_callback(select)

    async def serve_tls(sock: socket.socket) -> None:
        async with TlsStream(context, sock, is_server=True) as stream:
            try:
                await stream.handshake(TlsRejected)
            except TlsRejected:
                return
            await serve(stream)

    return serve_tls


def http1_over_tls(answer: bytes, seen: list[bytes]) -> Callable[[TlsStream], Awaitable[object]]:
    async def serve(stream: TlsStream) -> None:
        seen.append(await stream.receive_some())
        await stream.send_all(answer)

    return serve


@pytest.mark.parametrize("word", [None, "0" * 32])
async def test_https_takes_any_certificate_as_the_kubelet_does(word: str | None, dialer: FakeDialer) -> None:
    seen: list[bytes] = []
    offered: list[bytes] = []
    dialer.servers[APP] = tls_app(http1_over_tls(ANSWER, seen), b"http/1.1", offered=offered)
    assert await ask(dialer, Probe(8080, "https", "/x", word=word)) == 200
    assert seen[0].startswith(b"GET /x HTTP/1.1\r\nhost: 10.1.0.5:8080\r\n")
    assert offered == ([b"h2", b"http/1.1"] if word is None else [b"http/1.1"])


async def test_a_server_that_ends_tls_without_a_word(dialer: FakeDialer) -> None:
    async def rude(stream: TlsStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.0 200 OK\r\n\r\nbody")
        stream.sock.close()

    dialer.servers[APP] = tls_app(rude)
    assert await ask(dialer, Probe(8080, "https")) == 200


async def test_https_by_http2(dialer: FakeDialer) -> None:
    heads: list[object] = []

    async def serve(stream: TlsStream) -> None:
        peer = Peer(stream, is_client=False)
        await peer.begin()
        heads.extend((await peer.first(h2.events.RequestReceived)).headers)
        await peer.ask(1, [(b":status", b"204")])
        await peer.read()

    dialer.servers[APP] = tls_app(serve, b"h2")
    assert await ask(dialer, Probe(8080, "https", "/x", (ProbeHeader("Host", "shop.example"),))) == 204
    assert heads == [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"shop.example"), (b":path", b"/x"),
                     (b"user-agent", b"kube-probe/1.36"), (b"accept", b"*/*")]


async def test_https_of_a_server_without_tls(dialer: FakeDialer) -> None:
    dialer.servers[APP] = says(b"HTTP/1.1 400 x\r\n\r\n")
    with pytest.raises(BadResponse, match="TLS handshake failed"):
        await ask(dialer, Probe(8080, "https"))


# -- gRPC


def grpc_app(answer: bytes, status: bytes = b"0", asked: list[object] | None = None) -> Serve:
    async def serve(sock: socket.socket) -> None:
        peer = Peer(SocketStream(sock), is_client=False)
        await peer.begin()
        request = await peer.first(h2.events.RequestReceived)
        body = await peer.ended(1)
        if asked is not None:
            asked.extend([*request.headers, body])
        await peer.ask(1, [(b":status", b"200"), (b"content-type", b"application/grpc")], answer, is_end=False)
        peer.h2.send_headers(1, [(b"grpc-status", status)], end_stream=True)
        await peer.flush()
        await peer.read()

    return serve


async def test_a_grpc_server_that_serves(dialer: FakeDialer) -> None:
    asked: list[object] = []
    dialer.servers[APP] = grpc_app(SERVING, asked=asked)
    assert await ask(dialer, Probe(8080, "grpc", service="shop.Orders")) == 200
    assert asked == [
        (b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"10.1.0.5:8080"), (b":path", b"/grpc.health.v1.Health/Check"),
        (b"content-type", b"application/grpc"), (b"user-agent", b"kube-probe/1.36"), (b"te", b"trailers"),
        b"\0\0\0\0\x0d\n\x0bshop.Orders"]


@pytest.mark.parametrize(("answer", "status", "why"), [
    (NOT_SERVING, b"0", "NOT_SERVING"), (SERVING, b"5", "gRPC status 5"), (SERVING * 2, b"0", "not one"),
])
async def test_a_grpc_server_that_does_not(answer: bytes, status: bytes, why: str, dialer: FakeDialer) -> None:
    dialer.servers[APP] = grpc_app(answer, status)
    with pytest.raises(BadResponse, match=why):
        await ask(dialer, Probe(8080, "grpc"))


@pytest.mark.parametrize(("fields", "why"), [
    ([(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"12")], "gRPC status 12"),
    ([(b":status", b"404")], "HTTP status 404 to a gRPC call"),
])
async def test_a_server_that_knows_no_health(fields: list[tuple[bytes, bytes]], why: str, dialer: FakeDialer) -> None:
    async def serve(sock: socket.socket) -> None:
        peer = Peer(SocketStream(sock), is_client=False)
        await peer.begin()
        await peer.ended(1)
        await peer.ask(1, fields)
        await peer.read()

    dialer.servers[APP] = serve
    with pytest.raises(BadResponse, match=why):
        await ask(dialer, Probe(8080, "grpc"))


async def test_grpc_of_a_server_that_speaks_http1(dialer: FakeDialer) -> None:
    dialer.servers[APP] = says(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    with pytest.raises(UpstreamError):
        await ask(dialer, Probe(8080, "grpc"))


async def test_a_grpc_answer_without_end(dialer: FakeDialer) -> None:
    async def serve(sock: socket.socket) -> None:
        peer = Peer(SocketStream(sock), is_client=False)
        await peer.begin()
        await peer.ended(1)
        await peer.ask(1, [(b":status", b"200")], b"x" * 9000, is_end=False)
        await peer.read()

    dialer.servers[APP] = serve
    with pytest.raises(BadResponse, match="more than 4096 bytes"):
        await ask(dialer, Probe(8080, "grpc"))
