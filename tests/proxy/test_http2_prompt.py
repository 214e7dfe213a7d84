"""What goes the prompt way is told of and answered just as what goes the way of all others: both carry out the same exchanges here.

The library h2 asks, and the library h2 answers.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import h2.events
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.decision import Denied
from sidecar.model.errors import Unavailable
from sidecar.model.message import NO_BODY, RequestHead, ResponseHead
from sidecar.model.reason import Reason
from sidecar.model.service import Retries
from sidecar.net.http2_client import Http2Client
from sidecar.protocol.http2 import frames
from sidecar.protocol.http2.frames import Code
from sidecar.proxy.plan import Decision, Plan, Reply, Upstream
from sidecar.telemetry.access_log import Record
from tests.helpers.exchange import PERMIT, Downstream, Server, downstream
from tests.helpers.http2 import GET, OK, POST, Raw, goaways, h2_peer, headers
from tests.helpers.runtime import bench, rules
from tests.helpers.streams import MemoryStream
from tests.proxy.test_http2 import GRPC, Client

Fields = list[tuple[bytes, bytes]]
HEAD: Fields = [(b":method", b"HEAD"), *GET[1:]]


class Up:
    """The upstream's end of a connection, and what was asked there, by stream."""

    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream
        self.h2 = h2_peer(is_client=False)
        self.h2.initiate_connection()
        self.asked: dict[int, Fields] = {}
        self.bodies: dict[int, bytes] = defaultdict(bytes)
        self.whole: list[int] = []
        self.resets: dict[int, int] = {}

    async def send(self) -> None:
        await self.stream.send_all(self.h2.data_to_send())

    async def read(self, until: Callable[[], object]) -> None:
        while not until():
            data = await self.stream.receive_some()
            assert data, "the proxy closed"
            for event in self.h2.receive_data(data):
                match event:
                    case h2.events.RequestReceived():
                        self.asked[event.stream_id] = list(event.headers)   # type: ignore[arg-type]
                    case h2.events.DataReceived():
                        self.bodies[event.stream_id] += event.data
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    case h2.events.StreamEnded():
                        self.whole.append(event.stream_id)
                    case h2.events.StreamReset():
                        self.resets[event.stream_id] = event.error_code
            await self.send()

    async def request(self) -> int:
        """The next one, whole."""
        seen = len(self.whole)
        await self.read(lambda: len(self.whole) > seen)
        return self.whole[-1]

    async def answer(self, sid: int, body: bytes = b"ok", fields: Fields = OK) -> None:
        self.h2.send_headers(sid, fields, end_stream=not body)
        if body:
            self.h2.send_data(sid, body, end_stream=True)
        await self.send()


Play = Callable[[Client, Up, Downstream], Awaitable[object]]
Decide = Callable[[RequestHead, Record, Server], Decision | Awaitable[Decision]]


def permitted(request: RequestHead, record: Record, server: Server) -> Decision:
    return server.plan()


async def carried(play: Play, *, is_prompt: bool, decide: Decide = permitted, room: int = 1 << 20) -> tuple[Any, ...]:
    """What both ends saw, and what was told, after a first exchange that made the connection to the upstream."""
    async with trio.open_nursery() as nursery:
        def judge(request: RequestHead, record: Record) -> Decision | Awaitable[Decision]:
            return decide(request, record, server)

        server = Server(1 << 20, is_http2=True)
        known = bench(nursery, rules(accept_http10=True), is_prompt=is_prompt)
        down = downstream(nursery, decide=judge, server=server, room=room, known=known)
        client = Client(down)
        first = await client.ask([*GET[:3], (b":path", b"/first")])
        up = Up(await server.accept())
        await up.send()
        await up.answer(await up.request())
        assert await client.answer(first) == b"ok"
        began = trio.current_time()
        await play(client, up, down)
        await wait_all_tasks_blocked()
        took = trio.current_time() - began
        lines = [{key: value for key, value in line.items() if key not in ("time", "duration_ms")} for line in down.bench.lines]
        assert all(line.get("duration_ms", 0) <= took * 1000 + 1 for line in down.bench.lines)
        for end in (client.down.client, up.stream):
            end.close()
        down.scope.cancel()
        nursery.cancel_scope.cancel()
    return (
        client.heads, dict(client.bodies), client.trailers, client.ended, client.resets, client.goaways,
        sorted(up.asked.values()), sorted(up.bodies.values()), sorted(up.resets.values()), sorted(lines, key=str), took,
    )


