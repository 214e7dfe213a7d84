"""Where an HTTPRoute is heard, what it is told of each parent, and that what is left out is told."""

from typing import Any

import pytest

from injector.compile.conditions import Condition
from injector.compile.httproutes import HttpRoute, attached_json
from tests.injector.compile.gateway_objects import Json, gateway, listener, read, route, secure, service, to

KEY = ("HTTPRoute", "shop", "web")


def made(*objects: Json) -> HttpRoute:
    return read(*objects).routes[KEY]


def told(found: HttpRoute) -> list[dict[str, str]]:
    """Of each parent, the conditions by type: status and reason."""
    return [{one["type"]: f"{one['status']}/{one['reason']}" for one in parent["conditions"]} for parent in attached_json(found)]


def places(found: HttpRoute) -> dict[tuple[int, ...], tuple[str, ...]]:
    return {one.ports: one.hosts for one in found.routes}


GOOD = {"Accepted": "True/Accepted", "ResolvedRefs": "True/ResolvedRefs"}


def test_a_route_is_heard_by_all_listeners_of_its_gateway() -> None:
    found = made(gateway(listener(), secure()), route())
    assert told(found) == [GOOD]
    assert places(found) == {(80, 443): ()}
    assert [one.name for one in found.routes] == ["httproute/shop/web/0"]
    assert attached_json(found)[0]["parentRef"] == {"name": "edge"}


def test_hosts_by_listener() -> None:
    found = made(
        gateway(listener(hostname="*.example.com"), secure(hostname="a.example.com")),
        route(hostnames=["a.example.com", "*.b.example.com", "c.example.net"]),
    )
    assert places(found) == {(80,): ("a.example.com", "**.b.example.com"), (443,): ("a.example.com",)}
    assert [one.name for one in found.routes] == ["httproute/shop/web/0", "httproute/shop/web/0/1"]


PARENTS: tuple[tuple[Json, str, tuple[int, ...]], ...] = (
    ({"name": "edge"}, "True/Accepted", (80, 443)),
    ({"name": "edge", "sectionName": "http"}, "True/Accepted", (80,)),
    ({"name": "edge", "port": 443}, "True/Accepted", (443,)),
    ({"name": "edge", "sectionName": "https", "port": 443}, "True/Accepted", (443,)),
    ({"name": "edge", "sectionName": "https", "port": 80}, "False/NoMatchingParent", ()),
    ({"name": "edge", "sectionName": "other"}, "False/NoMatchingParent", ()),
    ({"name": "edge", "port": 81}, "False/NoMatchingParent", ()),
    ({"name": "edge", "sectionName": 7}, "False/UnsupportedValue", ()),
    ({"name": "closed"}, "False/NotAllowedByListeners", ()),
    ({"name": "elsewhere"}, "False/NoMatchingListenerHostname", ()),
    ({"name": "broken"}, "False/Pending", ()),
)


@pytest.mark.parametrize(("parent", "accepted", "ports"), PARENTS)
def test_parents(parent: Json, accepted: str, ports: tuple[int, ...]) -> None:
    found = made(
        gateway(listener(), secure()), gateway(listener(allowedRoutes={"namespaces": {"from": "None"}}), name="closed"),
        gateway(listener(hostname="other.example.com"), name="elsewhere"), gateway(addresses=[{}], name="broken"),
        route(parents=(parent,), hostnames=["web.example.com"]),
    )
    assert told(found)[0]["Accepted"] == accepted
    assert tuple(port for one in found.routes for port in one.ports) == ports
    assert bool(found.problems) == accepted.startswith("False")


def test_each_parent_is_told_of_itself() -> None:
    found = made(gateway(), gateway(listener(hostname="b.example.com"), name="other"),
                 route(parents=({"name": "edge"}, {"name": "other"}), hostnames=["a.example.com"]))
    assert [one["Accepted"] for one in told(found)] == ["True/Accepted", "False/NoMatchingListenerHostname"]
    assert places(found) == {(80,): ("a.example.com",)}


@pytest.mark.parametrize("parent", [
    {"name": "gone"}, {"name": "edge", "namespace": "data"}, {"name": "web", "group": "", "kind": "Service"},
    {"name": "edge", "group": "x.io"},
])
def test_a_route_that_names_no_gateway_of_ours_is_not_ours(parent: Json) -> None:
    assert not read(gateway(), route(parents=(parent,))).routes


def test_a_rule_that_is_dropped_takes_no_other_with_it() -> None:
    found = made(gateway(), route({"backendRefs": [to()]}, {"filters": [{"type": "CORS"}]}, {"backendRefs": [to()], "matches": [{}]}))
    assert [one.name for one in found.routes] == [f"httproute/shop/web/{i}" for i in (0, 2, 1)]
    refusing = found.routes[-1].direct_response
    assert refusing is not None, "lest its requests go to a wider rule"
    assert refusing.status == 500
    assert told(found) == [{**GOOD, "PartiallyInvalid": "True/UnsupportedValue"}]
    (message,) = (one["message"] for one in attached_json(found)[0]["conditions"] if one["type"] == "PartiallyInvalid")
    assert message.startswith("Dropped Rule")
    assert "spec.rules[1].filters[0].type" in message


