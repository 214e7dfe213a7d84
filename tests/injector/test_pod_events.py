"""What is told of pods, to them and to their owners, and when: through the real Cluster, to a list in place of the API server."""

from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from injector.cluster import EMPTY, Ref, ref_of
from injector.cluster.objects import Object
from injector.egress.alerts import PodName
from injector.egress.anomalies import Anomaly
from injector.events import About, Events
from injector.pod_events import PodEvents
from injector.settings import Settings
from sidecar.net.watched import Watched

from .pods import mesh_policy, namespace


class Heard(Events):
    """What would be sent."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, str, bool]] = []

    def tell(self, about: About, reason: str, message: str, *, is_warning: bool = True) -> None:
        self.said.append((f"{about.kind}/{about.name}", reason, message, is_warning))


def pod(name: str, *, is_meshed: bool = False, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name, "uid": f"u-{name}", "labels": labels,
                     "ownerReferences": [{"kind": "StatefulSet", "name": "web", "controller": True}]},
        "spec": {"containers": [{"name": "app"}], "initContainers": [{"name": "bartizan-sidecar"}] if is_meshed else []},
        "status": {"phase": "Running"},
    }


WEB = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"namespace": "shop", "name": "web", "uid": "u-web"}}


class World:
    def __init__(self, *objects: dict[str, Any], revision: str = "") -> None:
        self.cluster = Watched(EMPTY)
        self.put(WEB, *objects)
        self.heard = Heard()
        self.events = PodEvents(self.heard, self.cluster, Settings(), revision)

    def put(self, *objects: dict[str, Any]) -> None:
        changed: dict[Ref, Any] = {ref_of(Object(one)): one for one in objects}
        self.cluster.set(self.cluster.current.having(changed))

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(about, reason) for about, reason, _, _ in self.heard.said]


def test_rules_that_are_not_in_force_and_are_again() -> None:
    world = World(namespace(), pod("web-0", is_meshed=True))
    world.events.rules("u-web-0", ["routes: line 3: x\n", "egress: y"])
    world.events.rules("u-web-0", [])
    world.events.rules("u-gone", ["x"])
    assert world.heard.said == [
        (about, reason, message, is_warning)
        for reason, message, is_warning in (
            ("RuleNotInForce", "routes: line 3: x\\n (and 1 more)", True),
            ("RulesInForce", "every rule of its annotations is in force again", False),
        )
        for about in ("Pod/web-0", "StatefulSet/web")
    ]


def test_an_anomaly() -> None:
    world = World()
    anomaly = Anomaly("new-host", "spiffe://x/ns/shop/sa/web", "new.example", 0.0, "reached a host that is new to it")
    world.events.anomaly(anomaly, PodName("shop", "web-0", "u-web-0"))
    assert world.heard.said == [("Pod/web-0", "EgressNewHost", "new.example: reached a host that is new to it", True)]


async def test_pods_without_a_sidecar_each_once(nursery: trio.Nursery) -> None:
    world = World(namespace(), pod("before"), pod("meshed", is_meshed=True))
    nursery.start_soon(world.events.tell_skipped)
    await wait_all_tasks_blocked()
    assert world.said == [("Pod/before", "InjectionSkipped"), ("StatefulSet/web", "InjectionSkipped")]
    cure = "kubectl -n shop rollout restart"
    assert world.heard.said[0][2].startswith(f"no sidecar: it was there before its namespace was in the mesh; {cure}")
    assert world.heard.said[0][3]
    world.heard.said.clear()
    world.put(pod("before", more="x"))
    await wait_all_tasks_blocked()
    assert world.said == []
    world.put(mesh_policy(optOut=True), pod("out", **{"bartizan.dev/injection": "disabled"}))
    await wait_all_tasks_blocked()
    assert world.said == [("Pod/out", "InjectionSkipped"), ("StatefulSet/web", "InjectionSkipped")]
    assert not world.heard.said[0][3]


async def test_one_of_the_same_name_is_another(nursery: trio.Nursery) -> None:
    world = World(namespace(), pod("before"))
    nursery.start_soon(world.events.tell_skipped)
    await wait_all_tasks_blocked()
    again = pod("before")
    again["metadata"]["uid"] = "u-again"
    world.put(again)
    await wait_all_tasks_blocked()
    assert world.said.count(("Pod/before", "InjectionSkipped")) == 2


async def test_nobody_is_told_of_other_namespaces(nursery: trio.Nursery) -> None:
    """Those outside of the mesh, and those of another control plane."""
    world = World(namespace(**{"bartizan.dev/injection": "disabled"}), pod("out"))
    nursery.start_soon(world.events.tell_skipped)
    await wait_all_tasks_blocked()
    world.put(namespace(**{"bartizan.dev/injection": "enabled", "bartizan.dev/rev": "canary"}))
    await wait_all_tasks_blocked()
    assert world.said == []
    world.put(namespace(**{"bartizan.dev/injection": "enabled"}))
    await wait_all_tasks_blocked()
    assert world.said[0] == ("Pod/out", "InjectionSkipped")


