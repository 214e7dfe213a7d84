from typing import Any

import pytest

from injector.cluster import Cluster
from injector.cluster.directory import derived_slices
from injector.compile.services import compile_services
from sidecar.model.service import Endpoint, Service

SIDECAR = {"name": "bartizan-sidecar"}


def _pod(name: str, ip: str, **fields: Any) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": fields.get("namespace", "shop"), "labels": {"app": "web"},
                     "annotations": fields.get("annotations", {})},
        "spec": {"serviceAccountName": fields.get("account"), "initContainers": [SIDECAR] if fields.get("meshed", True) else [],
                 "containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIPs": [{"ip": ip}]},
    }


def _service(*ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.1", "ports": list(ports), **spec},
    }


def _slice(*endpoints: dict[str, Any], port: int = 8080) -> dict[str, Any]:
    return {
        "kind": "EndpointSlice", "metadata": {"name": "x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"name": "", "port": port}], "endpoints": list(endpoints),
    }


def _to(pod: str, ip: str, **fields: Any) -> dict[str, Any]:
    return {"addresses": [ip], "targetRef": {"kind": "Pod", "name": pod, "namespace": "shop"}, **fields}


def _compile(*objects: dict[str, Any]) -> tuple[Service, ...]:
    return compile_services(Cluster.of([*objects, *derived_slices(objects)]), "example.org")


WEB = "spiffe://example.org/ns/shop/sa/web"


def test_a_service_with_its_pods() -> None:
    found = _compile(
        _service({"name": "a", "port": 80, "targetPort": "http"}, {"name": "b", "port": 81}, {"name": "u", "port": 82, "protocol": "UDP"}),
        _pod("p", "10.0.0.1", account="web"), _pod("q", "10.0.0.2"), _pod("r", "10.0.0.3", meshed=False),
    )
    default = "spiffe://example.org/ns/shop/sa/default"
    assert found == (
        Service("web.shop", 80, ("10.96.0.1",), "http", (Endpoint("10.0.0.1", 8080, WEB), Endpoint("10.0.0.2", 8080, default))),
        Service("web.shop", 81, ("10.96.0.1",), "http", (Endpoint("10.0.0.1", 81, WEB), Endpoint("10.0.0.2", 81, default))),
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"clusterIP": "None"}, ()), ({"clusterIP": None}, ()), ({"clusterIPs": ["10.96.0.1", "FD00::1"]}, ("10.96.0.1", "fd00::1")),
    ],
)
def test_addresses_of_a_service(spec: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert _compile(_service({"port": 80}, **spec))[0].addresses == expected


@pytest.mark.parametrize("spec", [{"selector": None}, {"selector": {}}, {"type": "ExternalName"}])
def test_what_selects_no_pods_is_egress(spec: dict[str, Any]) -> None:
    assert _compile(_service({"port": 80}, **spec), _pod("p", "10.0.0.1")) == ()


@pytest.mark.parametrize("port", [0, 65536, True, "http", None])
def test_a_port_that_is_none_stays_out(port: object) -> None:
    assert _compile(_service({"port": port})) == ()
    assert _compile(_service({"port": 80}), _pod("p", "10.0.0.1"), _slice(_to("p", "10.0.0.1"), port=port))[0].endpoints == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "endpoint",
    [
        _to("p", "10.0.0.9"), _to("gone", "10.0.0.1"), {"addresses": ["10.0.0.1"]}, _to("plain", "10.0.0.2"),
        {"addresses": ["10.0.0.3"], "targetRef": {"kind": "Pod", "name": "far", "namespace": "other"}},
        {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Node", "name": "p", "namespace": "shop"}},
    ],
)
def test_an_address_that_somebody_wrote_is_no_endpoint(endpoint: dict[str, Any]) -> None:
    pods = _pod("p", "10.0.0.1"), _pod("plain", "10.0.0.2", meshed=False), _pod("far", "10.0.0.3", namespace="other")
    assert _compile(_service({"port": 80}), *pods, _slice(endpoint))[0].endpoints == ()


def test_readiness_of_endpoints() -> None:
    pods = _pod("p", "10.0.0.1"), _pod("q", "10.0.0.2"), _pod("r", "10.0.0.3")

    def chosen(*conditions: dict[str, Any] | None) -> list[str]:
        endpoints = [_to(name, f"10.0.0.{i}", conditions=one) for i, (name, one) in enumerate(zip("pqr", conditions, strict=False), 1)]
        return [one.address for one in _compile(_service({"port": 80}), *pods, _slice(*endpoints), _slice(*endpoints))[0].endpoints]

    ends = {"ready": False, "serving": True, "terminating": True}
    assert chosen(None, {"ready": None}, {"ready": True}) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert chosen({"ready": True}, ends, {"ready": False}) == ["10.0.0.1"]
    assert chosen({"ready": False, "serving": False}, ends, {"ready": False}) == ["10.0.0.2"]
    assert chosen({"ready": False}) == []


@pytest.mark.parametrize(
    ("port", "annotation", "expected"),
    [
        ({"port": 80}, None, "http"), ({"port": 5432}, None, "opaque"), ({"port": 80, "targetPort": 6379}, None, "opaque"),
        ({"port": 80, "appProtocol": "tcp"}, None, "opaque"), ({"port": 5432, "appProtocol": "http"}, None, "http"),
        ({"port": 80}, "80: opaque", "opaque"), ({"port": 5432}, "5432: http", "http"),
        ({"port": 80, "appProtocol": "tcp"}, "80: http", "http"), ({"port": 80}, "{ broken", "http"),
    ],
)
def test_the_protocol_of_a_port(port: dict[str, Any], annotation: str | None, expected: str) -> None:
    annotations = {"bartizan.dev/ports": annotation} if annotation else {}
    assert _compile(_service(port), _pod("p", "10.0.0.1", annotations=annotations))[0].protocol == expected
