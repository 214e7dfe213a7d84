from collections.abc import Collection
from typing import Any

import pytest

from injector.cluster import Cluster
from injector.cluster.directory import derived_slices
from injector.cluster.objects import Json
from injector.compile.last_good import LastGood
from injector.compile.service_book import ServiceBook


def _pod(name: str, namespace: str, address: str) -> dict[str, Any]:
    return {
        "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "uid": f"u-{name}", "labels": {"app": name}},
        "spec": {"initContainers": [{"name": "bartizan-sidecar"}]}, "status": {"phase": "Running", "podIP": address},
    }


def _service(name: str, namespace: str, address: str) -> dict[str, Any]:
    spec = {"selector": {"app": name}, "clusterIP": address, "ports": [{"port": 80}]}
    return {"kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


OBJECTS = [
    _pod("web", "shop", "10.0.0.1"), _service("web", "shop", "10.96.0.1"), _service("front", "shop", "10.96.0.2"),
    _pod("pay", "money", "10.0.1.1"), _service("pay", "money", "10.96.1.1"), _service("other", "money", "10.96.1.2"),
    _pod("db", "money", "10.0.1.2"), _service("db", "money", "None"),
]
CLUSTER = Cluster.of([*OBJECTS, *derived_slices(OBJECTS)])
OWN = ["front.shop", "web.shop"]


def _told(wanted: Collection[str], cluster: Cluster = CLUSTER) -> tuple[list[str], frozenset[str]]:
    services, reads = ServiceBook("example.org", LastGood()).told(cluster, cluster.pods["shop", "web"], wanted)
    return [service.name for service in services], reads


@pytest.mark.parametrize(("wanted", "more"), [
    (["10.96.1.1"], ["pay.money"]), (["10.0.1.2"], ["db.money"]), (["pay.money"], ["pay.money"]),
    (["10.96.1.1", "pay.money", "10.0.1.1"], ["pay.money"]), (["10.96.0.1", "web.shop", "10.0.0.1"], []),
    (["10.96.9.9", "nobody.money", "x", "", "10.0.1"], []),
])
def test_those_of_its_own_namespace_and_those_that_are_wanted(wanted: list[str], more: list[str]) -> None:
    names, reads = _told(wanted)
    assert names == sorted([*OWN, *more], key=lambda name: name.split(".")[::-1])
    assert reads == ({"shop", "money"} if more else {"shop"})


def test_all() -> None:
    assert [one.name for one in ServiceBook("example.org", LastGood()).all(CLUSTER)] == ["db.money", "other.money", "pay.money", *OWN]


def test_a_namespace_is_compiled_anew_only_when_it_has_changed() -> None:
    book = ServiceBook("example.org", LastGood())
    shop, money = book.of(CLUSTER, "shop"), book.of(CLUSTER, "money")
    changed: dict[tuple[str, str, str], Json | None] = {("Service", "money", "other"): None}
    later = CLUSTER.having(changed)
    assert book.of(later, "shop") is shop
    assert book.of(later, "money") is not money
    assert [one.name for one in book.of(later, "money").found] == ["db.money", "pay.money"]


def test_another_source_is_another_story() -> None:
    book = ServiceBook("example.org", LastGood())
    assert book.of(CLUSTER, "shop") is not book.of(Cluster.of(OBJECTS), "shop")
