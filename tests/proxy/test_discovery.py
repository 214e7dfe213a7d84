"""Who waits for what, and how long."""

import trio
from trio.testing import MockClock

from sidecar.model.egress import Outbound
from sidecar.model.needs import MOST_WANTED
from sidecar.model.snapshot import Snapshot, Workload
from sidecar.net.watched import Watched
from sidecar.policy.rules import Rules
from sidecar.proxy.discovery import AT_ONCE, PER_S, WAIT_S, Discovery
from tests.helpers.pki import WEB


def rules(*wanted: str) -> Rules:
    return Rules.of(Snapshot(Workload(WEB, "shop"), outbound=Outbound(wanted=wanted)), "")


async def test_it_waits_for_a_snapshot_that_knows(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    held: Watched[Rules | None] = Watched(rules())
    discovery = Discovery(held)

    async def answer() -> None:
        await discovery.wanted.wait_change(())
        await trio.sleep(0.1)
        held.set(rules("10.0.0.9"))         # another's wish
        await trio.sleep(0.1)
        held.set(rules("10.0.0.1"))

    nursery.start_soon(answer)
    assert held.current is not None
    assert await discovery.look_for("10.0.0.1", held.current) is held.current
    assert trio.current_time() == 0.2
    assert discovery.wanted.current == ("10.0.0.1",)


async def test_while_the_injector_is_away_each_destination_waits_once(autojump_clock: MockClock) -> None:
    now = rules()
    held: Watched[Rules | None] = Watched(now)
    discovery = Discovery(held)
    assert await discovery.look_for("10.0.0.1", now) is now
    assert trio.current_time() == WAIT_S
    assert await discovery.look_for("10.0.0.1", now) is now
    assert trio.current_time() == WAIT_S
    later = rules()
    held.set(later)         # a sign of life
    assert await discovery.look_for("10.0.0.1", later) is later
    assert trio.current_time() == 2 * WAIT_S


async def test_what_is_known_is_not_waited_for(autojump_clock: MockClock) -> None:
    now = rules("10.0.0.1")
    discovery = Discovery(Watched(now))
    assert await discovery.look_for("10.0.0.1", now) is now
    assert (trio.current_time(), discovery.wanted.current) == (0, ())


async def test_a_scan_is_slowed_and_bounded(autojump_clock: MockClock) -> None:
    now = rules()
    discovery = Discovery(Watched(now))

    async def scan(count: int) -> None:
        async with trio.open_nursery() as nursery:
            for i in range(count):
                nursery.start_soon(discovery.look_for, f"name-{len(discovery.wanted.current)}-{i}.shop", now)

    await scan(10 * AT_ONCE)
    assert len(discovery.wanted.current) == AT_ONCE
    for _ in range(MOST_WANTED):
        await trio.sleep(1)
        await scan(PER_S)
    assert len(discovery.wanted.current) == MOST_WANTED


async def test_a_kept_snapshot_says_what_was_wanted(autojump_clock: MockClock) -> None:
    discovery = Discovery(Watched(None))
    discovery.begin(rules("10.0.0.1"))
    assert discovery.wanted.current == ("10.0.0.1",)
    discovery.begin(rules("10.0.0.2"))      # from then on the questions lead
    assert discovery.wanted.current == ("10.0.0.1",)
