"""The mesh's own endpoints and the client that calls them, over real TLS on loopback."""

import os
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import memory_stream_pair

from sidecar.model.address import Address
from sidecar.model.call import Answer, Call, Handler
from sidecar.model.errors import (
    BadResponse,
    ConfigError,
    ConnectFailed,
    DownstreamGone,
    DownstreamTimedOut,
    NotVerified,
    ReasonedError,
    UpstreamError,
)
from sidecar.net import service
from sidecar.net.deadline import Deadline
from sidecar.net.dial import Dialer
from sidecar.net.listener import Tally, listen_unix, serve_listener
from sidecar.net.peek import peek
from sidecar.net.service import call_https, call_unix, control_addresses, serve_calls, serve_https, split_url
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import Credentials, ServerCredentials, https_client
from sidecar.net.tls_stream import TlsStream
from sidecar.net.verify import key_hash
from sidecar.protocol.client_hello import read_client_hello
from tests.helpers import pki

ROOT, OTHER_ROOT = pki.authority("root"), pki.authority("other root")
ENDPOINT = pki.issue(ROOT, pki.host("issuer.bartizan.svc"), pki.host("127.0.0.1"))
POD = pki.credentials(pki.issue(ROOT, pki.uri(pki.WEB), pod_uid="u-1"))
HOUR = timedelta(hours=1)
MAX_BODY_BYTES = 100_000


@dataclass
class Endpoint:
    """Answers with what it was asked."""

    credentials: ServerCredentials
    port: int = 0
    calls: list[Call] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    answer: Answer = field(default_factory=lambda: Answer(200, b"{}"))

    async def handle(self, call: Call) -> Answer:
        self.calls.append(call)
        return self.answer

    async def call(
        self, path: str = "/", method: str = "GET", *, host: str = "issuer.bartizan.svc", root: pki.Holder = ROOT,
        credentials: Credentials | None = None, body: bytes = b"", addresses: tuple[str, ...] = ("127.0.0.1",),
    ) -> Answer | ReasonedError:
        try:
            return await call_https(
                Dialer(), addresses, f"https://{host}:{self.port}{path}", method,
                roots=[root.certificate], credentials=credentials, headers=[(b"X-Token", b"t")], body=body,
            )
        except ReasonedError as exc:
            return exc


@asynccontextmanager
async def serving(holder: pki.Holder = ENDPOINT, client_root: pki.Holder | None = None) -> AsyncIterator[Endpoint]:
    endpoint = Endpoint(pki.server_credentials(holder, client_root))
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[int]) -> None:
            await serve_https(
                "127.0.0.1", 0, lambda: endpoint.credentials, endpoint.handle,
                trust_domain=pki.DOMAIN, max_body_bytes=MAX_BODY_BYTES, tally=endpoint.tally, task_status=task_status,
            )

        endpoint.port = await nursery.start(serve)
        yield endpoint
        nursery.cancel_scope.cancel()
    assert endpoint.tally.bugs == 0


async def test_a_call_and_its_answer() -> None:
    async with serving() as endpoint:
        endpoint.answer = Answer(201, b"done", "text/plain", (("x-more", "1"),))
        assert await endpoint.call("/v1/svid?a=b", "POST", body=b"hello") == Answer(201, b"done", "text/plain")
    (call,) = endpoint.calls
    assert (call.method, call.path, call.query, call.body) == ("POST", "/v1/svid", "a=b", b"hello")
    assert call.headers["x-token"] == "t"
    assert (call.remote, call.peer) == ("127.0.0.1", None)


@pytest.mark.parametrize("answer", [Answer(200), Answer(204), Answer(500, b"x" * 100_000)])
async def test_answers_of_every_size(answer: Answer) -> None:
    async with serving() as endpoint:
        endpoint.answer = answer
        found = await endpoint.call()
        assert isinstance(found, Answer)
        assert (found.status, found.body) == (answer.status, answer.body)


async def test_an_endpoint_may_be_named_by_its_address() -> None:
    async with serving() as endpoint:
        assert isinstance(await endpoint.call(host="127.0.0.1"), Answer)


