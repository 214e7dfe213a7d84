"""What is kept of an object is enough for everybody who reads a cluster, and is no more than that."""

import json
from pathlib import Path
from typing import Any

import pytest

from injector.audit.coverage import coverage
from injector.cli.manifests import manifests_in, read_documents
from injector.cluster import Cluster
from injector.cluster.checked import CLUSTER_SCOPED, checked
from injector.cluster.directory import derived_slices
from injector.cluster.kinds import KINDS, SECRETS, Collection, Kind, kept, rules
from injector.cluster.objects import TEMPLATES
from injector.compile import compile_workload
from injector.compile.last_good import LastGood
from sidecar.model.errors import ConfigError
from tests.injector.pods import pod as a_pod

EXAMPLES = Path(__file__).parents[3] / "examples"
BY_NAME = {one.name: one for one in (*KINDS, SECRETS)}


def kind(name: str) -> Kind:
    return BY_NAME[name]


def metadata_only(item: dict[str, Any]) -> dict[str, Any]:
    """As the API server sends it where no more is asked for."""
    return {"kind": "PartialObjectMetadata", "metadata": item["metadata"]} if not kind(item["kind"]).shape else item


def test_the_kinds_are_those_that_a_cluster_is_made_of() -> None:
    assert set(TEMPLATES) | set(CLUSTER_SCOPED) | {"Pod", "Service", "EndpointSlice"} <= set(BY_NAME)
    assert len({(one.prefix, one.plural) for one in KINDS}) == len(KINDS)


def test_what_rbac_must_allow() -> None:
    found = {(group, plural) for rule in rules() for group in rule["apiGroups"] for plural in rule["resources"]}
    assert {("", "pods"), ("apps", "replicasets"), ("bartizan.dev", "meshpolicies"), ("discovery.k8s.io", "endpointslices")} <= found
    assert ("", "secrets") not in found
    assert {verb for rule in rules() for verb in rule["verbs"]} == {"list", "watch"}


def test_paths() -> None:
    assert Collection(kind("Pod")).path == "/api/v1/pods"
    assert Collection(kind("MeshPolicy")).path == "/apis/bartizan.dev/v1alpha1/meshpolicies"
    one = Collection(SECRETS, ("shop", "a&b/.."))
    assert (one.path, one.query) == ("/api/v1/namespaces/shop/secrets", "fieldSelector=metadata.name%3Da%26b%2F..")


def examples() -> list[dict[str, Any]]:
    found = [
        manifest.data for file in sorted(EXAMPLES.rglob("*.yaml")) for document in read_documents(str(file)) if "kind" in document.data
        for manifest in manifests_in(str(file), document)
    ]
    return [checked(one) for one in found if one.get("kind") in BY_NAME]