# -- one exchange each


async def plain(client: Client, up: Up, down: Downstream) -> None:
    sid = await client.ask(GET)
    await up.answer(await up.request(), b"x" * 1000, [*OK, (b"content-length", b"1000"), (b"x-a", b"1")])
    assert await client.answer(sid) == b"x" * 1000


async def no_body(client: Client, up: Up, down: Downstream) -> None:
    for fields in (GET, HEAD):
        sid = await client.ask(fields)
        await up.answer(await up.request(), b"", [(b":status", b"200"), (b"content-length", b"0" if fields is GET else b"7")])
        assert await client.answer(sid) == b""


async def a_call(client: Client, up: Up, down: Downstream) -> None:
    """gRPC, unary."""
    sid = await client.ask([*GRPC, (b"grpc-timeout", b"9S")], b"\0\0\0\0\1m")
    asked = await up.request()
    up.h2.send_headers(asked, [*OK, (b"content-type", b"application/grpc")])
    up.h2.send_data(asked, b"\0\0\0\0\1a")
    up.h2.send_headers(asked, [(b"grpc-status", b"0")], end_stream=True)
    await up.send()
    assert await client.answer(sid) == b"\0\0\0\0\1a"
    assert client.trailers[sid] == {b"grpc-status": b"0"}


async def trailers_that_nobody_takes(client: Client, up: Up, down: Downstream) -> None:
    sid = await client.ask(GET)
    asked = await up.request()
    up.h2.send_headers(asked, OK)
    up.h2.send_headers(asked, [(b"x-t", b"0")], end_stream=True)
    await up.send()
    await client.answer(sid)
    assert client.trailers == {}


async def pieces(client: Client, up: Up, down: Downstream) -> None:
    sid = await client.ask(GET)
    asked = await up.request()
    up.h2.send_headers(asked, OK)
    await up.send()
    await client.read(lambda: sid in client.heads)
    for pause in (1, 200, 299):
        await trio.sleep(pause)
        up.h2.send_data(asked, b"abc")
        await up.send()
    up.h2.end_stream(asked)
    await up.send()
    assert await client.answer(sid) == b"abcabcabc"


async def interim(client: Client, up: Up, down: Downstream) -> None:
    sid = await client.ask(GET)
    asked = await up.request()
    up.h2.send_headers(asked, [(b":status", b"103"), (b"link", b"</a>")])
    await up.answer(asked)
    assert await client.answer(sid) == b"ok"


async def a_long_answer(client: Client, up: Up, down: Downstream) -> None:
    """More than any window."""
    size = 400_000
    sid = await client.ask(GET)
    asked = await up.request()
    up.h2.send_headers(asked, OK)
    left = size

    async def send() -> None:
        nonlocal left
        while left:
            await up.read(lambda: up.h2.local_flow_control_window(asked) > 0)
            piece = min(left, up.h2.local_flow_control_window(asked), 16384)
            left -= piece
            up.h2.send_data(asked, b"d" * piece, end_stream=not left)
            await up.send()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        assert await client.answer(sid) == b"d" * size


