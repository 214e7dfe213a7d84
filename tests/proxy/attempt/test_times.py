"""How long each phase may take, and who is blamed."""

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.message import RequestHead
from sidecar.model.reason import Reason
from sidecar.proxy.plan import Decision
from sidecar.telemetry.access_log import Record
from tests.helpers.exchange import GET, downstream, post
from tests.helpers.streams import MemoryStream
from tests.proxy.attempt.support import CHUNKED_POST


@pytest.mark.parametrize(("answer", "status", "reason", "after_s"), [
    (b"", 504, Reason.TIMED_OUT, 60),
    (b"HTTP/1.1 103 Early\r\n\r\n", 504, Reason.TIMED_OUT, 60),
    (b"HTTP/1.1 200 OK\r\ncontent-le", 504, Reason.TIMED_OUT, 60),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na", 0, Reason.TIMED_OUT, 300),
])
async def test_an_upstream_that_falls_silent(
    answer: bytes, status: int, reason: Reason, after_s: float, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    up = await down.reach(GET)
    await up.send_all(answer)
    if b"103" in answer:
        assert await down.client.read_until() == answer
    if status:
        assert (await down.client.read_until()).startswith(b"HTTP/1.1 %d " % status)
    else:
        with pytest.raises(trio.BrokenResourceError):
            await down.client.read_rest()
    assert trio.current_time() == after_s
    assert await up.read_rest() == b""      # it was hung up on
    down.client.close()
    await wait_all_tasks_blocked()
    assert down.bench.codes == [reason.code]


async def test_an_upstream_that_cannot_be_reached(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)

    async def never() -> MemoryStream:
        await trio.sleep_forever()
        raise AssertionError

    down.server.connect = never     # type: ignore[method-assign]
    await down.ask(GET)
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 504 ")
    assert trio.current_time() == 10


async def test_slow_is_not_silent(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Each piece has its time; the whole has as long as it takes."""
    down = downstream(nursery)
    up = await down.reach(post(90_000))
    for _ in range(3):
        await trio.sleep(59)
        await down.ask(b"u" * 30_000)
        assert await up.read(30_000) == b"u" * 30_000
    await trio.sleep(59)
    await up.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n")
    for _ in range(3):
        await trio.sleep(59)
        await up.send_all(b"d")
    assert (await down.client.read_until(b"ddd")).startswith(b"HTTP/1.1 200 ")


async def test_an_upload_may_not_trickle(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """One byte before each deadline would hold a connection for days: after a minute it has to keep up a rate."""
    down = downstream(nursery)
    await down.reach(post(1000))
    for _ in range(6):
        await trio.sleep(10)
        await down.ask(b"u")
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 408 ")
    assert 60 < trio.current_time() < 61


async def test_a_client_that_falls_silent_in_its_body_is_blamed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    down = downstream(nursery)
    await down.ask(post(3, b"a"))
    up = await down.server.accept()
    await up.read_until(b"a")
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 408 ")
    assert trio.current_time() == 60
    assert await up.read_rest() == b""


async def test_an_upstream_that_takes_no_body_is_blamed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery, upstream_room=100)
    nursery.start_soon(down.ask, post(50_000))
    await down.server.accept()
    nursery.start_soon(down.ask, b"u" * 50_000)
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 504 ")
    assert trio.current_time() == 60


async def test_a_client_that_takes_no_answer(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery, room=100)
    up = await down.reach(GET)
    await up.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n" + b"d" * 1000)
    assert await up.read_rest() == b""
    assert trio.current_time() == 60
    assert down.bench.codes == [Reason.TIMED_OUT_DOWNSTREAM.code]
    assert down.ours.is_aborted


@pytest.mark.parametrize("idle_s", [5.0, 900.0])
@pytest.mark.parametrize(("ask", "answer", "told"), [
    (GET, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na", Reason.TIMED_OUT),
    (post(3, b"a"), b"", Reason.TIMED_OUT_DOWNSTREAM),
    (CHUNKED_POST, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na", Reason.TIMED_OUT),
])
async def test_bodies_pause_as_long_as_the_rule_says(
    idle_s: float, ask: bytes, answer: bytes, told: Reason, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def decide(request: RequestHead, record: Record) -> Decision:
        return replace(down.server.plan(), idle_s=idle_s)

    down = downstream(nursery, decide=decide)
    await down.ask(ask)
    up = await down.server.accept()
    await up.read_until(ask[-1:])
    await up.send_all(answer)
    await up.read_rest()
    assert trio.current_time() == idle_s
    await wait_all_tasks_blocked()
    assert down.bench.codes == [told.code]
