"""Copies of requests: beside the exchange, never in its way, and no more than a few at a time."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.message import RequestHead
from sidecar.net.http1_client import Http1Client
from sidecar.net.listener import Tally
from sidecar.proxy.mirror import AT_ONCE, WAITING
from sidecar.proxy.plan import Decision, Plan, Upstream
from sidecar.telemetry.access_log import Record
from tests.helpers.exchange import GET, OK, PERMIT, Downstream, Server, downstream, post


class Shadow(Server):
    """Where copies go; `left` counts the attempts that are over."""

    left = 0

    def leave(self) -> None:
        self.left += 1


def mirrored(nursery: trio.Nursery, shadow: Shadow, tally: Tally) -> Downstream:
    async def decide(request: RequestHead, record: Record) -> Decision:
        copy = Upstream("shadow", shadow.connect, b"shadow.test", [], "shadow", leave=shadow.leave)
        return Plan(PERMIT, down.server.upstream, mirror=copy)

    down = downstream(nursery, decide=decide)
    nursery.start_soon(down.bench.runtime.mirrors.run, down.bench.runtime.pool, tally)
    return down


def outcomes(down: Downstream) -> dict[str, float]:
    count = down.bench.runtime.metrics.get
    return {name: count("bartizan_mirrored_total", (("outcome", name),)) for name in ("sent", "failed", "too-large", "too-many")}


async def test_the_copy_is_the_request_and_its_answer_is_thrown_away(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    shadow = Shadow()
    down = mirrored(nursery, shadow, Tally())
    await down.ask(post(5, b"hello"))
    other = await shadow.accept()
    head = await other.read_until(b"hello")
    assert b"host: shadow.test" in head
    assert b"content-length: 5" in head
    up = await down.server.accept()
    await up.read_until(b"hello")
    await other.send_all(b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno")
    await up.send_all(OK)
    assert await down.client.read(len(OK)) == OK
    await wait_all_tasks_blocked()
    assert (shadow.left, outcomes(down)["sent"]) == (1, 1)


async def test_a_shadow_that_is_silent_delays_nobody(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    shadow = Shadow()
    down = mirrored(nursery, shadow, Tally())
    await down.ask(GET)
    up = await down.server.accept()
    await up.read_until()
    await up.send_all(OK)
    assert await down.client.read(len(OK)) == OK
    assert trio.current_time() == 0
    await trio.sleep(60)
    assert (shadow.left, outcomes(down)["failed"]) == (1, 1)


async def test_a_body_on_its_way_is_not_copied(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    shadow = Shadow()
    down = mirrored(nursery, shadow, Tally())
    await down.ask(post(5, b"he"))
    await (await down.server.accept()).read_until(b"he")
    assert (shadow.made, shadow.left, outcomes(down)["too-large"]) == ([], 1, 1)


async def test_beyond_a_few_copies_are_dropped(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    shadow = Shadow()
    down = mirrored(nursery, shadow, Tally())
    asked = AT_ONCE + WAITING + 1
    for _ in range(asked):
        await down.ask(GET)
        if not down.server.made:
            up = await down.server.accept()
        await up.read_until()
        await up.send_all(OK)
        await down.client.read(len(OK))
    assert outcomes(down)["too-many"] == 1


async def test_a_bug_costs_one_copy(
    nursery: trio.Nursery, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str],
) -> None:
    """Copies have no connection that would end with them: what nobody expected is counted, and the next one is sent."""
    shadow = Shadow()
    broken = [True]
    connect = shadow.connect

    async def sometimes() -> Http1Client:
        if broken.pop():
            raise AssertionError("a bug")
        return await connect()

    shadow.connect = sometimes     # type: ignore[method-assign]
    tally = Tally()
    down = mirrored(nursery, shadow, tally)
    for number in range(2):
        await down.ask(GET)
        if not number:
            up = await down.server.accept()
        await up.read_until()
        await up.send_all(OK)
        await down.client.read(len(OK))
        await wait_all_tasks_blocked()
        broken.append(False)
    await (await shadow.accept()).send_all(OK)
    await wait_all_tasks_blocked()
    assert (tally.bugs, shadow.left, outcomes(down)["failed"], outcomes(down)["sent"]) == (1, 2, 1, 1)
    assert "a bug" in capsys.readouterr().err