async def pieces_that_fill_the_window(client: Client, up: Up, down: Downstream) -> None:
    """What was passed on is given back before more is waited for: else the second piece would be the last."""
    client.h2.increment_flow_control_window(1 << 20)
    sid = await client.ask(GET)
    client.h2.increment_flow_control_window(1 << 20, sid)
    await client.send()
    asked = await up.request()
    up.h2.send_headers(asked, OK)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.answer, sid)
        for sizes in ([16384], [16384, 16384, 16383]):
            for size in sizes:
                up.h2.send_data(asked, b"d" * size)
            await up.send()
            await wait_all_tasks_blocked()
        with trio.fail_after(1):
            await up.read(lambda: up.h2.local_flow_control_window(asked) > 0)
        up.h2.send_data(asked, b"end", end_stream=True)
        await up.send()
    assert client.bodies[sid] == b"d" * 65535 + b"end"


async def streams_that_pause(client: Client, up: Up, down: Downstream) -> None:
    """However many have a piece and wait for their next one: the connection's window is there for others."""
    sids = [await client.ask(GET) for _ in range(17)]
    await up.read(lambda: len(up.whole) == 18)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.read, lambda: client.ended.issuperset(sids))
        for asked in up.whole[1:]:
            with trio.fail_after(1):
                await up.read(lambda: up.h2.outbound_flow_control_window >= 16384)
            up.h2.send_headers(asked, OK)
            up.h2.send_data(asked, b"d" * 16384)
            await up.send()
            await wait_all_tasks_blocked()
        for asked in up.whole[1:]:
            up.h2.end_stream(asked)
        await up.send()
    assert [client.bodies[sid] for sid in sids] == [b"d" * 16384] * 17


async def an_upload_beside_calls_that_wait(client: Client, up: Up, down: Downstream) -> None:
    """Requests that are kept until they are answered leave room for who sends more."""
    calls = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(up.read, lambda: len(up.whole) == 18)
        for _ in range(16):
            calls.append(await client.ask(POST, b"c" * 16384))
            await wait_all_tasks_blocked()
        upload = client.h2.get_next_available_stream_id()
        client.h2.send_headers(upload, POST)
        for left in reversed(range(10)):
            with trio.fail_after(1):
                await client.read(lambda: client.h2.local_flow_control_window(upload) >= 16384)
            client.h2.send_data(upload, b"u" * 16384, end_stream=not left)
            await client.send()
            await wait_all_tasks_blocked()
    assert sorted(map(len, up.bodies.values())) == [16384] * 16 + [163840]
    for asked in up.whole[1:]:
        await up.answer(asked)
    for sid in (*calls, upload):
        assert await client.answer(sid) == b"ok"


async def a_client_that_takes_no_answer(client: Client, up: Up, down: Downstream) -> None:
    """Its window is small, and never opened."""
    client.h2.update_settings({4: 10})     # INITIAL_WINDOW_SIZE
    sid = await client.ask(GET)
    asked = await up.request()
    up.h2.send_headers(asked, OK)
    for _ in range(3):
        up.h2.send_data(asked, b"123456")
    await up.send()
    await client.read(lambda: sid in client.resets)


async def reset_before_the_answer(client: Client, up: Up, down: Downstream) -> None:
    for code in (Code.REFUSED_STREAM, Code.CANCEL, Code.INTERNAL_ERROR):
        sid = await client.ask(POST, b"body")
        up.h2.reset_stream(await up.request(), code)
        await up.send()
        if code is Code.REFUSED_STREAM:     # nobody looked at it: it is sent again, on a new connection
            again = Up(await down.server.accept())
            await again.send()
            await again.answer(await again.request())
            assert again.bodies == {1: b"body"}
        await client.answer(sid)
        if code is Code.REFUSED_STREAM:
            again.stream.close()


async def reset_within_the_answer(client: Client, up: Up, down: Downstream) -> None:
    sid = await client.ask(GET)
    asked = await up.request()
    up.h2.send_headers(asked, OK)
    up.h2.send_data(asked, b"half")
    await up.send()
    await client.read(lambda: client.bodies[sid] == b"half")
    up.h2.reset_stream(asked, Code.INTERNAL_ERROR)
    await up.send()
    await client.answer(sid)
    assert sid in client.resets


