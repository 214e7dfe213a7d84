"""What does TLS itself let through? T2, T3, T11 to T14: messages that no library sends, hellos in every shape, resumption, truncation.

The other end is made of raw records: an OpenSSL client sets the connection up, and goes on by hand with its keys.
"""

import socket
from collections.abc import Callable
from typing import Any

import pytest
import trio
from OpenSSL import SSL
from OpenSSL._util import lib
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.errors import NotVerified, TlsRejected
from sidecar.model.reason import Reason
from sidecar.net import tls_context
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import ALPN_HTTP1, ALPN_HTTP2, ALPN_TCP
from sidecar.net.tls_socket import MOST_EMPTY_WAKES
from sidecar.net.tls_stream import TlsStream
from sidecar.proxy.inbound import DETECT_S, serve_inbound
from tests.helpers import pki, tls13
from tests.helpers.certificates import context, svid
from tests.helpers.exchange import GET
from tests.helpers.leave import pod
from tests.helpers.mesh import APP, arrive, call, meshed, read_rest, read_until, root
from tests.helpers.pki import WEB
from tests.helpers.runtime import Redirected
from tests.helpers.sockets import tcp_pair
from tests.helpers.tls import shake_hands, tls_pair
from tests.helpers.tls13 import ALERT, DATA, HANDSHAKE, KEY_UPDATE, Sealer, Secrets, hello_of, message, records, with_extensions
from tests.threats.test_certificates import ENDPOINT, OUTBOUND, VIP

UPDATE, UPDATE_BOTH = message(KEY_UPDATE, b"\0"), message(KEY_UPDATE, b"\1")
ALERT_RECORD = b"\x15\x03"


def client() -> SSL.Context:
    return context(svid(root(), WEB), is_server=False)


class Hand:
    """A connection that OpenSSL set up, whose raw end we hold: `write` seals records, `server` is our code's end."""

    def __init__(self, stream: TlsStream, server: TlsStream, sealer: Sealer) -> None:
        self.raw, self.server, self.sealer = SocketStream(stream.sock), server, sealer

    def seal(self, *each: tuple[int, bytes]) -> bytes:
        return b"".join(self.sealer.seal(kind, content) for kind, content in each)


async def by_hand(nursery: trio.Nursery) -> Hand:
    made = client()
    secrets = Secrets(made)
    ours, theirs = tls_pair(made, pki.mesh_server(svid(root()), root()))
    assert await shake_hands(ours, theirs) == (None, None)

    async def close() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ours.sock.close()
            theirs.sock.close()

    nursery.start_soon(close)
    return Hand(ours, theirs, secrets.sealer())


# -- T2: after the handshake


async def test_t2_records_by_hand_are_understood(nursery: trio.Nursery) -> None:
    """The eyes of the tests below: what is refused there is not refused for the hand that wrote it."""
    hand = await by_hand(nursery)
    await hand.raw.send_all(hand.seal((DATA, b"one"), (HANDSHAKE, UPDATE), (DATA, b"two"), (HANDSHAKE, UPDATE_BOTH), (DATA, b"three")))
    assert await read_until(hand.server, b"three") == b"onetwothree"


@pytest.mark.parametrize("sent", [
    pytest.param(message(tls13.CLIENT_HELLO, b"\3\3" + bytes(38)), id="T2-renegotiation"),
    pytest.param(message(tls13.HELLO_REQUEST, b""), id="T2-hello-request"),
    pytest.param(message(tls13.CERTIFICATE, b"\0\0\0\0"), id="T2-certificate-unasked"),
    pytest.param(message(tls13.CERTIFICATE_REQUEST, b"\0\0\0"), id="T2-certificate-request"),
    pytest.param(message(tls13.NEW_TICKET, bytes(16)), id="T2-ticket-from-a-client"),
    pytest.param(message(tls13.FINISHED, bytes(32)), id="T2-finished-again"),
    pytest.param(message(99, b"?"), id="T2-unknown-message"),
    pytest.param(message(KEY_UPDATE, b"\2"), id="T2-key-update-of-another-kind"),
    pytest.param(message(KEY_UPDATE, b"\0\0"), id="T2-key-update-too-long"),
    pytest.param(UPDATE + UPDATE, id="T2-two-key-updates-in-a-record"),
])
async def test_a_message_that_has_no_place_after_the_handshake(sent: bytes, nursery: trio.Nursery) -> None:
    hand = await by_hand(nursery)
    with trio.fail_after(10):
        await hand.raw.send_all(hand.seal((HANDSHAKE, sent), (DATA, b"later")))
        with pytest.raises(trio.BrokenResourceError):
            await hand.server.receive_some()


