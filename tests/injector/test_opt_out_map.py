"""Written when it is another, mended when somebody else changes it, and tried again: against a real HTTPS server."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from certs.kubernetes import Api
from injector import opt_out_map
from injector.cluster import EMPTY, Cluster, ref_of
from injector.cluster.objects import Object
from injector.opt_out_map import OptOutMap
from sidecar.net.watched import Watched
from tests.helpers import pki
from tests.helpers.api_double import ApiDouble, Asked, api_double

from .pods import mesh_policy

PATH = "/api/v1/namespaces/bartizan-system/configmaps"
ANCHORS = pki.anchors(pki.authority("one")), pki.anchors(pki.authority("two"))


class World:
    def __init__(self, double: ApiDouble, api: Api) -> None:
        self.double = double
        self.reports: list[str] = []
        self.cluster = Watched(EMPTY)
        self.trust = Anchored(ANCHORS[0])
        self.map = OptOutMap(api, self.cluster, self.trust, "", self.reports.append)       # type: ignore[arg-type]

    def put(self, **spec: Any) -> None:
        item = mesh_policy(**spec)
        self.cluster.set(self.cluster.current.having({ref_of(Object(item)): item}))

    async def data(self, holds: Any) -> dict[str, str]:
        while True:
            found = self.double.objects[PATH]["bartizan-system", "bartizan-opt-outs"].get("data", {})
            if holds(found):
                return dict(found)
            await trio.lowlevel.checkpoint()


class Anchored(SimpleNamespace):
    """As a TrustWatch: what is followed of it."""

    def __init__(self, anchors: Any) -> None:
        super().__init__(anchors=Watched(anchors))

    @property
    def current(self) -> Any:
        return self.anchors.current.trust


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with api_double(tmp_path) as (double, config):
        double.put(PATH, {"metadata": {"namespace": "bartizan-system", "name": "bartizan-opt-outs"}})
        yield World(double, Api(config))


async def test_it_follows_policies_and_roots(world: World, nursery: trio.Nursery) -> None:
    nursery.start_soon(world.map.run)
    first = await world.data(lambda data: "roots" in data)
    assert first["optOut"] == ""
    world.put(optOut=True)
    assert (await world.data(lambda data: data["optOut"]))["optOut"] == "\t\ttrue\n"
    world.trust.anchors.set(ANCHORS[1])
    await world.data(lambda data: data["roots"] != first["roots"])
    assert {asked.headers["content-type"] for asked in world.double.asked} == {"application/apply-patch+yaml"}
    assert world.reports == []


async def test_another_cluster_with_the_same_policies_is_no_reason_to_write(world: World, nursery: trio.Nursery) -> None:
    nursery.start_soon(world.map.run)
    await world.data(lambda data: "roots" in data)
    for _ in range(3):
        world.cluster.set(Cluster.of([]))
        await wait_all_tasks_blocked()
    world.put(optOut=True)
    await world.data(lambda data: data["optOut"])
    assert len(world.double.asked) == 2


async def test_what_somebody_else_changes_does_not_last(world: World, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opt_out_map, "AGAIN_S", 0.2)
    nursery.start_soon(world.map.run)
    await world.data(lambda data: "roots" in data)
    world.double.put(PATH, {"metadata": {"namespace": "bartizan-system", "name": "bartizan-opt-outs"}, "data": {"optOut": "\t\ttrue\n"}})
    assert (await world.data(lambda data: not data["optOut"]))["optOut"] == ""


async def test_it_is_tried_again(world: World, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opt_out_map, "RETRY_S", 0.01)
    refused = 0

    async def refuse(asked: Asked) -> bool:
        nonlocal refused
        refused += 1
        if refused < 4:
            await asked.refuse(403, "configmaps is forbidden")
        return refused < 4

    world.double.before = refuse
    nursery.start_soon(world.map.run)
    await world.data(lambda data: "roots" in data)
    (told,) = world.reports
    assert told.startswith("what MeshPolicies allow of new pods cannot be written down, and it is tried again")