async def all_at_once_then_reset(client: Client, up: Up, down: Downstream) -> None:
    """What came whole before it broke off is whole; what did not is cut."""
    one = await client.ask(GET)
    await up.request()
    two = await client.ask(GET)
    await up.request()
    up.h2.send_headers(3, OK)
    up.h2.send_data(3, b"whole", end_stream=True)
    up.h2.send_headers(5, OK)
    up.h2.send_data(5, b"ha")
    await up.stream.send_all(up.h2.data_to_send())
    up.stream.close()
    assert await client.answer(one) == b"whole"
    await client.answer(two)
    assert two in client.resets


async def an_upstream_that_goes(client: Client, up: Up, down: Downstream) -> None:
    sid = await client.ask(POST, b"body")
    await up.request()
    other = await client.ask(GET)
    await up.request()
    up.stream.close()
    again = Up(await down.server.accept())      # for the GET, which may be repeated
    await again.send()
    await again.answer(await again.request())
    await client.answer(sid)
    assert await client.answer(other) == b"ok"
    again.stream.close()


async def an_upstream_that_says_nothing(client: Client, up: Up, down: Downstream) -> None:
    sid = await client.ask(GET)
    await up.request()
    await client.answer(sid)


async def an_answer_that_stops(client: Client, up: Up, down: Downstream) -> None:
    sid = await client.ask(GET)
    asked = await up.request()
    up.h2.send_headers(asked, OK)
    up.h2.send_data(asked, b"half")
    await up.send()
    await client.answer(sid)
    assert sid in client.resets


async def a_deadline_of_its_own(client: Client, up: Up, down: Downstream) -> None:
    sid = await client.ask([*GRPC, (b"grpc-timeout", b"250m")], b"m")
    await up.request()
    await client.answer(sid)
    sid = await client.ask([*GRPC, (b"grpc-timeout", b"500m")], b"m")
    asked = await up.request()
    up.h2.send_headers(asked, OK)
    up.h2.send_data(asked, b"half")
    await up.send()
    await client.answer(sid)


async def malformed(client: Client, up: Up, down: Downstream) -> None:
    sid = await client.ask(GET)
    asked = await up.request()
    up.h2.send_headers(asked, [*OK, (b"content-length", b"3")])
    up.h2.config.validate_outbound_headers = False
    up.h2.send_data(asked, b"more than three", end_stream=True)
    await up.send()
    await client.answer(sid)


async def given_up(client: Client, up: Up, down: Downstream) -> None:
    for has_answer in (False, True):
        sid = await client.ask(GET)
        asked = await up.request()
        if has_answer:
            up.h2.send_headers(asked, OK)
            await up.send()
            await client.read(lambda sid=sid: sid in client.heads)  # type: ignore[misc]
        client.h2.reset_stream(sid, Code.CANCEL)
        await client.send()
        await up.read(lambda asked=asked: asked in up.resets)       # type: ignore[misc]


async def a_client_that_goes(client: Client, up: Up, down: Downstream) -> None:
    await client.ask(GET)
    asked = await up.request()
    down.client.close()
    await up.read(lambda: asked in up.resets)


async def cancelled(client: Client, up: Up, down: Downstream) -> None:
    await client.ask(GET)
    asked = await up.request()
    down.scope.cancel()
    await up.read(lambda: asked in up.resets)


async def a_body_that_comes_later(client: Client, up: Up, down: Downstream) -> None:
    sid = client.h2.get_next_available_stream_id()
    client.h2.send_headers(sid, POST)
    await client.send()
    await trio.sleep(1)
    client.h2.send_data(sid, b"late", end_stream=True)
    await client.send()
    await up.answer(await up.request())
    assert await client.answer(sid) == b"ok"