def running(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As a cluster has them: with uids, pods with addresses, and the slices of the endpoint controller."""
    for number, one in enumerate(found):
        one["metadata"] = {**one["metadata"], "uid": f"u-{number}", "resourceVersion": str(number)}
        if one["kind"] == "Pod":
            one["status"] = {"phase": "Running", "podIP": f"10.1.0.{number % 250}", "podIPs": [{"ip": f"10.1.0.{number % 250}"}]}
    return [*found, *derived_slices(found)]


def test_kept_objects_mean_what_whole_ones_do() -> None:
    whole = running([*examples(), *meshed()])
    pods = [one for one in whole if one["kind"] == "Pod"]
    assert len(pods) > 3
    full = Cluster.of(whole)
    lean = Cluster.of(checked(kept(kind(one["kind"]), metadata_only(one))) for one in whole)
    assert coverage(lean) == coverage(full)
    compiled = 0
    for one in pods:
        wanted = compile_workload(full, one["metadata"]["uid"], "example.org", LastGood())
        assert compile_workload(lean, one["metadata"]["uid"], "example.org", LastGood()) == wanted
        compiled += wanted is not None
    assert compiled > 3


def meshed() -> list[dict[str, Any]]:
    """Pods as admission makes them, open in every way that coverage tells of."""
    golden = Path(__file__).parents[1] / "golden"
    found = [json.loads(path.read_text()) for path in sorted(golden.glob("pod-*.json"))]
    assert found
    mirror = {"kind": "Pod", "metadata": {"namespace": "shop", "name": "mirror", "annotations": {"kubernetes.io/config.mirror": "x"}}}
    mounts = {"kind": "Pod", "metadata": {"namespace": "shop", "name": "mounts"},
              "spec": {"hostNetwork": True, "volumes": [{"name": "run", "hostPath": {"path": "/run"}}], "containers": []}}
    for number, one in enumerate(found):
        one["metadata"] |= {"name": f"golden-{number}", "namespace": "shop"}
    return [checked({"kind": "Pod", **one}) for one in (*found, mirror, mounts)]


def test_nothing_else_is_kept() -> None:
    item = a_pod()
    item["metadata"] |= {
        "managedFields": [{}], "resourceVersion": "1", "generation": 3, "creationTimestamp": "x", "finalizers": ["x"],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "bartizan.dev/roots": "PEM", "bartizan.dev/routes": "[]"},
        "ownerReferences": [{"kind": "Job", "name": "j", "controller": True, "uid": "x"}, {"kind": "Other", "name": "o"}],
    }
    item["spec"] |= {"tolerations": [{}], "volumes": [{"name": "tmp", "emptyDir": {}}]}
    item["spec"]["containers"] = [{
        "name": "app", "image": "app", "env": [{"name": "A", "value": "secret"}], "args": ["x"], "resources": {}, "livenessProbe": {},
        "ports": [{"containerPort": 80}],
    }]
    item["status"] = {"phase": "Running", "containerStatuses": [{}], "conditions": [{"type": "Ready", "status": "True", "message": "m"}]}
    made = kept(kind("Pod"), item)
    assert made["metadata"] == {
        **{name: item["metadata"][name] for name in ("name", "namespace", "uid", "labels") if item["metadata"].get(name)},
        "annotations": {"bartizan.dev/routes": "[]"}, "ownerReferences": [{"kind": "Job", "name": "j", "controller": True}],
    }
    assert made["spec"]["containers"] == [{"name": "app", "ports": [{"containerPort": 80}]}]
    assert made["spec"]["volumes"] == []
    assert "tolerations" not in made["spec"]
    assert made["status"] == {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def test_of_what_is_told_is_kept_what_it_was_told_and_by_what_that_is_written() -> None:
    metadata = {"name": "edge", "namespace": "shop", "resourceVersion": "7", "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z"}
    item = {"metadata": {**metadata, "managedFields": [{}]}, "spec": {"listeners": []}, "status": {"conditions": []}}
    for name in ("Ingress", "Gateway", "HTTPRoute", "GatewayClass"):
        made = kept(kind(name), item)
        assert made["metadata"] == metadata
        assert made["status"] == {"conditions": []}
    assert kept(kind("ReferenceGrant"), item)["metadata"] == {"name": "edge", "namespace": "shop"}


@pytest.mark.parametrize(("name", "item"), [
    ("Pod", []), ("Pod", "x"), ("Pod", {"metadata": []}), ("Pod", {"metadata": {"annotations": "x"}}), ("Pod", {"spec": []}),
    ("Pod", {"spec": {"containers": {}}}), ("Pod", {"spec": {"containers": [1]}}), ("Pod", {"status": {"conditions": "x"}}),
    ("EndpointSlice", {"endpoints": [{"targetRef": "x"}]}), ("Secret", {"data": "x"}), ("Namespace", {"metadata": {"ownerReferences": 1}}),
])
def test_what_is_no_object_is_refused(name: str, item: Any) -> None:
    with pytest.raises(ConfigError):
        checked(kept(kind(name), item))
