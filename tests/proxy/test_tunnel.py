"""Opaque bytes on memory streams: how a tunnel ends, and that nothing cut short looks complete. And through real ones, large and whole."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.decision import Permit
from sidecar.net.socket_stream import SocketStream
from sidecar.net.splice import Pipes
from sidecar.net.tls_stream import TlsStream
from sidecar.net.watched import Watched
from sidecar.policy.rules import Rules
from sidecar.proxy.tunnel import tunnel
from sidecar.telemetry.access_log import Record
from tests.helpers import pki
from tests.helpers.exchange import PERMIT
from tests.helpers.runtime import NOW, rules
from tests.helpers.sockets import tcp_pair
from tests.helpers.streams import MemoryStream, stream_pair
from tests.helpers.tls import shake_hands, tls_pair


class Tunnel:
    """`client` and `server` are the test's ends."""

    def __init__(self, nursery: trio.Nursery, room: int = 65536, idle_s: float | None = None) -> None:
        self.client, self.down = stream_pair(room)
        self.server, self.up = stream_pair(room)
        self.record = Record(NOW, "outbound")
        self.rules: Watched[Rules | None] = Watched(rules())
        self.is_permitted = True
        self.scope = trio.CancelScope()
        self.idle_s = idle_s
        self.ended_at: float | None = None
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        with self.scope:
            try:
                await tunnel(self.down, self.up, PERMIT, self.record, self.rules, lambda: self.is_permitted, Pipes(), self.idle_s)
            finally:
                self.down.close()
                self.up.close()
                self.ended_at = trio.current_time()

    @property
    def is_cut(self) -> tuple[bool, bool]:
        return self.down.is_aborted, self.up.is_aborted


async def test_bytes_both_ways_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pair = Tunnel(nursery)

    async def play(end: MemoryStream, said: bytes, heard: bytes) -> None:
        async with trio.open_nursery() as both:
            both.start_soon(end.send_all, said)
            assert await end.read(len(heard)) == heard

    up, down = b"u" * 300_000, b"d" * 500_000
    async with trio.open_nursery() as both:
        both.start_soon(play, pair.client, up, down)
        both.start_soon(play, pair.server, down, up)
    assert (pair.record.received, pair.record.sent) == (300_000, 500_000)