async def bodies_in_one_read(client: Client, up: Up, down: Downstream) -> None:
    """More than what is held for prompt ones."""
    sids = []
    for number in range(3):
        sids.append(client.h2.get_next_available_stream_id())
        client.h2.send_headers(sids[-1], POST)
        for _ in range(2):
            client.h2.send_data(sids[-1], b"%d" % number * 10_000)
        client.h2.end_stream(sids[-1])
    await client.send()
    await up.read(lambda: len(up.whole) == 4)
    for sid in (7, 5, 3):
        await up.answer(sid, up.bodies[sid][:1])
    assert sorted([await client.answer(sid) for sid in sids]) == [b"0", b"1", b"2"]


PLAYS = [
    plain, no_body, a_call, trailers_that_nobody_takes, pieces, interim, a_long_answer, pieces_that_fill_the_window, streams_that_pause,
    an_upload_beside_calls_that_wait, a_client_that_takes_no_answer, reset_before_the_answer, reset_within_the_answer,
    all_at_once_then_reset, an_upstream_that_goes, an_upstream_that_says_nothing, an_answer_that_stops, a_deadline_of_its_own, malformed,
    given_up, a_client_that_goes, cancelled, a_body_that_comes_later, bodies_in_one_read,
]


@pytest.mark.parametrize("play", PLAYS)
async def test_both_ways_are_one(play: Play, autojump_clock: MockClock) -> None:
    assert await carried(play, is_prompt=True) == await carried(play, is_prompt=False)


# -- many at once


class Asked(NamedTuple):
    """One of many.

    Args:
        body: None: a GET.
        pieces: of the answer's body.
        delay: rounds that others are answered before.
    """

    body: int | None
    status: int
    pieces: list[int]
    has_trailers: bool
    is_reset: bool
    delay: int


ASKED = st.builds(
    Asked, st.none() | st.integers(0, 3000), st.sampled_from([200, 204, 404, 503]), st.lists(st.integers(0, 9000), max_size=3),
    st.booleans(), st.booleans(), st.integers(0, 3),
)


def all_of(many: list[Asked]) -> Play:
    async def play(client: Client, up: Up, down: Downstream) -> None:
        sids = []
        for number, one in enumerate(many):
            sid = client.h2.get_next_available_stream_id()
            fields = [*(GET if one.body is None else GRPC)[:3], (b":path", b"/%d" % number), *GRPC[4:]]
            client.h2.send_headers(sid, fields, end_stream=one.body is None)
            if one.body is not None:
                client.h2.send_data(sid, b"b" * one.body, end_stream=True)
            sids.append(sid)
        await client.send()
        await up.read(lambda: len(up.whole) == 1 + len(many))
        at = {int(dict(fields)[b":path"][1:]): sid for sid, fields in up.asked.items() if dict(fields)[b":path"] != b"/first"}
        for delay in range(4):
            for number, one in enumerate(many):
                if one.delay == delay:
                    answer(up, at[number], one)
            await up.send()
            await wait_all_tasks_blocked()
        for sid in sids:
            await client.answer(sid)

    def answer(up: Up, sid: int, one: Asked) -> None:
        has_body = one.status != 204 and one.pieces
        is_end = not (has_body or one.has_trailers or one.is_reset)
        up.h2.send_headers(sid, [(b":status", b"%d" % one.status), (b"x-a", b"%d" % one.status)], end_stream=is_end)
        for number, size in enumerate(one.pieces if has_body else ()):
            is_last = number == len(one.pieces) - 1 and not (one.has_trailers or one.is_reset)
            up.h2.send_data(sid, b"a" * size, end_stream=is_last)
        if one.is_reset:
            up.h2.reset_stream(sid, Code.INTERNAL_ERROR)
        elif one.has_trailers:
            up.h2.send_headers(sid, [(b"grpc-status", b"0")], end_stream=True)

    return play


