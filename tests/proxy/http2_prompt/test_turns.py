"""What makes it the prompt way: no task, one write for what one read brings; and what a bug there ends."""

from collections.abc import Callable

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.message import RequestHead, ResponseHead
from sidecar.net.http2_client import Http2Client
from sidecar.proxy.plan import Decision
from sidecar.telemetry.access_log import Record
from tests.helpers.exchange import Downstream, Server, downstream
from tests.helpers.http2 import GET, OK, POST
from tests.proxy.http2_prompt.support import Fields, Up, carried
from tests.proxy.test_http2 import Client


@pytest.mark.parametrize(("fields", "body", "count"), [(GET, None, 10), (POST, b"c" * 1029, 100)])
@pytest.mark.parametrize("is_prompt", [True, False])
async def test_it_has_no_task(fields: Fields, body: bytes | None, count: int, is_prompt: bool, autojump_clock: MockClock) -> None:
    async def play(client: Client, up: Up, down: Downstream) -> None:
        up.h2.increment_flow_control_window(1 << 20)
        await up.send()
        await wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        sids = [await client.ask(fields, body) for _ in range(count)]
        await up.read(lambda: len(up.whole) == count + 1)
        await wait_all_tasks_blocked()
        # The first that waits for an upstream connection has somebody read there, for all.
        assert trio.lowlevel.current_statistics().tasks_living - before == (1 if is_prompt else count)
        for sid in up.whole[1:]:
            await up.answer(sid)
        for sid in sids:
            assert await client.answer(sid) == b"ok"

    await carried(play, is_prompt=is_prompt)


async def test_what_one_read_brings_leaves_in_one_write(autojump_clock: MockClock) -> None:
    async def play(client: Client, up: Up, down: Downstream) -> None:
        ours = down.server.made[0]
        await wait_all_tasks_blocked()
        sent: list[int] = []
        for stream in (ours, down.ours):
            send = stream.send_nowait

            def counted(data: bytes | memoryview, send: Callable[[bytes | memoryview], int] = send) -> int:
                sent.append(len(data))
                return send(data)

            stream.send_nowait = counted    # type: ignore[method-assign]
        sids = []
        for _ in range(20):
            sids.append(client.h2.get_next_available_stream_id())
            client.h2.send_headers(sids[-1], GET, end_stream=True)
        await client.send()
        await wait_all_tasks_blocked()
        assert len(sent) == 1
        await up.read(lambda: len(up.whole) == 21)
        for sid in up.whole[1:]:
            up.h2.send_headers(sid, OK)
            up.h2.send_data(sid, b"ok", end_stream=True)
        await up.send()
        for sid in sids:
            assert await client.answer(sid) == b"ok"
        assert len(sent) == 2

    await carried(play, is_prompt=True)


async def test_one_with_a_bug_ends_its_own_connection_only(autojump_clock: MockClock) -> None:
    """Its answer is carried out by whoever reads at the upstream, perhaps for another client."""
    def adapt(response: ResponseHead) -> ResponseHead:
        raise AssertionError("a bug")

    def decide(request: RequestHead, record: Record) -> Decision:
        return replace(server.plan(), adapt=adapt if request.path == b"/bug" else None)

    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="a bug"), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            server = Server(1 << 20, is_http2=True)
            right = downstream(nursery, decide=decide, server=server)
            client = Client(right)
            first = await client.ask(GET)
            up = Up(await server.accept())
            await up.send()
            await up.answer(await up.request())
            await client.answer(first)
            async with trio.open_nursery() as inner:
                wrong = Client(downstream(inner, decide=decide, server=server, known=right.bench))
                await wrong.ask([*GET[:3], (b":path", b"/bug")])
                await up.request()
                sid = await client.ask(GET)
                await up.request()
                for asked in up.whole[1:]:
                    up.h2.send_headers(asked, OK)
                    up.h2.send_data(asked, b"ok", end_stream=True)
                with trio.CancelScope(shield=True):
                    await up.send()
                    assert await client.answer(sid) == b"ok"
                await trio.sleep_forever()


async def test_a_bug_in_reading_leaves_nobody_waiting(autojump_clock: MockClock) -> None:
    """Whoever reads for the others ends with it, and the others hear that the upstream's connection is over."""
    def broken(event: object) -> None:
        raise AssertionError("a bug")

    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="a bug"), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            server = Server(1 << 20, is_http2=True)
            client = Client(downstream(nursery, server=server))
            first = await client.ask(GET)
            up = Up(await server.accept())
            await up.send()
            await up.answer(await up.request())
            await client.answer(first)
            await client.ask(GET)
            asked = await up.request()
            connection = next(iter(client.down.bench.runtime.pool._places))
            assert isinstance(connection, Http2Client)
            connection._link.on_response = broken   # type: ignore[method-assign]
            await up.answer(asked)
            await trio.sleep_forever()
    assert connection.room == 0
