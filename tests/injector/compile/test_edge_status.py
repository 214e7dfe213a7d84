"""What each object is told: addresses, conditions with their times, other controllers' words left alone."""

from typing import Any

import pytest

from injector.cluster import Cluster
from injector.cluster.objects import Object
from injector.compile.edge_status import Told, changed, gateway_addresses, ingress_status, told
from tests.injector.compile.gateway_objects import Json, gateway, gateway_class, listener, read_cluster, route, secret, service, to

NOW, BEFORE = "2026-11-21T15:00:00Z", "2026-11-20T15:00:00Z"
GATEWAY = ("Gateway", "shop", "edge")
ROUTE = ("HTTPRoute", "shop", "web")


def edge(kind: str = "ClusterIP", balanced: list[Json] | None = None, **spec: Any) -> Json:
    return {"kind": "Service", "metadata": {"name": "bartizan-gateway", "namespace": "bartizan-system"},
            "spec": {"type": kind, "clusterIP": "10.96.0.9", **spec}, "status": {"loadBalancer": {"ingress": balanced or []}}}


def edge_pod(name: str, host: str, account: str = "bartizan-gateway", phase: str = "Running") -> Json:
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "bartizan-system"}, "spec": {"serviceAccountName": account},
            "status": {"phase": phase, "podIP": "10.1.0.1", "hostIP": host}}


PODS = (edge_pod("a", "192.0.2.11"), edge_pod("b", "192.0.2.10"), edge_pod("c", "192.0.2.11"), edge_pod("d", "192.0.2.12", "other"),
        edge_pod("e", "192.0.2.13", phase="Pending"))
ADDRESSES: tuple[tuple[str, Json | None, tuple[str, ...]], ...] = (
    ("no Service", None, ()),
    ("a load balancer's address", edge("LoadBalancer", [{"ip": "203.0.113.7"}], externalIPs=["192.0.2.1"]), ("203.0.113.7",)),
    ("a load balancer's name", edge("LoadBalancer", [{"hostname": "lb.example.org"}]), ("lb.example.org",)),
    ("both", edge("LoadBalancer", [{"ip": "203.0.113.7", "hostname": "lb.example.org"}, {"ip": "2001:db8::7"}]),
     ("203.0.113.7", "2001:db8::7")),
    ("a load balancer that is not there yet: no client knows the Service's own", edge("LoadBalancer"), ()),
    ("external addresses", edge(externalIPs=["192.0.2.1", "192.0.2.2"]), ("192.0.2.1", "192.0.2.2")),
    ("nodes", edge("NodePort"), ("192.0.2.10", "192.0.2.11")),
    ("its own", edge(), ("10.96.0.9",)),
    ("both of its own", edge(clusterIPs=["10.96.0.9", "fd00::9"]), ("10.96.0.9", "fd00::9")),
    ("none", edge(clusterIP="None"), ()),
    ("what cannot be read", edge("LoadBalancer", "x"), ()),      # type: ignore[arg-type]
)


@pytest.mark.parametrize(("service", "expected"), [row[1:] for row in ADDRESSES], ids=[row[0] for row in ADDRESSES])
def test_addresses(service: Json | None, expected: tuple[str, ...]) -> None:
    assert gateway_addresses(Cluster.of([*PODS, *([service] if service else [])])) == expected


def test_nodes_of_nobody_are_none() -> None:
    assert gateway_addresses(Cluster.of([edge("NodePort")])) == ()


def test_an_ingress_is_told_addresses_and_what_is_wrong_at_them() -> None:
    assert ingress_status(("192.0.2.1", "lb.example.org"), (), is_taken=False) == {
        "loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example.org"}]},
    }
    taken = ingress_status(("192.0.2.1",), ("another has it",), is_taken=True)
    assert taken["loadBalancer"]["ingress"][0]["ports"] == [
        {"port": port, "protocol": "TCP", "error": "bartizan.dev/HostAndPathTaken"} for port in (80, 443)
    ]
    broken = ingress_status(("192.0.2.1",), ("no such Service",), is_taken=False)
    assert broken["loadBalancer"]["ingress"][0]["ports"][0]["error"] == "bartizan.dev/RuleNotInForce"
    assert ingress_status((), ("x",), is_taken=True) == {"loadBalancer": {"ingress": []}}


def told_all(*objects: Json, problems: dict[Any, tuple[str, ...]] | None = None, taken: frozenset[Any] = frozenset()) -> dict[Any, Told]:
    cluster = Cluster.of([gateway_class(), service(), secret(), *objects])
    return told(cluster, read_cluster(cluster), [], problems or {}, taken)


def conditions(status: Any) -> dict[str, str]:
    return {one["type"]: f"{one['status']}/{one['reason']}" for one in status["conditions"]}