@given(st.lists(ASKED, min_size=1, max_size=8))
def test_however_many_both_ways_are_one(many: list[Asked]) -> None:
    """Requests of one read, answered in any order, with bodies, trailers and resets: each end sees the same of both ways."""
    async def both() -> None:
        one, other = [await carried(all_of(many), is_prompt=is_prompt) for is_prompt in (True, False)]
        # How long a stream that breaks off had lasted is chance: what of it went on before, too.
        assert one == other

    trio.run(both, clock=MockClock(autojump_threshold=0))


# -- whatever is decided


def with_plan(**changes: Any) -> Decide:
    return lambda request, record, server: replace(server.plan(), **changes)


def with_upstream(**changes: Any) -> Decide:
    def decide(request: RequestHead, record: Record, server: Server) -> Plan:
        return replace(server.plan(), choose=lambda: replace(server.upstream(), **changes))

    return decide


async def waited_for(request: RequestHead, record: Record, server: Server) -> Plan:
    await trio.sleep(1)
    record.rule = "nearest"
    if request.method == b"POST":
        raise Unavailable(Reason.CIRCUIT_OPEN, "too many")
    return server.plan()


def refusing_choice(request: RequestHead, record: Record, server: Server) -> Plan:
    def choose() -> Upstream:
        raise Unavailable(Reason.NO_ENDPOINT, "none is left")

    return replace(server.plan(), choose=server.upstream if request.path == b"/first" else choose)


def raising(request: RequestHead, record: Record, server: Server) -> Plan:
    if request.path == b"/first":
        return server.plan()
    record.rule = "nearest"
    raise Unavailable(Reason.CIRCUIT_OPEN, "too many")


def answered_here(kind: Decision) -> Decide:
    return lambda request, record, server: server.plan() if request.path == b"/first" else kind


def adapted(response: ResponseHead) -> ResponseHead:
    return replace(response, headers=[*response.headers, (b"x-adapted", b"1")])


def rewritten(request: RequestHead, record: Record, server: Server) -> Plan:
    return replace(server.plan(), request=replace(request, target=b"/rewritten"))


AGAIN = Retries(1, ("503", "reset"), ("GET",), 0.1)
REPLY = Reply(PERMIT, ResponseHead(204, b"", [], NO_BODY, None, False), b"")


async def asked_and_answered(client: Client, up: Up, down: Downstream) -> None:
    """A GET and a POST; what reaches the upstream is answered, with 503 the first time."""
    for fields, body in ((GET, None), (POST, b"x" * 100)):
        sid = await client.ask(fields, body)
        async with trio.open_nursery() as nursery:
            async def serve() -> None:
                status = b"503"
                while True:
                    await up.answer(await up.request(), b"ok", [(b":status", status), (b"x-bartizan-reason", b"BZ0101 no-route")])
                    status = b"200"

            nursery.start_soon(serve)
            await client.answer(sid)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("decide", [
    answered_here(Denied(Reason.NO_ROUTE, "nearest")), answered_here(REPLY), raising, waited_for, refusing_choice, rewritten,
    with_plan(adapt=adapted), with_plan(request_s=5.0), with_plan(max_body_bytes=99), with_plan(max_body_bytes=100), with_plan(delay_s=2.0),
    with_plan(retries=AGAIN), with_plan(retries=AGAIN, may_retry=bool), with_plan(retries=replace(AGAIN, attempt_s=1.0)),
    with_plan(spend=bool), with_upstream(is_mesh=True), with_upstream(security="mtls", peer="p", tls="TLSv1.3"),
])
async def test_what_is_decided_is_done_on_both_ways(decide: Decide, autojump_clock: MockClock) -> None:
    told: list[list[object]] = [[], []]

    def noting(notes: list[object]) -> Decide:
        def watched(request: RequestHead, record: Record, server: Server) -> Decision | Awaitable[Decision]:
            decision = decide(request, record, server)
            if not isinstance(decision, Plan):
                return decision
            choose = decision.choose

            def noted() -> Upstream:
                upstream = choose()
                return replace(upstream, observe=lambda is_good: notes.append(is_good), leave=lambda: notes.append("left"))

            return replace(decision, choose=noted, done=lambda: notes.append("done"))

        return watched

    one, other = [
        await carried(asked_and_answered, is_prompt=is_prompt, decide=noting(notes))
        for is_prompt, notes in zip((True, False), told, strict=True)
    ]
    assert one == other
    assert told[0] == told[1]


