"""HTTP/2 that goes on as HTTP/1.1 goes the prompt way just as it goes the way of all others: both carry out the same exchanges here.

The library h2 asks; what answers is played here, well or badly.
"""

from collections import Counter
from typing import Any, NamedTuple

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.message import RequestHead
from sidecar.proxy.plan import Plan, Upstream
from sidecar.telemetry.access_log import Record
from tests.helpers.exchange import OK, PERMIT, Server, downstream
from tests.helpers.http2 import GET, POST
from tests.helpers.runtime import bench, rules
from tests.helpers.streams import MemoryStream
from tests.proxy.test_http1_prompt import ANSWERS, CHUNKED, CLOSE, PLANS, RESET, SILENCE
from tests.proxy.test_http2 import GRPC, Client, Fields

Answer = tuple[bytes | str, ...]
LONG = b"HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n" + b"a" * 1000
MORE: list[Answer] = [
    (CHUNKED + b"2\r\nok\r\n", b"0\r\ngrpc-status: 0\r\n\r\n"), (CHUNKED + b"2\r\nok\r\n", b"zz\r\n"), (CHUNKED + b"2\r\nok\r\n", RESET),
    (CHUNKED + b"2\r\nok\r\n", SILENCE), (CHUNKED, b"1\r\na\r\n", b"1\r\nb\r\n", b"0\r\n\r\n"), (LONG, b"a" * 69000), (LONG, CLOSE),
    (b"HTTP/1.1 200 OK\r\n\r\nuntil", RESET), (CHUNKED + b"2\r\nok\r\n0\r\n\r\nmore",), (b"HTTP/1.1 200 OK\nx: y\r\n\r\n",),
]
HEAD: Fields = [(b":method", b"HEAD"), *GET[1:]]
SIZED: Fields = [*POST, (b"content-length", b"4")]
REQUESTS: list[tuple[Fields, bytes | None]] = [
    (GET, None), (HEAD, None), (POST, b""), (POST, b"body"), (SIZED, b"body"), (GRPC, b"\0\0\0\0\1m"), (POST, b"x" * 20000),
    ([*GRPC, (b"grpc-timeout", b"9S")], b"m"),
]
IDLE = 3    # connections to the upstream that are there before


class Asked(NamedTuple):
    """
    Args:
        is_given_up: by the client, once nothing else happens.
    """

    request: tuple[Fields, bytes | None]
    answer: Answer
    is_given_up: bool = False


class Script(NamedTuple):
    """Exchanges that are asked for in one write.

    Args:
        room: between the proxy and the upstream.
        window: of the client's, for each answer.
    """

    exchanges: tuple[Asked, ...]
    plan: str = "plain"
    is_mesh: bool = False
    room: int = 1 << 20
    window: int = 65535


