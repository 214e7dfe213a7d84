"""What holds for all prompt exchanges of a connection: whatever goes wrong with one, what it took is given back, and told of once.

Which they are, and that they are carried out as all others are, tests/proxy/http2_prompt tries.
"""

from collections.abc import Callable

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.message import RequestHead
from sidecar.net.http1_client import Http1Client
from sidecar.proxy.plan import Decision, Plan, Upstream
from sidecar.telemetry.access_log import Record
from tests.helpers.exchange import OK, Server, downstream
from tests.helpers.http2 import GET
from tests.proxy.http2_prompt.support import Up
from tests.proxy.test_http2 import Client

BUG = AssertionError("a bug")


def fail(*_: object) -> None:
    raise BUG


class Broken(dict[str, object]):
    """Fields that cannot be sent."""

    def __iter__(self) -> None:     # type: ignore[override]
        raise BUG


def in_choice(plan: Plan) -> Plan:
    return replace(plan, choose=fail)


def in_sending(plan: Plan) -> Plan:
    choose = plan.choose
    return replace(plan, choose=lambda: replace(choose(), headers=Broken()))


def in_the_answer(plan: Plan) -> Plan:
    return replace(plan, adapt=fail)


@pytest.mark.parametrize(("break_it", "taken"), [(in_choice, 0), (in_sending, 1), (in_the_answer, 1)])
async def test_a_bug_leaves_nothing_taken(break_it: Callable[[Plan], Plan], taken: int, autojump_clock: MockClock) -> None:
    """Its connection ends with it; the place at the endpoint, what was counted as under way and the upstream's stream are free again."""
    notes: list[str] = []

    def noted(upstream: Upstream) -> Upstream:
        notes.append("entered")
        return replace(upstream, leave=lambda: notes.append("left"))

    def decide(request: RequestHead, record: Record) -> Decision:
        plan = server.plan()
        plan = replace(plan, choose=lambda: noted(server.upstream()), done=lambda: notes.append("done"))
        return plan if request.path == b"/first" else break_it(plan)

    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="a bug"), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            server = Server(1 << 20, is_http2=True)
            down, up = await _served(nursery, server, decide)
            notes.clear()
            await down.ask(GET)
            if break_it is in_the_answer:
                await up.answer(await up.request())
            await trio.sleep_forever()
    assert sorted(notes) == sorted(["entered", "left"] * taken + ["done"])
    assert [line.get("detail") for line in down.down.bench.lines] == [None, "ended before it was complete"]


async def test_a_bug_in_waiting_gives_back_once(autojump_clock: MockClock) -> None:
    """The request is sent, and the kernel cannot say when its answer comes. A place given back twice would be one too many for ever."""
    notes: list[str] = []

    def decide(request: RequestHead, record: Record) -> Decision:
        upstream = replace(server.upstream(), leave=lambda: notes.append("left"))
        return replace(server.plan(), choose=lambda: upstream, done=lambda: notes.append("done"))

    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="a bug"), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            server = Server(1 << 20)
            client = Client(downstream(nursery, decide=decide, server=server))
            first = await client.ask(GET)
            up = await server.accept()
            await up.read_until()
            await up.send_all(OK)
            await client.answer(first)
            await wait_all_tasks_blocked()
            notes.clear()
            (connection,) = client.down.bench.runtime.pool._places
            assert isinstance(connection, Http1Client)
            connection._tell_input = fail
            await client.ask(GET)
            await trio.sleep_forever()
    assert sorted(notes) == ["done", "left"]
    assert [line.get("detail") for line in client.down.bench.lines] == [None, "ended before it was complete"]


async def test_one_that_cannot_even_be_ended_keeps_nobody_else(autojump_clock: MockClock) -> None:
    notes: list[str] = []

    def decide(request: RequestHead, record: Record) -> Decision:
        return replace(server.plan(), done=fail if request.path == b"/bug" else lambda: notes.append("done"))

    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="a bug"), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            server = Server(1 << 20, is_http2=True)
            down, up = await _served(nursery, server, decide)
            for path in (b"/a", b"/bug", b"/b"):
                await down.ask([*GET[:3], (b":path", path)])
                await up.request()
            notes.clear()
            down.down.client.close()
            await trio.sleep_forever()
    assert notes == ["done", "done"]


async def _served(
    nursery: trio.Nursery, server: Server, decide: Callable[[RequestHead, Record], Decision]
) -> tuple[Client, Up]:
    """A client, and the upstream's connection that its first exchange has made."""
    client = Client(downstream(nursery, decide=decide, server=server))
    first = await client.ask([*GET[:3], (b":path", b"/first")])
    up = Up(await server.accept())
    await up.send()
    await up.answer(await up.request())
    await client.answer(first)
    await wait_all_tasks_blocked()
    return client, up
