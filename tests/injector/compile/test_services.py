from itertools import count
from typing import Any

import pytest

from injector.cluster import Cluster
from injector.cluster.directory import derived_slices
from injector.compile.last_good import LastGood
from injector.compile.services import Services, compile_services, protocols_of, service_ports, zone_of
from sidecar.model.service import Balancing, Endpoint, Limits, Service

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


_NUMBERS = count()


def _service(*ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.1", "ports": list(ports), **spec},
    }


def _slice(*endpoints: dict[str, Any], port: int = 8080) -> dict[str, Any]:
    return {
        "kind": "EndpointSlice",
        "metadata": {"name": f"x-{next(_NUMBERS)}", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"name": "", "port": port}], "endpoints": list(endpoints),
    }


def _to(pod: str, ip: str, **fields: Any) -> dict[str, Any]:
    return {"addresses": [ip], "targetRef": {"kind": "Pod", "name": pod, "namespace": "shop"}, **fields}


def _compile(*objects: dict[str, Any]) -> tuple[Service, ...]:
    return _services(*objects).found


def _services(*objects: dict[str, Any]) -> Services:
    return compile_services(Cluster.of([*objects, *derived_slices(objects)]), "shop", "example.org", LastGood())


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


def test_endpoints_that_are_not_ready_drain_while_their_pods_are_there() -> None:
    p, q = _pod("p", "10.0.0.1", account="web"), _pod("q", "10.0.0.2", account="web")
    gone = _to("gone", "10.0.0.9", conditions={"ready": False})
    plain, bare = _to("plain", "10.0.0.3", conditions={"ready": False}), _pod("plain", "10.0.0.3", meshed=False)
    both = _slice(_to("p", "10.0.0.1"), _to("q", "10.0.0.2", conditions={"ready": False}, zone="a"), gone, plain)
    (one,) = _compile(_service({"port": 80}), p, q, bare, both)
    assert [end.address for end in one.endpoints] == ["10.0.0.1"]
    assert one.draining == (Endpoint("10.0.0.2", 8080, WEB, "a"),)     # the very value that it was when it was ready
    assert _compile(_service({"port": 80}), p, both)[0].draining == ()
    q["status"]["phase"] = "Failed"
    assert _compile(_service({"port": 80}), p, q, both)[0].draining == ()


def test_a_service_all_of_whose_pods_drain_is_what_it_was() -> None:
    """Its protocol and its rules are for what goes on, and for when one is ready again."""
    said = {"bartizan.dev/ports": '"8080": opaque'}
    for ready in (True, False):
        to = _slice(_to("p", "10.0.0.1", conditions={"ready": ready}))
        (one,) = _compile(_service({"port": 80}), _pod("p", "10.0.0.1", annotations=said), to)
        assert (len(one.endpoints), len(one.draining)) == (ready, not ready)
        assert one.protocol == "opaque"


@pytest.mark.parametrize(
    ("port", "annotation", "expected"),
    [
        ({"port": 80}, None, "http"), ({"port": 5432}, None, "opaque"), ({"port": 80, "targetPort": 6379}, None, "opaque"),
        ({"port": 80, "appProtocol": "tcp"}, None, "opaque"), ({"port": 5432, "appProtocol": "http"}, None, "http"),
        ({"port": 80}, "80: opaque", "opaque"), ({"port": 5432}, "5432: http", "http"),
        ({"port": 80, "appProtocol": "tcp"}, "80: http", "http"), ({"port": 80}, "{ broken", "http"),
        ({"port": 80, "appProtocol": "kubernetes.io/h2c"}, None, "http2"), ({"port": 80, "appProtocol": "grpc"}, None, "http2"),
        ({"port": 80, "appProtocol": "kubernetes.io/ws"}, None, "http"), ({"port": 80, "appProtocol": "https"}, None, "app-tls"),
        ({"port": 80, "appProtocol": "tls"}, None, "app-tls"), ({"port": 80, "appProtocol": "example.com/own"}, None, "http"),
        ({"port": 80, "appProtocol": "grpc"}, "80: http1", "http1"), ({"port": 80}, "80: app-tls", "app-tls"),
    ],
)
def test_the_protocol_of_a_port(port: dict[str, Any], annotation: str | None, expected: str) -> None:
    annotations = {"bartizan.dev/ports": annotation} if annotation else {}
    assert _compile(_service(port), _pod("p", "10.0.0.1", annotations=annotations))[0].protocol == expected


def test_zones() -> None:
    pods = _pod("p", "10.0.0.1", account="web"), _pod("q", "10.0.0.2", account="web")
    slices = _slice(_to("p", "10.0.0.1", zone="a"), _to("q", "10.0.0.2")), _slice(_to("p", "10.0.0.1"))
    found = _compile(_service({"port": 80}), *pods, *slices)[0]
    assert [(one.address, one.zone) for one in found.endpoints] == [("10.0.0.1", "a"), ("10.0.0.2", "")]
    cluster = Cluster.of([_service({"port": 80}), *pods, *slices])
    assert [zone_of(pod, cluster) for pod in cluster.pods.values()] == ["a", ""]


ROUTES = "- {name: slow, allow: [], port: 8080, timeouts: {request: 3s}}\n- {name: other, allow: [], port: 9090, retries: {}}"
DECLARED = {"bartizan.dev/routes": ROUTES, "bartizan.dev/endpoints": "limits: {connections: 7}"}


def test_callers_are_told_what_the_pods_declare() -> None:
    services = _services(
        _service({"name": "a", "port": 80, "targetPort": 8080}, {"name": "b", "port": 81}),
        _pod("p", "10.0.0.1", annotations=DECLARED), _pod("q", "10.0.0.2", annotations=DECLARED),
    )
    assert [[rule.name for rule in one.rules] for one in services.found] == [["slow"], []]
    assert [one.balancing for one in services.found] == [Balancing(limits=Limits(7))] * 2
    assert services.problems == {}


def test_where_pods_differ_those_of_the_first_address_count() -> None:
    services = _services(
        _service({"port": 80, "targetPort": 8080}), _pod("p", "10.0.0.2"), _pod("q", "10.0.0.1", annotations=DECLARED),
    )
    assert [rule.request_s for rule in services.found[0].rules] == [3]
    assert services.problems == {
        "web.shop": ["Service web.shop, port 80: its pods declare different things for callers; those of q count"]
    }


def test_pods_that_differ_in_what_callers_do_not_see_agree() -> None:
    other = {**DECLARED, "bartizan.dev/routes": ROUTES.replace("allow: []", "allow: [{serviceAccount: web}]")}
    services = _services(
        _service({"port": 80, "targetPort": 8080}), _pod("p", "10.0.0.2", annotations=DECLARED), _pod("q", "10.0.0.1", annotations=other),
    )
    assert services.problems == {}


def test_what_services_say_of_a_pods_ports() -> None:
    services = _service(
        {"port": 80, "targetPort": "http", "appProtocol": "grpc"}, {"port": 81, "appProtocol": "tcp"}, {"port": 82},
        {"port": 83, "targetPort": "nowhere", "appProtocol": "tcp"},
    )
    elsewhere = {**_service({"port": 90, "appProtocol": "tcp"}), "metadata": {"name": "web", "namespace": "other"}}
    cluster = Cluster.of([services, elsewhere, _pod("p", "10.0.0.1")])
    assert protocols_of(cluster.pods["shop", "p"], cluster) == {8080: "http2", 81: "opaque", 82: "http"}
    assert service_ports(cluster, "shop") == {("web.shop", port) for port in (80, 81, 82, 83)}
    assert service_ports(cluster, "other") == {("web.other", 90)}