@pytest.mark.parametrize("record", [
    pytest.param(b"\x18\x03\x03\x00\x03\x01\x40\x00", id="T2-heartbeat"),
    pytest.param(b"\x17\x03\x03\x00\x20" + bytes(32), id="T2-forged-record"),
    pytest.param(b"\x17\x03\x03\x48\x01" + bytes(100), id="T2-record-too-long"),
    pytest.param(b"\x14\x03\x03\x00\x01\x01", id="T2-change-cipher-spec"),
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="T2-plaintext"),
])
async def test_a_record_that_nobody_sealed(record: bytes, nursery: trio.Nursery) -> None:
    hand = await by_hand(nursery)
    with trio.fail_after(10):
        await hand.raw.send_all(record)
        with pytest.raises(trio.BrokenResourceError):
            await hand.server.receive_some()


@pytest.mark.parametrize("kind", [
    pytest.param((HANDSHAKE, UPDATE), id="T2-key-updates"), pytest.param((HANDSHAKE, UPDATE_BOTH), id="T2-key-updates-both-ways"),
    pytest.param((ALERT, b"\1\x5a"), id="T2-warnings"), pytest.param((DATA, b""), id="T2-empty-records"),
])
@pytest.mark.parametrize("is_eager", [False, True])
async def test_a_flood_of_what_is_no_data(kind: tuple[int, bytes], is_eager: bool, nursery: trio.Nursery) -> None:
    """OpenSSL would take key updates for ever, and without giving the loop back: 27 bytes and 7 us each, while nobody else is served."""
    hand, served = await by_hand(nursery), 0
    flood = b"".join(hand.seal(kind) for _ in range(4 * MOST_EMPTY_WAKES))

    async def others() -> None:
        nonlocal served
        while True:
            await trio.lowlevel.checkpoint()
            served += 1

    async def send() -> None:
        try:
            await hand.raw.send_all(flood)
        except trio.BrokenResourceError:
            pass

    with trio.fail_after(20):
        async with trio.open_nursery() as inner:
            inner.start_soon(send)
            inner.start_soon(others)
            with pytest.raises(trio.BrokenResourceError):
                while is_eager:     # as who reads all that there is
                    await hand.server.wait_input()
                    assert not hand.server.receive_nowait()
                await hand.server.receive_some()
            inner.cancel_scope.cancel()
    if kind[0] == HANDSHAKE:
        assert served > MOST_EMPTY_WAKES / 4


async def test_t2_key_updates_between_data_are_a_peers_right(nursery: trio.Nursery) -> None:
    hand = await by_hand(nursery)
    many = 2 * MOST_EMPTY_WAKES
    talk = b"".join(hand.seal((HANDSHAKE, UPDATE), (DATA, b"x")) for _ in range(many))
    with trio.fail_after(20):
        async with trio.open_nursery() as inner:
            inner.start_soon(hand.raw.send_all, talk)
            seen = 0
            while seen < many:
                seen += len(await hand.server.receive_some())


