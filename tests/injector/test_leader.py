"""One of several leads, never two, and soon another when it goes. A Lease in memory, with versions as the API server has them, under a
virtual clock; a real one is asked by tests/e2e/kubernetes.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from certs.kubernetes import CONFLICT, NO_ANSWER, NOT_FOUND, ApiError
from injector.leader import LEASE_S, RENEW_S, Leader
from tests.certs.api_server import merged

PATH = "/apis/coordination.k8s.io/v1/namespaces/bartizan-system/leases"


class Store:
    """
    Attributes:
        cut: who cannot reach it; True: their calls never end.
    """

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.cut: dict[str, bool] = {}
        self.writes: list[tuple[str, dict[str, Any]]] = []
        self._version = 0

    def api(self, who: str) -> "Mine":
        return Mine(self, who)

    async def reached(self, who: str) -> None:
        await trio.sleep(0.01)
        if who in self.cut:
            if self.cut[who]:
                await trio.sleep_forever()
            raise ApiError(NO_ANSWER, "it is away")

    def write(self, who: str, lease: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        lease["metadata"]["resourceVersion"] = str(self._version)
        self.lease = lease
        self.writes.append((who, lease["spec"]))
        return lease


class Mine:
    def __init__(self, store: Store, who: str) -> None:
        self._store, self._who = store, who

    async def get(self, path: str, kind: Any) -> Any:
        await self._store.reached(self._who)
        assert path == f"{PATH}/bartizan-injector"
        if self._store.lease is None:
            raise ApiError(NOT_FOUND, "not found")
        return msgspec.convert(self._store.lease, kind)

    async def create(self, path: str, body: Any, kind: Any) -> Any:
        await self._store.reached(self._who)
        assert path == PATH
        if self._store.lease is not None:
            raise ApiError(CONFLICT, "already exists")
        return msgspec.convert(self._store.write(self._who, body), kind)

    async def patch(self, path: str, body: Any, kind: Any) -> Any:
        await self._store.reached(self._who)
        assert self._store.lease is not None
        if body["metadata"]["resourceVersion"] != self._store.lease["metadata"]["resourceVersion"]:
            raise ApiError(CONFLICT, "the object has been modified")
        return msgspec.convert(self._store.write(self._who, merged(self._store.lease, body)), kind)


class Replica:
    def __init__(self, store: Store, name: str, wall: float = 0.0, seed: int = 1) -> None:
        self.reports: list[str] = []
        self.scope = trio.CancelScope()
        self.leader = Leader(
            store.api(name), "bartizan-system", "bartizan-injector", name, lambda: wall + trio.current_time(),      # type: ignore[arg-type]
            random.Random(seed), self.reports.append)

    @property
    def leads(self) -> bool:
        return self.leader.leads.current

    async def run(self) -> None:
        with self.scope:
            await self.leader.run()


@contextmanager
def never_two(nursery: trio.Nursery, *replicas: Replica) -> Iterator[None]:
    """Looked at whenever one of them changes."""
    async def look(one: Replica) -> None:
        while True:
            await one.leader.leads.wait_change(one.leads)
            assert sum(replica.leads for replica in replicas) <= 1

    for one in replicas:
        nursery.start_soon(one.run)
        nursery.start_soon(look, one)
    yield
    nursery.cancel_scope.cancel()


async def test_one_of_two_leads_and_goes_on_to(autojump_clock: MockClock) -> None:
    store = Store()
    one, two = Replica(store, "one"), Replica(store, "two", wall=5000.0, seed=2)
    async with trio.open_nursery() as nursery:
        with never_two(nursery, one, two):
            await trio.sleep(1)
            first = {replica.leads for replica in (one, two)}
            assert first == {True, False}
            led = one.leads
            await trio.sleep(600)
            assert (one.leads, two.leads) == (led, not led)
            assert len({who for who, _ in store.writes}) == 1
            spec = store.writes[-1][1]
            assert (spec["leaseDurationSeconds"], spec["leaseTransitions"]) == (15, 0)
            assert spec["renewTime"] > spec["acquireTime"]


@pytest.mark.parametrize("is_silent", [False, True])
@pytest.mark.parametrize("skew_s", [0.0, -86400.0, 86400.0])
async def test_who_is_cut_off_ceases_before_another_begins(is_silent: bool, skew_s: float, autojump_clock: MockClock) -> None:
    """However far apart their clocks are."""
    store = Store()
    one, two = Replica(store, "one"), Replica(store, "two", wall=skew_s, seed=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await trio.sleep(1)
        assert one.leads
        nursery.start_soon(two.run)
        await trio.sleep(60)
        store.cut["one"] = is_silent
        cut_at = trio.current_time()
        await one.leader.leads.wait_change(True)
        assert trio.current_time() - cut_at <= RENEW_S
        assert not two.leads
        await two.leader.leads.wait_change(False)
        assert LEASE_S - 5 <= trio.current_time() - cut_at <= LEASE_S + 5
        assert store.writes[-1][1]["leaseTransitions"] == 1
        del store.cut["one"]
        await trio.sleep(60)
        assert (one.leads, two.leads) == (False, True)
        nursery.cancel_scope.cancel()
    assert [text.partition(": ")[0] for text in one.reports][:1] == ["one leads by the Lease bartizan-injector"]


async def test_a_lost_answer_or_two_do_not_end_it(autojump_clock: MockClock) -> None:
    store = Store()
    one = Replica(store, "one")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await trio.sleep(1)
        for _ in range(20):
            store.cut["one"] = False
            await trio.sleep(5)
            del store.cut["one"]
            await trio.sleep(5)
            assert one.leads
        nursery.cancel_scope.cancel()
    assert "one leads no more: it could not be renewed" not in one.reports


async def test_who_leaves_gives_it_back(autojump_clock: MockClock) -> None:
    store = Store()
    one, two = Replica(store, "one"), Replica(store, "two", seed=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await trio.sleep(1)
        nursery.start_soon(two.run)
        await trio.sleep(10)
        one.scope.cancel()
        with trio.fail_after(4):
            await two.leader.leads.wait_change(False)
        assert [who for who, spec in store.writes if spec["holderIdentity"] == ""] == ["one"]
        nursery.cancel_scope.cancel()


async def test_a_lease_that_another_took_is_lost_at_once(autojump_clock: MockClock) -> None:
    store = Store()
    one = Replica(store, "one")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await trio.sleep(1)
        assert store.lease is not None
        store.write("somebody", merged(store.lease, {"spec": {"holderIdentity": "somebody"}}))
        with trio.fail_after(4):
            await one.leader.leads.wait_change(True)
        assert one.reports[-1] == "one leads no more: somebody holds it"
        nursery.cancel_scope.cancel()


async def test_a_former_process_of_the_same_pod_is_waited_for(autojump_clock: MockClock) -> None:
    store = Store()
    store.write("", {"metadata": {"name": "bartizan-injector"}, "spec": {"holderIdentity": "pod-0_former", "leaseDurationSeconds": 15}})
    one = Replica(store, "pod-0_new")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await trio.sleep(LEASE_S - 1)
        assert not one.leads
        await trio.sleep(4)
        assert one.leads
        nursery.cancel_scope.cancel()


async def test_what_runs_while_leading(autojump_clock: MockClock) -> None:
    store = Store()
    one = Replica(store, "one")
    running: list[str] = []

    async def task() -> None:
        running.append("begun")
        try:
            await trio.sleep_forever()
        finally:
            running.append("ended")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.leader.while_leading, task)
        await trio.sleep(1)
        assert running == []
        nursery.start_soon(one.run)
        await trio.sleep(1)
        assert running == ["begun"]
        store.cut["one"] = True
        await trio.sleep(RENEW_S + 1)
        assert running == ["begun", "ended"]
        del store.cut["one"]
        await trio.sleep(LEASE_S + 5)
        assert running == ["begun", "ended", "begun"]
        nursery.cancel_scope.cancel()


async def test_without_the_right_it_is_told_once(autojump_clock: MockClock) -> None:
    store = Store()
    one = Replica(store, "one")
    store.cut["one"] = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert one.reports == ["who leads cannot be asked, and it is tried again: it is away"]
