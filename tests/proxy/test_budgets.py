"""What an approval lets go in an hour: not a byte more, by whichever way, and what is cut does not look complete."""

import socket
from functools import partial
from typing import Any

import h2.events
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.egress import EgressHost, EgressRange, Outbound
from sidecar.model.errors import Unavailable
from sidecar.net.socket_stream import SocketStream
from sidecar.net.splice import PIECE_BYTES
from sidecar.policy.rules import Rules
from sidecar.proxy.budgets import ENOUGH, Budgets
from sidecar.telemetry.metrics import Metrics
from tests.helpers.exchange import OK
from tests.helpers.h2_peer import Peer
from tests.helpers.leave import Pod, pod
from tests.helpers.mesh import is_gone, read_rest
from tests.helpers.runtime import rules

HOST = "api.partner.example"
SERVER = Address("203.0.113.80", 80)
FAR = Address("203.0.113.7", 5432)
EXHAUSTED = "bartizan_egress_budget_exhausted_total"


def approval(limit: int | None, rule: str = "partners/api") -> EgressHost:
    return EgressHost(HOST, rule, tls=None, bytes_per_hour=limit)


def approved(limit: int | None) -> Rules:
    far = EgressRange("203.0.113.0/24", "far", (FAR.port,), bytes_per_hour=limit)
    return rules(outbound=Outbound(hosts=(approval(limit),), ranges=(far,), resolvers=("10.96.0.10",)))


def upload(length: int, body: bytes = b"") -> bytes:
    return b"POST /u HTTP/1.1\r\nhost: %b\r\ncontent-length: %d\r\n\r\n" % (HOST.encode(), length) + body


class Host:
    """A server that keeps what it is sent, and answers each request when its body is complete."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.connections = 0
        self.ends: list[str] = []

    async def serve(self, sock: socket.socket) -> None:
        self.connections += 1
        stream, rest = SocketStream(sock), b""
        try:
            while data := await stream.receive_some():
                self.received += data
                rest += data
                head, found, body = rest.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                if found and len(body) >= length:
                    rest = body[length:]
                    await stream.send_all(OK)
            self.ends.append("end")
        except trio.BrokenResourceError:
            self.ends.append("reset")


class Peers:
    """A server that speaks HTTP/2 and answers nothing."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []

    async def serve(self, sock: socket.socket) -> None:
        peer = Peer(SocketStream(sock), is_client=False)
        self.peers.append(peer)
        await peer.begin()
        while await peer.read():
            pass


def outside(nursery: trio.Nursery, limit: int | None) -> tuple[Pod, Host]:
    web, host = pod(nursery, approved(limit)), Host()
    web.resolver.names[HOST] = (SERVER.host,)
    web.bench.dialer.servers[SERVER] = host.serve
    return web, host


async def ask(app: SocketStream, text: bytes) -> bytes:
    await app.send_all(text)
    return await app.receive_some()


# -- HTTP


