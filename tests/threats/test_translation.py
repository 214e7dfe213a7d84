"""HTTP/2 on one side, HTTP/1.1 on the other: D1 to D9. Through the inbound recipe, where the application is asked in its version; and
through the loop on memory streams, where a reset can be seen."""

import socket
from collections.abc import Callable

import h2.errors
import h2.events
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.reason import Reason
from sidecar.model.service import Protocol
from sidecar.model.snapshot import Inbound
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import ALPN_HTTP1, ALPN_HTTP2
from sidecar.protocol.http2 import frames
from sidecar.protocol.http2.frames import Code
from tests.helpers.downgrade import BAD, Bad
from tests.helpers.exchange import GET as OLD_GET
from tests.helpers.exchange import OK as OLD_OK
from tests.helpers.exchange import Server, downstream, post
from tests.helpers.h2_peer import Peer
from tests.helpers.http2 import ENDS, GET, OK, OPENING, POST, Raw, data, headers, heads, resets
from tests.helpers.mesh import APP, arrive, call, http_app, meshed
from tests.helpers.pki import ORDERS
from tests.helpers.runtime import Bench, rules
from tests.helpers.strict_http import read_request_head, read_requests

Fields = list[tuple[bytes, bytes]]


def pod(nursery: trio.Nursery, protocol: Protocol = "http1") -> Bench:
    """A pod that takes plaintext, whose application speaks one version."""
    inbound = Inbound(mode="permissive", permissive_until=4e9, ports={APP.port: protocol})
    return meshed(nursery, rules(inbound, identity=ORDERS))


def plaintext(nursery: trio.Nursery, known: Bench) -> Raw:
    return Raw(SocketStream(arrive(nursery, known)))    # type: ignore[arg-type]


async def heard(nursery: trio.Nursery, fields: Fields, *, flags: int = ENDS) -> list[tuple[bytes, bytes]]:
    """The header fields that an HTTP/1.1 application gets for these."""
    known, seen = pod(nursery), list[bytes]()
    known.dialer.servers[APP] = http_app(seen, OLD_OK)
    client = plaintext(nursery, known)
    await client.send(OPENING, headers(1, fields, flags))
    await client.until(lambda _: client.has_ended(1))
    (head,) = seen
    return read_request_head(head + b"\r\n\r\n").fields


async def answered(nursery: trio.Nursery, *answer: bytes) -> Peer:
    """A client of HTTP/2 to whose request an HTTP/1.1 application said `answer`, piece by piece; then it closed."""
    down = downstream(nursery)
    client = Peer(down.client, is_client=True)
    await client.begin()
    await client.ask(1, GET)
    up = await down.server.accept()
    await up.read_until()
    for piece in answer:
        await up.send_all(piece)
        await wait_all_tasks_blocked()
    up.close()
    await client.until(lambda: bool(client.of(h2.events.StreamEnded) or client.of(h2.events.StreamReset)))
    return client


def head_of(client: Peer) -> dict[bytes, bytes]:
    return dict(client.of(h2.events.ResponseReceived)[0].headers)   # type: ignore[arg-type]


# -- D1: heads that would say something else


