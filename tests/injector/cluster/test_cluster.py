from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from injector.cluster import EMPTY, Cluster, Ref, ref_of
from injector.cluster.objects import Json, Object, Pod
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
    assert cluster.namespace_labels("shop") == {"bartizan.dev/injection": "enabled", "kubernetes.io/metadata.name": "shop"}
    assert cluster.namespace_labels("nowhere") == {"kubernetes.io/metadata.name": "nowhere"}
    assert cluster.pods_by_uid["uid-p"].name == "p"


def _meshed(name: str, address: str, phase: str = "Running") -> dict[str, Any]:
    return {
        "kind": "Pod", "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}-{address}"},
        "spec": {"initContainers": [{"name": "bartizan-sidecar"}]}, "status": {"phase": phase, "podIPs": [{"ip": address}]},
    }


def _slice(name: str, service: str, address: str) -> dict[str, Any]:
    return {
        "kind": "EndpointSlice", "metadata": {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": service}},
        "endpoints": [{"addresses": [address]}],
    }


_NAMES, _ADDRESSES = st.sampled_from("ab"), st.sampled_from(["10.0.0.1", "10.0.0.2"])
_OBJECTS = st.one_of(
    st.builds(_meshed, _NAMES, _ADDRESSES, st.sampled_from(["Running", "Failed"])),
    st.builds(_slice, _NAMES, _NAMES, _ADDRESSES),
    st.builds(namespace, _NAMES, x=_NAMES),
    st.builds(egress_policy, _NAMES, hosts=st.just([])),
    st.builds(egress_policy, _NAMES, hots=st.just([])),
    st.builds(lambda name: _owned("Deployment", name, None), _NAMES),
    st.builds(lambda name: {"kind": "Ingress", "metadata": {"name": name, "namespace": "shop"}}, _NAMES),
)


def _tables(cluster: Cluster) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, Object):
            return value.data
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items()}
        return sorted(map(str, map(plain, value))) if isinstance(value, tuple) else value

    tables = {name: {key: plain(value) for key, value in getattr(cluster, name).items()} for name in Cluster.__dataclass_fields__}
    return {name: table for name, table in tables.items() if name not in ("versions", "pods_by_uid")}


@given(st.lists(st.tuples(_OBJECTS, st.booleans()), max_size=12))
def test_a_state_by_changes_is_the_state_of_what_is_there(steps: list[tuple[dict[str, Any], bool]]) -> None:
    """Whatever changes led to it, a state equals the one that is made of its objects at once."""
    there: dict[Ref, Json] = {}
    cluster = EMPTY
    for data, is_gone in steps:
        ref = ref_of(Object(data))
        if is_gone:
            there.pop(ref, None)
        else:
            there[ref] = data
        cluster = cluster.having({ref: None if is_gone else data})
    assert _tables(cluster) == _tables(Cluster.of(there.values()))
    assert {uid: pod.name for uid, pod in cluster.pods_by_uid.items()} == {pod.uid: pod.name for pod in cluster.pods.values()}


def test_an_address_that_went_on_to_another_pod() -> None:
    cluster = Cluster.of([_meshed("old", "10.0.0.1"), _meshed("new", "10.0.0.1")])
    cluster = cluster.having({("Pod", "shop", "old"): _meshed("old", "10.0.0.1", "Failed")})
    assert (found := cluster.pod_at("10.0.0.1")) is not None
    assert found.name == "new"
    assert cluster.having({("Pod", "shop", "new"): None}).pod_at("10.0.0.1") is None


def test_nobody_takes_a_nodes_address_for_the_mesh() -> None:
    """A namespace outside of the mesh may have such a pod, with a container that bears our name: what others serve on that node
    would be asked for that pod's identity.
    """
    forged = _meshed("forged", "10.0.0.1")
    forged["spec"]["hostNetwork"] = True
    cluster = Cluster.of([forged])
    assert (cluster.pod_at("10.0.0.1"), dict(cluster.mesh_ranges)) == (None, {})


def test_what_a_change_touches() -> None:
    before = Cluster.of([namespace("shop"), namespace("other"), _meshed("a", "10.0.0.1")])

    def touched(changed: dict[Ref, Json | None]) -> set[str]:
        return set(before.having(changed).touched_since(before))

    assert touched({("Pod", "shop", "a"): _meshed("a", "10.0.0.9")}) == {"shop"}
    assert touched({("Pod", "shop", "a"): _meshed("a", "10.0.9.1")}) == {"shop", ""}     # where the mesh is concerns all
    assert touched({("Namespace", "", "other"): namespace("other", x="y")}) == {"other"}
    assert touched({("EgressPolicy", "", "p"): egress_policy("p")}) == {""}
    assert before.touched_since(before) == frozenset()
    assert before.pods["shop", "a"].name == "a"     # an earlier state stays as it was


def test_who_is_no_more() -> None:
    before = Cluster.of([_meshed("a", "10.0.0.1"), _owned("Deployment", "d", None)])
    for same in ({("Pod", "shop", "b"): _meshed("b", "10.0.0.2")}, {("Pod", "shop", "a"): _meshed("a", "10.0.0.1", "Failed")}):
        assert not before.having(same).has_lost(before)
    for gone in ({("Pod", "shop", "a"): None}, {("Pod", "shop", "a"): _meshed("a", "10.0.0.2")}, {("Deployment", "shop", "d"): None}):
        assert before.having(gone).has_lost(before)     # the second is another pod of that name
