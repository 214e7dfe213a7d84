"""Attempts that follow one another: when, how many, and what each of them gives back."""

from dataclasses import dataclass, field

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.message import RequestHead
from sidecar.model.reason import Reason
from sidecar.model.service import Retries
from sidecar.proxy.forward import forward
from sidecar.proxy.plan import Decision, Plan, Upstream
from sidecar.telemetry.access_log import Record
from tests.helpers.exchange import GET, OK, PERMIT, Downstream, Server, downstream, post

TWICE = Retries(attempts=2, on=("reset", "503"))
BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"


@dataclass
class Counted(Server):
    """A server that writes down how its attempts went, and how many are over."""

    seen: list[bool] = field(default_factory=list)
    left: int = 0

    def leave(self) -> None:
        self.left += 1

    def counted(self) -> Upstream:
        return replace(self.upstream(), observe=self.seen.append, leave=self.leave)


def retried(nursery: trio.Nursery, server: Counted, budget: int = 9) -> Downstream:
    """A connection whose requests may be tried three times."""
    left = iter([True] * budget)

    async def decide(request: RequestHead, record: Record) -> Decision:
        return Plan(PERMIT, server.counted, retries=TWICE, may_retry=lambda: next(left, False))

    return downstream(nursery, decide=decide, server=server)


async def test_nothing_goes_without_a_permit(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    for forged in (None, True, "permit"):
        with pytest.raises(AssertionError):
            await forward(None, Plan(forged, down.server.upstream), down.bench.runtime, None)  # type: ignore[arg-type]
    assert down.server.made == []


async def test_an_attempt_that_fails_is_followed_by_the_next(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = Counted()
    down = retried(nursery, server)
    await down.ask(GET)
    (await server.accept()).abort()
    up = await server.accept()
    await up.read_until()
    await up.send_all(BUSY)
    await up.read_until()           # what answered completely is asked again on the same connection
    await up.send_all(OK)
    assert await down.client.read_until(b"ok") == OK
    await wait_all_tasks_blocked()
    assert (server.seen, server.left) == ([False, False, True], 3)
    assert down.bench.codes == [""]


async def test_the_last_attempt_is_what_the_client_is_told(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = Counted()
    down = retried(nursery, server)
    await down.ask(GET)
    for _ in range(3):
        (await server.accept()).abort()
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 502 ")
    await wait_all_tasks_blocked()
    assert (server.seen, server.left) == ([False] * 3, 3)
    assert down.bench.codes == [Reason.RESET.code]


async def test_what_is_not_paid_for_is_not_tried(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = Counted()
    down = retried(nursery, server, budget=1)
    await down.ask(GET)
    for _ in range(2):
        (await server.accept()).abort()
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 502 ")
    assert len(server.made) == 2


async def test_after_an_interim_answer_there_is_no_other_attempt(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = Counted()
    down = retried(nursery, server)
    await down.ask(GET)
    up = await server.accept()
    await up.read_until()
    await up.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    await down.client.read_until()
    up.abort()
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 502 ")
    assert len(server.made) == 1


async def test_a_body_that_may_have_been_acted_upon_is_not_sent_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = Counted()
    down = retried(nursery, server)
    await down.ask(post(2, b"ab").replace(b"POST", b"PUT"))
    up = await server.accept()
    await up.read_until(b"ab")
    up.abort()
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 502 ")
    assert len(server.made) == 1


@pytest.mark.parametrize("body", [b"", b"ab"])
async def test_an_attempt_is_judged_once(body: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """By the head of its answer: what breaks off later was begun well, whether or not a body was still going up."""
    server = Counted()
    down = retried(nursery, server)
    await down.ask(post(4, body) if body else GET)
    up = await server.accept()
    await up.read_until(body or b"\r\n\r\n")
    await up.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na")
    await down.client.read_until(b"a")
    up.abort()
    with pytest.raises(trio.BrokenResourceError):
        await down.client.read_rest()
    await wait_all_tasks_blocked()
    assert (server.seen, server.left) == ([True], 1)