async def test_t2_garbage_for_early_data(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """0-RTT is never offered: what comes before the handshake is over ends it, and none of it is read as a request."""
    known = meshed(nursery)
    stream = SocketStream(arrive(nursery, known))
    hello = with_extensions(hello_of(client()), (42, b""))
    assert await is_gone_by_alert(stream, records(hello) + records(b"\0" * 64, kind=DATA) * 1000)
    stream.close()
    await wait_all_tasks_blocked()
    assert (known.codes, known.dialer.dialled) == ([Reason.PEER_NOT_VERIFIED.code], [])


async def is_gone_by_alert(stream: SocketStream, sent: bytes) -> bool:
    """Whether the connection ends; what comes before that are records, and no answer to a request."""
    try:
        await stream.send_all(sent)
        told = await read_rest(stream)
    except trio.BrokenResourceError:
        return True
    return b"HTTP/" not in told and told[:1] in (b"", b"\x15", b"\x16")


# -- T3: nothing is resumed


async def test_t3_a_session_that_is_offered_again(nursery: trio.Nursery) -> None:
    """By whom it was made for, with a server of other roots, and after the certificate was revoked: a whole handshake each time."""
    made = client()
    made.set_session_cache_mode(SSL.SESS_CACHE_CLIENT)
    holder = svid(root())
    servers = [pki.mesh_server(holder, root()), pki.mesh_server(holder, root()), tls_context.mesh_server(
        pki.credentials(holder), [root().certificate, root("stranger").certificate])]
    session, resumed = None, 0
    for server in [servers[0], *servers]:
        ours, theirs = tls_pair(made, server)
        if session is not None:
            ours.connection.set_session(session)
        assert await shake_hands(ours, theirs) == (None, None)
        session = ours.connection.get_session()
        resumed += lib.SSL_session_reused(theirs.connection._ssl)
        # Only in a whole handshake a certificate comes, and it is asked of this very connection.
        assert ours.connection.get_peer_certificate(as_cryptography=True) == holder.certificate
        assert theirs.connection.get_verified_chain() is not None
        ours.close()
        theirs.close()
    assert resumed == 0


# -- T11: what flows inside


@pytest.mark.parametrize("offered", [
    pytest.param([], id="T11-none"), pytest.param([b"h2"], id="T11-h2"), pytest.param([b"http/1.1", b"h2"], id="T11-https"),
    pytest.param([b"bartizan/h3"], id="T11-unknown"), pytest.param([b"BARTIZAN/H1"], id="T11-case"),
    pytest.param([b"bartizan/h1\0"], id="T11-nul"), pytest.param([b"bartizan"], id="T11-part"),
    pytest.param([b"\xff" * 255], id="T11-bytes"),
    pytest.param([bytes([number]) * 200 for number in range(1, 120)], id="T11-many"),
])
async def test_a_protocol_that_is_none_of_ours(offered: list[bytes], nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It is another's TLS, refused in strict mode before a byte of it is taken."""
    known, made = meshed(nursery), context(svid(root(), WEB), is_server=False, alpn=b"")
    if offered:
        made.set_alpn_protos(offered)
    stream = TlsStream(made, arrive(nursery, known), is_server=False)
    with pytest.raises(NotVerified):
        await stream.handshake(NotVerified)
    stream.close()
    await wait_all_tasks_blocked()
    assert (known.codes, known.dialer.dialled) == ([Reason.PLAINTEXT.code], [])


@pytest.mark.parametrize("extension", [
    pytest.param(b"", id="T11-no-list"), pytest.param(b"\0\0", id="T11-empty-list"), pytest.param(b"\0\1\0", id="T11-empty-name"),
    pytest.param(b"\0\x0d\x0cbartizan/h1\0", id="T11-name-of-another-length"), pytest.param(b"\0\xff\x0bbartizan/h1", id="T11-long-list"),
    pytest.param(b"\0\x0c\x0bbartizan/h1\0", id="T11-bytes-behind"),
])
async def test_a_list_of_protocols_that_is_none(extension: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, made = meshed(nursery), context(svid(root(), WEB), is_server=False, alpn=b"")
    stream = SocketStream(arrive(nursery, known))
    assert await is_gone_by_alert(stream, records(with_extensions(hello_of(made), (16, extension))))
    await wait_all_tasks_blocked()
    assert known.dialer.dialled == []
    assert known.codes in ([Reason.PLAINTEXT.code], [Reason.PEER_NOT_VERIFIED.code], [Reason.NOT_HTTP.code])


@pytest.mark.parametrize(("alpn", "said"), [
    pytest.param(ALPN_HTTP2, GET, id="T11-h2-but-http1"),
    pytest.param(ALPN_HTTP1, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="T11-http1-but-h2"),
    pytest.param(ALPN_TCP, GET, id="T11-tcp-but-http"), pytest.param(ALPN_HTTP1, b"\x16\x03\x01\x00\x05hello", id="T11-tls-in-tls"),
    pytest.param(ALPN_HTTP1, b"EHLO a\r\nMAIL FROM:<a@b>\r\n", id="T11-smtp"), pytest.param(ALPN_HTTP2, b"\0" * 100, id="T11-h2-garbage"),
])
async def test_another_protocol_than_was_agreed_on(alpn: bytes, said: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """ALPACA: no reader of one protocol is shown another's bytes, and the application sees none of them."""
    known = meshed(nursery)
    stream = await call(arrive(nursery, known), alpn=alpn)
    try:
        await stream.send_all(said)
        await stream.send_eof()
        told = await read_rest(stream)
    except trio.BrokenResourceError:
        told = b""
    stream.close()
    assert b"200" not in told
    assert known.dialer.dialled == []


# -- T12: hellos in every shape


GREASE = [(0x0A0A, b""), (0xDADA, b"\0"), (0xFAFA, b"grease")]
NAME = b"\0\x0b\0\0\x08orders.a"


SHAPES: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda hello: records(hello),
    "records-of-100": lambda hello: records(hello, 100),
    "records-of-30": lambda hello: records(hello, 30),
    "grease": lambda hello: records(with_extensions(hello, *GREASE)),
    "a-name-that-nobody-asks-for": lambda hello: records(with_extensions(hello, (0, NAME))),
    "ech-decoy": lambda hello: records(with_extensions(hello, (0xFE0D, bytes(50)))),
    "17-KB": lambda hello: records(with_extensions(hello, (21, bytes(17_000)))),
    "40-KB": lambda hello: records(with_extensions(hello, (21, bytes(40_000)))),
}


@pytest.mark.parametrize("change", [pytest.param(change, id=f"T12-{name}") for name, change in SHAPES.items()])
@pytest.mark.parametrize("is_slow", [False, True], ids=["whole", "byte-by-byte"])
async def test_a_hello_that_is_well_formed(change: Callable[[bytes], bytes], is_slow: bool, nursery: trio.Nursery) -> None:
    """It is answered by ours, or by an alert where OpenSSL takes it for too long; never left hanging, never taken for plaintext.

    By TCP, for only there a receiver's buffer holds as many bytes that came one by one.
    """
    known, sent = meshed(nursery), change(hello_of(client()))
    ours, theirs = tcp_pair()
    stream = SocketStream(ours)

    async def serve() -> None:
        with Redirected(theirs, APP) as sock:
            await serve_inbound(sock, known.runtime, {})

    with ours, trio.fail_after(10):
        async with trio.open_nursery() as inner:
            inner.start_soon(serve)
            step = 1 if is_slow and len(sent) < 3000 else 1448 if is_slow else len(sent)
            for at in range(0, len(sent), step):
                await stream.send_all(sent[at:at + step])
            answer = await stream.receive_some()
            inner.cancel_scope.cancel()
    assert answer[:2] in (b"\x16\x03", ALERT_RECORD)
    if len(sent) < 16_000:
        assert (answer[0], answer[5]) == (22, 2)     # ServerHello


@pytest.mark.parametrize("change", [
    pytest.param(lambda hello: records(with_extensions(hello, (0, NAME), (0, NAME))), id="T12-two-names"),
    pytest.param(lambda hello: records(with_extensions(hello, (0, b"\0\x16\0\0\x08orders.a\0\0\x08orders.b"))), id="T12-two-names-in-one"),
    pytest.param(lambda hello: records(with_extensions(hello, (43, b"\2\3\4"))), id="T12-versions-twice"),
    pytest.param(lambda hello: records(with_extensions(hello, (16, b"\0\3\2h2"))), id="T12-alpn-twice"),
    pytest.param(lambda hello: records(with_extensions(hello, (0x1234, b""), (0x1234, b""))), id="T12-unknown-twice"),
    pytest.param(lambda hello: records(with_extensions(hello, (0, b"\0\5\0\0\2a\0"))), id="T12-nul-in-name"),
    pytest.param(lambda hello: records(with_extensions(hello, (21, bytes(63_700)))), id="T12-65-KB"),
    pytest.param(lambda hello: records(hello, 1), id="T12-records-of-1"),
    pytest.param(lambda hello: records(hello)[:5] + b"\1\0\0\0" + records(hello)[9:], id="T12-length-0"),
    pytest.param(lambda hello: records(hello) + records(hello), id="T12-two-hellos"),
    pytest.param(lambda hello: records(hello[:50]) + records(b"\1\0", kind=ALERT) + records(hello[50:]), id="T12-alert-inside"),
    pytest.param(lambda hello: records(hello[:50]) + b"\x16\x03\x01\0\0" * 100 + records(hello[50:]), id="T12-empty-records-inside"),
    pytest.param(lambda hello: records(hello).replace(b"\3\3", b"\2\0", 1), id="T12-ssl2"),
])
async def test_a_hello_that_has_two_readings(
    change: Callable[[bytes], bytes], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    known = meshed(nursery)
    stream = SocketStream(arrive(nursery, known))
    assert await is_gone_by_alert(stream, change(hello_of(client())))
    stream.close()
    await wait_all_tasks_blocked()
    assert known.dialer.dialled == []
    assert len(known.codes) == 1
    assert trio.current_time() <= DETECT_S + 1


# -- T13: whatever a callback raises ends the handshake


class Fault(Exception):
    """Ours, as a bug would raise it."""


def raising(*_: Any) -> Any:
    raise Fault


@pytest.mark.parametrize("install", [
    pytest.param(lambda made: made.set_alpn_select_callback(raising), id="T13-alpn"),
    pytest.param(lambda made: made.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, raising), id="T13-verify"),
    pytest.param(lambda made: made.set_tlsext_servername_callback(raising), id="T13-server-name"),
    pytest.param(lambda made: made.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: None), id="T13-verify-none"),
    pytest.param(lambda made: made.set_alpn_select_callback(lambda *_: None), id="T13-alpn-none"),
])
async def test_a_callback_that_fails(install: Callable[[SSL.Context], None], nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The handshake does not go on, even if somebody tries; the peer gets nothing, the next one is served."""
    server = pki.mesh_server(svid(root()), root())
    install(server)
    ours, theirs = tls_pair(client(), server, server_name="orders.a", sockets=None)
    async with ours, theirs:
        with trio.fail_after(10):
            async with trio.open_nursery() as inner:

                async def knock() -> None:
                    try:
                        await ours.handshake(NotVerified)
                        await ours.send_all(GET)
                        await ours.receive_some()
                    except (NotVerified, trio.BrokenResourceError):
                        pass

                inner.start_soon(knock)
                with pytest.raises((Fault, TlsRejected, TypeError)):
                    await theirs.handshake(TlsRejected)
                with pytest.raises(trio.BrokenResourceError):
                    await theirs.receive_some()
                with pytest.raises(trio.BrokenResourceError):
                    await theirs.send_all(b"secret")
                theirs.close()


async def test_t13_a_client_whose_callback_fails() -> None:
    made = pki.mesh_client(svid(root(), WEB), root())
    made.set_verify(SSL.VERIFY_PEER, raising)
    ours, theirs = tls_pair(made, pki.mesh_server(svid(root()), root()))
    async with ours, theirs:
        with trio.fail_after(10):
            async with trio.open_nursery() as inner:

                async def answer() -> None:
                    with pytest.raises(TlsRejected):
                        await theirs.handshake(TlsRejected)

                inner.start_soon(answer)
                with pytest.raises(Fault):
                    await ours.handshake(NotVerified)
                with pytest.raises(trio.BrokenResourceError):
                    await ours.send_all(GET)
                ours.close()


# -- T14: an end that nobody signed


@pytest.mark.parametrize("is_signed", [True, False])
async def test_t14_an_answer_that_is_cut(is_signed: bool, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An answer until the end of the connection: with close_notify it is whole; cut, the application sees that it is not."""
    web, made = pod(nursery, OUTBOUND), context(svid(root()), is_server=True)

    async def serve(sock: socket.socket) -> None:
        stream = TlsStream(made, sock, is_server=True)
        await stream.handshake(TlsRejected)
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        if is_signed:
            await stream.send_eof()
        sock.shutdown(socket.SHUT_WR)

    web.bench.dialer.servers[ENDPOINT] = serve
    app = web.dial(VIP)
    await app.send_all(GET)
    try:
        answer = await read_rest(app)
    except trio.BrokenResourceError:
        answer = b""
    is_whole = answer.endswith(b"0\r\n\r\n") and b"half of it" in answer
    assert is_whole is is_signed
    app.close()


async def test_t14_a_request_that_is_cut(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The application behind the server's sidecar must not take half a body for the whole."""
    known, heard = meshed(nursery), bytearray()

    async def app(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        try:
            while piece := await stream.receive_some():
                heard.extend(piece)
        except trio.BrokenResourceError:
            pass
        heard.extend(b"<end>")

    known.dialer.servers[APP] = app
    stream = await call(arrive(nursery, known), alpn=ALPN_HTTP1)
    await stream.send_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
    await wait_all_tasks_blocked()
    SocketStream(stream.sock).close()
    await wait_all_tasks_blocked()
    assert b"4\r\nhalf\r\n" in heard
    assert heard.endswith(b"half\r\n<end>")
