"""The loop of a downstream connection: what ends it, what does not, what is told, and when."""

import socket

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.decision import Denied
from sidecar.model.errors import NoEndpoint
from sidecar.model.message import NO_BODY, RequestHead, ResponseHead
from sidecar.model.reason import Reason
from sidecar.net.http1_client import Http1Client
from sidecar.net.socket_stream import SocketStream
from sidecar.proxy.http import serve_http, serve_http1
from sidecar.proxy.plan import Decision, Plan, Reply, Upstream
from sidecar.telemetry.access_log import Record
from tests.helpers.exchange import GET, OK, PERMIT, downstream, post
from tests.helpers.runtime import NOW, bench, rules
from tests.helpers.streams import stream_pair

NO_ROUTE = Denied(Reason.NO_ROUTE, "near", "why")


# -- times


async def test_a_client_that_says_nothing_is_left_without_a_word(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    assert await down.client.read_rest() == b""
    assert trio.current_time() == 15
    assert down.bench.lines == []


async def test_between_requests_it_may_rest_longer(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery, decide=NO_ROUTE)
    await down.ask(GET)
    await down.client.receive_some()
    assert await down.client.read_rest() == b""
    assert trio.current_time() == 75
    assert len(down.bench.lines) == 1


async def test_who_asks_for_much_at_once_lets_others_have_their_turn(nursery: trio.Nursery) -> None:
    """Whatever was answered here, without a wait for anybody: between three requests of one read everybody else had a turn."""
    turns, seen, asked = 0, list[int](), 20

    def judge(request: RequestHead, record: Record) -> Decision:
        seen.append(turns)
        return NO_ROUTE

    async def serve() -> None:
        await serve_http1(SocketStream(ours), bench(nursery, rules()).runtime, judge, lambda: Record(NOW, "inbound"))

    ours, client = socket.socketpair()
    with ours, client:
        client.send(GET * asked)
        async with trio.open_nursery() as serving:
            serving.start_soon(serve)
            while len(seen) < asked:
                await trio.lowlevel.checkpoint()
                turns += 1
            serving.cancel_scope.cancel()
    assert all(before < after for before, after in zip(seen, seen[2:], strict=False))    # trio draws who comes first in a round


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_slow_head_has_fifteen_seconds_from_its_first_byte(
    is_first: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery, decide=NO_ROUTE)
    started = 0.0
    if not is_first:
        await down.ask(GET)
        await down.client.receive_some()
        await trio.sleep(70)
        started = 70.0

    async def drip() -> None:
        for byte in GET:
            await down.ask(bytes([byte]))
            await trio.sleep(1)

    with trio.CancelScope() as scope:
        nursery.start_soon(drip)
        head = await down.client.read_until()
        assert head.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in head
        assert trio.current_time() == started + 15
        scope.cancel()
    assert down.bench.codes[-1] == Reason.TIMED_OUT_DOWNSTREAM.code
    nursery.cancel_scope.cancel()


async def test_the_time_that_a_decision_takes_is_not_the_clients(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A request that comes at the end of the rest between requests has not used up the time that a name takes to resolve."""
    async def decide(request: RequestHead, record: Record) -> Decision:
        await trio.sleep(8)
        return NO_ROUTE

    down = downstream(nursery, decide=decide)
    await down.ask(GET)
    assert b" 403 " in await down.client.receive_some()
    await trio.sleep(74)
    await down.ask(GET)
    assert b" 403 " in await down.client.receive_some()


async def test_a_decision_that_takes_too_long(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def decide(request: RequestHead, record: Record) -> Decision:
        await trio.sleep_forever()
        raise AssertionError

    down = downstream(nursery, decide=decide)
    await down.ask(GET)
    assert b" 504 " in await down.client.receive_some()
    assert trio.current_time() == 10
    assert down.bench.codes == [Reason.TIMED_OUT.code]


# -- refusals


async def test_a_refusal_explains_itself_and_the_connection_goes_on(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery, decide=NO_ROUTE)
    for _ in range(2):
        await down.ask(GET)
        head = (await down.client.read_until()).decode()
        assert head.startswith("HTTP/1.1 403 Forbidden\r\n")
        assert "\r\nx-bartizan-reason: BZ0101 no-route\r\nx-bartizan-rule: near\r\n" in head
        assert "connection: close" not in head
        length = int(head.partition("content-length: ")[2].partition("\r")[0])
        body = (await down.client.read(length)).decode()
        for word in (Reason.NO_ROUTE.cause, Reason.NO_ROUTE.cure, "why", "near"):
            assert word in body
    await wait_all_tasks_blocked()
    (line, _) = down.bench.lines
    told = [line[name] for name in ("status", "code", "reason", "rule", "detail")]
    assert told == [403, "BZ0101", "no-route", "near", "why"]


@pytest.mark.parametrize(("body", "goes_on"), [(10, True), (65536, True), (65537 + 65536, False)])
async def test_a_refused_body_is_read_if_it_is_short(
    body: int, goes_on: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery, decide=NO_ROUTE)
    nursery.start_soon(down.ask, post(body) + b"u" * body + GET)
    head = await down.client.read_until()
    assert head.startswith(b"HTTP/1.1 403 ")
    assert (b"connection: close" in head) is not goes_on
    rest = await (down.client.read_until() if goes_on else down.client.read_rest())
    assert (b"HTTP/1.1 403 " in rest) is goes_on    # the second request is answered, or never read
    down.client.close()
    await wait_all_tasks_blocked()
    assert len(down.bench.lines) == 1 + goes_on


async def test_who_waits_for_100_is_refused_without_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery, decide=NO_ROUTE)
    await down.ask(post(10, b"", b"expect: 100-continue"))
    head = await down.client.read_until()
    assert head.startswith(b"HTTP/1.1 403 ")
    assert b"connection: close" in head
    assert trio.current_time() == 0


async def test_a_refused_head_request_gets_no_body(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery, decide=NO_ROUTE)
    await down.ask(GET.replace(b"GET", b"HEAD") + GET)
    assert b"content-length" in await down.client.read_until()
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 403 ")    # at once the next answer's head


async def test_a_refusal_that_closes_arrives_though_the_client_still_sends(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery, decide=Denied(Reason.MISDIRECTED), room=4096)

    async def send() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await down.ask(post(1 << 30) + b"u" * (1 << 22))

    nursery.start_soon(send)
    assert (await down.client.read_rest()).startswith(b"HTTP/1.1 421 ")


async def test_lingering_is_bounded(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery, decide=Denied(Reason.MISDIRECTED))
    await down.ask(GET)
    assert (await down.client.read_rest()).startswith(b"HTTP/1.1 421 ")
    await wait_all_tasks_blocked()
    assert not down.ours.is_closed
    await trio.sleep(5)
    await wait_all_tasks_blocked()
    assert down.ours.is_closed


# -- errors


@pytest.mark.parametrize(("text", "status", "reason"), [
    (b"GET / HTTP/1.1\nhost: a\n\n", 400, Reason.BAD_HEAD),
    (b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400, Reason.BAD_FRAMING),
    (b"CONNECT meta:80 HTTP/1.1\r\nhost: meta:80\r\n\r\nearly", 405, Reason.METHOD),
    (b"GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505, Reason.VERSION),
    (post(1, b"", b"expect: y 100-continue"), 417, Reason.EXPECTATION),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nhost: a\r\n\r\n", 414, Reason.TARGET_TOO_LONG),
    (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431, Reason.HEAD_TOO_LARGE),
])
async def test_after_an_error_nothing_is_parsed(
    text: bytes, status: int, reason: Reason, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    await down.ask(GET + text + GET)    # the error stands in the middle of a pipeline
    up = await down.server.accept()
    await up.read_until()
    await up.send_all(OK)
    assert await down.client.read_until(b"ok") == OK
    rest = await down.client.read_rest()
    assert rest.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close" in rest
    assert rest.count(b"\r\n\r\n") == 1     # one head
    assert len(down.server.made) == 1
    assert down.bench.codes == ["", reason.code]
    assert (down.bench.lines[1]["method"], down.bench.lines[1]["status"]) == ("-", status)


async def test_after_connection_close_nothing_is_parsed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    await down.ask(GET[:-2] + b"connection: close\r\n\r\n" + GET)
    up = await down.server.accept()
    assert b"connection" not in await up.read_until()
    await up.send_all(OK)
    assert await down.client.read_rest() == OK[:-6] + b"\r\nconnection: close\r\n\r\nok"
    await trio.sleep(10)
    assert len(down.bench.lines) == 1


@pytest.mark.parametrize("closes", ["close", "abort"])
async def test_a_client_that_leaves_in_its_head_is_written_down(
    closes: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    await down.ask(GET[:-1])
    await wait_all_tasks_blocked()
    getattr(down.client, closes)()
    await wait_all_tasks_blocked()
    assert down.ours.is_closed
    assert down.bench.codes == [Reason.TIMED_OUT_DOWNSTREAM.code]
    assert "status" not in down.bench.lines[0]


async def test_an_error_of_the_decision_is_a_refusal(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def decide(request: RequestHead, record: Record) -> Decision:
        raise NoEndpoint("none today")

    down = downstream(nursery, decide=decide)
    await down.ask(GET + GET)
    answers = b""
    while answers.count(b"HTTP/1.1 503 ") < 2:
        answers += await down.client.receive_some()
    assert b"none today" in answers


async def test_an_error_before_the_answer_leaves_the_connection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The upstream is in doubt, the client's connection is not."""
    down = downstream(nursery)
    up = await down.reach(GET)
    up.close()
    head = await down.client.read_until()
    assert head.startswith(b"HTTP/1.1 502 ")
    assert b"connection: close" not in head
    up = await down.reach(GET)
    await up.send_all(OK)
    assert (await down.client.read_until(b"HTTP/1.1 200 OK\r\n")).endswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_bug_ends_the_connection_and_is_not_swallowed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def decide(request: RequestHead, record: Record) -> Decision:
        raise RuntimeError("a bug")

    client, ours = stream_pair()
    known = bench(nursery)
    await client.send_all(GET)
    with pytest.raises(RuntimeError):
        await serve_http(ours, known.runtime, decide, lambda: Record(NOW, "outbound"))
    assert len(known.lines) == 1    # what was asked stands in the log all the same


# -- a cut is a cut on every kind of stream


async def test_plaintext_is_cut_with_a_reset(nursery: trio.Nursery) -> None:
    """An HTTP/1.0 client takes the connection's end for the body's: there only a reset says that something is missing."""
    with trio.fail_after(5), socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        up, theirs = stream_pair()

        async def connect() -> Http1Client:
            return Http1Client(theirs)

        async def decide(request: RequestHead, record: Record) -> Decision:
            return Plan(PERMIT, lambda: Upstream("up", connect, b"up", [], "up"))

        with client, server:
            known = bench(nursery, rules(accept_http10=True))
            nursery.start_soon(serve_http, SocketStream(server), known.runtime, decide, lambda: Record(NOW, "outbound"))
            stream = SocketStream(client)
            await stream.send_all(GET.replace(b"1.1", b"1.0"))
            await up.read_until()
            await up.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
            while not (await stream.receive_some()).endswith(b"abc"):
                pass
            up.close()
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()


# -- draining


async def test_draining_the_next_answer_is_the_last(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery, decide=NO_ROUTE)
    await down.ask(GET)
    assert b"connection: close" not in await down.client.receive_some()
    down.bench.runtime.draining.set(True)
    await down.ask(GET)
    assert b"connection: close" in await down.client.read_rest()


async def test_draining_the_next_answer_of_a_rule_is_the_last(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def decide(request: RequestHead, record: Record) -> Decision:
        return Reply(PERMIT, ResponseHead(204, b"No Content", [], NO_BODY, None, is_last=False))

    down = downstream(nursery, decide=decide)
    await down.ask(GET)
    assert b"connection: close" not in await down.client.receive_some()
    down.bench.runtime.draining.set(True)
    await down.ask(GET)
    assert b"connection: close" in await down.client.read_rest()


async def test_draining_the_next_answer_that_is_passed_on_is_the_last(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    up = await down.reach(GET)
    await up.send_all(OK)
    assert await down.client.read_until(b"ok") == OK
    down.bench.runtime.draining.set(True)
    await down.ask(GET)
    await up.read_until()
    await up.send_all(OK)
    assert b"connection: close" in await down.client.read_rest()


@pytest.mark.parametrize(("direction", "is_ended"), [("inbound", True), ("outbound", False)])
async def test_a_caller_that_rests_can_be_told_to_go(
    direction: str, is_ended: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Only between requests, and never an application."""
    down = downstream(nursery, decide=NO_ROUTE, direction=direction)
    await wait_all_tasks_blocked()
    assert not down.bench.runtime.idle      # its first request may be on its way
    await down.ask(GET)
    await down.client.receive_some()
    await wait_all_tasks_blocked()
    assert len(down.bench.runtime.idle) == is_ended
    await down.ask(GET[:5])
    await wait_all_tasks_blocked()
    assert not down.bench.runtime.idle


async def test_an_answer_that_ends_after_draining_began_keeps_its_connection_for_a_moment(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    up = await down.reach(GET)
    await up.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")
    assert (await down.client.read_until(b"\r\n\r\no")).startswith(b"HTTP/1.1 200 ")
    down.bench.runtime.draining.set(True)
    await trio.sleep(5)
    await up.send_all(b"k")
    assert await down.client.read_rest() == b"k"
    assert trio.current_time() == 6
