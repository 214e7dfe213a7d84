"""What goes the prompt way is told of and answered just as what goes the way of all others: both carry out the same exchanges here."""

from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.message import RequestHead
from sidecar.model.service import Retries
from sidecar.proxy.plan import Decision, Plan, Upstream
from sidecar.proxy.stay_plain import stay_plain
from sidecar.telemetry.access_log import Record
from tests.helpers.exchange import GET, OK, PERMIT, Downstream, Server, downstream, post
from tests.helpers.streams import MemoryStream

CLOSE, RESET, SILENCE = "close", "reset", "silence"
HEAD = b"HEAD / HTTP/1.1\r\nhost: a.test\r\n\r\n"
LAST = GET[:-2] + b"connection: close\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\nhost: a.test\r\n\r\n"
TRAILERS = GET[:-2] + b"te: trailers\r\nconnection: te\r\n\r\n"
UPGRADE = GET[:-2] + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
ANSWERS: list[tuple[bytes | str, ...]] = [
    (OK,), (OK[:10], OK[10:]), (OK[:-1], OK[-1:]), (OK[:-2], SILENCE), (OK[:-1], CLOSE), (OK[:-1], RESET), (OK + b"more",),
    (b"HTTP/1.1 204 No Content\r\n\r\n",), (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n",),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",), (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",),
    (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",), (b"HTTP/1.1 200 OK\r\n\r\nuntil", b"close", CLOSE),
    (CHUNKED + b"2\r\nok\r\n0\r\n\r\n",), (CHUNKED + b"2\r\nok\r\n", b"0\r\nx-sum: 1\r\n\r\n"), (CHUNKED + b"zz\r\n",),
    (b"HTTP/1.1 100 Continue\r\n\r\n", OK), (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK,),
    (b"HTTP/1.1 103 Early Hints\r\n\r\n", RESET), (b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nhi",),
    (b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno",), (b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno",),
    (b"HTTP/1.1 403 No\r\nx-bartizan-reason: BZ0101 no-route\r\ncontent-length: 0\r\n\r\n",),
    (b"HTTP/1.1 302 Found\r\nlocation: https://a.test/b\r\nstrict-transport-security: x\r\ncontent-length: 0\r\n\r\n",),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok",), (b"nonsense\r\n\r\n",), (SILENCE,), (CLOSE,), (RESET,),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n" + b"a" * 70000,),
]
REQUESTS = [GET, HEAD, LAST, OLD, TRAILERS, UPGRADE, post(0), post(3, b"abc")]
PLANS: dict[str, Callable[[Plan], Plan]] = {
    "plain": lambda plan: plan,
    "retries": lambda plan: replace(plan, retries=Retries(2, on=("503", "reset", "connect-failure")), may_retry=lambda: True),
    "in-time": lambda plan: replace(plan, request_s=7.0),
    "adapted": lambda plan: replace(plan, adapt=lambda head: stay_plain(head, host=b"a.test", port=80, tls_port=443)),
}


class Script(NamedTuple):
    """Exchanges of one connection: what the client sends, and what the upstream does after it."""

    exchanges: tuple[tuple[bytes, tuple[bytes | str, ...]], ...]
    plan: str = "plain"
    is_mesh: bool = False
    room: int = 65536
    is_deaf: bool = False       # the client, for 100 s
    is_draining: bool = False   # from the second exchange on


async def _play(script: Script, *, is_prompt: bool) -> dict[str, Any]:
    """All that anybody sees of it."""
    seen: dict[str, Any] = {"up": [], "observed": [], "left": 0}
    queue = [answer for _, answer in script.exchanges]

    async def serve(up: MemoryStream) -> None:
        asked = b""
        try:
            while queue:
                while not asked.endswith((b"\r\n\r\n", b"abc")):
                    data = await up.receive_some()
                    if not data:
                        return
                    asked += data
                seen["up"].append(asked)
                asked = b""
                for what in queue.pop(0) if queue else (OK,):
                    if isinstance(what, bytes):
                        await up.send_all(what)
                        await wait_all_tasks_blocked()
                    elif what != SILENCE:
                        up.close() if what == CLOSE else up.abort()
                        return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async with trio.open_nursery() as nursery:
        server = Server()

        async def accept() -> None:
            while True:
                nursery.start_soon(serve, await server.accept())

        nursery.start_soon(accept)
        numbers = count()

        def leave() -> None:
            seen["left"] += 1

        def choose() -> Upstream:
            next(numbers)
            return replace(server.upstream(is_mesh=script.is_mesh), observe=seen["observed"].append, leave=leave)

        async def decide(request: RequestHead, record: Record) -> Decision:
            plan = PLANS[script.plan](Plan(PERMIT, choose, upgrades=(b"websocket",)))
            # What counts bytes is out of the ordinary.
            return plan if is_prompt else replace(plan, spend=lambda count: None)

        down = downstream(nursery, decide=decide, server=server, room=script.room)
        got = await _ask(down, script)
        seen |= {
            "down": got, "chosen": next(numbers), "at": trio.current_time(), "lines": down.bench.lines,
            "kept": len(down.bench.runtime.pool),
            "opened": sum(down.bench.runtime.pool.opened.values()), "aborted": [one.is_aborted for one in (down.ours, *server.made)],
        }
        nursery.cancel_scope.cancel()
    return seen


async def _ask(down: Downstream, script: Script) -> list[bytes]:
    got = []
    for request, wait_s in [*((request, 5) for request, _ in script.exchanges), (b"", 400)]:
        text = b""
        down.bench.runtime.draining.set(script.is_draining and bool(got))
        try:
            await down.client.send_all(request)
            if script.is_deaf and got:
                await trio.sleep(100)
            with trio.move_on_after(wait_s):
                while piece := await down.client.receive_some():
                    text += piece
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            text += b"<cut>"
        got.append(text)
    return got


def _plays_alike(script: Script) -> dict[str, Any]:
    async def at_zero(is_prompt: bool) -> dict[str, Any]:
        return await _play(script, is_prompt=is_prompt)

    prompt, slow = (trio.run(at_zero, way, clock=MockClock(autojump_threshold=0)) for way in (True, False))
    for line in (*prompt["lines"], *slow["lines"]):
        assert len(line.pop("request_id", "")) in (0, 32)
    assert prompt == slow
    return prompt


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: repr(answer)[:60])
@pytest.mark.parametrize("plan", PLANS)
def test_both_ways_carry_out_the_same_exchange(answer: tuple[bytes | str, ...], plan: str) -> None:
    """The second of three on a connection: the upstream's is there already, and what is left of it serves the third."""
    seen = _plays_alike(Script(((GET, (OK,)), (GET, answer), (GET, (OK,))), plan))
    assert seen["up"][0].startswith(b"GET / HTTP/1.1\r\n")
    assert seen["down"][0] == OK


@pytest.mark.parametrize("last", [GET, LAST, OLD, HEAD, post(3, b"abc")], ids=repr)
@pytest.mark.parametrize("plan", PLANS)
def test_both_ways_tell_alike_what_the_upstream_answers_again_and_again(last: bytes, plan: str) -> None:
    seen = _plays_alike(Script((*((GET, (OK,)) for _ in range(3)), (last, (OK,))), plan))
    assert seen["down"][2] == OK


@pytest.mark.parametrize("script", [
    Script(((GET, (OK,)), (GET, (OK,)), (GET, (OK,))), room=8, is_deaf=True), Script(((GET, (OK,)), (GET, (OK,))), is_draining=True),
    Script(((GET, (OK,)), (GET, (b"HTTP/1.1 103 Early Hints\r\n\r\n", OK)))),
])
def test_both_ways_are_held_back_and_drained_alike(script: Script) -> None:
    _plays_alike(script)


@given(
    st.lists(st.tuples(st.sampled_from(REQUESTS), st.sampled_from(ANSWERS)), min_size=1, max_size=4), st.sampled_from(sorted(PLANS)),
    st.booleans(), st.sampled_from([8, 65536]), st.booleans(), st.booleans(),
)
def test_both_ways_carry_out_the_same_exchanges(
    exchanges: list[tuple[bytes, tuple[bytes | str, ...]]], plan: str, is_mesh: bool, room: int, is_deaf: bool, is_draining: bool,
) -> None:
    """Any requests, any answers: one outcome on the wire, in the log, in the pool and for who counts, at the same time."""
    _plays_alike(Script(tuple(exchanges), plan, is_mesh, room, is_deaf, is_draining))