@pytest.mark.parametrize("first", ["client", "server"])
async def test_half_close_either_way(first: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pair = Tunnel(nursery)
    one, other = (pair.client, pair.server) if first == "client" else (pair.server, pair.client)
    await one.send_all(b"question")
    await one.send_eof()
    assert await other.read_rest() == b"question"
    await trio.sleep(1000)
    await other.send_all(b"answer")     # the other way is still open
    await other.send_eof()
    assert await one.read_rest() == b"answer"
    await wait_all_tasks_blocked()
    assert pair.ended_at == 1000
    assert pair.is_cut == (False, False)


@pytest.mark.parametrize("room", [65536, 1 << 20])
async def test_it_holds_back_who_is_too_fast(room: int, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """However much there is to take, and whatever the streams' own buffers hold."""
    pair = Tunnel(nursery, room)
    nursery.start_soon(pair.client.send_all, b"u" * (4 << 20))
    await wait_all_tasks_blocked()
    assert 2 * room < pair.client.sent <= 2 * room + 262144
    await pair.server.read(4 << 20)


@pytest.mark.parametrize("broken", ["client", "server"])
@pytest.mark.parametrize("has_more", [False, True])
async def test_a_cut_side_cuts_the_other(broken: str, has_more: bool, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Else whoever can reset one side could make a truncated stream look like a complete one."""
    pair = Tunnel(nursery)
    one, other = (pair.client, pair.server) if broken == "client" else (pair.server, pair.client)
    if has_more:
        await one.send_all(b"the half of it")
        await other.read(14)
    one.abort()
    with pytest.raises(trio.BrokenResourceError):
        await other.receive_some()
    await wait_all_tasks_blocked()
    assert pair.ended_at == 0


async def test_a_cut_after_one_half_has_ended(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pair = Tunnel(nursery)
    await pair.client.send_eof()
    assert await pair.server.read_rest() == b""
    await pair.server.send_all(b"begun")
    assert await pair.client.read(5) == b"begun"
    pair.server.abort()
    with pytest.raises(trio.BrokenResourceError):
        await pair.client.receive_some()


async def test_it_ends_when_the_rules_withdraw_the_leave(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pair = Tunnel(nursery)
    await pair.client.send_all(b"a")
    await pair.server.read(1)
    await trio.sleep(3)
    pair.rules.set(rules())         # another snapshot, and still permitted
    await trio.sleep(1)
    assert pair.ended_at is None
    pair.is_permitted = False
    pair.rules.set(rules())
    await wait_all_tasks_blocked()
    assert pair.ended_at == 4
    assert pair.is_cut == (True, True)
    assert pair.record.detail == "no longer permitted"


async def test_it_ends_when_the_leave_has_run_out(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A certificate or a permissive mode ends without a new snapshot."""
    pair = Tunnel(nursery)
    await trio.sleep(100)
    pair.is_permitted = False
    await trio.sleep(6)
    assert pair.ended_at is not None
    assert 100 <= pair.ended_at <= 105


async def test_it_does_not_begin_when_the_leave_is_gone(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pair = Tunnel(nursery)
    pair.is_permitted = False       # between the judgement and now
    await pair.client.send_all(b"secret")
    await wait_all_tasks_blocked()
    assert pair.ended_at == 0
    assert pair.up.sent == 0


async def test_an_hour_without_a_byte_ends_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pair = Tunnel(nursery)
    await trio.sleep(3000)
    await pair.server.send_all(b"still here")
    await trio.sleep(3599)
    assert pair.ended_at is None
    await trio.sleep(2)
    assert pair.ended_at == 6600
    assert pair.is_cut == (True, True)


async def test_nothing_goes_without_a_permit(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    client, down = stream_pair()
    _, up = stream_pair()
    await client.send_all(b"a")
    for forged in (None, True, object()):
        with pytest.raises(AssertionError):
            await tunnel(down, up, forged, Record(NOW, "outbound"), Watched(None), lambda: True, Pipes())  # type: ignore[arg-type]
    assert up.sent == 0
    assert isinstance(PERMIT, Permit)


@pytest.mark.parametrize("is_up", [False, True])
@pytest.mark.parametrize("where", ["receiving", "sending", "after one end"])
async def test_cancelled_anywhere_it_is_cut(where: str, is_up: bool, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pair = Tunnel(nursery, room=10)
    end = pair.client if is_up else pair.server
    if where == "sending":
        nursery.start_soon(end.send_all, b"x" * 25)
    elif where == "after one end":
        await end.send_eof()
    await wait_all_tasks_blocked()
    pair.scope.cancel()
    await wait_all_tasks_blocked()
    assert pair.is_cut == (True, True)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("idle_s", [None, 5.0, 7200.0])
async def test_idle_as_long_as_the_rule_says(idle_s: float | None, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pair = Tunnel(nursery, idle_s=idle_s)
    await trio.sleep(3)
    await pair.client.send_all(b"x")
    with pytest.raises(trio.BrokenResourceError):
        await pair.client.read_rest()
    assert trio.current_time() == 3 + (idle_s or 3600)


@pytest.mark.parametrize("has_tls", [(True, False), (False, True), (True, True), (False, False)])
async def test_through_sockets_and_tls_whole_either_way(has_tls: tuple[bool, bool], nursery: trio.Nursery) -> None:
    """Two at once, which share the room; who reads slowly gets the bytes that were meant for him."""
    pipes, texts = Pipes(), [bytes([seed]) * 3_000_000 + bytes(range(256)) * 999 for seed in b"ab"]

    async def one(text: bytes) -> None:
        (client, down), (server, up) = [await connected_pair(is_tls) for is_tls in has_tls]
        record = Record(NOW, "outbound")

        async def run() -> None:
            await tunnel(down, up, PERMIT, record, Watched(rules()), lambda: True, pipes)

        async def play(end: Stream, said: bytes, heard: bytes) -> None:
            async with trio.open_nursery() as both:
                both.start_soon(end.send_all, said)
                pieces = bytearray()
                while len(pieces) < len(heard):
                    pieces += await end.receive_some(10_000)
                assert pieces == heard
            await end.send_eof()
            assert await end.receive_some() == b""

        async with client, down, server, up, trio.open_nursery() as all_of_it:
            all_of_it.start_soon(run)
            all_of_it.start_soon(play, client, text, text[::-1])
            all_of_it.start_soon(play, server, text[::-1], text)
        assert (record.received, record.sent) == (len(text), len(text))

    with trio.fail_after(60):
        async with trio.open_nursery() as pairs:
            for text in texts:
                pairs.start_soon(one, text)


Stream = SocketStream | TlsStream


async def connected_pair(is_tls: bool) -> tuple[Stream, Stream]:
    sockets = tcp_pair()
    if not is_tls:
        return SocketStream(sockets[0]), SocketStream(sockets[1])
    root = pki.authority("root")
    server = pki.mesh_server(pki.issue(root, pki.uri(pki.ORDERS)), root)
    pair = tls_pair(pki.mesh_client(pki.issue(root, pki.uri(pki.WEB)), root), server, sockets=sockets)
    assert await shake_hands(*pair) == (None, None)
    return pair
