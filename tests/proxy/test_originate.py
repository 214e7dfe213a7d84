"""TLS contexts by their settings, waivers as they are told, sessions as the pool needs them. Requests: tests/proxy/test_egress.py."""

import os
import socket
from dataclasses import replace
from pathlib import Path

import h2.events
import pytest
import trio
from msgspec import structs
from OpenSSL import SSL
from OpenSSL._util import lib
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.egress import ClientCertificate, EgressHost, Origination, Outbound, Waiver
from sidecar.model.errors import NotVerified
from sidecar.model.trust import serial_text
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_stream import TlsStream
from sidecar.net.watched import Watched
from sidecar.policy.rules import Rules
from sidecar.proxy.originate import MOST_NAMES, Originator, connect_tls
from sidecar.telemetry.access_log import Record
from tests.helpers import pki
from tests.helpers.exchange import GET, OK
from tests.helpers.h2_peer import Peer
from tests.helpers.leave import FakeResolver, https, partner, tls_that
from tests.helpers.mesh import echo, http_app, is_gone, read_until, root
from tests.helpers.runtime import Serve, rules
from tests.proxy.test_egress import DIALLED, HOST, ROOTS, SERVER, approved, ask, outside


def naming(*settings: Origination) -> Rules:
    return rules(outbound=Outbound(hosts=tuple(EgressHost(f"h{i}.example", "r", tls=one) for i, one in enumerate(settings))))


async def test_a_context_lasts_as_long_as_its_settings_are_named() -> None:
    one, other = Origination(), Origination(min_version="1.3")
    current: Watched[Rules | None] = Watched(naming(one, other))
    originator = Originator(current, FakeResolver())
    first = originator.context(one, is_http2=False)
    assert originator.context(structs.replace(one, port=443), is_http2=False) is first, "equal settings"
    assert originator.context(one, is_http2=True) is not first
    current.set(naming(one))
    assert originator.context(one, is_http2=False) is first, "a snapshot that changes something else keeps it, and its connections"
    current.set(naming(other))
    current.set(naming(one))
    originator.context(other, is_http2=False)
    current.set(naming(other))
    assert originator.context(one, is_http2=False) is not first, "it was named no longer in between"


# -- client certificates


ONE, OTHER = (pki.issue(root("clients"), subject=name, purposes=[pki.CLIENT]) for name in ("one", "other"))


