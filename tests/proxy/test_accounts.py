"""What the ledger is told of connections and refusals, by the recipes themselves; and the end of those whose peer is trusted no longer."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.errors import NotVerified
from sidecar.model.ledger import Entry
from sidecar.model.reason import Reason
from sidecar.model.route import Caller, Route
from sidecar.model.snapshot import Inbound
from sidecar.model.trust import Revoked, serial_text
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import ALPN_HTTP2, ALPN_TCP
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.tls_stream import TlsStream
from sidecar.proxy.accounts import MOST_RULES, OTHER_RULES, Account
from sidecar.telemetry.access_log import Record
from tests.helpers import pki
from tests.helpers.exchange import OK
from tests.helpers.h2_peer import Peer
from tests.helpers.http2 import GET as FIELDS
from tests.helpers.leave import https, partner, pod
from tests.helpers.mesh import APP, arrive, call, echo, http_app, is_gone, meshed, read_until, root, sidecar, tls_of
from tests.helpers.pki import ORDERS, WEB
from tests.helpers.runtime import Bench, rules
from tests.helpers.services import TCP_VIP, VIP, A, World, address, db, hang, orders
from tests.proxy.test_egress import DIALLED, HOST, SERVER, approved

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


def connections(bench: Bench) -> list[Entry]:
    return [entry for entry in bench.ledger.entries if entry.kind == "connection"]


def refusals(bench: Bench) -> list[Entry]:
    return [entry for entry in bench.ledger.entries if entry.kind == "refusal"]


def serving(nursery: trio.Nursery, inbound: Inbound = Inbound(), **more: Any) -> Bench:  # noqa: B008 -- frozen
    bench = meshed(nursery, rules(inbound, identity=ORDERS, **more))
    bench.dialer.servers[APP] = http_app([], OK)
    return bench


def distrust(bench: Bench, *identities: str) -> None:
    tls = bench.runtime.tls.current
    assert tls is not None
    bench.runtime.tls.set(MeshTls.of(tls.credentials, pki.anchors(root(), revoked=Revoked(identities=identities))))


def revoke(bench: Bench, *identities: str) -> None:
    distrust(bench, *identities)
    bench.runtime.accounts.part(bench.runtime.why_no_longer)


# -- connections


async def test_a_mesh_connection_that_came_in(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    bench = serving(nursery, Inbound(routes=(Route("all", (Caller(),)),)))
    stream = await call(arrive(nursery, bench))
    for _ in range(2):
        await stream.send_all(GET)
        await read_until(stream, b"ok")
    assert bench.ledger.entries == []       # it goes on
    session, sent, received = stream.session_id(), stream.sent, stream.received
    stream.close()
    await wait_all_tasks_blocked()
    (entry,) = bench.ledger.entries
    ours, theirs = (tls_of(identity).credentials.chain[0] for identity in (ORDERS, WEB))
    assert entry == Entry(
        "connection", id=session, opened=bench.wall, direction="inbound", security="mtls", local=ORDERS, peer=WEB,
        serial=serial_text(ours.serial_number), peer_serial=serial_text(theirs.serial_number), tls="TLSv1.3",
        suite="TLS_AES_256_GCM_SHA384", dst=str(APP), source="10.1.0.9", rules={"all": 2}, requests=2, received=sent, sent=received,
    )
    assert {line["connection"] for line in bench.lines} == {session}
    assert len(bench.runtime.accounts) == 0


@pytest.mark.parametrize("is_kept", [True, False])
async def test_both_ends_tell_of_the_same_connection(is_kept: bool, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Whether or not the connection is closed before its exchange is told."""
    world = World(nursery, orders(A))
    answer = OK if is_kept else b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
    there, serve = sidecar(nursery, http_app([], answer), at=address(A))
    world.web.bench.dialer.servers[address(A)] = serve
    app = world.web.dial(VIP)
    await app.send_all(GET)
    await read_until(app, b"ok")
    app.close()
    await wait_all_tasks_blocked()
    world.web.bench.runtime.pool.close()
    await wait_all_tasks_blocked()
    (client,), (server,) = world.web.bench.ledger.entries, there.ledger.entries
    assert (client.direction, server.direction) == ("outbound", "inbound")
    assert (client.id, client.security, client.requests) == (server.id, server.security, server.requests)
    assert (client.security, client.requests, len(client.id)) == ("mtls", 1, 32)
    assert (client.local, client.peer, client.serial, client.peer_serial) == (server.peer, server.local, server.peer_serial, server.serial)
    assert (client.sent, client.received) == (server.received, server.sent)
    assert client.dst == server.dst == str(address(A))
    assert world.web.bench.lines[0]["connection"] == client.id


