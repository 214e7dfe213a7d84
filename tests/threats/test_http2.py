"""Who speaks HTTP/2 to do harm: H1 to H12, through the loop, beside a victim whose own connection must not notice."""

from collections.abc import Callable, Iterable, Iterator

import h2.errors
import h2.events
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.reason import Reason
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import ALPN_HTTP1, ALPN_HTTP2
from sidecar.protocol.http2 import flood, frames
from sidecar.protocol.http2.frames import Code
from tests.helpers.downgrade import BAD
from tests.helpers.exchange import OK as OLD_OK
from tests.helpers.exchange import Downstream, Server, downstream
from tests.helpers.h2_peer import Peer
from tests.helpers.http2 import ENDS, GET, OK, OPENING, POST, Raw, block, data, goaways, headers, reset, resets
from tests.helpers.mesh import arrive, call, meshed, read_rest
from tests.helpers.streams import MemoryStream

END_HEADERS = frames.END_HEADERS
SETTINGS = frames.render(frames.SETTINGS, 0, 0)


def ids(count: int) -> range:
    """Of so many streams."""
    return range(1, 2 * count, 2)


class Attacker:
    """A client by hand; what it is told is read all the while, save where it says not to."""

    def __init__(self, nursery: trio.Nursery, *, server: Server | None = None, reads: bool = True) -> None:
        self.down = downstream(nursery, server=server)
        self.received = b""
        self._reads = reads

    async def flood(self, pieces: Iterable[bytes], *, is_paced: bool = False) -> int:
        """Send all, or as much as is taken; paced: the sidecar has done all it can before the next. Returns how many were sent."""
        count = 0
        async with trio.open_nursery() as nursery:
            if self._reads:
                nursery.start_soon(self._read)
            try:
                await self.down.client.send_all(OPENING)
                for piece in pieces:
                    await self.down.client.send_all(piece)
                    count += 1
                    if is_paced:
                        await wait_all_tasks_blocked()
            except trio.BrokenResourceError:
                pass
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return count

    async def _read(self) -> None:
        try:
            while piece := await self.down.client.receive_some():
                self.received += piece
        except trio.BrokenResourceError:
            pass

    @property
    def is_over(self) -> bool:
        """It was told, or is cut off."""
        return bool(self.down.ours.is_closed or goaways(self.received))

    @property
    def code(self) -> int:
        return goaways(self.received)[0][1]

    @property
    def asked(self) -> list[MemoryStream]:
        """The upstream connections that came of it: one for each request, since none was answered."""
        return self.down.server.made


class Victim:
    """Another client of the same sidecar, with an exchange under way."""

    def __init__(self, nursery: trio.Nursery, attacker: Attacker) -> None:
        self.down = downstream(nursery, known=attacker.down.bench)
        self.client = Peer(self.down.client, is_client=True)

    async def begin(self) -> "Victim":
        await self.client.begin()
        await self.client.ask(1, GET)
        self._up = await self.down.server.accept()
        return self

    async def is_served(self) -> bool:
        """The exchange ends well, and another one; no time has passed."""
        for stream in (1, 3):
            if stream > 1:
                await self.client.ask(stream, GET)
            await self._up.read_until()
            await self._up.send_all(OLD_OK)
            assert await self.client.ended(stream) == b"ok"
        return trio.current_time() == 0


# -- H1, H2: streams that are begun to be reset


