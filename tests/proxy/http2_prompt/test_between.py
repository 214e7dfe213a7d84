"""What stays while no exchange is on: who reads, who drains, and who is gone."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.protocol.http2 import frames
from tests.helpers.exchange import Downstream, downstream
from tests.helpers.http2 import GET, POST, Raw, goaways, headers
from tests.proxy.http2_prompt.support import Up, carried
from tests.proxy.test_http2 import Client


@pytest.mark.parametrize("is_prompt", [True, False])
async def test_a_drain_waits_for_the_last_one(is_prompt: bool, autojump_clock: MockClock) -> None:
    async def play(client: Client, up: Up, down: Downstream) -> None:
        raw = Raw(down.client)      # h2 bears nothing behind GOAWAY
        await raw.send(headers(3, GET))
        asked = await up.request()
        down.bench.runtime.draining.set(True)
        await raw.until(goaways)
        await raw.send(frames.render(frames.PING, frames.ACK, 0, b"bartizan"))
        await wait_all_tasks_blocked()
        assert not raw.has_ended(3)
        await up.answer(asked)
        await raw.until(lambda _: raw.has_ended(3))
        assert raw.data(3) == b"ok"
        while await down.client.receive_some():
            pass    # the last word

    await carried(play, is_prompt=is_prompt)


@pytest.mark.parametrize("is_prompt", [True, False])
async def test_an_upstream_that_went_while_nothing_was_on(is_prompt: bool, autojump_clock: MockClock) -> None:
    """With GOAWAY or without a word: it is not asked again."""
    async def play(client: Client, up: Up, down: Downstream) -> None:
        for has_words in (True, False):
            if has_words:
                up.h2.close_connection()
                await up.send()
            else:
                up.stream.close()
            sid = await client.ask(POST, b"body")
            again = Up(await down.server.accept())
            await again.send()
            await again.answer(await again.request())
            assert await client.answer(sid) == b"ok"
            up = again
        up.stream.close()

    await carried(play, is_prompt=is_prompt)


async def test_who_reads_at_an_upstream_ends_with_it(autojump_clock: MockClock) -> None:
    async def play(client: Client, up: Up, down: Downstream) -> None:
        await wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(2):
            sid = await client.ask(GET)
            await up.answer(await up.request())
            await client.answer(sid)
            await wait_all_tasks_blocked()
            assert trio.lowlevel.current_statistics().tasks_living == before + 1
        await trio.sleep(60)
        down.bench.runtime.pool.expire()
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before
        assert len(down.bench.runtime.pool) == 0

    await carried(play, is_prompt=True)


async def test_the_other_client_reads_when_the_first_is_gone(autojump_clock: MockClock) -> None:
    """Two share an upstream's connection; whoever came first reads there, until it leaves."""
    async def play(client: Client, up: Up, down: Downstream) -> None:
        async with trio.open_nursery() as nursery:
            sid = await client.ask(GET)
            await up.answer(await up.request())
            await client.answer(sid)
            other = Client(downstream(nursery, server=down.server, known=down.bench))
            sid = await other.ask(GET)
            asked = await up.request()
            client.down.client.close()
            await wait_all_tasks_blocked()
            await up.answer(asked)
            assert await other.answer(sid) == b"ok"
            nursery.cancel_scope.cancel()

    await carried(play, is_prompt=True)
