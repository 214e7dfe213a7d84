"""What is looked at of an ingress gateway, and what would keep clients out."""

from typing import Any

from injector.cli.checks.gateway import ingress_gateway
from injector.cli.kubectl import NotFound
from injector.manifests import manifests
from injector.manifests.plan import read_plan

from .support import FORBIDDEN, Fake, wrong

Json = dict[str, Any]


def installed(*more: Json, ready: int = 2, addresses: tuple[Json, ...] = ({"ip": "192.0.2.1"},), sets: tuple[str, ...] = ()) -> Fake:
    made = manifests(read_plan(sets=["gateway.ingress=true", *sets]))
    for one in made:
        if one["kind"] == "Deployment":
            one["status"] = {"readyReplicas": ready}
        if one["kind"] == "Service":
            one["status"] = {"loadBalancer": {"ingress": list(addresses)}}
    return Fake(objects=(*made, *more))


def ingress(**spec: Any) -> Json:
    return {"kind": "Ingress", "metadata": {"namespace": "shop", "name": "web", **spec.pop("metadata", {})},
            "spec": {"ingressClassName": "bartizan", "tls": [{"hosts": ["www.example.com"], "secretName": "www-tls"}], **spec}}


def test_nothing_is_said_where_none_is_meant_to_be() -> None:
    assert list(ingress_gateway(Fake(objects=tuple(manifests(read_plan()))))) == []


def test_nothing_is_wrong() -> None:
    checks = list(ingress_gateway(installed(ingress(), sets=("secretNamespaces=[shop]",))))
    assert (len(checks), wrong(checks)) == (3, {})


def test_a_class_without_a_gateway() -> None:
    left = [one for one in installed().objects if one["kind"] != "Deployment"]
    assert "there is none" in wrong(ingress_gateway(Fake(objects=tuple(left))))["gateway-ready"][0]


def test_replicas_that_are_not_ready() -> None:
    assert next(ingress_gateway(installed(ready=1))).result == "warning"
    found = next(ingress_gateway(installed(ready=0)))
    assert (found.result, found.error[0].split(";")[0]) == ("error", "0 of 2 replicas are ready")


def test_a_load_balancer_that_never_comes() -> None:
    assert "NodePort" in wrong(ingress_gateway(installed(addresses=())))["gateway-address"][0]
    assert wrong(ingress_gateway(installed(addresses=(), sets=("gateway.service.type=NodePort",)))) == {}


def test_certificates_that_may_not_be_read() -> None:
    before = ingress(ingressClassName=None, metadata={"annotations": {"kubernetes.io/ingress.class": "bartizan"}})
    for one in (ingress(), before):
        said, = wrong(ingress_gateway(installed(one)))["gateway-secrets"]
        assert "Ingress shop/web names the Secret shop/www-tls" in said
    for other in (ingress(ingressClassName="nginx"), ingress(tls=None)):
        assert wrong(ingress_gateway(installed(other))) == {}


def gateway(controller: str = "bartizan.dev/gateway", **ref: str) -> tuple[Json, Json]:
    listeners = [{"name": "http"}, {"name": "https", "tls": {"certificateRefs": [{"name": "www-tls", **ref}]}}]
    return ({"kind": "GatewayClass", "metadata": {"name": "edge"}, "spec": {"controllerName": controller}},
            {"kind": "Gateway", "metadata": {"namespace": "shop", "name": "door"},
             "spec": {"gatewayClassName": "edge", "listeners": listeners}})


def test_certificates_of_gateways_that_may_not_be_read() -> None:
    said, = wrong(ingress_gateway(installed(*gateway())))["gateway-secrets"]
    assert "Gateway shop/door names the Secret shop/www-tls" in said
    assert wrong(ingress_gateway(installed(*gateway(), sets=("secretNamespaces=[shop]",)))) == {}
    elsewhere = installed(*gateway(namespace="certificates"), sets=("secretNamespaces=[shop]",))
    assert "certificates/www-tls" in wrong(ingress_gateway(elsewhere))["gateway-secrets"][0]
    assert wrong(ingress_gateway(installed(*gateway("other.example/gateway")))) == {}
    unknown = Fake(objects=installed().objects, refusals={"gatewayclasses": NotFound("the server doesn't have a resource type")})
    assert wrong(ingress_gateway(unknown)) == {}


def test_who_may_not_look_is_told() -> None:
    assert wrong(ingress_gateway(Fake(refusals={"*": FORBIDDEN}))) == {"gateway-ready": (str(FORBIDDEN),)}