# -- what makes it the prompt way


@pytest.mark.parametrize(("fields", "body", "count"), [(GET, None, 10), (POST, b"c" * 1029, 100)])
@pytest.mark.parametrize("is_prompt", [True, False])
async def test_it_has_no_task(fields: Fields, body: bytes | None, count: int, is_prompt: bool, autojump_clock: MockClock) -> None:
    async def play(client: Client, up: Up, down: Downstream) -> None:
        up.h2.increment_flow_control_window(1 << 20)
        await up.send()
        await wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        sids = [await client.ask(fields, body) for _ in range(count)]
        await up.read(lambda: len(up.whole) == count + 1)
        await wait_all_tasks_blocked()
        # The first that waits for an upstream connection has somebody read there, for all.
        assert trio.lowlevel.current_statistics().tasks_living - before == (1 if is_prompt else count)
        for sid in up.whole[1:]:
            await up.answer(sid)
        for sid in sids:
            assert await client.answer(sid) == b"ok"

    await carried(play, is_prompt=is_prompt)


async def test_what_one_read_brings_leaves_in_one_write(autojump_clock: MockClock) -> None:
    async def play(client: Client, up: Up, down: Downstream) -> None:
        ours = down.server.made[0]
        await wait_all_tasks_blocked()
        sent: list[int] = []
        for stream in (ours, down.ours):
            send = stream.send_nowait

            def counted(data: bytes | memoryview, send: Callable[[bytes | memoryview], int] = send) -> int:
                sent.append(len(data))
                return send(data)

            stream.send_nowait = counted    # type: ignore[method-assign]
        sids = []
        for _ in range(20):
            sids.append(client.h2.get_next_available_stream_id())
            client.h2.send_headers(sids[-1], GET, end_stream=True)
        await client.send()
        await wait_all_tasks_blocked()
        assert len(sent) == 1
        await up.read(lambda: len(up.whole) == 21)
        for sid in up.whole[1:]:
            up.h2.send_headers(sid, OK)
            up.h2.send_data(sid, b"ok", end_stream=True)
        await up.send()
        for sid in sids:
            assert await client.answer(sid) == b"ok"
        assert len(sent) == 2

    await carried(play, is_prompt=True)


async def test_one_with_a_bug_ends_its_own_connection_only(autojump_clock: MockClock) -> None:
    """Its answer is carried out by whoever reads at the upstream, perhaps for another client."""
    def adapt(response: ResponseHead) -> ResponseHead:
        raise AssertionError("a bug")

    def decide(request: RequestHead, record: Record) -> Decision:
        return replace(server.plan(), adapt=adapt if request.path == b"/bug" else None)

    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="a bug"), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            server = Server(1 << 20, is_http2=True)
            right = downstream(nursery, decide=decide, server=server)
            client = Client(right)
            first = await client.ask(GET)
            up = Up(await server.accept())
            await up.send()
            await up.answer(await up.request())
            await client.answer(first)
            async with trio.open_nursery() as inner:
                wrong = Client(downstream(inner, decide=decide, server=server, known=right.bench))
                await wrong.ask([*GET[:3], (b":path", b"/bug")])
                await up.request()
                sid = await client.ask(GET)
                await up.request()
                for asked in up.whole[1:]:
                    up.h2.send_headers(asked, OK)
                    up.h2.send_data(asked, b"ok", end_stream=True)
                with trio.CancelScope(shield=True):
                    await up.send()
                    assert await client.answer(sid) == b"ok"
                await trio.sleep_forever()


