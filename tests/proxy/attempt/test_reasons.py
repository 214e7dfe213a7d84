"""Who may say in our words why something was refused."""

from functools import partial

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.message import RequestHead
from sidecar.model.route import HeaderEdit
from sidecar.policy.edit import edit_headers
from sidecar.proxy.plan import Decision
from sidecar.telemetry.access_log import Record
from tests.helpers.exchange import GET, downstream

REFUSED = b"HTTP/1.1 403 No\r\nx-bartizan-reason: %b\r\nX-Bartizan-Rule: theirs\r\nx-envoy-a: 1\r\ncontent-length: 0\r\n\r\n"


async def test_a_mesh_peer_says_why_it_refused(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery, is_mesh=True)
    up = await down.reach(GET)
    await up.send_all(REFUSED % b"BZ0102 identity-not-allowed")
    head = await down.client.read_until()
    assert b"\r\nx-bartizan-reason: BZ0102 identity-not-allowed\r\nX-Bartizan-Rule: theirs\r\n" in head
    assert b"x-envoy" not in head
    await wait_all_tasks_blocked()
    (line,) = down.bench.lines
    assert (line["status"], line["code"], line["reason"], line["rule"]) == (403, "BZ0102", "identity-not-allowed", "test")
    assert down.bench.runtime.metrics.render({}).count('code="BZ0102"') == 1


async def test_nobody_else_can_forge_a_reason(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    down = downstream(nursery)
    up = await down.reach(GET)
    await up.send_all(REFUSED % b"BZ0102 identity-not-allowed")
    assert await down.client.read_until() == b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n"
    await wait_all_tasks_blocked()
    assert down.bench.codes == [""]


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"


@pytest.mark.parametrize(("first", "ask"), [
    (b"HTTP/1.1 103 Early Hints\r\nserver: x\r\nx-bartizan-reason: BZ0102\r\nlink: a\r\n\r\n", GET),
    (SWITCH + b"server: x\r\nx-bartizan-reason: BZ0102\r\nlink: a\r\n\r\n", GET[:-2] + SWITCH.partition(b"\r\n")[2] + b"\r\n"),
], ids=["interim", "switch"])
async def test_what_holds_for_an_answer_holds_for_whatever_comes_before_it(
    first: bytes, ask: bytes, nursery: trio.Nursery, autojump_clock: MockClock,
) -> None:
    """Nobody says our words, and what a rule takes out of answers is in no head of them."""
    async def decide(request: RequestHead, record: Record) -> Decision:
        edit = partial(edit_headers, edit=HeaderEdit(remove=("server",)))
        plan = down.server.plan(adapt=lambda response: replace(response, headers=edit(response.headers)))
        return replace(plan, upgrades=(b"websocket",))

    down = downstream(nursery, decide=decide)
    up = await down.reach(ask)
    await up.send_all(first)
    head = await down.client.read_until()
    assert b"link: a\r\n" in head
    assert b"x-bartizan" not in head
    assert b"server" not in head


@pytest.mark.parametrize("said", [b"BZ9999 unheard-of", b"", b"x" * 9000, b"bz0102", b"BZ0102\r\nx-bartizan-reason: BZ0101"])
async def test_a_reason_that_is_none_of_ours_is_not_written_down(
    said: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Codes are labels of metrics: a peer must not be able to make up new ones."""
    down = downstream(nursery, is_mesh=True)
    up = await down.reach(GET)
    await up.send_all(REFUSED % said)
    await down.client.read_until()
    await wait_all_tasks_blocked()
    assert down.bench.codes == [""]
