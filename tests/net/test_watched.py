import trio
from trio.testing import wait_all_tasks_blocked

from sidecar.net.watched import Watched


async def test_who_waits_gets_the_next_value_and_an_equal_one_wakes_nobody() -> None:
    watched, seen = Watched(0), []

    async def follow() -> None:
        value = watched.current
        while value != 3:
            value = await watched.wait_change(value)
            seen.append(value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        nursery.start_soon(follow)
        for value in (0, 1, 1, 3):
            await wait_all_tasks_blocked()
            watched.set(value)
    assert seen == [1, 1, 3, 3]


async def test_of_several_changes_the_last_counts() -> None:
    watched = Watched("a")
    async with trio.open_nursery() as nursery:

        async def follow() -> None:
            assert await watched.wait_change("a") == "c"

        nursery.start_soon(follow)
        await wait_all_tasks_blocked()
        watched.set("b")
        watched.set("c")


async def test_a_value_that_is_new_already_is_not_waited_for() -> None:
    assert await Watched(1).wait_change(0) == 1
