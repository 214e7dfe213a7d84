"""A server that is told to end: how long it goes on."""

import signal

import pytest
import trio
from trio.testing import MockClock

from sidecar.net.ending import LINGER_S, serve_until_told


async def ended_after(*signals: signal.Signals) -> float:
    """How long it goes on after the signals, which come one after the other."""
    began = trio.Event()

    async def serve() -> None:
        began.set()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_until_told, serve)
        await began.wait()
        start = trio.current_time()
        for one in signals:
            signal.raise_signal(one)
            await trio.testing.wait_all_tasks_blocked()
    return trio.current_time() - start


@pytest.mark.parametrize(("signals", "went_on_s"), [
    ([signal.SIGTERM], LINGER_S), ([signal.SIGINT], 0), ([signal.SIGTERM, signal.SIGTERM], 0), ([signal.SIGTERM, signal.SIGINT], 0),
])
async def test_how_long_it_goes_on(signals: list[signal.Signals], went_on_s: float, autojump_clock: MockClock) -> None:
    assert await ended_after(*signals) == went_on_s


async def test_one_that_ends_by_itself() -> None:
    async def serve() -> None:
        await trio.lowlevel.checkpoint()

    with trio.fail_after(5):
        await serve_until_told(serve)


async def test_one_that_cannot_begin_says_so() -> None:
    async def serve() -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("port taken")

    with pytest.raises(ExceptionGroup) as caught:
        await serve_until_told(serve)
    assert caught.group_contains(ValueError, match="port taken")
