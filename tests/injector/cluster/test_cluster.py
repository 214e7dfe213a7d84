from injector.cluster import Cluster
from injector.cluster.objects import Pod
from tests.injector.pods import egress_policy, namespace


def _owned(kind: str, name: str, owner: tuple[str, str] | None) -> dict[str, object]:
    references = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else []
    return {"kind": kind, "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "ownerReferences": references}}


def test_the_workload_of_a_pod() -> None:
    cluster = Cluster.of([
        _owned("Deployment", "orders", None), _owned("ReplicaSet", "orders-1", ("Deployment", "orders")),
        _owned("ReplicaSet", "alone", None), _owned("ReplicaSet", "orphan", ("Rollout", "x")),
        _owned("ReplicaSet", "self", ("ReplicaSet", "self")),
    ])

    def workload(owner: tuple[str, str] | None) -> str | None:
        found = cluster.workload_of(Pod(_owned("Pod", "p", owner)))
        return f"{found.kind}/{found.name}" if found else None

    assert workload(("ReplicaSet", "orders-1")) == "Deployment/orders"
    assert workload(("Deployment", "orders")) == "Deployment/orders"
    assert workload(("ReplicaSet", "alone")) == "ReplicaSet/alone"
    assert workload(("ReplicaSet", "orphan")) == "ReplicaSet/orphan"
    assert workload(("ReplicaSet", "self")) == "ReplicaSet/self"
    assert workload(("ReplicaSet", "gone")) is None
    assert workload(("Node", "n")) is None
    assert workload(None) is None


def test_an_invalid_policy_is_left_out_and_named() -> None:
    cluster = Cluster.of([egress_policy("good"), egress_policy("bad", hots=[])])
    assert list(cluster.egress_policies) == ["good"]
    assert 'did you mean "hosts"' in str(cluster.problems[0])


def test_objects_are_found() -> None:
    cluster = Cluster.of([namespace(), _owned("Pod", "p", None)])
    assert cluster.namespace_labels("shop") == {"bartizan.dev/injection": "enabled"}
    assert cluster.namespace_labels("nowhere") == {}
    assert cluster.pods_by_uid["uid-p"].name == "p"
