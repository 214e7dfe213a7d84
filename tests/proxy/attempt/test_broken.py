"""What breaks off midway is never taken for the whole, and nothing in doubt is used again."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.reason import Reason
from tests.helpers.exchange import GET, Downstream, downstream, post
from tests.helpers.streams import MemoryStream
from tests.proxy.attempt.support import CHUNKED_POST, idle_connection

# -- what breaks


@pytest.mark.parametrize(("ask", "begun"), [
    (GET, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"),
    (GET, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"),
    (GET.replace(b"1.1", b"1.0"), b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"),
    (post(3, b"a"), b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"),
])
async def test_a_truncated_answer_never_ends_quietly(
    ask: bytes, begun: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    up = await down.reach(ask)
    await up.send_all(begun)
    await down.client.read_until(b"abc")
    await up.send_eof()
    with pytest.raises(trio.BrokenResourceError):
        await down.client.read_rest()
    assert down.ours.is_aborted
    assert down.server.made[0].is_closed
    assert len(down.bench.runtime.pool) == 0
    (line,) = down.bench.lines      # once, and not as a success
    assert (line["status"], line["code"]) == (200, Reason.RESET.code)


@pytest.mark.parametrize("broken", [
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n+5\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
])
async def test_an_answer_whose_framing_breaks_midway(
    broken: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    up = await down.reach(GET)
    cut = broken.index(b"\r\n\r\n") + 4
    await up.send_all(broken[:cut])
    await down.client.read_until()
    await up.send_all(broken[cut:])
    with pytest.raises(trio.BrokenResourceError):
        await down.client.read_rest()
    assert down.server.made[0].is_closed
    assert down.bench.codes == [Reason.BAD_RESPONSE.code]


async def test_a_request_whose_framing_breaks_midway(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The upstream must not take what it got for the whole: no last chunk."""
    down = downstream(nursery)
    await down.ask(CHUNKED_POST + b"1\r\na\r\n")
    up = await down.server.accept()
    await up.read_until(b"a\r\n")
    await down.ask(b"zz\r\nGET /evil HTTP/1.1\r\n\r\n")
    head = await down.client.read_until()
    assert head.startswith(b"HTTP/1.1 400 ")
    assert Reason.BAD_FRAMING.code.encode() in head
    assert await up.read_rest() == b""
    assert len(down.bench.runtime.pool) == 0


async def test_the_client_goes_away_in_its_body(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    await down.ask(post(10, b"abc"))
    up = await down.server.accept()
    await up.read_until(b"abc")
    down.client.close()
    assert await up.read_rest() == b""
    await wait_all_tasks_blocked()
    assert down.server.made[0].is_closed
    assert down.bench.codes == [Reason.TIMED_OUT_DOWNSTREAM.code]


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\nset-cookie: a\r\n\r\n",
    b"SSH-2.0-OpenSSH\r\n\r\n",
])
async def test_a_malformed_answer_is_ours_to_explain(
    answer: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    up = await down.reach(GET)
    await up.send_all(answer)
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 502 ")
    assert down.server.made[0].is_closed
    await wait_all_tasks_blocked()
    assert down.bench.codes == [Reason.BAD_RESPONSE.code]


# -- what must hold whatever happens


async def in_connect(down: Downstream) -> None:
    async def never() -> MemoryStream:
        await trio.sleep_forever()
        raise AssertionError

    down.server.connect = never     # type: ignore[method-assign]
    await down.ask(GET)


async def in_sending_the_request(down: Downstream) -> None:
    await down.ask(GET)             # more than the 10 bytes that there is room for


async def in_the_response_head(down: Downstream) -> None:
    up = await down.reach(GET)
    await up.send_all(b"HTTP/1.1 200")


async def in_sending_the_response(down: Downstream) -> None:
    up = await down.reach(GET)
    await up.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\nx: " + b"x" * 5000 + b"\r\n\r\n")


async def in_the_response_body(down: Downstream) -> None:
    up = await down.reach(GET)
    await up.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
    await up.send_all(b"abc")


async def in_the_request_body(down: Downstream) -> None:
    await down.ask(post(10, b"abc"))
    await (await down.server.accept()).read_until(b"abc")


async def in_sending_the_request_body(down: Downstream) -> None:
    await down.ask(post(1000))
    await (await down.server.accept()).read_until()
    await down.ask(b"u" * 1000)


async def in_passing_on_100(down: Downstream) -> None:
    up = await down.reach(post(10, b"", b"expect: 100-continue"))
    await up.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize("upto", [
    in_connect, in_sending_the_request, in_the_response_head, in_sending_the_response, in_the_response_body, in_the_request_body,
    in_sending_the_request_body, in_passing_on_100,
])
@pytest.mark.parametrize("is_reused", [False, True])
async def test_cancelled_anywhere_nothing_in_doubt_is_kept(
    upto: Callable[[Downstream], Awaitable[None]], is_reused: bool, nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    room = 2 if upto in (in_passing_on_100,) else 100 if upto is in_sending_the_response else 65536
    down = downstream(nursery, room=room)
    down.server.room = 10 if upto is in_sending_the_request else 100 if upto is in_sending_the_request_body else 65536
    if is_reused and upto not in (in_connect, in_sending_the_request):
        up = await idle_connection(down)

        async def again() -> MemoryStream:
            return up

        down.server.accept = again  # type: ignore[method-assign]
    down.client.is_aborted = False
    with trio.fail_after(1):        # of virtual time: where the scenario stands still, the exchange does, too
        nursery.start_soon(upto, down)
        await wait_all_tasks_blocked()
    down.scope.cancel()
    await wait_all_tasks_blocked()
    assert len(down.bench.runtime.pool) == 0
    assert all(stream.is_closed for stream in down.server.made)
    assert down.ours.is_closed
    begun = upto in (in_sending_the_response, in_the_response_body)
    assert down.ours.is_aborted == begun    # what was begun is cut, so that it cannot be taken for the whole
    assert len(down.bench.lines) == 1 + (is_reused and upto not in (in_connect, in_sending_the_request))
    nursery.cancel_scope.cancel()
