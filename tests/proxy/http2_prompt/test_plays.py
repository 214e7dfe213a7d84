"""One exchange, or a few: whatever happens to them happens on both ways."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.protocol.http2.frames import Code
from tests.helpers.exchange import Downstream
from tests.helpers.http2 import GET, OK, POST
from tests.proxy.http2_prompt.support import Fields, Play, Up, carried
from tests.proxy.test_http2 import GRPC, Client

HEAD: Fields = [(b":method", b"HEAD"), *GET[1:]]


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