@pytest.mark.parametrize(("host", "server_name"), [("issuer.bartizan.svc", "issuer.bartizan.svc"), ("127.0.0.1", None)])
async def test_the_name_that_is_sent_ahead_is_never_an_address(host: str, server_name: str | None) -> None:
    """RFC 6066 s3: literal addresses are not permitted."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with trio.open_nursery() as nursery:
            endpoint = Endpoint(pki.server_credentials(ENDPOINT), listener.getsockname()[1])
            nursery.start_soon(partial(endpoint.call, host=host))
            listener.setblocking(False)
            await trio.lowlevel.wait_readable(listener)
            with listener.accept()[0] as sock:
                hello = await peek(sock, read_client_hello)
    assert hello is not None
    assert hello.server_name == server_name


# -- the server is verified


@pytest.mark.parametrize(("holder", "host"), [
    (ENDPOINT, "injector.bartizan.svc"),
    (ENDPOINT, "bartizan.svc"),
    (ENDPOINT, "127.0.0.2"),
    (pki.issue(OTHER_ROOT, pki.host("issuer.bartizan.svc")), "issuer.bartizan.svc"),
    (pki.issue(ROOT, pki.host("issuer.bartizan.svc"), begins=-2 * HOUR, ends=-HOUR), "issuer.bartizan.svc"),
    (pki.issue(ROOT, pki.host("issuer.bartizan.svc"), purposes=(pki.CLIENT,)), "issuer.bartizan.svc"),
    (pki.issue(ROOT, pki.uri(pki.ORDERS)), "issuer.bartizan.svc"),
    (pki.issue(ROOT, subject="issuer.bartizan.svc"), "issuer.bartizan.svc"),
])
async def test_whoever_is_not_the_endpoint_hears_nothing(holder: pki.Holder, host: str) -> None:
    async with serving(holder) as endpoint:
        assert isinstance(await endpoint.call(host=host), NotVerified)
        assert endpoint.calls == []


# -- the client, where it is asked for


async def test_the_clients_certificate_says_who_calls() -> None:
    async with serving(client_root=ROOT) as endpoint:
        assert isinstance(await endpoint.call(credentials=POD), Answer)
    peer = endpoint.calls[0].peer
    assert peer is not None
    assert (peer.identity, peer.pod_uid, peer.serial) == (pki.WEB, "u-1", POD.chain[0].serial_number)


@pytest.mark.parametrize("holder", [
    None,
    pki.issue(OTHER_ROOT, pki.uri(pki.WEB)),
    pki.issue(ROOT, pki.uri(pki.WEB), begins=-2 * HOUR, ends=-HOUR),
    pki.issue(ROOT, pki.uri(pki.WEB), purposes=(pki.SERVER,)),
    pki.issue(ROOT, pki.uri("spiffe://example.net/ns/shop/sa/web")),
    pki.issue(ROOT, pki.uri(pki.WEB), pki.uri(pki.ORDERS)),
    pki.issue(ROOT, subject="web"),
])
async def test_a_client_that_proves_nothing_is_not_served(holder: pki.Holder | None) -> None:
    async with serving(client_root=ROOT) as endpoint:
        said = await endpoint.call(credentials=pki.credentials(holder) if holder else None)
        assert isinstance(said, UpstreamError)
        assert endpoint.calls == []


async def test_each_request_of_a_client_with_a_certificate_is_a_connection() -> None:
    """None outlives the trust by which it was verified."""
    async with serving(client_root=ROOT) as endpoint:
        context = https_client([ROOT.certificate], POD)
        sock = await Dialer().connect(Address("127.0.0.1", endpoint.port))
        stream = TlsStream(context, sock, is_server=False)
        await stream.handshake(NotVerified)
        await stream.send_all(2 * GET)
        heard = b""
        while data := await stream.receive_some():
            heard += data
        stream.close()
    assert statuses(heard) == [b"200"]
    assert len(endpoint.calls) == 1


async def test_the_key_of_a_client_is_known_in_case_it_is_revoked_later() -> None:
    async with serving(client_root=ROOT) as endpoint:
        await endpoint.call(credentials=POD)
    peer = endpoint.calls[0].peer
    assert peer is not None
    assert peer.key == key_hash(POD.chain[0])


async def test_a_renewed_certificate_counts_at_once() -> None:
    async with serving() as endpoint:
        assert isinstance(await endpoint.call(), Answer)
        endpoint.credentials = pki.server_credentials(pki.issue(OTHER_ROOT, pki.host("issuer.bartizan.svc")))
        assert isinstance(await endpoint.call(), NotVerified)
        assert isinstance(await endpoint.call(root=OTHER_ROOT), Answer)


# -- limits and nonsense


@pytest.mark.parametrize("size", [MAX_BODY_BYTES, MAX_BODY_BYTES + 1, 10 * MAX_BODY_BYTES])
async def test_a_body_that_is_too_large_is_told_so(size: int) -> None:
    async with serving() as endpoint:
        said = await endpoint.call(method="POST", body=bytes(size))
        assert isinstance(said, Answer)
        assert (said.status, len(endpoint.calls)) == ((200, 1) if size <= MAX_BODY_BYTES else (413, 0))


async def test_an_answer_that_is_too_large_is_not_taken() -> None:
    async with serving() as endpoint:
        endpoint.answer = Answer(200, bytes(service.MAX_ANSWER_BYTES + 1))
        assert isinstance(await endpoint.call(), BadResponse)


async def test_nonsense_ends_its_own_connection_only() -> None:
    async with serving() as endpoint:
        for nonsense in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x02\x01", b""):
            async with await trio.open_tcp_stream("127.0.0.1", endpoint.port) as stream:
                try:
                    await stream.send_all(nonsense)
                    await stream.send_eof()
                    while await stream.receive_some():
                        pass
                except trio.BrokenResourceError:
                    pass
        assert isinstance(await endpoint.call(), Answer)


async def test_nobody_there_and_the_next_address_is_tried() -> None:
    async with serving() as endpoint:
        assert isinstance(await endpoint.call(addresses=("127.0.0.2", "127.0.0.1")), Answer)
        assert isinstance(await endpoint.call(addresses=("127.0.0.2",)), ConnectFailed)
        assert isinstance(await endpoint.call(addresses=()), ConnectFailed)


# -- without TLS, over memory


async def conversation(*said: bytes, handler: Handler | None = None, max_body_bytes: int = 100) -> bytes:
    """What the server answers to what a client says before it closes its side."""
    ours, theirs = memory_stream_pair()

    async def default(call: Call) -> Answer:
        return Answer(200, call.body or b"-", "text/plain")

    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            with Deadline() as deadline:
                try:
                    await serve_calls(theirs, handler or default, deadline, max_body_bytes=max_body_bytes)
                except DownstreamGone:
                    pass
            await theirs.aclose()

        nursery.start_soon(serve)
        try:
            for piece in said:
                await ours.send_all(piece)
            await ours.send_eof()
        except trio.BrokenResourceError:
            pass    # the server has ended it
        heard = b""
        while data := await ours.receive_some():
            heard += data
    return heard


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def statuses(heard: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 (\d+) ", heard)


@pytest.mark.parametrize(("said", "expected"), [
    (GET, [b"200"]),
    (GET + GET, [b"200", b"200"]),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET, [b"200"]),
    (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n" + GET, [b"200"]),
    (b"nonsense\r\n\r\n" + GET, [b"400"]),
    (b"GET / HTTP/1.1\r\n\r\n" + GET, [b"400"]),
    (b"GET /../etc HTTP/1.1\r\nHost: a\r\n\r\n", [b"400"]),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n", [b"413"]),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n", [b"413"]),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", [b"400"]),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + b"x" * 100 + GET, [b"200", b"200"]),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok", [b"100", b"200"]),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nok", []),
    (GET[:-2], []),
    (b"", []),
])
async def test_one_connection(said: bytes, expected: list[bytes]) -> None:
    assert statuses(await conversation(said)) == expected
    assert statuses(await conversation(*(said[i:i + 1] for i in range(len(said))))) == expected


@pytest.mark.parametrize("framing", [b"Content-Length: 1\r\n\r\nx", b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"])
async def test_an_endpoint_that_expects_no_body_holds_none(framing: bytes) -> None:
    """None is what is expected where nothing is said."""
    bodies: list[bytes] = []

    async def handler(call: Call) -> Answer:
        bodies.append(call.body)
        return Answer(200)

    ours, theirs = memory_stream_pair()
    await ours.send_all(b"POST /metrics HTTP/1.1\r\nHost: pod\r\n" + framing)
    await ours.send_eof()
    with Deadline() as deadline:
        await serve_calls(theirs, handler, deadline)
    assert statuses(bytes(await ours.receive_some())) == [b"413"]
    assert bodies == []


async def test_head_has_the_length_and_no_body() -> None:
    heard = await conversation(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"content-length: 1\r\n" in heard.lower()
    assert heard.endswith(b"\r\n\r\n")


async def test_what_the_handler_raises_ends_the_connection() -> None:
    async def handler(call: Call) -> Answer:
        raise KeyError("a bug")

    with pytest.raises(ExceptionGroup):
        await conversation(GET, handler=handler)


async def test_each_step_has_its_time(autojump_clock: trio.testing.MockClock) -> None:
    for said, within_s in ((b"", service.REQUEST_S), (GET[:-2], service.REQUEST_S)):
        ours, theirs = memory_stream_pair()
        await ours.send_all(said)
        started = trio.current_time()

        async def handler(call: Call) -> Answer:
            return Answer(200)

        with pytest.raises(DownstreamTimedOut, match="request"), Deadline() as deadline:
            await serve_calls(theirs, handler, deadline)
        assert trio.current_time() == started + within_s


# -- a Unix socket


async def test_a_call_through_a_unix_socket(tmp_path: Path) -> None:
    path, calls = str(tmp_path / "admin"), []

    async def handle(call: Call) -> Answer:
        calls.append(call)
        return Answer(200, b"yes")

    async def connection(sock: socket.socket) -> None:
        with Deadline() as deadline:
            await serve_calls(SocketStream(sock), handle, deadline, max_body_bytes=10)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_listener, listen_unix(path), connection, Tally())
        answer = await call_unix(path, "POST", "/rotate?now=1", b"x")
        nursery.cancel_scope.cancel()
    assert (answer.status, answer.body) == (200, b"yes")
    assert (calls[0].path, calls[0].query, calls[0].body, calls[0].remote) == ("/rotate", "now=1", b"x", "")
    os.unlink(path)
    with pytest.raises(ConnectFailed, match="No such file"):
        await call_unix(path, "GET", "/status")


# -- URLs


async def test_where_an_endpoint_is() -> None:
    assert await control_addresses("https://127.0.0.1:8443/v1") == ["127.0.0.1"]
    assert await control_addresses("https://[::1]") == ["::1"]
    assert "127.0.0.1" in await control_addresses("https://localhost")
    for url in ("http://127.0.0.1", "127.0.0.1", "https://", "https://a:b/"):
        with pytest.raises(ConfigError, match="not of the form https://"):
            await control_addresses(url)


@pytest.mark.parametrize(("url", "expected"), [
    ("https://a.example", ("a.example", 443, "/")),
    ("https://a.example/", ("a.example", 443, "/")),
    ("https://a.example:8443/v1/x?y=z", ("a.example", 8443, "/v1/x?y=z")),
    ("https://[2001:db8::1]:8443/x", ("2001:db8::1", 8443, "/x")),
    ("https://[2001:db8::1]", ("2001:db8::1", 443, "/")),
])
def test_split_url(url: str, expected: tuple[str, int, str]) -> None:
    assert split_url(url) == expected


@pytest.mark.parametrize("url", [
    "", "a.example", "http://a.example", "HTTPS://a.example", "https:/a.example", "https://", "https:///x", "https://:443", "https://a:",
    "https://a:x", "https://a:\u0664", "https://a:0", "https://a:65536", "https://2001:db8::1/", "https://[::1", "https://u@a.example",
    "https://a b", "https://a\r\nb",
])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match="not of the form"):
        split_url(url)
