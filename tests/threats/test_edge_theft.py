"""Another namespace may add paths to a host; nothing that is there comes to it, however it says what is there."""

from typing import Any

import pytest

from tests.injector.compile.edge_objects import Item, asked, backend, ingress, joined, path, rule, service
from tests.injector.compile.gateway_objects import gateway, listener, route, secure, to

HOST, LATER = "v.test", "2026-02-01T00:00:00Z"
TLS: dict[str, Any] = {"tls": [{"secretName": "s", "hosts": [HOST]}]}
ASKED = [(target, port) for target in ("/", "/login", "/login/x", "/y") for port in (80, 443)]


def victim(**spec: Any) -> Item:
    return ingress("v", [rule(HOST, path("P", "/login", "web"), path("P", "/", "web"))], created="2026-01-01T00:00:00Z", **spec)


def thief(kind: str, value: str, **more: Any) -> list[Item]:
    return [ingress("e", [rule(HOST, path(kind, value, "evil"))], namespace="evil", created=LATER, **more)]


def by_route(**match: Any) -> list[Item]:
    made = [
        gateway(listener(hostname=HOST), secure(hostname=HOST), namespace="evil"),
        route({"backendRefs": [to("evil")], "matches": [match]}, hostnames=[HOST], namespace="evil"),
    ]
    for one in made:
        one["metadata"]["creationTimestamp"] = LATER
    return [*made, service("evil", "evil")]


def of_path(kind: str, value: str) -> Item:
    return {"type": kind, "value": value}


THEFTS = {
    "exact": thief("E", "/login"), "exact root": thief("E", "/"), "another slash": thief("E", "/login/"),
    "another spelling": thief("E", "/%6cogin"), "as its own": thief("P", "/login"),
    "staying plain": thief("P", "/", edge="httpsRedirect: false"),
    "by method": by_route(path=of_path("PathPrefix", "/login"), method="GET"),
    "by field": by_route(path=of_path("PathPrefix", "/"), headers=[{"name": "accept", "type": "RegularExpression", "value": ".*"}]),
    "by expression": by_route(path=of_path("RegularExpression", ".*")), "plain": by_route(path=of_path("PathPrefix", "/")),
    "all, by method": by_route(method="GET"),
}


@pytest.mark.parametrize("spec", [{}, TLS], ids=["plain host", "host with TLS"])
@pytest.mark.parametrize("objects", THEFTS.values(), ids=THEFTS)
def test_nothing_that_is_there_comes_to_another_namespace(objects: list[Item], spec: dict[str, Any]) -> None:
    before, found = asked(victim(**spec)), asked(victim(**spec), *objects)
    for fields in ({}, {"accept": "text/html"}):
        assert [found.to(HOST, target, port=port, headers=fields) for target, port in ASKED] == [
            before.to(HOST, target, port=port) for target, port in ASKED]
    assert any(ref[1] == "evil" for ref in joined(victim(**spec), *objects).problems)


@pytest.mark.parametrize("objects", [
    thief("P", "/y"), thief("E", "/y"), by_route(path=of_path("PathPrefix", "/y")), by_route(path=of_path("Exact", "/y"), method="GET"),
])
def test_paths_that_are_not_there_may_be_added(objects: list[Item]) -> None:
    found = asked(victim(), *objects)
    assert [found.to(HOST, target) for target in ("/", "/login", "/y")] == ["web", "web", "evil"]


@pytest.mark.parametrize("objects", [thief("P", "/y", edge="httpsRedirect: false"), by_route(path=of_path("PathPrefix", "/y"))])
def test_whose_the_host_is_says_whether_it_is_asked_in_plaintext(objects: list[Item]) -> None:
    found = asked(victim(**TLS), *objects)
    assert [found.to(HOST, "/y", port=port) for port in (80, 443)] == [308, "evil"]
    told = [text for ref, texts in joined(victim(**TLS), *objects).problems.items() if ref[1] == "evil" for text in texts]
    assert "port 80 of v.test is redirected to HTTPS, as namespace shop says" in told


@pytest.mark.parametrize("objects", [
    thief("P", "/"), [ingress("e", [rule(HOST, path("P", "/y", "evil"))], namespace="evil", created=LATER, defaultBackend=backend("evil"))],
    by_route(path=of_path("PathPrefix", "/")), by_route(method="GET"),
], ids=["prefix", "default backend", "route", "method"])
def test_what_no_rule_of_a_host_is_about_is_its_namespaces_alone(objects: list[Item]) -> None:
    one = ingress("v", [rule(HOST, path("P", "/login", "web"))], created="2026-01-01T00:00:00Z")
    found = asked(one, *objects)
    assert [found.to(HOST, target, port=port) for target in ("/", "/x") for port in (80, 443)] == [None] * 4
    told = [text for ref, texts in joined(one, *objects).problems.items() if ref[1] == "evil" for text in texts]
    assert "what no rule of v.test is about is namespace shop's alone; name a path" in told
