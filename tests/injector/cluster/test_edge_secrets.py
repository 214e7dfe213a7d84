from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.cluster import Ref
from injector.cluster.edge_secrets import EDGES, EdgeSecrets
from injector.cluster.secret_names import MOST_SECRETS, SecretNames


def ref(kind: str, name: str = "one", namespace: str = "shop") -> Ref:
    return kind, "" if kind.endswith("Class") else namespace, name


INGRESS_CLASS = {"spec": {"controller": "bartizan.dev/ingress"}}
GATEWAY_CLASS = {"spec": {"controllerName": "bartizan.dev/gateway"}}
EDGE = "authentication:\n  apiKeys: {secret: keys}\n  clientCertificate: {secret: roots, mode: optional}\n"


def ingress(*names: str, of: str = "ours", edge: str = "") -> dict[str, Any]:
    spec = {"ingressClassName": of, "tls": [{"secretName": name} for name in names]}
    return {"metadata": {"annotations": {"bartizan.dev/edge": edge}}, "spec": spec}


def gateway(*refs: dict[str, str]) -> dict[str, Any]:
    return {"spec": {"gatewayClassName": "ours", "listeners": [{"tls": {"certificateRefs": list(refs)}}, {"port": 80}]}}


def test_those_of_our_classes_and_no_others() -> None:
    one = EdgeSecrets()
    assert one.take(ref("Ingress"), ingress("cert", edge=EDGE))
    assert one.named() == {}
    assert one.take(ref("IngressClass", "ours"), INGRESS_CLASS)
    assert one.named() == {"shop": {("shop", "cert"), ("shop", "keys"), ("shop", "roots")}}
    assert not one.take(ref("IngressClass", "ours"), INGRESS_CLASS)
    assert one.take(ref("Ingress"), ingress("cert", of="nginx"))
    assert one.named() == {}
    one.take(ref("Ingress"), ingress("other"))
    assert one.take(ref("IngressClass", "ours"), {"spec": {"controller": "k8s.io/nginx"}})
    assert one.named() == {}


def test_the_old_annotation_names_a_class() -> None:
    one = EdgeSecrets()
    one.take(ref("IngressClass", "ours"), INGRESS_CLASS)
    one.take(ref("Ingress"), {"metadata": {"annotations": {"kubernetes.io/ingress.class": "ours"}}, "spec": {"tls": [{"secretName": "x"}]}})
    assert one.named() == {"shop": {("shop", "x")}}


def test_a_gateway_may_name_those_of_others_on_its_own_account() -> None:
    one = EdgeSecrets()
    one.take(ref("GatewayClass", "ours"), GATEWAY_CLASS)
    one.take(ref("Gateway"), gateway({"name": "a"}, {"name": "b", "namespace": "other"}, {"name": "c", "kind": "ConfigMap"}))
    assert one.named() == {"shop": {("shop", "a"), ("other", "b")}}
    assert one.take(ref("Gateway"), None)
    assert one.named() == {}


def test_a_route_names_them_in_its_annotation() -> None:
    one = EdgeSecrets()
    one.take(ref("HTTPRoute"), {"metadata": {"annotations": {"bartizan.dev/edge": EDGE}}})
    assert one.named() == {"shop": {("shop", "keys"), ("shop", "roots")}}


def test_there_is_a_bound_for_each_namespace_that_names_them() -> None:
    reports: list[str] = []
    names = SecretNames(reports.append)
    names.take({ref("IngressClass", "ours"): INGRESS_CLASS, ref("GatewayClass", "ours"): GATEWAY_CLASS})
    names.take({ref("Ingress", "x"): ingress(*(f"s{i:03}" for i in range(MOST_SECRETS + 1))), ref("Ingress", "y", "other"): ingress("own")})
    greedy = [{"name": f"t{i}", "namespace": "other"} for i in range(MOST_SECRETS)]
    names.take({ref("Gateway", namespace="infra"): gateway(*greedy)})
    wanted = names.wanted()
    assert ("shop", f"s{MOST_SECRETS - 1:03}") in wanted
    assert ("shop", f"s{MOST_SECRETS:03}") not in wanted
    assert ("other", "own") in wanted
    assert reports == ["Ingresses and Gateways of namespace shop name more than 64 Secrets: those after the first, by name, "
                       "count as if they were not there; have it name fewer"]


@pytest.mark.parametrize("kind", EDGES)
@given(st.recursive(st.none() | st.text(max_size=4) | st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
    st.sampled_from(["spec", "tls", "listeners", "certificateRefs", "secretName", "name", "metadata", "annotations", "bartizan.dev/edge"]),
    inner, max_size=4,
)))
def test_anything_may_come(kind: str, item: Any) -> None:
    """Whatever an object holds, it is taken, and taken away again without a trace."""
    one = EdgeSecrets()
    one.take(ref(kind), item)
    one.take(ref(kind), None)
    assert one.named() == {}
