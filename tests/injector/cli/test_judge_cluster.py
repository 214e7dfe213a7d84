"""What only a cluster shows: each finding once with its cause there, and not without."""

from typing import Any

import pytest

from injector.cli.judge_cluster import judge_cluster
from injector.cluster import Cluster
from tests.injector.pods import egress_policy, mesh_policy, namespace

Json = dict[str, Any]


def deployment(name: str = "orders", *, of: str = "shop", account: str = "orders", routes: str = "", port: str = "http") -> Json:
    annotations = {"bartizan.dev/routes": routes} if routes else {}
    template = {
        "metadata": {"labels": {"app": name}, "annotations": annotations},
        "spec": {"serviceAccountName": account, "containers": [{"name": "app", "ports": [{"name": port, "containerPort": 8080}]}]},
    }
    return {"kind": "Deployment", "metadata": {"name": name, "namespace": of}, "spec": {"template": template}}


def pod(name: str = "orders-1", *, of: str = "shop", has_sidecar: bool = True, phase: str = "Running", **spec: Any) -> Json:
    owner = [{"kind": "Deployment", "name": "orders", "controller": True}]
    return {
        "kind": "Pod", "metadata": {"name": name, "namespace": of, "labels": {"app": "orders"}, "ownerReferences": owner},
        "spec": {"serviceAccountName": "orders", **spec, "initContainers": [{"name": "bartizan-sidecar"}] if has_sidecar else []},
        "status": {"phase": phase},
    }


def service(**spec: Any) -> Json:
    return {"kind": "Service", "metadata": {"name": "orders", "namespace": "shop"},
            "spec": {"selector": {"app": "orders"}, "ports": [{"port": 80, "targetPort": "http"}], **spec}}


def allowing(text: str) -> str:
    return f"[{{name: read, allow: [{text}]}}]"


HEALTHY = [
    namespace(), namespace("other", x="y"), deployment(routes=allowing("{serviceAccount: web}")), deployment("web", account="web"),
    pod(), service(), egress_policy(), mesh_policy(selector={"namespaces": ["shop"]}),
]


def found(*objects: Json, is_whole: bool = True) -> list[str]:
    return [str(one) for one in judge_cluster(Cluster.of(objects), is_whole=is_whole)]


def test_nothing_is_wrong_with_a_healthy_cluster() -> None:
    assert found(*HEALTHY) == []


def with_name(objects: list[Json], changed: Json) -> list[Json]:
    """The one of this kind and name is replaced."""
    def key(one: Json) -> tuple[str, str]:
        return one["kind"], one["metadata"]["name"]

    return [*(one for one in objects if key(one) != key(changed)), changed]


@pytest.mark.parametrize(("changed", "line"), [
    (deployment("batch", of="other", routes=allowing("{serviceAccount: web}")),
     "Warning [BZ0711] (Namespace other) it is not in the mesh, and Deployment batch asks for something of it; "
     "kubectl label namespace other bartizan.dev/injection=enabled"),
    (pod("old", has_sidecar=False),
     "Error [BZ0712] (Pod old.shop) it has no sidecar: it was there before its namespace was in the mesh; "
     "kubectl -n shop rollout restart deployment/orders"),
    (pod("wide", has_sidecar=False, hostPID=True), "namespace was in the mesh, and would be refused today: the pod sets hostPID"),
    (service(ports=[{"port": 80, "targetPort": "web"}]),
     'Error [BZ0713] (Service orders.shop) port 80: no pod that it selects has a port "web" (named there: http 8080)'),
    (service(selector={"app": "x"}), "Warning [BZ0714] (Service orders.shop) it selects no pod, and no workload"),
    (egress_policy(subjects=[{"namespace": "shop", "serviceAccounts": ["nobody"]}]),
     "Warning [BZ0714] (EgressPolicy partners) spec.subjects[0] (shop, service accounts nobody) means no workload that is there"),
    (mesh_policy(selector={"namespaces": ["shops"]}), "Warning [BZ0714] (MeshPolicy default) spec.selector means no workload"),
    (deployment(routes=allowing("{serviceAccount: wbe}")),
     'Warning [BZ0715] (Deployment orders.shop) bartizan.dev/routes: nobody may use the route "read": none of wbe.shop is a workload'),
    (deployment(routes=allowing("{namespace: other}")), "none of *.other is a workload of the mesh"),
    (deployment(routes=allowing("")), "`allow` is empty"),
])
def test_each_finding_with_its_cause(changed: Json, line: str) -> None:
    one, = found(*with_name(HEALTHY, changed))
    assert line in one


@pytest.mark.parametrize("changed", [
    deployment(routes=allowing("{serviceAccount: w*}")), deployment(routes=allowing("{namespace: shop}")), deployment(routes="["),
    deployment(routes=allowing("{source: 10.0.0.0/8}")), deployment(routes=allowing("{identity: 'spiffe://*'}")),
    pod("done", has_sidecar=False, phase="Succeeded"), pod("apart", of="other", has_sidecar=False),
    service(ports=[{"port": 80}]), service(ports=[{"port": 80, "targetPort": 9999}]), service(selector={}),
    service(ports=[{"port": 53, "targetPort": "dns", "protocol": "UDP"}]),
])
def test_what_is_well(changed: Json) -> None:
    assert found(*with_name(HEALTHY, changed)) == []


def test_a_pod_that_may_stay_outside_is_told_of_without_blame() -> None:
    labels = {"bartizan.dev/injection": "disabled", "app": "orders"}
    away = pod("away", has_sidecar=False)
    away["metadata"]["labels"] = labels
    policy = mesh_policy(optOut=True, selector={"namespaces": ["shop"]})
    one, = found(*with_name(with_name(HEALTHY, policy), away))
    assert one.startswith("Info [BZ0712] (Pod away.shop)")


def test_the_ingress_gateway_is_somebody_without_a_sidecar() -> None:
    """Only as what it is there: with its account, in the control plane's namespace."""
    rule = deployment(routes=allowing("{serviceAccount: bartizan-gateway, namespace: bartizan-system}"))
    there = deployment("bartizan-gateway", of="bartizan-system", account="bartizan-gateway")
    assert found(*with_name(HEALTHY, rule), there) == []
    assert len(found(*with_name(HEALTHY, rule))) == 1
    assert len(found(*with_name(HEALTHY, rule), deployment("other", of="bartizan-system", account="other"))) == 1


def test_of_one_namespace_nobody_elsewhere_is_missed() -> None:
    changed = with_name(HEALTHY, deployment(routes=allowing("{serviceAccount: web, namespace: bank}")))
    assert found(*changed, is_whole=False) == []
    assert len(found(*changed)) == 1


def test_an_object_may_want_to_hear_nothing_of_it() -> None:
    quiet = service(selector={"app": "x"})
    quiet["metadata"]["annotations"] = {"bartizan.dev/analyze-suppress": "BZ0714"}
    assert found(*with_name(HEALTHY, quiet)) == []
