"""Statuses are written where they differ, on condition that the object is the one that was judged, and tried again: over real HTTPS."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from certs.kubernetes import Api
from injector import edge_status
from injector.cluster import EMPTY, Cluster, Ref, ref_of
from injector.cluster.kinds import KINDS, Collection
from injector.cluster.objects import Object
from injector.compile.edge_status import Told, told
from injector.edge_status import EdgeStatus, path_of
from injector.events import About, Events
from sidecar.net.watched import Watched
from tests.helpers.api_double import ApiDouble, Asked, api_double
from tests.injector.compile.gateway_objects import gateway, gateway_class, listener, read_cluster, route, service, to

NOW = 1_795_000_000.0
ALL = (("GatewayClass", "bartizan"), ("Gateway", "edge"), ("HTTPRoute", "web"))


class Heard(Events):
    """What would be sent."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, str, bool]] = []

    def tell(self, about: About, reason: str, message: str, *, is_warning: bool = True) -> None:
        self.said.append((f"{about.kind}/{about.name}", reason, message, is_warning))


class World:
    """The API server, and what the injector has seen of it."""

    def __init__(self, double: ApiDouble, api: Api) -> None:
        self.double = double
        self.reports: list[str] = []
        self.heard = Heard()
        self.cluster = Watched(EMPTY)
        self.problems: dict[Ref, tuple[str, ...]] = {}
        self.status = EdgeStatus(api, self.cluster, self.told_of, self.heard, lambda: NOW, self.reports.append)
        double.before = self.of_status
        self.refusals: list[int] = []

    def told_of(self, cluster: Cluster) -> dict[Ref, Told]:
        api = read_cluster(cluster)
        problems = {one.ref: one.problems for one in api.said} | self.problems
        return told(cluster, api, [], problems, self.problems)

    async def of_status(self, asked: Asked) -> bool:
        """The double has no subresources, and keeps the objects of all namespaces in one place."""
        if self.refusals:
            await asked.refuse(self.refusals.pop(0))
            return True
        asked.path = asked.path.removesuffix("/status").replace("/namespaces/shop", "")
        return False

    def apply(self, *objects: dict[str, Any], is_seen: bool = True) -> None:
        for one in objects:
            one = {"apiVersion": "v1", **one}
            if (path := collection(one["kind"])) is not None:
                self.double.put(path, one)
            if is_seen:
                self.cluster.set(self.cluster.current.having({ref_of(Object(one)): one}))

    def see(self) -> None:
        """As a watch would."""
        found = [one for there in self.double.objects.values() for one in there.values()]
        self.cluster.set(self.cluster.current.having({ref_of(Object(one)): one for one in found}))

    def status_of(self, kind: str, name: str) -> dict[str, Any]:
        there = self.double.objects[collection(kind) or ""]
        return next((one.get("status", {}) for key, one in there.items() if key[1] == name), {})

    async def until(self, holds: Callable[[], Any]) -> None:
        while not holds():
            await trio.lowlevel.checkpoint()


def collection(kind: str) -> str | None:
    return next((Collection(one).path for one in KINDS if one.name == kind and one.has_age), None)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(edge_status, "PACE_S", 0.0)
    monkeypatch.setattr(edge_status, "RETRY_FIRST_S", 0.01)
    async with api_double(tmp_path) as (double, config):
        made = World(double, Api(config))
        made.apply(gateway_class(), service(), gateway(), route())
        yield made


async def test_everything_is_told_once(world: World, nursery: trio.Nursery) -> None:
    nursery.start_soon(world.status.run)
    await world.until(lambda: all(world.status_of(*one) for one in ALL))
    (accepted, _) = world.status_of("HTTPRoute", "web")["parents"][0]["conditions"]
    assert (accepted["status"], accepted["lastTransitionTime"]) == ("True", "2026-11-18T11:06:40Z")
    world.see()
    world.apply(service("more"))
    await trio.testing.wait_all_tasks_blocked()
    assert len(world.double.asked) == 3
    assert {one.method for one in world.double.asked} == {"PATCH"}
    assert all(one.body["metadata"]["resourceVersion"] for one in world.double.asked)
    assert world.reports == []


async def test_what_was_written_and_is_not_seen_yet_is_not_written_again(world: World, nursery: trio.Nursery) -> None:
    nursery.start_soon(world.status.run)
    await world.until(lambda: len(world.double.asked) == 3)
    world.apply(service("more"))
    await trio.testing.wait_all_tasks_blocked()
    assert len(world.double.asked) == 3


async def test_what_somebody_else_writes_does_not_last(world: World, nursery: trio.Nursery) -> None:
    nursery.start_soon(world.status.run)
    await world.until(lambda: len(world.double.asked) == 3)
    world.see()
    world.apply({**gateway(), "status": {"conditions": []}})
    await world.until(lambda: world.status_of("Gateway", "edge").get("conditions"))


async def test_an_object_that_has_changed_meanwhile_is_judged_anew(world: World, nursery: trio.Nursery) -> None:
    world.apply(gateway(listener(port=8080)), is_seen=False)
    nursery.start_soon(world.status.run)
    await world.until(lambda: len(world.double.asked) == 3)
    await trio.testing.wait_all_tasks_blocked()
    assert world.status_of("Gateway", "edge") == {}
    assert world.reports == []
    world.see()
    await world.until(lambda: world.status_of("Gateway", "edge"))
    assert world.status_of("Gateway", "edge")["conditions"][0]["status"] == "False"


async def test_it_is_tried_again_and_told_once(world: World, nursery: trio.Nursery) -> None:
    world.refusals = [403] * 7
    nursery.start_soon(world.status.run)
    await world.until(lambda: all(world.status_of(*one) for one in ALL))
    (told_once,) = world.reports
    assert told_once.startswith("what became of an object cannot be written into its status, and it is tried again: the API server refuses")
    assert told_once.endswith("403 Forbidden (and so with 2 more)")


async def test_what_is_not_in_force_is_an_event_and_that_it_is_again(world: World, nursery: trio.Nursery) -> None:
    world.apply(route({"backendRefs": [to("gone")]}))
    nursery.start_soon(world.status.run)
    await world.until(lambda: world.heard.said)
    assert world.heard.said == [("HTTPRoute/web", "RuleNotInForce", "there is no Service shop/gone", True)]
    world.see()
    world.apply(service("more"))
    await trio.testing.wait_all_tasks_blocked()
    assert len(world.heard.said) == 1
    world.apply(service("gone"))
    await world.until(lambda: len(world.heard.said) == 2)
    assert world.heard.said[1] == ("HTTPRoute/web", "RulesInForce", "everything that it says is in force again", False)


async def test_what_another_object_took(world: World, nursery: trio.Nursery) -> None:
    world.problems[("HTTPRoute", "shop", "web")] = ("the path / is older/older's",)
    nursery.start_soon(world.status.run)
    await world.until(lambda: world.heard.said)
    assert world.heard.said[0][1:3] == ("HostAndPathTaken", "the path / is older/older's")


def test_paths() -> None:
    assert path_of(("GatewayClass", "", "bartizan")) == "/apis/gateway.networking.k8s.io/v1/gatewayclasses/bartizan/status"
    assert path_of(("Ingress", "shop", "a b")) == "/apis/networking.k8s.io/v1/namespaces/shop/ingresses/a%20b/status"
