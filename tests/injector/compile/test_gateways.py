"""Listeners: which are served, with which certificate, for whose routes, and what each is told."""

from typing import Any

import pytest

from injector.compile.gateways import Gateway
from sidecar.model.edge import TlsHost
from tests.helpers import pki
from tests.injector.compile.gateway_objects import (
    API,
    Json,
    gateway,
    gateway_class,
    grant,
    listener,
    read,
    route,
    secret,
    secure,
    service,
)
from tests.injector.compile.gateway_objects import (
    CERTIFICATE as HELD,
)

SECRET = {"group": "", "kind": "Secret"}


def made(*objects: Json, name: str = "edge") -> Gateway:
    return read(*objects).gateways["Gateway", "shop", name]


def conditions(found: Gateway, listener: int = 0) -> dict[str, str]:
    """By type, the status and the reason."""
    return {one["type"]: f"{one['status']}/{one['reason']}" for one in found.listeners[listener].status()["conditions"]}


GOOD = {
    "Accepted": "True/Accepted", "ResolvedRefs": "True/ResolvedRefs", "Conflicted": "False/NoConflicts", "Programmed": "True/Programmed",
}


def test_a_listener_that_is_served() -> None:
    found = made(gateway())
    assert conditions(found) == GOOD
    assert found.problems == ()
    assert found.said().listeners == ((80, False),)
    assert found.said().tls == ()
    assert found.listeners[0].status()["supportedKinds"] == [{"group": API, "kind": "HTTPRoute"}]


def test_one_with_a_certificate() -> None:
    found = made(gateway(listener(), secure(hostname="*.example.com")))
    assert conditions(found, 1) == GOOD
    assert found.said().tls == ((443, TlsHost("shop/web-tls", ("**.example.com",), HELD.chain_pem, HELD.key_pem)),)
    assert found.said().listeners == ((80, False), (443, True))


CERTIFICATE: tuple[tuple[str, Json, tuple[Json, ...], str], ...] = (
    ("a Secret that is not there", secure(certificate="gone"), (), "InvalidCertificateRef"),
    ("no certificate", {**secure(), "tls": {}}, (), "InvalidCertificateRef"),
    ("no tls", {"name": "x", "port": 443, "protocol": "HTTPS"}, (), "InvalidCertificateRef"),
    ("two", {**secure(), "tls": {"certificateRefs": [{"name": "web-tls"}, {"name": "b"}]}}, (), "InvalidCertificateRef"),
    ("another kind", {**secure(), "tls": {"certificateRefs": [{"name": "web-tls", "kind": "ConfigMap"}]}}, (), "InvalidCertificateRef"),
    ("another group", {**secure(), "tls": {"certificateRefs": [{"name": "web-tls", "group": "x.io"}]}}, (), "InvalidCertificateRef"),
    ("half a certificate", secure(certificate="half"),
     ({**secret("half"), "stringData": {"tls.crt": HELD.chain_pem}},), "InvalidCertificateRef"),
    ("another's key", secure(certificate="other"), ({**secret("other"), "stringData": {
        "tls.crt": HELD.chain_pem, "tls.key": pki.issue(pki.authority("x"), pki.host("x")).key_pem}},), "InvalidCertificateRef"),
    ("another namespace's", {**secure(), "tls": {"certificateRefs": [{"name": "web-tls", "namespace": "data"}]}},
     (secret(namespace="data"),), "RefNotPermitted"),
    ("another's, granted to routes", {**secure(), "tls": {"certificateRefs": [{"name": "web-tls", "namespace": "data"}]}},
     (secret(namespace="data"), grant("HTTPRoute", "shop", SECRET)), "RefNotPermitted"),
)


@pytest.mark.parametrize(("said", "more", "reason"), [row[1:] for row in CERTIFICATE], ids=[row[0] for row in CERTIFICATE])
def test_without_its_certificate_a_listener_shakes_no_hands(said: Json, more: tuple[Json, ...], reason: str) -> None:
    found = made(gateway(said), *more)
    assert conditions(found) == {**GOOD, "ResolvedRefs": f"False/{reason}", "Programmed": "False/Invalid"}
    (_, host), = found.said().tls
    assert host.chain is None
    assert host.key is None


def test_another_namespaces_certificate_where_it_grants_it() -> None:
    said = {**secure(), "tls": {"certificateRefs": [{"name": "web-tls", "namespace": "data"}]}}
    found = made(gateway(said), secret(namespace="data"), grant("Gateway", "shop", SECRET))
    assert conditions(found) == GOOD
    assert found.said().tls == ((443, TlsHost("data/web-tls", (), HELD.chain_pem, HELD.key_pem)),)


REFUSED: tuple[tuple[Json, str], ...] = (
    (listener(port=8080), "PortUnavailable"),
    (listener(port=443), "PortUnavailable"),
    (secure(port=80), "PortUnavailable"),
    (listener(protocol="TCP"), "UnsupportedProtocol"),
    (listener(protocol="TLS", port=443), "UnsupportedProtocol"),
    (listener(protocol="example.com/own"), "UnsupportedProtocol"),
    (listener(tls={"mode": "Terminate"}), "UnsupportedValue"),
    ({**secure(), "tls": {"mode": "Passthrough", "certificateRefs": [{"name": "web-tls"}]}}, "UnsupportedValue"),
    ({**secure(), "tls": {"certificateRefs": [{"name": "web-tls"}], "options": {"x.io/y": "z"}}}, "UnsupportedValue"),
    ({**secure(), "tls": {"certificateRefs": [{"name": "web-tls"}], "frontendValidation": {}}}, "UnsupportedValue"),
    (listener(hostname="Not A Host"), "UnsupportedValue"),
    (listener(hostname="*.*.example.com"), "UnsupportedValue"),
    (listener(allowedRoutes={"namespaces": {"from": "Everywhere"}}), "UnsupportedValue"),
    (listener(port="http"), "UnsupportedValue"),
)