async def test_a_client_certificate_in_files(tmp_path: Path, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    shown: list[TlsStream] = []
    chain, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    web = outside(nursery, approved(client_certificate=ClientCertificate("own", chain_file=str(chain), key_file=str(key))))
    web.bench.dialer.servers[SERVER] = https(partner(HOST), http_app([], OK), client_root=root("clients"), seen=shown)
    app = web.dial(DIALLED)
    refused = await ask(app)
    assert b" 503 " in refused
    assert b"BZ0203" in refused
    assert f"cannot read {chain}: No such file or directory".encode() in refused
    assert web.bench.dialer.dialled == []
    for number, holder in enumerate((ONE, OTHER)):
        chain.write_text(holder.chain_pem)
        key.write_text(holder.key_pem)
        web.originator.files.look()
        for _ in range(2):
            assert await ask(app) == OK
        assert len(shown) == number + 1, "kept while the files are the same; what was made with the old one is not used any more"
        assert shown[-1].connection.get_peer_certificate(as_cryptography=True) == holder.certificate


# -- addresses


async def test_what_is_remembered_of_an_answer_holds_for_these_rules_and_this_answer(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = outside(nursery)
    app = web.dial(DIALLED)
    assert await ask(app) == OK
    moved = Address("203.0.113.99", 443)
    web.bench.dialer.servers[moved] = web.bench.dialer.servers[SERVER]
    web.resolver.names[HOST] = (moved.host,)
    assert await ask(app) == OK
    assert web.bench.dialer.dialled == [SERVER, moved], "the pooled connection leads where the name led once"
    known = web.bench.runtime.rules.current
    assert known is not None
    inside = structs.replace(known.snapshot.outbound, cluster_ranges=("203.0.113.0/24",))
    for outbound, reason in ((inside, b"BZ0204"), (known.snapshot.outbound, b"200"), (inside, b"BZ0204")):
        web.bench.runtime.rules.set(rules(outbound=outbound))     # the very same approvals
        assert reason in await ask(app)


async def test_an_approval_has_its_own_special_addresses() -> None:
    one, other = (EgressHost(HOST, "r", special_addresses=special) for special in ((), ("10.0.0.0/8",)))
    known = rules(outbound=Outbound(hosts=(one,)))
    resolver = FakeResolver()
    originator = Originator(Watched(known), resolver)
    resolver.names[HOST] = ("10.0.0.7", "203.0.113.80")
    for _ in range(2):
        assert await originator.addresses(HOST, one, known) == ("203.0.113.80",)
        assert await originator.addresses(HOST, other, known) == ("10.0.0.7", "203.0.113.80")


async def test_what_is_remembered_stays_little() -> None:
    known, resolver = rules(), FakeResolver()
    originator = Originator(Watched(known), resolver)
    resolver.names = {f"h{number}.example": ("203.0.113.80",) for number in range(MOST_NAMES + 1)}
    for name in resolver.names:
        await originator.addresses(name, EgressHost(name, "r"), known)
    assert len(originator._allowed) <= MOST_NAMES


# -- waivers


EXPIRED = pki.issue(root("public"), pki.host(HOST), begins=-2 * pki.HOUR, ends=-pki.HOUR)


async def test_each_connection_that_needs_a_waiver_is_written_down(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery, holder=EXPIRED)
    bench, until = web.bench, web.bench.wall + 600
    bench.runtime.rules.set(approved(waivers=(Waiver("expiry", until), Waiver("name", until)), subject_alt_names=(HOST,)))
    app = web.dial(DIALLED)
    for _ in range(2):
        assert await ask(app) == OK
    await wait_all_tasks_blocked()
    assert [line.get("waived") for line in bench.lines] == ["expiry", None], "it is the connection that needed it"
    bench.runtime.withdrawals.part()
    assert await ask(app) == OK
    # When the waiver ends, the connection does, and so does every one that is made after it.
    bench.wall = until
    bench.runtime.withdrawals.part()
    answer = await ask(app)
    assert b"BZ0206" in answer
    assert b"certificate has expired" in answer
    assert b"the waiver of expiry ended on 20" in answer
    await wait_all_tasks_blocked()
    assert "the waiver of expiry ended" in bench.lines[-1]["detail"]
    bench.runtime.accounts.tell_open()
    bench.runtime.pool.close()
    entry, = [one for one in bench.ledger.entries if one.kind == "connection" and not one.is_open]
    assert (entry.host, entry.requests, entry.detail) == (HOST, 3, "waived: expiry")
    assert bench.runtime.metrics.get("bartizan_egress_waived_total", (("check", "expiry"), ("rule", "partners/api"))) == 1


async def test_what_needed_no_waiver_is_not_called_waived(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery)
    web.bench.runtime.rules.set(approved(waivers=(Waiver("expiry", web.bench.wall + 600),)))
    assert await ask(web.dial(DIALLED)) == OK
    web.bench.wall += 600
    web.bench.runtime.withdrawals.part()
    assert await ask(web.dial(DIALLED)) == OK
    await wait_all_tasks_blocked()
    assert all("waived" not in line for line in web.bench.lines)
    assert len(web.bench.dialer.dialled) == 1


# -- sessions


def counting(reused: list[bool], holder: pki.Holder) -> Serve:
    """A server that keeps sessions as web servers do, answers once, closes, and notes whether a session was resumed."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(holder.certificate)
    context.use_privatekey(holder.key)
    last = OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")

    async def serve(sock: socket.socket) -> None:
        stream = TlsStream(context, sock, is_server=True)
        await stream.handshake(NotVerified)
        await read_until(stream, b"\r\n\r\n")
        reused.append(bool(lib.SSL_session_reused(stream.connection._ssl)))
        await stream.send_all(last)
        stream.close()

    return serve


async def test_a_new_connection_resumes_what_a_closed_one_left(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    reused: list[bool] = []
    holder = partner(HOST)
    web = outside(nursery)
    web.bench.dialer.servers[SERVER] = counting(reused, holder)
    app = web.dial(DIALLED)
    for _ in range(2):
        assert (await ask(app)).startswith(b"HTTP/1.1 200")
    other = approved(min_version="1.3")
    for known in (other, approved(), approved()):
        web.bench.runtime.rules.set(known)
        assert (await ask(app)).startswith(b"HTTP/1.1 200")
    assert reused == [False, True, False, False, True], "never across settings, and forgotten with them"
    entries = [one for one in web.bench.ledger.entries if one.kind == "connection"]
    assert len({one.id for one in entries}) == 5
    assert {one.peer_serial for one in entries} == {serial_text(holder.certificate.serial_number)}


async def test_at_a_gateway_each_caller_has_its_own_sessions(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    reused: list[bool] = []
    web = outside(nursery)
    web.bench.dialer.servers[SERVER] = counting(reused, partner(HOST))
    settings = Origination(roots=ROOTS)
    context = web.originator.context(settings, is_http2=False)
    for caller in (pki.WEB, pki.ORDERS, pki.WEB, ""):
        record = Record(0.0, "gateway", peer=caller)
        stream = await connect_tls(HOST, (SERVER.host,), 443, settings, context, web.bench.runtime, record, lambda: True)
        await stream.send_all(GET)
        assert await stream.receive_some()
        stream.close()
    assert reused == [False, False, True, False]


# -- faults


ALERT = bytes.fromhex("15030300020228")       # fatal, handshake_failure
OVERSIZED = replace(partner(HOST), intermediates=(root("public").certificate,) * 300)


def says(data: bytes, *, reads: bool = True) -> Serve:
    """What a connection is answered with before it is closed."""
    async def serve(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        if reads:
            await stream.receive_some()
        if data:
            await stream.send_all(data)

    return serve


async def silent(sock: socket.socket) -> None:
    await is_gone(SocketStream(sock))


FAULTS: dict[str, tuple[Serve | None, int, str, str]] = {
    "no name": (None, 503, "BZ0406", "nobody knows"),
    "refused": (None, 503, "BZ0401", "Connection refused"),
    "black hole": (None, 503, "BZ0401", "no answer"),
    "no TLS at all": (says(b"HTTP/1.1 200 OK\r\n\r\n"), 503, "BZ0206", "wrong version number"),
    "garbage": (says(bytes(range(256))), 503, "BZ0206", "TLS handshake failed"),
    "closed at once": (says(b"", reads=False), 503, "BZ0206", "connection lost in the TLS handshake"),
    "closed in the middle": (says(bytes.fromhex("160303007a020000760303")), 503, "BZ0206", "connection lost in the TLS handshake"),
    "alert": (says(ALERT), 503, "BZ0206", "handshake failure"),
    "silent": (silent, 504, "BZ0402", "connect"),
    "too old": (tls_that(HOST, OK, SSL.TLS1_2_VERSION), 503, "BZ0206", "alert protocol version"),
    "expired": (https(EXPIRED, echo), 503, "BZ0206", "certificate has expired"),
    "not yet": (https(pki.issue(root("public"), pki.host(HOST), begins=pki.HOUR / 2), echo), 503, "BZ0206", "not yet valid"),
    "wrong name": (https(partner("b.example"), echo), 503, "BZ0206", "it names b.example"),
    "unknown CA": (https(partner(HOST, authority="stranger"), echo), 503, "BZ0206", "unable to get local issuer certificate"),
    "self-signed": (https(pki.issue(None, pki.host(HOST)), echo), 503, "BZ0206", "self-signed certificate"),
    "oversized chain": (https(OVERSIZED, echo), 503, "BZ0206", "excessive message size"),
    "no certificate of ours": (https(partner(HOST), echo, client_root=root("clients")), 502, "BZ0403", "certificate required"),
    "nothing": (tls_that(HOST, b""), 502, "BZ0403", "closed before the response head"),
    "half a head": (tls_that(HOST, b"HTTP/1.1 200 OK\r\ncontent-le"), 502, "BZ0403", "closed before the response head was complete"),
    "no HTTP": (tls_that(HOST, b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), 502, "BZ0405", "illegal status line"),
    "half a body": (tls_that(HOST, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab"), 200, "BZ0403", "closed in the middle of a body"),
}


def living_tasks() -> list[str]:
    """By the names of their functions."""
    root_task = trio.lowlevel.current_root_task()
    found, seen = [], [root_task] if root_task is not None else []
    while seen:
        task = seen.pop()
        found.append(task.name)
        seen += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name", FAULTS)
async def test_faults(name: str, method: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    serve, status, code, words = FAULTS[name]
    settings = {"min_version": "1.3"} if name == "too old" else {}
    web = outside(nursery, approved(**settings))
    files = len(os.listdir("/proc/self/fd"))
    web.bench.dialer.servers = {SERVER: serve} if serve is not None else {}
    if name == "no name":
        web.resolver.names.clear()
    elif name == "black hole":
        web.bench.dialer.silent.add(SERVER)
    app = web.dial(DIALLED)
    await app.send_all(f"{method} /a HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 3\r\n\r\nabc".encode())
    answer = await app.receive_some()
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    if status == 200:
        assert answer.endswith(b"\r\n\r\nab")
        assert await is_gone(app)       # cut, with three bytes owing
    else:
        assert f"x-bartizan-reason: {code} ".encode() in answer
        assert words.encode() in answer
    app.close()
    await wait_all_tasks_blocked()
    (line,) = web.bench.lines
    assert (line["status"], line["code"], line["rule"], line["host"]) == (status, code, "partners/api", HOST)
    assert words in line["detail"]
    assert len(web.bench.dialer.dialled) == (name != "no name"), "nothing is tried again"
    assert not web.bench.runtime.pool.opened
    assert not web.bench.runtime.pool.pending
    assert len(web.bench.runtime.accounts) == 0
    assert [task for task in living_tasks() if "Pod.dial" in task or task.startswith("sidecar.proxy")] == []
    assert len(os.listdir("/proc/self/fd")) == files


async def test_a_post_is_not_replayed_on_a_connection_that_was_closed_meanwhile(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The server closes just as it is asked the second time: what it may have done, nobody knows. A GET is asked again."""
    seen: list[bytes] = []

    async def once(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        seen.append(await read_until(stream, b"\r\n\r\n"))
        await stream.send_all(OK)
        seen.append(await read_until(stream, b"\r\n\r\n"))

    web = outside(nursery)
    web.bench.dialer.servers[SERVER] = https(partner(HOST), once)
    app = web.dial(DIALLED)
    assert await ask(app) == OK
    await app.send_all(f"POST /b HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 0\r\n\r\n".encode())
    assert b"BZ0403" in await app.receive_some()
    assert [request.split()[0] for request in seen] == [b"GET", b"POST"]
    assert await ask(app) == OK
    assert await ask(app) == OK
    assert [request.split()[0] for request in seen] == [b"GET", b"POST", b"GET", b"GET", b"GET"]


# -- HTTP/2


def h2_web(*names: str, alpn: bytes = b"h2") -> tuple[Serve, list[Peer]]:
    context, peers, holder = SSL.Context(SSL.TLS_SERVER_METHOD), [], partner(*names)
    context.use_certificate(holder.certificate)
    context.use_privatekey(holder.key)
    context.set_alpn_select_callback(lambda _, offered: alpn if alpn in offered else SSL.NO_OVERLAPPING_PROTOCOLS)

    async def serve(sock: socket.socket) -> None:
        stream = TlsStream(context, sock, is_server=True)
        await stream.handshake(NotVerified)
        peer = Peer(stream, is_client=False)
        peers.append(peer)
        if stream.connection.get_alpn_proto_negotiated() != b"h2":
            await read_until(stream, b"\r\n\r\n")
            await stream.send_all(OK)
            await stream.receive_some()
            return
        await peer.begin()
        answered = 0
        while await peer.read():
            for event in peer.of(h2.events.RequestReceived)[answered:]:
                answered += 1
                peer.h2.send_headers(event.stream_id, [(b":status", b"204")], end_stream=True)
            await peer.flush()

    return serve, peers


async def test_http2_goes_out_by_alpn_and_names_share_no_connection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Though one certificate is for both names, at one address (RFC 9113 s9.1.1 would allow it: the approvals differ)."""
    other = "b.partner.example"
    web = outside(nursery, approved(EgressHost(other, "partners/b", tls=Origination(roots=ROOTS))))
    web.resolver.names[other] = (SERVER.host,)
    web.bench.dialer.servers[SERVER], peers = h2_web(HOST, other)
    peer = Peer(web.dial(DIALLED), is_client=True)
    await peer.begin()
    for stream, host in ((1, HOST), (3, HOST), (5, other)):
        await peer.ask(stream, [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", host.encode()), (b":path", b"/a")])
    for stream in (1, 3, 5):
        event = await peer.first(h2.events.ResponseReceived, stream)
        assert (b":status", b"204") in (event.headers or [])
    assert [len(one.of(h2.events.RequestReceived)) for one in peers] == [2, 1]
    asked = dict(peers[0].of(h2.events.RequestReceived)[0].headers or [])
    assert (asked[b":scheme"], asked[b":authority"]) == (b"https", HOST.encode())
    assert web.bench.dialer.dialled == [SERVER, SERVER]


async def test_http2_comes_in_and_http1_goes_out_where_the_host_has_no_other(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery)
    web.bench.dialer.servers[SERVER], peers = h2_web(HOST, alpn=b"http/1.1")
    peer = Peer(web.dial(DIALLED), is_client=True)
    await peer.begin()
    await peer.ask(1, [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", HOST.encode()), (b":path", b"/a")])
    event = await peer.first(h2.events.ResponseReceived, 1)
    assert (b":status", b"200") in (event.headers or [])
    assert len(peers) == 1
