"""What stands for a pod or a Service is what its snapshot holds, in words."""

from typing import Any

import pytest

from injector.acknowledged import Acknowledged
from injector.cluster import Cluster
from injector.cluster.objects import Object
from injector.compile import compile_workload
from injector.compile.in_force import rules_of
from injector.compile.last_good import LastGood
from injector.compile.services import compile_services
from injector.describe import caller_words, find, pod_view, service_view
from injector.description import PodView
from injector.status import pod_status
from sidecar.model.errors import ConfigError
from sidecar.model.route import Caller
from sidecar.model.snapshot import render_snapshot
from tests.injector.pods import egress_policy, mesh_policy, namespace

ROUTES = """\
- name: read
  port: 8080
  matches: [{path: {value: /orders}, method: GET}, {path: {type: Exact, value: /}, headers: [{name: x-a, value: b}]}]
  allow: [{serviceAccount: web}, {namespace: bank}]
  deny: [{serviceAccount: thief}]
  rateLimit: {requests: 1}
- {name: shut, allow: []}
- {name: broken, allow: [], prot: 3}
"""
EGRESS = """\
- {host: api.partner.example, tls: {mode: mutual, clientCertificate: {secret: partner}}}
- {host: nobody.example}
"""


def objects(*, labelled: bool = True, has_sidecar: bool = True, **annotations: str) -> list[dict[str, Any]]:
    owner = [{"kind": "Deployment", "name": "orders", "controller": True}]
    return [
        namespace() if labelled else namespace("shop", x="y"), egress_policy(),
        {"kind": "Deployment", "metadata": {"name": "orders", "namespace": "shop"}, "spec": {"template": {"spec": {}}}},
        {"kind": "Pod",
         "metadata": {"name": "orders-1", "namespace": "shop", "uid": "u-1", "labels": {"app": "orders"}, "ownerReferences": owner,
                      "annotations": {f"bartizan.dev/{name}": text for name, text in annotations.items()}},
         "spec": {"serviceAccountName": "orders", "containers": [{"name": "app", "ports": [{"containerPort": 9090}]}],
                  "initContainers": [{"name": "bartizan-sidecar", "image": "bartizan", "restartPolicy": "Always"}] if has_sidecar else []},
         "status": {"phase": "Running", "podIP": "10.0.0.1"}},
        {"kind": "Service", "metadata": {"name": "orders", "namespace": "shop"},
         "spec": {"clusterIP": "10.96.0.1", "selector": {"app": "orders"}, "ports": [{"port": 80, "targetPort": 8080}]}},
        {"kind": "EndpointSlice",
         "metadata": {"name": "orders-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "orders"}},
         "ports": [{"port": 8080}],
         "endpoints": [{"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "namespace": "shop", "name": "orders-1"}}]},
    ]


def view(found: list[dict[str, Any]]) -> PodView:
    cluster, memory = Cluster.of(found), LastGood()
    pod = cluster.pods["shop", "orders-1"]
    compiled = compile_workload(cluster, pod.uid, "example.org", memory)
    snapshot = compiled.snapshot if compiled and pod.has_sidecar else None
    status = pod_status(pod, cluster, Acknowledged(), memory, lambda uid: render_snapshot(compiled.snapshot) if compiled else None)
    return pod_view(pod, cluster, status, snapshot, rules_of(pod, cluster, memory))


def test_what_enters_and_who_may() -> None:
    found = view(objects(routes=ROUTES))
    assert (found.owner, found.identity) == ("Deployment orders", "spiffe://example.org/ns/shop/sa/orders")
    assert [(one.port, one.protocol, one.mode, one.services) for one in found.ports] == [
        (8080, "http", "strict", ("orders.shop:80",)), (9090, "http", "strict", ())]
    read, shut = found.routes
    assert (read.port, read.requests) == (8080, ("GET /orders*", "* / x-a: b"))
    assert (read.allow, read.deny, read.besides) == (("web.shop", "*.bank"), ("thief.shop",), ("rateLimit",))
    assert shut.allow == ()
    assert any('"shut" lets nobody in' in text for text in found.suggestions)
    assert [(rule.name, rule.standing) for rule in found.rules] == [("broken", "refused")]


def test_where_no_routes_are_declared() -> None:
    found = view(objects())
    assert (found.routes, found.without_routes) == ((), "mesh")
    assert any("say who may" in text for text in found.suggestions)
    assert view(objects(routes="[]")).without_routes == ""


def test_what_leaves_and_by_whose_approval() -> None:
    found = view(objects(egress=EGRESS))
    one, = found.egress
    assert (one.to, one.policy) == ("api.partner.example", "partners/*.partner.example")
    assert one.how == ("http:80 -> TLS 1.2+ :443, with certificate partner", "the application's TLS:443")
    assert "Secret is missing" in one.why_not
    assert [(rule.name, rule.standing) for rule in found.rules] == [("nobody.example", "refused")]
    assert "none names it" in found.rules[0].why


def test_plaintext_is_said_with_its_end() -> None:
    policy = mesh_policy(mtls={"mode": "permissive", "until": "2030-01-01T00:00:00Z"})
    found = view([*objects(routes=ROUTES), policy])
    assert found.ports[0].mode == "permissive until 2030-01-01T00:00:00Z"
    assert any("plaintext is let in" in text for text in found.suggestions)


@pytest.mark.parametrize(("labelled", "words"), [
    (True, "before its namespace was in the mesh; kubectl -n shop rollout restart deployment/orders"), (False, "is not labelled"),
])
def test_a_pod_without_sidecar_is_told_why_and_what_cures_it(labelled: bool, words: str) -> None:
    found = view(objects(has_sidecar=False, labelled=labelled))
    assert (found.routes, found.ports) == ((), ())
    assert [text for text in found.warnings if words in text]


def test_a_service_has_its_endpoints_and_those_that_are_none() -> None:
    bare = {"kind": "Pod", "metadata": {"name": "bare", "namespace": "shop", "labels": {"app": "orders"}}, "status": {"phase": "Running"}}
    cluster = Cluster.of([*objects(), bare])
    found = service_view(cluster.services["shop", "orders"], cluster, compile_services(cluster, "shop", "example.org", LastGood()))
    port, = found.ports
    assert [(one.address, one.port, one.identity) for one in port.endpoints] == [
        ("10.0.0.1", 8080, "spiffe://example.org/ns/shop/sa/orders")]
    assert found.pods == {"bare": False, "orders-1": True}
    assert found.warnings == ("without sidecar, and never called by the mesh: bare",)


@pytest.mark.parametrize(("spec", "words"), [
    ({"type": "ExternalName"}, "no Service of the mesh"), ({"selector": {"app": "x"}, "ports": [{"port": 80}]}, "selects no pod"),
])
def test_a_service_that_leads_nowhere(spec: dict[str, Any], words: str) -> None:
    cluster = Cluster.of([*objects(), {"kind": "Service", "metadata": {"name": "odd", "namespace": "shop"}, "spec": spec}])
    found = service_view(cluster.services["shop", "odd"], cluster, compile_services(cluster, "shop", "example.org", LastGood()))
    assert words in found.warnings[0]


@pytest.mark.parametrize(("name", "kind"), [
    ("shop/orders-1", "Pod"), ("shop/orders", "Pod"), ("shop/deploy/orders", "Pod"), ("shop/svc/orders", "Service"),
    ("shop/Service/orders", "Service"),
])
def test_what_is_meant(name: str, kind: str) -> None:
    found = find(Cluster.of(objects()), name)
    assert isinstance(found, Object)
    assert found.kind == kind


@pytest.mark.parametrize(("name", "words"), [
    ("shop/svc/ordrs", 'did you mean "orders"'), ("shop/ordrs", "did you mean 'orders"), ("x/svc/y", "none"),
])
def test_what_is_not_there(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        find(Cluster.of(objects()), name)


@pytest.mark.parametrize(("caller", "words"), [
    (Caller(), "anybody in the mesh"), (Caller("web", "shop"), "web.shop"), (Caller(source="10.0.0.0/8"), "plaintext from 10.0.0.0/8"),
    (Caller(identity="spiffe://x/ns/*"), "spiffe://x/ns/*"),
    (Caller("web", "shop", claims={"role": ("a", "b")}), "web.shop with role a or b"),
])
def test_callers_in_words(caller: Caller, words: str) -> None:
    assert caller_words(caller) == words


def test_network_policies_that_isolate_it() -> None:
    spec = {"podSelector": {"matchLabels": {"app": "orders"}}, "policyTypes": ["Ingress", "Egress"]}
    policy = {"kind": "NetworkPolicy", "metadata": {"name": "none", "namespace": "shop"}, "spec": spec}
    found = view([*objects(), policy])
    assert (found.isolated_in, found.isolated_out, found.is_approved_by_them) == (("shop/none",), ("shop/none",), False)
    assert (view(objects()).isolated_in, view(objects()).isolated_out) == ((), ())