async def test_head_and_body_count_to_the_byte(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    whole = len(upload(10, b"0123456789"))
    for limit, is_let in ((2 * whole, True), (2 * whole - 1, False)):
        web, host = outside(nursery, limit)
        app = web.dial(SERVER)
        assert await ask(app, upload(10, b"0123456789")) == OK
        assert len(host.received) == whole
        answer = await ask(app, upload(10, b"0123456789"))
        assert (answer == OK) is is_let
        assert is_let or answer.startswith(b"HTTP/1.1 429 ")
        assert len(host.received) == (2 * whole if is_let else whole)
        if is_let:      # not a byte is left
            answer = await ask(app, upload(1, b"x"))
            assert b"BZ0209 budget-exhausted" in answer
            assert len(host.received) == 2 * whole


async def test_an_upload_is_cut_where_it_exceeds(
    nursery: trio.Nursery, autojump_clock: MockClock, capfd: pytest.CaptureFixture[str]
) -> None:
    web, host = outside(nursery, 100_000)
    app = web.dial(SERVER)
    await app.send_all(upload(1_000_000))

    async def push() -> None:
        try:
            for _ in range(100):
                await app.send_all(b"x" * 10_000)
        except trio.BrokenResourceError:
            pass

    nursery.start_soon(push)
    answer = await read_rest(app)
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"x-bartizan-rule: partners/api" in answer
    await wait_all_tasks_blocked()
    assert 30_000 < len(host.received) <= 100_000
    assert len(host.ends) == 1          # its connection ended before the body was complete, and is kept for nobody
    assert len(web.bench.runtime.pool) == 0
    assert web.bench.codes == ["BZ0209"]
    assert b"BZ0209" in await ask(web.dial(SERVER), upload(1, b"x"))      # what was too much counts
    assert host.connections == 1
    assert capfd.readouterr().err == "bartizan: egress budget exhausted: rule partners/api: the approved 100,000 bytes an hour are sent\n"
    assert web.bench.runtime.metrics.get(EXHAUSTED, (("rule", "partners/api"),)) == 1


async def test_a_drip_passes_for_hours_and_the_budget_comes_back(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    text = upload(100, b"x" * 100)
    web, host = outside(nursery, 12 * len(text))
    for _ in range(48):     # four hours, one in five minutes
        assert await ask(web.dial(SERVER), text) == OK
        await trio.sleep(301)
    assert len(host.received) == 48 * len(text)
    assert await ask(web.dial(SERVER), text) == OK
    assert b"BZ0209" in await ask(web.dial(SERVER), text)
    await trio.sleep(3600)
    assert await ask(web.dial(SERVER), text) == OK


async def test_a_change_of_rules_keeps_what_was_spent(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    text = upload(100, b"x" * 100)
    web, _ = outside(nursery, len(text))
    assert await ask(web.dial(SERVER), text) == OK
    web.bench.runtime.rules.set(approved(len(text)))
    assert b"BZ0209" in await ask(web.dial(SERVER), text)
    web.bench.runtime.rules.set(approved(3 * len(text)))       # more is allowed: there is room again
    assert await ask(web.dial(SERVER), text) == OK
    web.bench.runtime.rules.set(approved(None))
    assert await ask(web.dial(SERVER), text) == OK


@pytest.mark.parametrize("at_once", [True, False])
async def test_what_follows_a_body_counts_too(at_once: bool, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, received = pod(nursery, approved(1000)), bytearray()
    web.resolver.names[HOST] = (SERVER.host,)
    web.bench.dialer.servers[SERVER] = partial(sink, received=received)
    app = web.dial(SERVER)
    head = f"POST /u HTTP/1.1\r\nhost: {HOST}\r\nte: trailers\r\nconnection: te\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n"
    trailer = f"0\r\nx-data: {'d' * 2000}\r\n\r\n"
    if at_once:
        await app.send_all((head + trailer).encode())
    else:
        await app.send_all(head.encode())
        await wait_all_tasks_blocked()
        await app.send_all(trailer.encode())
    assert b"BZ0209" in await app.receive_some()
    assert b"ddd" not in received


async def test_a_stream_of_http2_is_reset_and_its_connection_goes_on(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, streams = pod(nursery, approved(30_000)), Peers()
    web.resolver.names[HOST] = (SERVER.host,)
    web.bench.dialer.servers[SERVER] = streams.serve
    client = Peer(web.dial(SERVER), is_client=True)
    await client.begin()
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", HOST.encode()), (b":path", b"/u")]
    await client.ask(1, fields, b"x" * 10_000, is_end=False)
    for _ in range(3):
        await wait_all_tasks_blocked()
        client.h2.send_data(1, b"x" * 10_000)
        await client.flush()
    told = await client.first(h2.events.ResponseReceived, 1)
    assert dict(told.headers)[b":status"] == b"429"
    (server,) = streams.peers
    assert [event.stream_id for event in server.of(h2.events.StreamReset)] == [1]
    assert server.of(h2.events.StreamEnded) == []
    assert 10_000 <= len(server.body(1)) <= 30_000


# -- tunnels


async def sink(sock: socket.socket, received: bytearray) -> None:
    stream = SocketStream(sock)
    try:
        while data := await stream.receive_some():
            received += data
    except trio.BrokenResourceError:
        pass


@pytest.mark.parametrize("piece", [1000, PIECE_BYTES])
async def test_a_tunnel_is_cut_one_piece_beyond_at_most(piece: int, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Small messages, which are copied, and bulk, which is spliced."""
    limit = 1_000_000
    web, received = pod(nursery, approved(limit)), bytearray()

    async def serve(sock: socket.socket) -> None:
        await sink(sock, received)

    web.bench.dialer.servers[FAR] = serve
    app = web.dial(FAR)
    with pytest.raises(trio.BrokenResourceError):
        for _ in range(10 * limit // piece):
            await app.send_all(b"x" * piece)
    await wait_all_tasks_blocked()
    assert limit - PIECE_BYTES <= len(received) <= limit + PIECE_BYTES
    (line,) = web.bench.lines
    assert (line["code"], line["rule"], line["security"]) == ("BZ0209", "far", "passthrough")
    (entry,) = web.bench.ledger.entries
    assert (entry.kind, entry.decision, entry.rules) == ("connection", "refused", {"far": 1})
    assert entry.sent == line["received"] >= limit      # what did go is evidence
    # And nobody is dialled for the next one.
    assert await is_gone(web.dial(FAR), b"\x00more")
    assert web.bench.dialer.dialled == [FAR]
    await trio.sleep(3600)
    app = web.dial(FAR)
    await app.send_all(b"\x00again")
    await wait_all_tasks_blocked()
    assert received.endswith(b"\x00again")


async def test_what_comes_back_costs_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, approved(10))

    async def generous(sock: socket.socket) -> None:
        await SocketStream(sock).send_all(b"x" * 5000)

    web.bench.dialer.servers[FAR] = generous
    assert len(await read_rest(web.dial(FAR))) == 5000


# -- the budgets themselves


def spend(budgets: Budgets, count: int, **more: Any) -> bool:
    spender = budgets.spender(approval(100, **more))
    assert spender is not None
    try:
        spender(count)
    except Unavailable:
        return False
    return True


async def test_rules_count_for_themselves(autojump_clock: MockClock) -> None:
    metrics = Metrics()
    budgets = Budgets(metrics)
    assert budgets.spender(approval(None)) is None
    assert spend(budgets, 100)
    assert spend(budgets, 100, rule="other")
    assert budgets.why_exhausted(approval(100)) is not None
    assert budgets.why_exhausted(approval(101)) is None
    assert budgets.why_exhausted(approval(None)) is None


async def test_one_event_for_each_exhaustion(autojump_clock: MockClock) -> None:
    metrics = Metrics()
    budgets = Budgets(metrics)
    for hour in (1, 2):
        assert spend(budgets, 100)
        for _ in range(5):
            assert not spend(budgets, 1)
            assert budgets.why_exhausted(approval(100)) is not None
        assert metrics.get(EXHAUSTED, (("rule", "partners/api"),)) == hour
        await trio.sleep(3600)


async def test_budgets_that_nobody_uses_are_forgotten_and_no_others(autojump_clock: MockClock) -> None:
    budgets = Budgets(Metrics())
    for number in range(ENOUGH):
        assert spend(budgets, 1, rule=str(number))
    await trio.sleep(3000)
    assert spend(budgets, 100, rule="busy")
    await trio.sleep(600)
    assert spend(budgets, 1, rule="new")
    assert not spend(budgets, 1, rule="busy")
    assert len(budgets._by_rule) < ENOUGH


async def test_a_share_of_a_budget(autojump_clock: MockClock) -> None:
    budgets = Budgets(Metrics(), share=2)
    assert spend(budgets, 50)
    assert not spend(budgets, 1)
