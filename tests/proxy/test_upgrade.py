"""WebSocket: only where a route opts in, only after 101 to that very protocol, and never on a connection that others use."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.message import RequestHead
from sidecar.model.reason import Reason
from sidecar.proxy.plan import Decision, Plan
from sidecar.telemetry.access_log import Record
from tests.helpers.exchange import GET, OK, PERMIT, Downstream, downstream
from tests.helpers.runtime import rules

ASK = GET[:-2] + b"connection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\nsec-websocket-key: x\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: y\r\n\r\n"


class Leave:
    def __init__(self) -> None:
        self.is_given = True


def opted_in(nursery: trio.Nursery, leave: Leave | None = None, upgrades: tuple[bytes, ...] = (b"websocket",)) -> Downstream:
    async def decide(request: RequestHead, record: Record) -> Decision:
        return Plan(PERMIT, down.server.upstream, upgrades=upgrades, is_permitted=lambda: leave is None or leave.is_given)

    down = downstream(nursery, decide=decide)
    return down


async def test_both_ways_until_both_have_ended(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = opted_in(nursery)
    await down.ask(ASK + b"early")
    up = await down.server.accept()
    head = await up.read_until()
    assert b"\r\nupgrade: websocket\r\nconnection: upgrade\r\n" in head
    assert b"sec-websocket-key: x" in head
    await up.send_all(SWITCH + b"hello")
    assert (await down.client.read_until(b"hello")).startswith(b"HTTP/1.1 101 ")
    assert await up.read(5) == b"early"
    await down.ask(b"frame")
    assert await up.read(5) == b"frame"
    await up.send_eof()
    assert await down.client.read_rest() == b""
    await down.client.send_eof()
    await wait_all_tasks_blocked()
    assert len(down.bench.runtime.pool) == 0
    (line,) = down.bench.lines
    assert (line["status"], line["received"], line["sent"]) == (101, 10, 5)


async def test_without_opting_in_it_is_an_ordinary_request(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = opted_in(nursery, upgrades=())
    await down.ask(ASK)
    up = await down.server.accept()
    head = await up.read_until()
    assert b"upgrade" not in head.lower()
    await up.send_all(OK)
    assert await down.client.read(len(OK)) == OK


@pytest.mark.parametrize("answer", [
    SWITCH.replace(b"upgrade: websocket", b"upgrade: h2c"),
    SWITCH.replace(b"connection: upgrade\r\n", b""),
    SWITCH.replace(b"upgrade: websocket\r\n", b""),
    SWITCH.replace(b"upgrade: websocket", b"upgrade: websocket, h2c"),
])
async def test_another_switch_is_no_answer(answer: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = opted_in(nursery)
    up = await down.reach(ASK)
    await up.send_all(answer)
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 502 ")
    assert down.bench.codes == [Reason.BAD_RESPONSE.code]


async def test_a_refusal_of_the_server_is_passed_on(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """200 to an upgrade is an answer, not a tunnel: what follows is judged as the next request."""
    down = opted_in(nursery)
    up = await down.reach(ASK + b"GET /hidden HTTP/1.1\r\nhost : a\r\n\r\n")
    await up.send_all(OK)
    assert await down.client.read(len(OK)) == OK
    assert (await down.client.read_until()).startswith(b"HTTP/1.1 400 ")


async def test_it_ends_with_the_leave(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    leave = Leave()
    down = opted_in(nursery, leave)
    up = await down.reach(ASK)
    await up.send_all(SWITCH)
    await down.client.read_until()
    leave.is_given = False
    down.bench.runtime.rules.set(rules())
    with pytest.raises(trio.BrokenResourceError):
        await down.client.read_rest()
    assert down.ours.is_aborted
    assert trio.current_time() == 0