async def test_streams_share_one_account(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    bench = serving(nursery, Inbound(ports={APP.port: "http1"}))
    client = Peer(await call(arrive(nursery, bench), alpn=ALPN_HTTP2), is_client=True)
    await client.begin()
    for stream in (1, 3, 5):
        await client.ask(stream, FIELDS)
        await client.ended(stream)
    client.stream.close()
    await wait_all_tasks_blocked()
    (entry,) = bench.ledger.entries
    assert (entry.requests, entry.security) == (3, "mtls")


async def test_opaque_bytes_of_the_mesh(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, db(A))
    there, serve = sidecar(nursery, echo, Inbound(ports={A.port: "opaque"}), at=address(A))
    world.web.bench.dialer.servers[address(A)] = serve
    app = world.web.dial(TCP_VIP)
    await app.send_all(b"ping")
    await read_until(app, b"ping")
    app.close()
    await wait_all_tasks_blocked()
    (client,), (server,) = world.web.bench.ledger.entries, there.ledger.entries
    assert client.id == server.id != ""
    assert [(one.security, one.requests, one.received, one.sent) for one in (client, server)] == [("mtls", 0, 4, 4)] * 2
    assert (list(client.rules.values()), server.rules) == ([1], {"without-routes": 1})


async def test_plaintext_that_is_let_in(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    bench = serving(nursery, Inbound(mode="permissive", permissive_until=9e12))
    for text, answer in ((GET, b"ok"), (b"\x00\x01", b"\x00\x01")):
        bench.dialer.servers[APP] = http_app([], OK) if text is GET else echo
        stream = SocketStream(arrive(nursery, bench))
        await stream.send_all(text)
        await read_until(stream, answer)
        stream.close()
        await wait_all_tasks_blocked()
    http, other = bench.ledger.entries
    for entry in (http, other):
        assert (entry.security, entry.peer, entry.source, entry.local) == ("plaintext", "", "10.1.0.9", ORDERS)
    assert (http.requests, other.requests) == (1, 0)
    assert (other.received, other.sent) == (2, 2)
    assert http.id != other.id


async def test_an_external_host(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, approved())
    web.resolver.names[HOST] = (SERVER.host,)
    holder = partner(HOST)
    web.bench.dialer.servers[SERVER] = https(holder, http_app([], OK))
    app = web.dial(DIALLED)
    await app.send_all(f"GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    await read_until(app, b"ok")
    app.close()
    await wait_all_tasks_blocked()
    web.bench.runtime.pool.close()
    (entry,) = web.bench.ledger.entries
    assert (entry.security, entry.host, entry.dst, entry.requests, entry.peer) == ("tls", HOST, str(SERVER), 1, "")
    assert entry.peer_serial == serial_text(holder.certificate.serial_number)
    assert entry.received > len(OK) - 1
    assert list(entry.rules.values()) == [1]


async def test_a_handshake_alone_is_no_mtls(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A client is told only later that its certificate was refused, and must not have written `mtls` by then."""
    bench = serving(nursery)
    stream = await call(arrive(nursery, bench))
    await wait_all_tasks_blocked()
    stream.close()
    await wait_all_tasks_blocked()
    (entry,) = bench.ledger.entries
    assert (entry.security, entry.detail, entry.peer) == ("", "no byte came from the peer", WEB)


async def test_what_lasts_is_told_meanwhile(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    bench = serving(nursery)
    stream = await call(arrive(nursery, bench))
    await stream.send_all(GET)
    await read_until(stream, b"ok")
    await wait_all_tasks_blocked()
    bench.runtime.accounts.tell_open()
    await stream.send_all(GET)
    await read_until(stream, b"ok")
    stream.close()
    await wait_all_tasks_blocked()
    first, last = bench.ledger.entries
    assert [(entry.is_open, entry.requests, entry.id) for entry in (first, last)] == [(True, 1, last.id), (False, 2, last.id)]
    assert first.received < last.received


def test_rules_by_name_are_few() -> None:
    account = Account(Entry("connection"), None, None)
    for number in range(2 * MOST_RULES):
        account.note(Record(0.0, "inbound", rule=f"r{number}", method="GET"))
    account.note(Record(0.0, "inbound", rule="r0", method="GET"))
    assert (len(account.entry.rules), account.entry.rules["r0"], account.entry.rules[OTHER_RULES]) == (MOST_RULES + 1, 2, MOST_RULES)
    assert account.entry.requests == 2 * MOST_RULES + 1


# -- refusals


async def test_a_request_that_is_refused(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    bench = serving(nursery, Inbound(routes=(Route("others", (Caller("other", "shop"),)),)))
    stream = await call(arrive(nursery, bench))
    await stream.send_all(GET)
    await stream.receive_some()
    await wait_all_tasks_blocked()
    (entry,) = bench.ledger.entries
    assert (entry.kind, entry.decision, entry.code, entry.reason) == ("refusal", "refused", "BZ0102", "identity-not-allowed")
    assert (entry.peer, entry.local, entry.rules, entry.id) == (WEB, ORDERS, {"others": 1}, stream.session_id())
    assert entry.peer_serial == serial_text(tls_of(WEB).credentials.chain[0].serial_number)
    stream.close()
    await wait_all_tasks_blocked()
    assert connections(bench)[0].requests == 0


@pytest.mark.parametrize(("prepare", "code", "decision"), [
    (lambda bench: bench.dialer.servers.clear(), Reason.CONNECT_FAILED, "failed"),
    (lambda bench: bench.runtime.rules.set(rules(Inbound(routes=()), identity=ORDERS)), Reason.NO_ROUTE, "refused"),
])
async def test_who_decided(
    prepare: Callable[[Bench], object], code: Reason, decision: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    bench = serving(nursery)
    prepare(bench)
    stream = await call(arrive(nursery, bench))
    await stream.send_all(GET)
    await stream.receive_some()
    await wait_all_tasks_blocked()
    (entry,) = refusals(bench)
    assert (entry.code, entry.decision) == (code.code, decision)


async def test_connections_that_are_refused(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    bench = serving(nursery)
    plain = SocketStream(arrive(nursery, bench))
    await plain.send_all(GET)
    await plain.receive_some()
    stranger = TlsStream(pki.mesh_client(pki.issue(root("stranger"), pki.uri(WEB)), root()), arrive(nursery, bench), is_server=False)
    await stranger.handshake(NotVerified)
    with pytest.raises(trio.BrokenResourceError):
        await stranger.receive_some()
    plain.close()
    stranger.close()
    await wait_all_tasks_blocked()
    assert {(entry.kind, entry.code, entry.security, entry.peer) for entry in bench.ledger.entries} == {
        ("refusal", "BZ0103", "plaintext", ""), ("refusal", "BZ0501", "", ""),
    }


# -- parting


@pytest.mark.parametrize("is_busy", [True, False])
async def test_a_revoked_caller_is_parted_with(is_busy: bool, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    bench = serving(nursery)
    if is_busy:
        bench.dialer.servers[APP] = hang
    gone, stays = await call(arrive(nursery, bench)), await call(arrive(nursery, bench), identity=ORDERS)
    await gone.send_all(GET)
    if not is_busy:
        await read_until(gone, b"ok")
    await wait_all_tasks_blocked()
    started = trio.current_time()
    revoke(bench, WEB)
    assert await is_gone(gone)
    assert trio.current_time() == started
    if not is_busy:
        await wait_all_tasks_blocked()
        (entry,) = connections(bench)
        assert entry.detail == f"the identity {WEB} was revoked"
    bench.dialer.servers[APP] = http_app([], OK)
    await stays.send_all(GET)
    await read_until(stays, b"ok")


async def test_a_caller_that_was_not_accepted_had_no_connection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Its own side of the handshake succeeded, and the words that refused it came from the verified peer."""
    world = World(nursery, orders(A))
    there, serve = sidecar(nursery, http_app([], OK), at=address(A))
    world.web.bench.dialer.servers[address(A)] = serve
    world.web.bench.runtime.tls.set(pki.mesh_tls(pki.issue(root(), pki.uri("spiffe://other.example/ns/shop/sa/web")), root()))
    app = world.web.dial(VIP)
    await app.send_all(GET)
    assert (await app.receive_some()).startswith(b"HTTP/1.1 403 ")
    app.close()
    await wait_all_tasks_blocked()
    world.web.bench.runtime.pool.close()
    await wait_all_tasks_blocked()
    assert [(entry.kind, entry.code) for entry in world.web.bench.ledger.entries] == [("refusal", Reason.PEER_NOT_VERIFIED.code)]
    assert [(entry.kind, entry.code) for entry in there.ledger.entries] == [("refusal", Reason.PEER_NOT_VERIFIED.code)]


async def test_both_ends_tell_of_a_connection_that_a_revoked_caller_begins(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Its sidecar takes it for a connection like any other: told by one end alone, it would look like a forged record."""
    world = World(nursery, orders(A))
    there, serve = sidecar(nursery, http_app([], OK), at=address(A))
    world.web.bench.dialer.servers[address(A)] = serve
    revoke(there, WEB)
    app = world.web.dial(VIP)
    await app.send_all(GET)
    assert (await app.receive_some()).startswith(b"HTTP/1.1 403 ")
    app.close()
    await wait_all_tasks_blocked()
    (client,), (server,) = connections(world.web.bench), connections(there)
    assert (client.id, client.security, client.serial, client.requests) == (server.id, server.security, server.peer_serial, 0)
    assert (client.sent, client.received) == (server.received, server.sent)
    (refused,) = refusals(there)
    assert (refused.id, refused.code, refused.peer) == (server.id, "BZ0504", WEB)


async def test_a_revoked_endpoint_is_parted_with(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A))
    world.plays(A, hang)
    app = world.web.dial(VIP)
    await app.send_all(GET)
    await wait_all_tasks_blocked()
    started = trio.current_time()
    revoke(world.web.bench, ORDERS)
    assert (await app.receive_some()).startswith(b"HTTP/1.1 502 ")
    assert trio.current_time() == started
    await app.send_all(GET)
    assert (await app.receive_some()).startswith(b"HTTP/1.1 403 ")
    await wait_all_tasks_blocked()
    assert refusals(world.web.bench)[-1].code == Reason.REVOKED.code


async def test_a_tunnel_to_or_from_the_revoked_ends(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    bench = serving(nursery, Inbound(ports={APP.port: "opaque"}))
    bench.dialer.servers[APP] = echo
    stream = await call(arrive(nursery, bench), alpn=ALPN_TCP)
    await stream.send_all(b"ping")
    await read_until(stream, b"ping")
    nursery.start_soon(bench.runtime.accounts.run, bench.runtime.tls, bench.runtime.why_no_longer)
    await wait_all_tasks_blocked()
    distrust(bench, WEB)
    assert await is_gone(stream)
    assert trio.current_time() == 0


async def test_a_certificate_that_ends_ends_its_connections(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    bench = serving(nursery)
    stream = await call(arrive(nursery, bench))
    await stream.send_all(GET)
    await read_until(stream, b"ok")
    bench.runtime.accounts.part(bench.runtime.why_no_longer)
    bench.wall = tls_of(WEB).credentials.not_after
    bench.runtime.accounts.part(bench.runtime.why_no_longer)
    assert await is_gone(stream)