class _Upstreams:
    """Answers by what the script says, whichever connection a request comes by; what is asked again is answered with OK."""

    def __init__(self, script: Script) -> None:
        self.answers = {b"/%d" % number: asked.answer for number, asked in enumerate(script.exchanges)}
        self.asked: list[bytes] = []
        self.seen: Counter[bytes] = Counter()
        self.is_open = trio.Event()

    async def serve(self, up: MemoryStream) -> None:
        try:
            while True:
                head = await up.read_until()
                path = head.split(b" ", 2)[1]
                self.asked.append(head + await self._body(up, head.lower()))
                if path == b"/first":
                    await self.is_open.wait()
                self.seen[path] += 1
                await self._answer(up, self.answers.get(path, (OK,)) if self.seen[path] == 1 else (OK,))
        except (AssertionError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass    # the proxy closed

    async def _body(self, up: MemoryStream, head: bytes) -> bytes:
        if b"chunked" in head:
            return await up.read_until(b"0\r\n\r\n")
        _, found, rest = head.partition(b"content-length: ")
        return await up.read(int(rest.split(b"\r\n")[0])) if found else b""

    async def _answer(self, up: MemoryStream, answer: Answer) -> None:
        for what in answer:
            if isinstance(what, bytes):
                await up.send_all(what)
                await trio.sleep(0.01)
            elif what != SILENCE:
                up.close() if what == CLOSE else up.abort()


async def _play(script: Script, *, is_prompt: bool) -> dict[str, Any]:
    """All that anybody sees of it."""
    observed: list[str] = []
    async with trio.open_nursery() as nursery:
        server, upstreams = Server(script.room), _Upstreams(script)

        async def accept() -> None:
            while True:
                nursery.start_soon(upstreams.serve, await server.accept())

        def decide(request: RequestHead, record: Record) -> Plan:
            def choose() -> Upstream:
                observed.append("chosen")
                return replace(
                    server.upstream(is_mesh=script.is_mesh), observe=lambda is_good: observed.append(f"good: {is_good}"),
                    leave=lambda: observed.append("left"),
                )

            return PLANS[script.plan](Plan(PERMIT, choose, done=lambda: observed.append("done")))

        nursery.start_soon(accept)
        known = bench(nursery, rules(), is_prompt=is_prompt)
        down = downstream(nursery, decide=decide, server=server, room=1 << 20, known=known)
        client = Client(down)
        client.h2.update_settings({4: script.window})       # INITIAL_WINDOW_SIZE
        sids = [await client.ask([*GET[:3], (b":path", b"/first")]) for _ in range(IDLE)]
        upstreams.is_open.set()
        for sid in sids:
            await client.answer(sid)
        await wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living + 1     # with whoever reads for the client
        over: dict[int, float] = {}

        def note() -> bool:
            for sid in client.ended | client.resets.keys():
                over.setdefault(sid, trio.current_time())
            return False

        nursery.start_soon(client.read, note)
        sids = await _ask(client, script)
        await trio.sleep(1)
        tasks = trio.lowlevel.current_statistics().tasks_living - tasks
        for sid, asked in zip(sids, script.exchanges, strict=True):
            if asked.is_given_up and sid not in client.ended | client.resets.keys():
                client.h2.reset_stream(sid)
        await client.send()
        await trio.sleep(400)
        seen = {
            "down": (client.heads, client.bodies, client.trailers, client.ended, client.resets, client.goaways),
            "up": sorted(upstreams.asked), "observed": sorted(observed), "over": over,
            "lines": sorted(({k: v for k, v in line.items() if k != "request_id"} for line in known.lines), key=str),
            "kept": len(known.runtime.pool), "opened": sum(known.runtime.pool.opened.values()), "tasks": tasks,
            "ends": sorted(one.is_aborted for one in server.made),
        }
        nursery.cancel_scope.cancel()
    return seen


async def _ask(client: Client, script: Script) -> list[int]:
    sids = []
    for number, asked in enumerate(script.exchanges):
        fields, body = asked.request
        sids.append(sid := client.h2.get_next_available_stream_id())
        client.h2.send_headers(sid, [(n, b"/%d" % number if n == b":path" else v) for n, v in fields], end_stream=body is None)
        if body is not None:
            for at in range(0, len(body), 16384):
                client.h2.send_data(sid, body[at:at + 16384])
            client.h2.end_stream(sid)
    await client.send()
    return sids


def _plays_alike(script: Script) -> dict[str, Any]:
    async def at_zero(is_prompt: bool) -> dict[str, Any]:
        return await _play(script, is_prompt=is_prompt)

    prompt, slow = (trio.run(at_zero, way, clock=MockClock(autojump_threshold=0)) for way in (True, False))
    tasks = prompt.pop("tasks"), slow.pop("tasks")
    assert prompt == slow
    return prompt | {"tasks": tasks}


@pytest.mark.parametrize("answer", [*ANSWERS, *MORE], ids=lambda answer: repr(answer)[:60])
@pytest.mark.parametrize("plan", PLANS)
def test_both_ways_carry_out_the_same_exchange(answer: Answer, plan: str) -> None:
    """Two of three connections that are there: the answer is given to a GET, and to a call with a body."""
    _plays_alike(Script((Asked((GET, None), answer), Asked((GRPC, b"m"), answer)), plan))


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: repr(request)[:60])
@pytest.mark.parametrize("room", [8, 1 << 20])
def test_both_ways_ask_the_same(request_: tuple[Fields, bytes | None], room: int) -> None:
    """Where there is room for the request, and where it must be waited for."""
    seen = _plays_alike(Script((Asked(request_, (OK,)),), room=room))
    assert len(seen["up"]) == IDLE + 1


@given(
    st.lists(st.builds(Asked, st.sampled_from(REQUESTS), st.sampled_from([*ANSWERS, *MORE]), st.booleans()), min_size=1, max_size=IDLE),
    st.sampled_from(sorted(PLANS)), st.booleans(), st.sampled_from([8, 1 << 20]), st.sampled_from([4000, 65535]),
)
def test_both_ways_carry_out_the_same_exchanges(
    exchanges: list[Asked], plan: str, is_mesh: bool, room: int, window: int
) -> None:
    """Any requests, any answers, any of them given up: one outcome on the wire, in the log, in the pool and for who counts, in time."""
    _plays_alike(Script(tuple(exchanges), plan, is_mesh, room, window))


def test_nobody_waits_for_the_answer() -> None:
    """One task reads for all, which stays; and there is none for each."""
    seen = _plays_alike(Script(tuple(Asked((GET, None), (SILENCE,)) for _ in range(IDLE))))
    assert seen["tasks"] == (0, IDLE)
