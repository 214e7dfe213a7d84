"""A connection whose bytes pass as they are, told of once, whatever ends it."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.egress import EgressRange
from sidecar.model.errors import ConnectFailed, Unavailable
from sidecar.model.reason import Reason
from sidecar.proxy.relay import carry, relay
from sidecar.telemetry.access_log import Record
from tests.helpers.exchange import PERMIT
from tests.helpers.runtime import NOW, bench, kept_pair, rules
from tests.helpers.streams import stream_pair

FAR = Address("203.0.113.7", 5432)


@pytest.mark.parametrize("end", ["both sides end", "cancelled"])
async def test_what_was_carried_is_told_once_and_the_upstream_closed(end: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    bed = bench(nursery)
    client, down = stream_pair()
    server, up = stream_pair()
    scope, told_late = trio.CancelScope(), trio.Event()

    async def run() -> None:
        with scope:
            await carry(down, up, PERMIT, Record(NOW, "outbound", dst=str(FAR)), bed.runtime, lambda: True)
        told_late.set()

    nursery.start_soon(run)
    await client.send_all(b"ping")
    assert await server.read(4) == b"ping"
    await trio.sleep(2)
    bed.runtime.accounts.tell_open()
    assert [entry.is_open for entry in bed.ledger.entries] == [True]
    if end == "cancelled":
        scope.cancel()
    else:
        await client.send_eof()
        await server.send_eof()
    await told_late.wait()
    assert [(line["received"], line["duration_ms"]) for line in bed.lines] == [(4, 2000.0)]
    assert [entry.is_open for entry in bed.ledger.entries] == [True, False]
    with pytest.raises(trio.ClosedResourceError):
        await up.send_all(b"more")


async def test_nothing_is_dialled_for_what_has_spent_its_budget(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    bed = bench(nursery)
    approval = EgressRange("203.0.113.0/24", "far", bytes_per_hour=10)
    spend = bed.runtime.budgets.spender(approval)
    assert spend is not None
    spend(10)
    app, client = kept_pair(nursery)
    with client, pytest.raises(Unavailable) as refused:
        await relay(app, (FAR,), PERMIT, Record(NOW, "outbound"), bed.runtime, lambda: True, approval)
    assert refused.value.reason is Reason.BUDGET_EXHAUSTED
    assert bed.dialer.dialled == []


async def test_who_cannot_be_reached_is_the_recipes_to_tell(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    bed = bench(nursery, rules())
    app, client = kept_pair(nursery)
    with client, pytest.raises(ConnectFailed):
        await relay(app, (FAR,), PERMIT, Record(NOW, "outbound"), bed.runtime, lambda: True)
    await wait_all_tasks_blocked()
    assert bed.lines == []