GATEWAYS: tuple[tuple[Json, bool, str, str], ...] = (
    (gateway(), True, "True/Accepted", "True/Programmed"),
    (gateway(), False, "True/Accepted", "False/AddressNotAssigned"),
    (gateway(listener(), listener("more", port=8080)), True, "True/ListenersNotValid", "True/Programmed"),
    (gateway(listener(port=8080)), True, "False/ListenersNotValid", "False/Invalid"),
    (gateway(addresses=[{"value": "192.0.2.9"}]), True, "False/UnsupportedAddress", "False/Invalid"),
)


@pytest.mark.parametrize(("said", "has_address", "accepted", "programmed"), GATEWAYS)
def test_gateways(said: Json, has_address: bool, accepted: str, programmed: str) -> None:
    found = told_all(said, *([edge(externalIPs=["192.0.2.1"])] if has_address else []))[GATEWAY]
    assert conditions(found.status) == {"Accepted": accepted, "Programmed": programmed}
    assert found.status["addresses"] == ([{"type": "IPAddress", "value": "192.0.2.1"}] if has_address else [])


def test_a_class_is_told_what_we_offer() -> None:
    found = told_all()["GatewayClass", "", "bartizan"].status
    assert conditions(found) == {"Accepted": "True/Accepted"}
    names = [one["name"] for one in found["supportedFeatures"]]
    assert names == sorted(names)
    assert {"Gateway", "HTTPRoute", "ReferenceGrant"} <= set(names)


def test_listeners_count_their_routes() -> None:
    (one,) = told_all(gateway(), route(), route(name="other"))[GATEWAY].status["listeners"]
    assert (one["name"], one["attachedRoutes"]) == ("http", 2)


def test_a_route_is_told_what_another_object_took_from_it() -> None:
    dropped = ("there is no Service shop/gone", "the path / is somebody else's")
    found = told_all(gateway(), route({"backendRefs": [to(), to("gone")]}), problems={ROUTE: dropped}, taken=frozenset({ROUTE}))[ROUTE]
    (parent,) = found.status["parents"]
    assert conditions(parent) == {
        "Accepted": "True/Accepted", "ResolvedRefs": "False/BackendNotFound", "bartizan.dev/InForce": "False/HostAndPathTaken",
    }
    assert parent["conditions"][-1]["message"] == dropped[1]
    assert (found.problems, found.reason) == (dropped, "HostAndPathTaken")


THEIRS = {"parentRef": {"name": "other"}, "controllerName": "example.com/other",
          "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": BEFORE}]}


def test_what_other_controllers_say_of_a_route_stays() -> None:
    said = {**route(), "status": {"parents": [THEIRS]}}
    found = told_all(gateway(), said)[ROUTE]
    made = changed(Object(said), found.status, NOW)
    assert made is not None
    assert made["parents"][0] == THEIRS
    assert made["parents"][1]["controllerName"] == "bartizan.dev/gateway"


def as_written(one: Json, status: Json) -> Object:
    return Object({**one, "status": status})


def test_what_says_so_already_is_not_written() -> None:
    for said in (gateway(), route()):
        said["metadata"]["generation"] = 3
        found = told_all(*([gateway()] if said["kind"] == "HTTPRoute" else []), said)[GATEWAY if said["kind"] == "Gateway" else ROUTE]
        made = changed(Object(said), found.status, BEFORE)
        assert made is not None
        assert changed(as_written(said, made), found.status, NOW) is None


def test_a_condition_keeps_its_time_as_long_as_it_says_the_same() -> None:
    said = gateway(listener(), listener("more", port=8080))
    said["metadata"]["generation"] = 1
    first = changed(Object(said), told_all(said)[GATEWAY].status, BEFORE)
    assert first is not None
    then = gateway(listener(), listener("more", port=443))
    then["metadata"]["generation"] = 2
    later = changed(as_written(then, first), told_all(then, edge())[GATEWAY].status, NOW)
    assert later is not None
    times = {one["type"]: (one["status"], one["lastTransitionTime"], one["observedGeneration"]) for one in later["conditions"]}
    assert times == {"Accepted": ("True", BEFORE, 2), "Programmed": ("True", NOW, 2)}
    assert [one["lastTransitionTime"] for one in later["listeners"][0]["conditions"]] == [BEFORE] * 4


def test_what_somebody_else_changed_is_mended() -> None:
    said = gateway()
    wanted = told_all(said)[GATEWAY].status
    first = changed(Object(said), wanted, BEFORE)
    assert first is not None
    broken = {**first, "conditions": first["conditions"][:1]}
    assert changed(as_written(said, broken), wanted, NOW) is not None
    assert changed(as_written(said, {**first, "theirs": 1}), wanted, NOW) is None, "fields that are not ours are let alone"


def test_addresses_that_are_gone_are_taken_away() -> None:
    one = Object({"kind": "Ingress", "metadata": {}, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}})
    assert changed(one, ingress_status((), (), is_taken=False), NOW) == {"loadBalancer": {"ingress": []}}
    assert changed(Object({"kind": "Ingress", "metadata": {}}), ingress_status(("192.0.2.1",), (), is_taken=False), NOW) is not None
