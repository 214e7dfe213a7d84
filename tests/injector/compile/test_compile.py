from typing import Any

import pytest

from injector.cluster import Cluster
from injector.compile import Compiled, compile_workload
from injector.compile.last_good import LastGood
from sidecar.model.route import Caller
from sidecar.model.snapshot import parse_snapshot, render_snapshot
from tests.injector.pods import ROUTES, egress_policy, mesh_policy, namespace


def _pod(uid: str = "u", status: dict[str, Any] | None = None, owner: str | None = None, **annotations: str) -> dict[str, Any]:
    references = [{"kind": "Deployment", "name": owner, "controller": True}] if owner else []
    return {
        "kind": "Pod",
        "metadata": {"name": f"orders-{uid}", "namespace": "shop", "uid": uid, "labels": {"app": "orders"}, "ownerReferences": references,
                     "annotations": {f"bartizan.dev/{name}": text for name, text in annotations.items()}},
        "spec": {"serviceAccountName": "orders", "initContainers": [{"name": "bartizan-sidecar"}],
                 "containers": [{"ports": [{"containerPort": 5432}, {"containerPort": 8080}]}]},
        "status": status or {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]},
    }


def _deployment(**annotations: str) -> dict[str, Any]:
    return {"kind": "Deployment", "metadata": {"name": "orders", "namespace": "shop",
                                               "annotations": {f"bartizan.dev/{name}": text for name, text in annotations.items()}}}


def _compile(*objects: dict[str, Any], last_good: LastGood | None = None, uid: str = "u") -> Compiled:
    compiled = compile_workload(Cluster.of([namespace(), *objects]), uid, "example.org", last_good or LastGood())
    assert compiled is not None
    assert parse_snapshot(render_snapshot(compiled.snapshot)) == compiled.snapshot
    return compiled


def test_the_snapshot_says_who_the_pod_is() -> None:
    workload = _compile(_pod()).snapshot.workload
    assert workload.identity == "spiffe://example.org/ns/shop/sa/orders"
    assert (workload.namespace, workload.pod, workload.addresses) == ("shop", "orders-u", ("10.0.0.1",))


@pytest.mark.parametrize("status", [{"phase": "Succeeded", "podIP": "10.0.0.1"}, {"phase": "Failed"}])
def test_a_pod_that_has_ended_gets_none(status: dict[str, Any]) -> None:
    assert compile_workload(Cluster.of([_pod(status=status)]), "u", "example.org", LastGood()) is None
    assert compile_workload(Cluster.of([_pod()]), "another", "example.org", LastGood()) is None


def test_callers_without_a_namespace_are_of_the_pods_own() -> None:
    routes = _compile(_pod(routes=ROUTES)).snapshot.inbound.routes
    assert routes is not None
    assert [(route.name, route.port, route.allow) for route in routes] == [("read", 8080, (Caller("web", "shop"),))]


def test_no_annotation_is_not_the_same_as_one_without_rules() -> None:
    assert _compile(_pod()).snapshot.inbound.routes is None
    assert _compile(_pod(routes="[]")).snapshot.inbound.routes == ()


def test_an_annotation_that_was_never_readable_lets_nobody_in() -> None:
    compiled = _compile(_pod(routes="{"))
    assert compiled.snapshot.inbound.routes == ()
    assert "bartizan.dev/routes: line" in compiled.problems[0]


def test_the_workloads_annotation_is_read_live() -> None:
    other = ROUTES.replace("name: read", "name: live")
    compiled = _compile(_deployment(routes=other), _pod(owner="orders", routes=ROUTES, ports="9: opaque"))
    assert [route.name for route in compiled.snapshot.inbound.routes or ()] == ["live"]
    assert compiled.snapshot.inbound.ports[9] == "opaque"


def test_a_broken_rule_keeps_its_version_for_every_pod_of_the_workload() -> None:
    memory = LastGood()
    _compile(_deployment(routes=ROUTES), _pod(owner="orders"), last_good=memory)
    broken = ROUTES.replace("port", "prot") + "- {name: new, allow: []}\n"
    compiled = _compile(_deployment(routes=broken), _pod("v", owner="orders"), last_good=memory, uid="v")
    assert {route.name: route.port for route in compiled.snapshot.inbound.routes or ()} == {"read": 8080, "new": None}
    assert 'did you mean "port"' in compiled.problems[0]


def test_egress_is_what_is_asked_and_approved() -> None:
    compiled = _compile(_pod(egress="- host: a.partner.example\n- host: b.elsewhere.example"), egress_policy())
    assert [(host.host, host.rule) for host in compiled.snapshot.outbound.hosts] == [("a.partner.example", "partners/*.partner.example")]
    assert "b.elsewhere.example" in compiled.problems[0]


def test_a_remembered_request_still_needs_its_approval() -> None:
    memory = LastGood()
    asked = "- {host: a.partner.example}\n- {cidr: 10.9.0.0/16}"
    policy = egress_policy(ranges=[{"cidr": "10.9.0.0/16"}])
    assert _compile(_pod(egress=asked), policy, last_good=memory).snapshot.outbound.ranges
    kept = _compile(_pod(egress="{"), policy, last_good=memory).snapshot.outbound
    assert (len(kept.hosts), len(kept.ranges)) == (1, 1)
    gone = _compile(_pod(egress="{"), last_good=memory).snapshot.outbound
    assert (gone.hosts, gone.ranges) == ((), ())


def test_ports_are_those_declared_and_those_known() -> None:
    assert _compile(_pod()).snapshot.inbound.ports == {5432: "opaque"}
    assert _compile(_pod(ports="5432: http\n8080: opaque")).snapshot.inbound.ports == {5432: "http", 8080: "opaque"}


def test_the_mesh_policy_is_in_it() -> None:
    policy = mesh_policy(
        mtls={"mode": "permissive", "until": "2026-12-31T00:00:00Z"}, withoutRoutes="nothing", resolvers=["10.96.0.10"],
        clusterDomain="cluster.example", clusterRanges=["10.0.0.0/8"],
    )
    snapshot = _compile(_pod(), policy).snapshot
    inbound = snapshot.inbound
    assert (inbound.mode, inbound.permissive_until, inbound.without_routes) == ("permissive", 1798675200, "nothing")
    outbound = snapshot.outbound
    assert (outbound.resolvers, outbound.cluster_domain, outbound.cluster_ranges) == (("10.96.0.10",), "cluster.example", ("10.0.0.0/8",))