@pytest.mark.parametrize("bad", [pytest.param(bad, id=f"D1-{bad.name.replace(' ', '-')}") for bad in BAD])
async def test_the_application_sees_nothing(bad: Bad, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """And the client is told, and its connection goes on."""
    known, seen = pod(nursery), list[bytes]()
    known.dialer.servers[APP] = http_app(seen, OLD_OK)
    client = plaintext(nursery, known)
    await client.send(OPENING, headers(1, bad.fields, ENDS if bad.is_end else frames.END_HEADERS))
    if bad.reason is None:
        await client.until(resets)
        assert resets(client.received) == [(1, Code.PROTOCOL_ERROR)]
    else:
        await client.until(lambda _: client.has_ended(1))
        assert bad.reason.code.encode() in client.data(1)
    assert (seen, known.dialer.dialled) == ([], [])
    await client.send(headers(3, GET))
    await client.until(lambda _: client.has_ended(3))
    assert client.data(3) == b"ok"
    await wait_all_tasks_blocked()
    assert known.codes == [(bad.reason or Reason.HTTP2_VIOLATION).code, ""]
    assert [head.split(b" ")[1] for head in seen] == [b"/a"]


# -- D2: lengths that lie


@pytest.mark.parametrize(("length", "body"), [
    pytest.param(5, b"abc", id="D2-shorter"), pytest.param(5, b"abcdefg", id="D2-longer"), pytest.param(0, b"GET / HTTP/1.1", id="D2-none"),
])
async def test_D2_a_length_that_lies_spoils_no_connection(
    length: int, body: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The application may have seen the head; it gets no byte beyond the length, and nothing more on that connection."""
    down = downstream(nursery)
    client = Raw(down.client)
    await client.send(OPENING, headers(1, [*POST, (b"content-length", b"%d" % length)], frames.END_HEADERS))
    await wait_all_tasks_blocked()
    await client.send(data(1, body, frames.END_STREAM))
    await client.until(resets)
    assert resets(client.received) == [(1, Code.PROTOCOL_ERROR)]
    await wait_all_tasks_blocked()
    for ours in down.server.made:
        up = await down.server.accept()
        assert ours.is_closed
        got = await up.read_rest()
        assert length == 0 or list(read_requests(got)) == []
        assert len(got.partition(b"\r\n\r\n")[2]) <= length
    made = len(down.server.made)
    await client.send(headers(3, GET))
    await wait_all_tasks_blocked()
    assert len(down.server.made) == made + 1


# -- D3: one host


@pytest.mark.parametrize(("authority", "host"), [
    pytest.param(b"orders", b"orders", id="D3-same"), pytest.param(b"orders:80", b"orders", id="D3-port"),
    pytest.param(b"Orders.", b"orders", id="D3-case"),
])
async def test_a_second_host_that_says_the_same_is_dropped(
    authority: bytes, host: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    fields = await heard(nursery, [*GET[:2], (b":authority", authority), GET[3], (b"host", host)])
    assert [value.partition(b":")[0] for name, value in fields if name == b"host"] == [b"orders"]


async def test_D3_a_host_alone_is_the_authority(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fields = await heard(nursery, [*GET[:2], GET[3], (b"host", b"orders")])
    assert [value for name, value in fields if name == b"host"] == [b"orders"]


# -- D4: what is one connection's


async def test_D4_hop_by_hop_fields_end_here(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    client = await answered(nursery, (
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive, x-mine\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\nX-Mine: 1\r\n"
        b"Upgrade: h2c\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\nX-Theirs: 1\r\n\r\n0\r\n\r\n"
    ))
    assert head_of(client) == {b":status": b"200", b"x-theirs": b"1"}


# -- D5: cookies


async def test_D5_crumbs_of_cookies_are_one_field(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fields = await heard(nursery, [*GET, (b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"), (b"cookie", b"c=3; d=4")])
    assert [value for name, value in fields if name == b"cookie"] == [b"a=1; b=2; c=3; d=4"]


# -- D6: trailers

FORBIDDEN: Fields = [
    (b"content-length", b"5"), (b"host", b"evil"), (b"authorization", b"Bearer x"), (b"x-forwarded-client-cert", b"x"),
    (b"x-bartizan-tls", b"x"), (b"cookie", b"a=b"), (b"x_sum", b"1"),
]


async def test_D6_trailers_say_nothing_of_hops_and_callers(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    client = Raw(down.client)
    await client.send(OPENING, headers(1, [*POST, (b"te", b"trailers")], frames.END_HEADERS), data(1, b"hello"),
                      headers(1, [*FORBIDDEN, (b"x-sum", b"1")]))
    up = await down.server.accept()
    ((request, _),) = read_requests(await up.read_until(b"\r\n\r\n") + await up.read_until(b"\r\n\r\n"))
    assert (request.body, request.trailers) == (b"hello", [(b"x-sum", b"1")])
    lines = b"".join(b"%b: %b\r\n" % field for field in [*FORBIDDEN, (b"grpc-status", b"0")])
    await up.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n%b\r\n" % lines)
    await client.until(lambda _: client.has_ended(1))
    assert heads(client.received)[1] == [(b"grpc-status", b"0")]


# -- D7: interim answers


async def test_D7_interim_answers_are_mapped(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    client = await answered(nursery, b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nconnection: x\r\n\r\n" + OLD_OK)
    (hint,) = client.of(h2.events.InformationalResponseReceived)
    assert dict(hint.headers) == {b":status": b"103", b"link": b"</a>"}     # type: ignore[arg-type]
    assert client.body(1) == b"ok"


@pytest.mark.parametrize("answer", [
    pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", id="D7-101-to-h2"),
    pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 10 + OLD_OK, id="D7-too-many"),
])
async def test_a_wrong_interim_answer_is_a_bad_one(answer: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    client = await answered(nursery, answer)
    assert head_of(client)[b":status"] == b"502"
    assert Reason.BAD_RESPONSE.code.encode() in client.body(1)


async def test_D7_no_101_comes_out_of_http2(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery, server=Server(is_http2=True))
    await down.ask(b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
    app = Raw(await down.server.accept())
    await app.send(frames.render(frames.SETTINGS, 0, 0), headers(1, [(b":status", b"101")], frames.END_HEADERS))
    assert (await down.client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 502 ")


# -- D8: what breaks off


@pytest.mark.parametrize("answer", [
    pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", id="D8-length"),
    pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", id="D8-chunks"),
    pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n5\r\nab", id="D8-inside-a-chunk"),
    pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n|x\r\n", id="D8-no-chunk"),
])
async def test_what_breaks_off_in_http1_is_reset_in_http2(answer: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    client = await answered(nursery, *answer.split(b"|"))
    assert client.of(h2.events.StreamEnded) == []
    assert [event.error_code for event in client.of(h2.events.StreamReset)] == [h2.errors.ErrorCodes.INTERNAL_ERROR]


@pytest.mark.parametrize("end", [
    pytest.param(lambda app: app.send(frames.render_reset(1, Code.INTERNAL_ERROR)), id="D8-RST_STREAM"),
    pytest.param(lambda app: app.stream.aclose(), id="D8-closed"),
    pytest.param(lambda app: app.send(frames.render_goaway(0, Code.PROTOCOL_ERROR)), id="D8-GOAWAY"),
])
async def test_what_breaks_off_in_http2_has_no_end_in_http1(
    end: Callable[[Raw], object], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery, server=Server(is_http2=True))
    await down.ask(OLD_GET)
    app = Raw(await down.server.accept())
    await app.send(frames.render(frames.SETTINGS, 0, 0), headers(1, OK, frames.END_HEADERS), data(1, b"abc"))
    assert (await down.client.read_until(b"abc\r\n")).endswith(b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
    await end(app)      # type: ignore[misc]
    with pytest.raises(trio.BrokenResourceError):
        await down.client.receive_some()


async def test_D8_a_request_that_breaks_off_is_reset(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery, server=Server(is_http2=True))
    await down.ask(post(10, b"abc"))
    app = Raw(await down.server.accept())
    down.client.close()
    await app.until(resets)
    assert resets(app.received) == [(1, Code.CANCEL)]
    assert not app.has_ended(1)


# -- D9: nobody's scheme but ours


@pytest.mark.parametrize(("is_mesh", "said"), [
    pytest.param(is_mesh, said, id=f"D9-{where}-{said.decode()}")
    for is_mesh, where in ((False, "plaintext"), (True, "mesh")) for said in (b"http", b"https", b"ftp")
])
@pytest.mark.parametrize("protocol", ["http1", "http2"])
async def test_the_scheme_is_what_the_connection_is(
    protocol: Protocol, is_mesh: bool, said: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The application hears of its caller's TLS in x-forwarded-proto, and nowhere of what the caller says."""
    known, sock = pod(nursery, protocol), None
    known.dialer.servers[APP] = application(told := dict[bytes, bytes](), protocol)
    sock = arrive(nursery, known)
    stream = await call(sock, alpn=ALPN_HTTP2) if is_mesh else SocketStream(sock)
    client = Raw(stream)    # type: ignore[arg-type]
    await client.send(OPENING, headers(1, [GET[0], (b":scheme", said), *GET[2:]]))
    await client.until(lambda _: client.has_ended(1))
    assert told[b"x-forwarded-proto"] == (b"https" if is_mesh else b"http")
    assert told.get(b":scheme", b"http") == b"http"
    assert b"ftp" not in told.values()


async def test_D9_a_client_of_http1_is_asked_on_in_http2(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Where the port says so; the caller's `:` fields are nobody's but ours."""
    known = pod(nursery, "http2")
    known.dialer.servers[APP] = application(told := dict[bytes, bytes](), "http2")
    client = await call(arrive(nursery, known), alpn=ALPN_HTTP1)
    await client.send_all(OLD_GET)
    assert (await client.receive_some()).startswith(b"HTTP/1.1 200 OK\r\n")
    assert [told[name] for name in (b":method", b":scheme", b":authority", b":path")] == [b"GET", b"http", b"a.test", b"/"]


def application(told: dict[bytes, bytes], protocol: Protocol) -> Callable[[socket.socket], object]:
    """Notes the fields of one request."""
    async def serve(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        if protocol == "http1":
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += await stream.receive_some()
            told.update(read_request_head(head).fields)
            await stream.send_all(OLD_OK)
        else:
            peer = Peer(stream, is_client=False)
            await peer.begin()
            told.update((await peer.first(h2.events.RequestReceived)).headers)     # type: ignore[arg-type]
            peer.h2.send_headers(1, OK, end_stream=True)
            await peer.flush()

    return serve