async def test_H1_rapid_reset(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    attacker = Attacker(nursery)
    victim = await Victim(nursery, attacker).begin()
    await attacker.flood(headers(sid, GET) + reset(sid) for sid in ids(50_000))
    assert attacker.code == Code.ENHANCE_YOUR_CALM
    assert goaways(attacker.received)[0][0] <= 2 * 500
    assert len(attacker.asked) <= 100
    assert await victim.is_served()


async def test_H1_resets_of_what_was_looked_at(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """However the attacker paces itself: the application is asked as often as the account of resets has room, one at a time."""
    attacker = Attacker(nursery)
    victim = await Victim(nursery, attacker).begin()
    most = [0]

    def pieces() -> Iterator[bytes]:
        for sid in ids(1000):
            yield headers(sid, GET)
            most[0] = max(most[0], sum(not up.is_closed for up in attacker.asked))
            yield reset(sid)

    await attacker.flood(pieces(), is_paced=True)
    assert attacker.code == Code.ENHANCE_YOUR_CALM
    assert len(attacker.asked) <= flood.RESETS + 1
    assert most == [1]
    await wait_all_tasks_blocked()
    assert all(up.is_closed for up in attacker.asked)
    assert await victim.is_served()


LONGER = [*POST, (b"content-length", b"1")]
MADE_YOU_RESET: dict[str, Callable[[int], tuple[bytes, bytes]]] = {
    "window-of-0": lambda sid: (headers(sid, POST, END_HEADERS), frames.render(frames.WINDOW_UPDATE, 0, sid, bytes(4))),
    "window-too-large": lambda sid: (headers(sid, POST, END_HEADERS), frames.render_window_update(sid, frames.MAX_WINDOW)),
    "data-behind-end": lambda sid: (headers(sid, GET), data(sid, b"x")),
    "headers-behind-end": lambda sid: (headers(sid, GET), headers(sid, GET)),
    "priority-of-wrong-size": lambda sid: (headers(sid, GET), frames.render(frames.PRIORITY, 0, sid, bytes(4))),
    "depends-on-itself": lambda sid: (headers(sid, GET), frames.render(frames.PRIORITY, 0, sid, sid.to_bytes(4, "big") + b"\0")),
    "body-too-long": lambda sid: (headers(sid, LONGER, END_HEADERS), data(sid, b"xy")),
    "bad-trailers": lambda sid: (headers(sid, POST, END_HEADERS), headers(sid, [(b":path", b"/")])),
}


@pytest.mark.parametrize("is_paced", [False, True], ids=["at-once", "paced"])
@pytest.mark.parametrize("primitive", [pytest.param(function, id=f"H2-{name}") for name, function in MADE_YOU_RESET.items()])
async def test_who_makes_us_reset_pays_as_who_resets(
    primitive: Callable[[int], tuple[bytes, bytes]], is_paced: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    attacker = Attacker(nursery)
    victim = await Victim(nursery, attacker).begin()
    pieces = (primitive(sid) for sid in ids(10_000))
    if is_paced:
        await attacker.flood((piece for pair in pieces for piece in pair), is_paced=True)
    else:
        await attacker.flood(b"".join(pair) for pair in pieces)
    assert attacker.is_over
    assert len(attacker.asked) <= (flood.RESETS + 1 if is_paced else 100)
    assert all(up.is_closed for up in attacker.asked)
    assert await victim.is_served()


# -- H3: a header block without end


@pytest.mark.parametrize("piece", [
    pytest.param(b"", id="H3-empty"), pytest.param(b"\0\1a\1b", id="H3-fields"), pytest.param(b"x" * 16384, id="H3-full"),
])
async def test_a_block_without_end(piece: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    attacker = Attacker(nursery)
    victim = await Victim(nursery, attacker).begin()
    begun = frames.render(frames.HEADERS, 0, 1, block(GET))
    sent = await attacker.flood([begun, *[frames.render(frames.CONTINUATION, 0, 1, piece)] * 20_000])
    assert sent * len(piece) <= 20 * 65536
    assert attacker.code in (Code.ENHANCE_YOUR_CALM, Code.COMPRESSION_ERROR)
    assert attacker.asked == []
    assert await victim.is_served()


async def test_H3_a_block_that_trickles(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    attacker = Attacker(nursery)
    client = Raw(attacker.down.client)
    await client.send(OPENING, frames.render(frames.HEADERS, 0, 1, block(GET)))
    async with trio.open_nursery() as trickling:

        async def trickle() -> None:
            while True:
                await trio.sleep(1)
                await client.send(frames.render(frames.CONTINUATION, 0, 1, b"\0\1a\1b"))

        trickling.start_soon(trickle)
        await client.until(goaways)
        trickling.cancel_scope.cancel()
    assert trio.current_time() == 10
    assert goaways(client.received) == [(0, Code.ENHANCE_YOUR_CALM)]


# -- H4, H5: frames that cost their sender nothing


@pytest.mark.parametrize("frame", [
    pytest.param(frames.render(frames.PING, 0, 0, bytes(8)), id="H4-PING"), pytest.param(SETTINGS, id="H4-SETTINGS"),
])
async def test_answers_that_nobody_reads(frame: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    attacker = Attacker(nursery, reads=False)
    victim = await Victim(nursery, attacker).begin()
    await attacker.flood([frame * 100] * 10_000)
    assert attacker.down.bench.codes == [Reason.HTTP2_FLOOD.code]
    assert attacker.down.ours.sent <= 65536
    assert await victim.is_served()


@pytest.mark.parametrize("frame", [
    pytest.param(data(1, b""), id="H5-empty-DATA"),
    pytest.param(frames.render(frames.DATA, frames.PADDED, 1, b"\x09" + bytes(9)), id="H5-padding"),
    pytest.param(frames.render(frames.PRIORITY, 0, 1, bytes(5)), id="H5-PRIORITY"),
    pytest.param(frames.render_window_update(1, 1), id="H5-WINDOW_UPDATE"),
    pytest.param(frames.render_window_update(0, 1), id="H5-WINDOW_UPDATE-0"),
    pytest.param(frames.render(0x42, 0, 1, b"x"), id="H5-unknown"),
    pytest.param(frames.render(frames.PING, frames.ACK, 0, bytes(8)), id="H5-PING-ACK"),
    pytest.param(frames.render(frames.SETTINGS, frames.ACK, 0), id="H5-SETTINGS-ACK"),
    pytest.param(frames.render_goaway(0, 0), id="H5-GOAWAY"),
])
async def test_frames_without_use(frame: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    attacker = Attacker(nursery)
    victim = await Victim(nursery, attacker).begin()
    await attacker.flood([headers(1, POST, END_HEADERS), *[frame * 100] * 10_000])
    assert attacker.code == Code.ENHANCE_YOUR_CALM
    assert attacker.down.bench.codes[0] == Reason.HTTP2_FLOOD.code
    assert len(attacker.asked) == 1
    assert await victim.is_served()


# -- H6: header compression

ENTRY = b"\x40\x01a\x7f\xa1\x1e" + b"v" * 4001       # `a`, into the table


@pytest.mark.parametrize("compressed", [
    pytest.param(block(GET) + ENTRY + b"\xbe" * 4000, id="H6-references"),
    pytest.param(block(GET) + b"\x7f" + b"\xff" * 16000, id="H6-integer"),
    pytest.param(b"\x20\x3f\xe1\x1f" * 4000 + block(GET), id="H6-table-sizes"),
    pytest.param(b"\x3f\xff\xff\xff\xff\x0f" + block(GET), id="H6-table-too-large"),
    pytest.param(block(GET) + b"\x00\x01a\xff" + b"\xff" * 200, id="H6-huffman"),
    pytest.param(b"\xbe", id="H6-no-such-entry"),
])
async def test_a_block_that_grows(compressed: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    attacker = Attacker(nursery)
    victim = await Victim(nursery, attacker).begin()
    await attacker.flood([frames.render(frames.HEADERS, ENDS, 1, compressed)])
    refused = [line.get("code") for line in attacker.down.bench.lines]
    assert refused in ([Reason.HTTP2_VIOLATION.code], [Reason.HTTP2_FLOOD.code], [Reason.HEAD_TOO_LARGE.code])
    assert attacker.asked == []
    assert await victim.is_served()


# -- H7: who asks for much and takes little

MUCH = 100_000_000


async def endless(up: MemoryStream) -> None:
    await up.read_until()
    try:
        await up.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % MUCH)
        while True:
            await up.send_all(b"x" * 65536)
    except trio.BrokenResourceError:
        pass


@pytest.mark.parametrize("credit", [pytest.param(0, id="H7-no-window"), pytest.param(1, id="H7-dribble")])
async def test_stalled_streams(credit: int, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What 100 of them do not take stays with the application, and after a minute they are over."""
    down = downstream(nursery)
    client = Raw(down.client)
    no_window = frames.render_settings({frames.Setting.INITIAL_WINDOW_SIZE: 0})
    await client.send(OPENING, no_window, *(headers(sid, GET) for sid in ids(100)))
    async with trio.open_nursery() as attack:
        for _ in ids(100):
            attack.start_soon(endless, await down.server.accept())
        await wait_all_tasks_blocked()
        assert all(up.taken <= 65536 + 64 for up in down.server.made)      # a piece of the body, and the head

        async def dribble() -> None:
            while credit:
                await trio.sleep(5)
                await client.send(*(frames.render_window_update(sid, credit) for sid in ids(100)))

        attack.start_soon(dribble)
        await client.until(lambda output: len(resets(output)) == 100)
        attack.cancel_scope.cancel()
    assert trio.current_time() <= 61
    assert {code for _, code in resets(client.received)} == {Code.INTERNAL_ERROR}
    await wait_all_tasks_blocked()
    assert all(up.is_closed for up in down.server.made)
    assert down.bench.codes == [Reason.TIMED_OUT_DOWNSTREAM.code] * 100


@pytest.mark.parametrize("is_http2", [pytest.param(False, id="H7-upload-to-h1"), pytest.param(True, id="H7-upload-to-h2")])
async def test_uploads_that_the_application_does_not_take(is_http2: bool, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """All streams of a connection together have one window, which opens only as their bodies go on."""
    down = downstream(nursery, server=Server(1024, is_http2))
    client = Peer(down.client, is_client=True)
    await client.begin()
    nursery.start_soon(read, client)
    for sid in ids(100):
        await client.ask(sid, POST, is_end=False)
    if is_http2:    # it takes the connection's upkeep, and gives back nothing for bodies
        app = Peer(await down.server.accept(), is_client=False, credits=False)
        await app.begin()
        nursery.start_soon(read, app)
    sent, before = 0, -1
    while sent > before:
        before = sent
        for sid in ids(100):
            while room := min(client.h2.local_flow_control_window(sid), 16384):
                client.h2.send_data(sid, bytes(room))
                sent += room
            await client.flush()
            await wait_all_tasks_blocked()
    assert 150_000 < down.ours.taken - sum(up.sent for up in down.server.made) <= 262144


async def read(peer: Peer) -> None:
    try:
        while await peer.read():
            pass
    except trio.BrokenResourceError:
        pass


async def test_H7_who_ignores_the_window(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery, server=Server(1024))
    client = Raw(down.client)
    await client.send(OPENING, *(headers(sid, POST, END_HEADERS) for sid in ids(5)))
    for sid in ids(5):
        await client.send(*[data(sid, bytes(16000))] * 4)
    await client.until(goaways)
    assert goaways(client.received)[0][1] == Code.FLOW_CONTROL_ERROR


# -- H8: more than was agreed


async def test_H8_one_stream_too_many(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    client = Raw(down.client)
    *taken, refused = ids(101)
    await client.send(OPENING, *(headers(sid, GET) for sid in ids(101)))
    await client.until(resets)
    assert resets(client.received) == [(refused, Code.REFUSED_STREAM)]
    for _ in taken:
        up = await down.server.accept()
        await up.read_until()
        await up.send_all(OLD_OK)
    await client.until(lambda _: all(client.has_ended(sid) for sid in taken))


async def test_H8_the_last_stream(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    client = Raw(down.client)
    last = frames.LAST_ID + 1
    await client.send(OPENING, headers(last, GET))
    up = await down.server.accept()
    await up.read_until()
    await client.until(goaways)
    assert goaways(client.received) == [(frames.MAX_WINDOW, Code.NO_ERROR)]
    await up.send_all(OLD_OK)
    await client.until(lambda _: client.has_ended(last))


@pytest.mark.parametrize("name", [pytest.param(b"a", id="H8-fields"), pytest.param(b"cookie", id="H8-cookies")])
async def test_many_small_fields(name: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    client = Raw(down.client)
    await client.send(OPENING, headers(1, [*GET, *[(name, b"b")] * 1000]))
    await client.until(lambda _: client.has_ended(1))
    assert b"BZ0306" in client.data(1)
    assert down.server.made == []


# -- H9: settings that change and change


async def test_H9_settings_that_flip(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Within the budget they are obeyed, and the answer that was under way is whole."""
    down = downstream(nursery)
    client = Raw(down.client)
    await client.send(OPENING, headers(1, GET))
    up = await down.server.accept()
    await up.read_until()
    body = bytes(range(256)) * 400
    await up.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body))
    setting = frames.Setting
    async with trio.open_nursery() as sending:
        sending.start_soon(up.send_all, body)
        for turn in range(200):
            is_up = turn % 2
            await client.send(frames.render_settings({
                setting.INITIAL_WINDOW_SIZE: frames.MAX_WINDOW if is_up else 0, setting.MAX_FRAME_SIZE: (1 << 24) - 1 if is_up else 16384,
                setting.HEADER_TABLE_SIZE: (1 << 32) - 1 if is_up else 0, setting.MAX_CONCURRENT_STREAMS: 0 if is_up else 1 << 31,
            }))
            if turn % 20 == 0:
                await wait_all_tasks_blocked()
        await client.send(frames.render_window_update(0, 1 << 20))
        await client.until(lambda _: client.has_ended(1))
    assert client.data(1) == body
    assert goaways(client.received) == []


async def test_H9_settings_that_flip_without_end(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    attacker = Attacker(nursery)
    victim = await Victim(nursery, attacker).begin()
    flips = [frames.render_settings({frames.Setting.INITIAL_WINDOW_SIZE: size}) for size in (0, frames.MAX_WINDOW)]
    await attacker.flood([headers(1, GET), *flips * 10_000])
    assert attacker.code == Code.ENHANCE_YOUR_CALM
    assert await victim.is_served()


# -- H10: an upstream that goes away


async def asked_upstream(nursery: trio.Nursery, *methods: bytes) -> tuple[Peer, Raw, Downstream]:
    """A client with so many requests on an upstream connection that has served one before (stream 1)."""
    down = downstream(nursery, server=Server(is_http2=True))
    client = Peer(down.client, is_client=True)
    await client.begin()
    await client.ask(1, GET)
    app = Raw(await down.server.accept())
    await app.send(SETTINGS, headers(1, OK))
    await client.ended(1)
    for number, method in enumerate(methods, 1):
        await client.ask(1 + 2 * number, [(b":method", method), *GET[1:]], b"body" if method == b"POST" else None)
    await app.until(lambda _: app.has_ended(1 + 2 * len(methods)))
    return client, app, down


async def test_H10_what_was_not_looked_at_is_asked_again_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Whatever its method; and what may have been looked at is not."""
    client, app, down = await asked_upstream(nursery, b"GET", b"POST", b"GET", b"POST")
    await app.send(frames.render_goaway(5, Code.NO_ERROR), headers(3, OK), headers(5, OK))
    await wait_all_tasks_blocked()
    assert len(down.server.made) == 3
    for _ in range(2):
        again = Raw(await down.server.accept())
        await again.until(lambda _, server=again: server.has_ended(1))      # type: ignore[misc]
        await again.send(SETTINGS, frames.render_goaway(0, Code.NO_ERROR))
    for stream in (3, 5, 7, 9):
        await client.first(h2.events.StreamEnded, stream)
    statuses = {event.stream_id: dict(event.headers)[b":status"] for event in client.of(h2.events.ResponseReceived)}   # type: ignore[index]
    assert statuses == {1: b"200", 3: b"200", 5: b"200", 7: b"502", 9: b"502"}
    assert len(down.server.made) == 3


@pytest.mark.parametrize(("code", "is_retried"), [
    pytest.param(Code.REFUSED_STREAM, True, id="H10-refused"), pytest.param(Code.INTERNAL_ERROR, False, id="H10-failed"),
    pytest.param(Code.CANCEL, False, id="H10-cancelled"),
])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_reset_says_whether_it_was_looked_at(
    method: bytes, code: Code, is_retried: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client, app, down = await asked_upstream(nursery, method)
    await app.send(frames.render_reset(3, code))
    if is_retried:
        again = Raw(await down.server.accept())
        await again.until(lambda _: again.has_ended(1))
        assert again.data(1) == (b"body" if method == b"POST" else b"")
        await again.send(SETTINGS, headers(1, OK))
    await client.first(h2.events.StreamEnded, 3)
    head = dict(client.of(h2.events.ResponseReceived, 3)[0].headers)    # type: ignore[arg-type]
    assert head[b":status"] == (b"200" if is_retried else b"502")     # type: ignore[index]
    assert len(down.server.made) == 1 + is_retried


@pytest.mark.parametrize(("method", "is_retried"), [
    pytest.param(b"GET", True, id="H10-lost-GET"), pytest.param(b"POST", False, id="H10-lost-POST"),
])
async def test_a_connection_that_is_lost_says_nothing(
    method: bytes, is_retried: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The server may have closed it just as we asked: what is safe to ask again is asked again, once."""
    client, app, down = await asked_upstream(nursery, method)
    app.stream.close()
    if is_retried:
        (await down.server.accept()).close()
    await client.first(h2.events.StreamEnded, 3)
    head = dict(client.of(h2.events.ResponseReceived, 3)[0].headers)    # type: ignore[arg-type]
    assert head[b":status"] == b"502"   # type: ignore[index]
    assert len(down.server.made) == 1 + is_retried


# -- H11: one application's faults on a connection that others share


async def test_H11_others_on_the_connection_are_unharmed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Two applications, one connection to the other sidecar: one says whatever can be wrong, the other asks 100 times."""
    server = Server(is_http2=True)
    bad = downstream(nursery, server=server, is_mesh=True)
    good = downstream(nursery, server=server, is_mesh=True, known=bad.bench)
    client, evil = Peer(good.client, is_client=True), Raw(bad.client)
    await client.begin()
    await evil.send(OPENING)
    sid, number = 1, 1
    nursery.start_soon(serve, server)
    for turn in range(100):
        one = BAD[turn % len(BAD)]
        await evil.send(headers(sid, one.fields, ENDS if one.is_end else END_HEADERS))
        lies = headers(sid + 2, LONGER, END_HEADERS), data(sid + 2, b"too long", frames.END_STREAM)
        given_up = headers(sid + 4, POST, END_HEADERS), reset(sid + 4)
        if turn % 2:
            await evil.send(*lies)
        else:
            await evil.send(given_up[0])
            await wait_all_tasks_blocked()
            await evil.send(given_up[1])
        sid += 6
        await client.ask(number, POST, b"hello")
        assert await client.ended(number) == b"ok"
        number += 2
    assert len(server.made) == 1
    assert sum(line.get("status") == 200 for line in bad.bench.lines) == 100


async def serve(server: Server) -> None:
    """Whatever is asked to its end, as the library h2 sees it: strictly."""
    app = Peer(await server.accept(), is_client=False)
    await app.begin()
    answered = 0
    while await app.read():
        ended = app.of(h2.events.StreamEnded)
        for event in ended[answered:]:
            app.h2.send_headers(event.stream_id, OK)
            app.h2.send_data(event.stream_id, b"ok", end_stream=True)
        answered = len(ended)
        await app.flush()


# -- H12: what nobody may send, and who speaks something else than was agreed


async def test_H12_a_promise_of_the_clients(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    attacker = Attacker(nursery)
    await attacker.flood([headers(1, POST, END_HEADERS), frames.render(frames.PUSH_PROMISE, END_HEADERS, 1, bytes(4) + block(GET))])
    assert attacker.code == Code.PROTOCOL_ERROR


@pytest.mark.parametrize("said", [
    pytest.param(SETTINGS + frames.render(frames.PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + block(GET)), id="H12-promise-of-the-servers"),
    pytest.param(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", id="H12-server-of-HTTP/1.1"),
    pytest.param(headers(1, OK), id="H12-no-SETTINGS"),
])
async def test_an_upstream_that_does_not_speak_http2(said: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery, server=Server(is_http2=True))
    client = Peer(down.client, is_client=True)
    await client.begin()
    await client.ask(1, GET)
    up = await down.server.accept()
    await up.send_all(said)
    assert Reason.BAD_RESPONSE.code.encode() in await client.ended(1)
    await wait_all_tasks_blocked()
    assert down.server.made[0].is_closed


@pytest.mark.parametrize(("alpn", "said"), [
    pytest.param(ALPN_HTTP2, b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n", id="H12-h1-where-h2-was-agreed"),
    pytest.param(ALPN_HTTP1, OPENING + headers(1, GET), id="H12-h2-where-h1-was-agreed"),
])
async def test_another_version_than_was_agreed(alpn: bytes, said: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery)
    stream = await call(arrive(nursery, known), alpn=alpn)
    await stream.send_all(said)
    told = await read_rest(stream)
    assert goaways(told) == [(0, Code.PROTOCOL_ERROR)] if alpn == ALPN_HTTP2 else told.startswith(b"HTTP/1.1 505 ")
    assert known.dialer.dialled == []


async def test_H12_http2_without_tls_where_tls_is_demanded(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery)
    stream = SocketStream(arrive(nursery, known))
    await stream.send_all(OPENING + headers(1, GET))
    assert goaways(await read_rest(stream)) == [(0, Code.INADEQUATE_SECURITY)]
    stream.close()
    await wait_all_tasks_blocked()
    assert (known.codes, known.dialer.dialled) == ([Reason.PLAINTEXT.code], [])
