import pytest
import trio
from trio.testing import MockClock

from injector.bench.control.caller import paced


async def test_calls_begin_when_due_whether_others_are_answered_or_not(autojump_clock: MockClock) -> None:
    began: list[float] = []

    async def call() -> None:
        began.append(trio.current_time())
        await trio.sleep(5)

    start = trio.current_time()
    took = await paced(call, 10, 1.0)
    assert [at - start for at in began] == pytest.approx([number / 10 for number in range(10)])
    assert took == pytest.approx([5.0] * 10)


async def test_there_is_one_call_at_least(autojump_clock: MockClock) -> None:
    async def call() -> None:
        pass

    assert len(await paced(call, 1, 0.1)) == 1
