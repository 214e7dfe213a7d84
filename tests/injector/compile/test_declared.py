from typing import Any

from injector.cluster import Cluster
from injector.compile.declared import Declared, declared
from injector.compile.last_good import LastGood


def _declared(memory: LastGood, on_workload: dict[str, Any] | None = None, **annotations: str) -> Declared:
    def named(texts: dict[str, Any]) -> dict[str, Any]:
        return {f"bartizan.dev/{name}": text for name, text in texts.items()}

    owner = [{"kind": "Deployment", "name": "orders", "controller": True}]
    pod = {"kind": "Pod", "metadata": {"name": "p", "namespace": "shop", "ownerReferences": owner, "annotations": named(annotations)}}
    deployment = {"kind": "Deployment", "metadata": {"name": "orders", "namespace": "shop", "annotations": named(on_workload or {})}}
    cluster = Cluster.of([pod, deployment])
    return declared(cluster.pods["shop", "p"], cluster, memory)


def test_nothing_is_declared() -> None:
    found = _declared(LastGood())
    assert (found.routes, found.egress, found.ports, found.problems) == (None, {}, {}, ())


def test_the_workloads_annotations_win() -> None:
    found = _declared(LastGood(), {"endpoints": "slowStart: 2s"}, endpoints="slowStart: 1s", ports="80: http2")
    assert (found.endpoints.slow_start, found.ports) == ("2s", {80: "http2"})


def test_a_broken_field_keeps_its_version_and_the_others_go_on() -> None:
    memory = LastGood()
    _declared(memory, endpoints="slowStart: 1s\nconnectTimeout: 1s")
    found = _declared(memory, endpoints="slowStart: soon\nconnectTimeout: 2s\nejection: off")
    assert (found.endpoints.slow_start, found.endpoints.connect_timeout, found.endpoints.ejection) == ("1s", "2s", "off")
    assert "bartizan.dev/endpoints: line 1: slowStart: expected a duration" in found.problems[0]
    assert _declared(memory, endpoints="{").endpoints.connect_timeout == "2s"
    assert _declared(memory).endpoints.connect_timeout is None
    assert _declared(memory, endpoints="{").endpoints.connect_timeout is None