@pytest.mark.parametrize(("said", "reason"), REFUSED)
def test_a_listener_that_is_refused_takes_no_other_with_it(said: Json, reason: str) -> None:
    found = made(gateway(said, listener("good", hostname="good.example.com")))
    assert conditions(found)["Accepted"] == f"False/{reason}"
    assert conditions(found)["Programmed"] == "False/Invalid"
    assert conditions(found, 1) == GOOD
    assert found.said().listeners == ((80, False),)
    assert found.problems[0].startswith(f"listener {said['name']}: ")


def test_of_two_listeners_that_say_the_same_the_first_counts() -> None:
    found = made(gateway(listener("a"), listener("b"), listener("c", hostname="c.example.com")))
    assert conditions(found) == GOOD
    assert conditions(found, 2) == GOOD
    assert conditions(found, 1)["Conflicted"] == "True/HostnameConflict"
    assert conditions(found, 1)["Programmed"] == "False/Invalid"


def test_two_protocols_on_one_port() -> None:
    found = made(gateway(listener("a"), secure("b", port=80)))
    assert conditions(found, 1)["Conflicted"] == "True/ProtocolConflict"


def test_one_name_twice() -> None:
    found = made(gateway(listener("a"), listener("a", hostname="a.example.com")))
    assert conditions(found, 1)["Conflicted"] == "True/HostnameConflict"


def test_kinds_of_routes() -> None:
    both = made(gateway(listener(allowedRoutes={"kinds": [{"kind": "HTTPRoute"}, {"kind": "GRPCRoute"}]})))
    assert conditions(both)["ResolvedRefs"] == "False/InvalidRouteKinds"
    assert both.listeners[0].status()["supportedKinds"] == [{"group": API, "kind": "HTTPRoute"}]
    none = made(gateway(listener(allowedRoutes={"kinds": [{"kind": "HTTPRoute", "group": "x.io"}]})), route())
    assert none.listeners[0].status()["supportedKinds"] == []
    assert not none.listeners[0].attached


NAMESPACES: tuple[tuple[Any, str, bool], ...] = (
    (None, "shop", True),
    (None, "data", False),
    ({"from": "Same"}, "shop", True),
    ({"from": "Same"}, "data", False),
    ({"from": "All"}, "data", True),
    ({"from": "None"}, "shop", False),
    ({"from": "Selector", "selector": {"matchLabels": {"edge": "yes"}}}, "data", True),
    ({"from": "Selector", "selector": {"matchLabels": {"edge": "yes"}}}, "shop", False),
    ({"from": "Selector", "selector": {"matchLabels": {"kubernetes.io/metadata.name": "data"}}}, "data", True),
    ({"from": "Selector", "selector": {"matchExpressions": [{"key": "edge", "operator": "Exists"}]}}, "data", True),
    ({"from": "Selector", "selector": {}}, "data", True),
    ({"from": "Selector"}, "data", False),
)


@pytest.mark.parametrize(("namespaces", "namespace", "is_heard"), NAMESPACES)
def test_whose_routes_are_heard(namespaces: Any, namespace: str, is_heard: bool) -> None:
    allowed = {"allowedRoutes": {"namespaces": namespaces}} if namespaces else {}
    labelled = {"kind": "Namespace", "metadata": {"name": "data", "labels": {"edge": "yes"}}}
    parents = ({"name": "edge", "namespace": "shop"},)
    found = made(gateway(listener(**allowed)), labelled, service(namespace="data"), route(namespace=namespace, parents=parents))
    assert bool(found.listeners[0].attached) is is_heard


WHOLE: tuple[tuple[Json, str], ...] = (
    (gateway(addresses=[{"value": "192.0.2.1"}]), "UnsupportedAddress"),
    (gateway(infrastructure={"parametersRef": {"group": "", "kind": "ConfigMap", "name": "x"}}), "InvalidParameters"),
    (gateway(tls={"frontend": {}}), "Invalid"),
    (gateway("text"), "Invalid"),       # type: ignore[arg-type]
)


@pytest.mark.parametrize(("said", "reason"), WHOLE)
def test_a_gateway_of_which_nothing_is_in_force(said: Json, reason: str) -> None:
    found = made(said)
    assert [one.reason for one in found.refused] == [reason]
    assert found.said().listeners == ()
    assert found.problems


def test_classes() -> None:
    other = {"kind": "GatewayClass", "metadata": {"name": "other"}, "spec": {"controllerName": "example.com/other"}}
    with_parameters = gateway_class("tuned", parametersRef={"group": "", "kind": "ConfigMap", "name": "x"})
    found = read(other, with_parameters, gateway(), gateway(name="theirs", gatewayClassName="other"),
                 gateway(name="tuned", gatewayClassName="tuned"), gateway(name="nobodys", gatewayClassName="none"))
    assert {name: one.reason for name, one in found.classes.items()} == {"bartizan": "Accepted", "tuned": "InvalidParameters"}
    assert {ref[2] for ref in found.gateways} == {"edge", "tuned"}
    assert found.gateways["Gateway", "shop", "tuned"].refused


def test_what_the_narrowest_listener_has_no_route_for_is_not_for_a_wider_one() -> None:
    wide, narrow = listener("wide", hostname="*.example.com"), listener("narrow", hostname="a.example.com")
    assert made(gateway(wide, listener("apart", hostname="a.example.net"))).said().closed == set()
    assert made(gateway(wide, narrow)).said().closed == {(80, "a.example.com")}
    assert made(gateway(listener("any"), wide)).said().closed == {(80, "**.example.com")}