async def test_a_bug_in_reading_leaves_nobody_waiting(autojump_clock: MockClock) -> None:
    """Whoever reads for the others ends with it, and the others hear that the upstream's connection is over."""
    def broken(event: object) -> None:
        raise AssertionError("a bug")

    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="a bug"), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            server = Server(1 << 20, is_http2=True)
            client = Client(downstream(nursery, server=server))
            first = await client.ask(GET)
            up = Up(await server.accept())
            await up.send()
            await up.answer(await up.request())
            await client.answer(first)
            await client.ask(GET)
            asked = await up.request()
            connection = next(iter(client.down.bench.runtime.pool._places))
            assert isinstance(connection, Http2Client)
            connection._link.on_response = broken   # type: ignore[method-assign]
            await up.answer(asked)
            await trio.sleep_forever()
    assert connection.room == 0


# -- what stays while no exchange is on


@pytest.mark.parametrize("is_prompt", [True, False])
async def test_a_drain_waits_for_the_last_one(is_prompt: bool, autojump_clock: MockClock) -> None:
    async def play(client: Client, up: Up, down: Downstream) -> None:
        raw = Raw(down.client)      # h2 bears nothing behind GOAWAY
        await raw.send(headers(3, GET))
        asked = await up.request()
        down.bench.runtime.draining.set(True)
        await raw.until(goaways)
        await raw.send(frames.render(frames.PING, frames.ACK, 0, b"bartizan"))
        await wait_all_tasks_blocked()
        assert not raw.has_ended(3)
        await up.answer(asked)
        await raw.until(lambda _: raw.has_ended(3))
        assert raw.data(3) == b"ok"
        while await down.client.receive_some():
            pass    # the last word

    await carried(play, is_prompt=is_prompt)


@pytest.mark.parametrize("is_prompt", [True, False])
async def test_an_upstream_that_went_while_nothing_was_on(is_prompt: bool, autojump_clock: MockClock) -> None:
    """With GOAWAY or without a word: it is not asked again."""
    async def play(client: Client, up: Up, down: Downstream) -> None:
        for has_words in (True, False):
            if has_words:
                up.h2.close_connection()
                await up.send()
            else:
                up.stream.close()
            sid = await client.ask(POST, b"body")
            again = Up(await down.server.accept())
            await again.send()
            await again.answer(await again.request())
            assert await client.answer(sid) == b"ok"
            up = again
        up.stream.close()

    await carried(play, is_prompt=is_prompt)


async def test_who_reads_at_an_upstream_ends_with_it(autojump_clock: MockClock) -> None:
    async def play(client: Client, up: Up, down: Downstream) -> None:
        await wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(2):
            sid = await client.ask(GET)
            await up.answer(await up.request())
            await client.answer(sid)
            await wait_all_tasks_blocked()
            assert trio.lowlevel.current_statistics().tasks_living == before + 1
        await trio.sleep(60)
        down.bench.runtime.pool.expire()
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before
        assert len(down.bench.runtime.pool) == 0

    await carried(play, is_prompt=True)


async def test_the_other_client_reads_when_the_first_is_gone(autojump_clock: MockClock) -> None:
    """Two share an upstream's connection; whoever came first reads there, until it leaves."""
    async def play(client: Client, up: Up, down: Downstream) -> None:
        async with trio.open_nursery() as nursery:
            sid = await client.ask(GET)
            await up.answer(await up.request())
            await client.answer(sid)
            other = Client(downstream(nursery, server=down.server, known=down.bench))
            sid = await other.ask(GET)
            asked = await up.request()
            client.down.client.close()
            await wait_all_tasks_blocked()
            await up.answer(asked)
            assert await other.answer(sid) == b"ok"
            nursery.cancel_scope.cancel()

    await carried(play, is_prompt=True)
