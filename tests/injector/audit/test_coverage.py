from typing import Any

import msgspec

from injector.audit.coverage import Coverage, Gap, KnownPod, coverage
from injector.cluster import Cluster
from injector.cluster.objects import INTERCEPTION, SIDECAR
from tests.injector.pods import ingress_gateway

CLOSED = {"runAsUser": 1000, "allowPrivilegeEscalation": False}


def pod(name: str, namespace: str = "shop", *, sidecar: bool = True, phase: str = "Running", **spec: Any) -> dict[str, Any]:
    return {
        "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "labels": spec.pop("labels", {})},
        "spec": {"serviceAccountName": "web", "containers": [], "initContainers": [{"name": SIDECAR}] if sidecar else [], **spec},
        "status": {"phase": phase, "podIP": "10.0.0.1"},
    }


def namespace(name: str) -> dict[str, Any]:
    return {"kind": "Namespace", "metadata": {"name": name, "labels": {"bartizan.dev/injection": "enabled"}}}


def policy(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "bartizan.dev/v1alpha1", "kind": "MeshPolicy", "metadata": {"name": "p"}, "spec": spec}


def gaps(*objects: dict[str, Any]) -> list[Gap]:
    return list(coverage(Cluster.of([namespace("shop"), *objects])).gaps)


def test_every_running_pod_is_known_by_its_address() -> None:
    found = coverage(Cluster.of([pod("web-1"), pod("gone", phase="Succeeded")]))
    assert found.pods == (KnownPod("shop", "web-1", "uid-web-1", "web", ("10.0.0.1",), has_sidecar=True),)
    assert found.gaps == ()


def test_pods_without_a_sidecar_and_why() -> None:
    bare = {"sidecar": False}
    [outside] = gaps(pod("a", "legacy", **bare))
    assert (outside.kind, outside.namespace, outside.workload) == ("no-sidecar", "legacy", "Pod/a")
    assert "kubectl label namespace legacy" in outside.cure
    [older] = gaps(pod("a", **bare))
    assert "older" in older.cause
    [opted] = gaps(pod("a", labels={"bartizan.dev/injection": "disabled"}, **bare), policy(optOut=True))
    assert "opted out" in opted.cause
    [node] = gaps(pod("a", hostNetwork=True, **bare))
    assert node.kind == "host-network"


def test_an_ingress_gateway_needs_no_sidecar() -> None:
    found = coverage(Cluster.of([ingress_gateway()]))
    assert ([one.has_sidecar for one in found.pods], found.gaps) == ([True], ())


def test_permissive_workloads_until_when() -> None:
    [found] = gaps(pod("web-1"), policy(mtls={"mode": "permissive", "until": "2030-01-01T00:00:00Z"}))
    assert (found.kind, found.service_account, found.until) == ("permissive", "web", 1893456000.0)


def test_permissive_ports() -> None:
    ports = {"8080": {"mode": "permissive", "until": "2030-01-01T00:00:00Z"}, "8081": {"mode": "strict"}}
    [found] = gaps(pod("web-1"), policy(mtls={"mode": "strict", "ports": ports}))
    assert (found.kind, found.until, found.cause) == ("permissive", 1893456000.0, "A MeshPolicy lets plaintext in at port 8080.")
    assert gaps(pod("web-1"), policy(mtls={"mode": "strict"})) == []


def test_ports_that_no_sidecar_takes() -> None:
    ports = [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]
    [found] = gaps(pod("web-1", containers=[{"name": "app", "ports": ports, "securityContext": CLOSED}]))
    assert (found.kind, "53" in found.cause, "UDP" in found.cause) == ("datagrams", True, True)


def test_what_passes_a_sidecar_by_and_what_could() -> None:
    interception = {"name": INTERCEPTION, "args": ["intercept", "--exempt-uid", "50001", "--exclude-inbound", "9100"]}
    [excluded, left] = gaps(pod("web-1", containers=[{"name": "app"}], initContainers=[interception, {"name": SIDECAR}]))
    assert (excluded.kind, left.kind) == ("excluded", "left-open")
    assert excluded.cause.startswith("TCP into port 9100 passes the sidecar by")
    assert left.cause.startswith("Container app could take the sidecar's UID")


def test_pods_of_one_workload_are_one_gap() -> None:
    owned = [pod(f"web-{number}", sidecar=False) for number in range(3)]
    for one in owned:
        one["metadata"]["ownerReferences"] = [{"controller": True, "kind": "Deployment", "name": "web"}]
    deployment = {"kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": {}}
    [found] = gaps(deployment, *owned)
    assert (found.workload, found.pods) == ("Deployment/web", 3)


def test_a_policy_that_is_not_in_force_is_told() -> None:
    [found] = gaps(policy(mtls={"mode": "permissive"}))
    assert found.kind == "unreadable"


def test_it_comes_back_from_its_file() -> None:
    found = coverage(Cluster.of([namespace("shop"), pod("a", sidecar=False), pod("b")]))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Coverage) == found