def test_where_every_rule_is_dropped_the_route_is_not_accepted() -> None:
    found = made(gateway(), route({"filters": [{"type": "CORS"}]}))
    assert told(found) == [{"Accepted": "False/UnsupportedValue", "ResolvedRefs": "True/ResolvedRefs"}]
    assert [one.direct_response.status for one in found.routes if one.direct_response] == [500]
    assert len(found.problems) == 1


BROKEN: tuple[dict[str, Any], ...] = ({"hostnames": ["NO HOST"]}, {"hostnames": "a"}, {"rules": "a"}, {"useDefaultGateways": "All"})


@pytest.mark.parametrize("spec", BROKEN)
def test_a_route_that_cannot_be_read_is_not_accepted(spec: dict[str, Any]) -> None:
    broken = route()
    broken["spec"] |= spec
    found = made(gateway(), broken)
    assert told(found)[0]["Accepted"] == "False/UnsupportedValue"
    assert found.problems
    assert not found.routes


def test_what_is_not_there_is_told_and_the_route_goes_on() -> None:
    found = made(gateway(), route({"backendRefs": [to(), to("gone")]}))
    assert told(found) == [{**GOOD, "ResolvedRefs": "False/BackendNotFound"}]
    assert found.problems == ("there is no Service shop/gone",)
    assert found.routes


def test_a_route_without_rules_matches_everything_and_leads_nowhere() -> None:
    bare = route()
    del bare["spec"]["rules"]
    (one,) = made(gateway(), bare).routes
    assert one.direct_response is not None
    assert one.direct_response.status == 404


def test_a_listener_that_is_not_served_serves_no_route() -> None:
    found = read(gateway(listener(port=8080)), route())
    assert found.routes[KEY].routes == ()
    assert told(found.routes[KEY]) == [GOOD]
    assert len(found.gateways["Gateway", "shop", "edge"].listeners[0].attached) == 1


def test_a_name_that_is_a_narrower_listeners_is_not_heard_by_a_wider_one() -> None:
    listeners = listener("any"), listener("wild", hostname="*.example.com"), listener("one", hostname="a.example.com")
    on = {name: {"name": "edge", "sectionName": name} for name in ("any", "wild", "one")}

    def heard(name: str, *hostnames: str) -> dict[tuple[int, ...], tuple[str, ...]]:
        return places(made(gateway(*listeners), route(parents=(on[name],), hostnames=list(hostnames))))

    assert heard("any", "a.example.com", "b.example.com", "example.net") == {(80,): ("example.net",)}
    assert heard("wild", "a.example.com", "b.example.com") == {(80,): ("b.example.com",)}
    assert heard("wild") == {(80,): ("**.example.com",)}
    assert heard("one") == {(80,): ("a.example.com",)}
    assert heard("any") == {(80,): ()}


def test_conditions_that_others_add() -> None:
    found = made(gateway(), route())
    more = Condition("bartizan.dev/InForce", False, "Taken", "by another")
    assert attached_json(found, [more])[0]["conditions"][-1]["type"] == "bartizan.dev/InForce"


def test_services_of_the_routes_namespace_are_meant() -> None:
    found = read(gateway(listener(allowedRoutes={"namespaces": {"from": "All"}})), service(namespace="data"),
                 route(namespace="data", parents=({"name": "edge", "namespace": "shop"},)))
    ((_, made_of),) = found.routes.items()
    assert [one.service for one in made_of.routes[0].backends] == ["web.data"]


def test_the_annotation_counts_here_too() -> None:
    said = route({"backendRefs": [to()]})
    said["metadata"]["annotations"] = {"bartizan.dev/edge": "canary: [{service: gone, port: 80, weight: 5}]\nconcurrency: 7\n"}
    found = made(gateway(), said)
    assert [one.concurrency for one in found.routes] == [7]
    assert found.problems == ("canary: there is no Service gone in namespace shop; nothing is sent there",)


def test_an_annotation_that_cannot_be_read_lets_nobody_in() -> None:
    said = route({"backendRefs": [to()]})
    said["metadata"]["annotations"] = {"bartizan.dev/edge": "authentication: {oops: 1}\n"}
    found = made(gateway(), said)
    assert [one.allow for one in found.routes] == [()]
    assert found.problems


def test_whom_it_lets_in_stands_beside_its_rules() -> None:
    said = route({"backendRefs": [to()]})
    said["metadata"]["annotations"] = {"bartizan.dev/edge": "authentication: {apiKeys: {secret: keys}}\n"}
    found = made(gateway(), said)
    assert set(found.said().access) == {one.access for one in found.routes} == {"httproute/shop/web"}
