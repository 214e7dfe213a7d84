"""The objects together: what they contribute, by the rules that decide at the edge; and that any object is compiled or told."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from injector.cluster import Cluster
from injector.cluster.directory import read_file
from injector.compile.edge_join import join
from injector.compile.httproutes import attached_json
from sidecar.model.edge import Edge
from sidecar.model.message import NO_BODY, RequestHead
from sidecar.policy.route_table import RouteTable
from tests.injector.compile.gateway_objects import (
    Json,
    gateway,
    gateway_class,
    grant,
    listener,
    read,
    read_cluster,
    route,
    secret,
    secure,
    service,
    to,
)

SERVICES = tuple(service(f"v{i}") for i in range(1, 7))


def request(target: str, host: str = "web.example.com", method: str = "GET", **headers: str) -> RequestHead:
    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    return RequestHead(method.encode(), target.encode(), host.encode(), None, fields, NO_BODY, False)


def decided(objects: tuple[Json, ...], asked: RequestHead, port: int = 80) -> str:
    """The Service that the request is led to; the status where it is answered; `-`: no rule."""
    edge = join(read(*SERVICES, *objects).said).edge
    found = RouteTable(edge.routes).find(port, asked)
    if found is None:
        return "-"
    if found.rule.direct_response is not None:
        return str(found.rule.direct_response.status)
    return found.rule.backends[0].service.partition(".")[0]


def lead(service: str, *matches: Json) -> Json:
    return {"backendRefs": [to(service)], **({"matches": list(matches)} if matches else {})}


def path(value: str, kind: str = "PathPrefix", **more: Any) -> Json:
    return {"path": {"type": kind, "value": value}, **more}


RULES = route(
    lead("v1", path("/")), lead("v2", path("/app")), lead("v3", path("/app", "Exact")), lead("v4", path("/app", method="POST")),
    lead("v5", path("/app", headers=[{"name": "version", "value": "two"}])),
    lead("v6", path("/app", queryParams=[{"name": "v", "value": "6"}])),
)
PRECEDENCE: tuple[tuple[RequestHead, str], ...] = (
    (request("/"), "v1"),
    (request("/apple"), "v1"),
    (request("/app"), "v3"),
    (request("/app/"), "v2"),
    (request("/app/x"), "v2"),
    (request("/app/x", method="POST"), "v4"),
    (request("/app/x", version="two"), "v5"),
    (request("/app/x?v=6"), "v6"),
    (request("/app/x?v=6", version="two"), "v5"),
    (request("/app/x", method="POST", version="two"), "v4"),
)


@pytest.mark.parametrize(("asked", "service"), PRECEDENCE)
def test_precedence_within_a_route(asked: RequestHead, service: str) -> None:
    assert decided((gateway(), RULES), asked) == service


def test_of_equal_matches_the_older_route_counts_then_the_name() -> None:
    old, new = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"
    assert decided((gateway(), route(lead("v1"), name="b", created=old), route(lead("v2"), name="a", created=new)), request("/")) == "v1"
    assert decided((gateway(), route(lead("v1"), name="b", created=old), route(lead("v2"), name="a", created=old)), request("/")) == "v2"
    assert decided((gateway(), route(lead("v1", path("/a")), created=old), route(lead("v2", path("/a/b")), name="x", created=new)),
                   request("/a/b")) == "v2", "the longer prefix, whatever the age"
    assert decided((gateway(), route(lead("v1"), lead("v2"))), request("/")) == "v1", "the earlier rule"


HOSTS = (
    gateway(),
    route(lead("v1"), name="any"),
    route(lead("v2"), name="wild", hostnames=["*.example.com"]),
    route(lead("v3"), name="deeper", hostnames=["*.web.example.com"]),
    route(lead("v4", path("/only")), name="exact", hostnames=["web.example.com"]),
)


@pytest.mark.parametrize(("host", "target", "service"), [
    ("example.net", "/", "v1"), ("example.com", "/", "v1"), ("a.example.com", "/", "v2"), ("a.b.example.com", "/", "v2"),
    ("a.web.example.com", "/", "v3"), ("web.example.com", "/only", "v4"), ("web.example.com", "/", "v2"),
])
def test_the_narrowest_hostname_first(host: str, target: str, service: str) -> None:
    assert decided(HOSTS, request(target, host)) == service


ISOLATED = (
    gateway(listener("any"), listener("wild", hostname="*.example.com"), listener("one", hostname="a.example.com")),
    route(lead("v1"), name="any", parents=({"name": "edge", "sectionName": "any"},)),
    route(lead("v2"), name="wild", parents=({"name": "edge", "sectionName": "wild"},)),
    route(lead("v3", path("/three")), name="one", parents=({"name": "edge", "sectionName": "one"},)),
)


@pytest.mark.parametrize(("host", "target", "service"), [
    ("example.net", "/", "v1"), ("b.example.com", "/", "v2"), ("a.example.com", "/three", "v3"), ("a.example.com", "/", "404"),
])
def test_one_listener_alone_hears_a_request(host: str, target: str, service: str) -> None:
    assert decided(ISOLATED, request(target, host)) == service


def test_no_gateway_closes_a_host_of_another_namespace() -> None:
    """Whoever names the host first has it; a listener that somebody else gives that name takes nothing from it."""
    theirs = (gateway(listener("any"), listener("one", hostname="a.example.com"), name="sly", namespace="evil"),)
    narrow = route(lead("v1", path("/one")), name="a", hostnames=["a.example.com"])
    own = (gateway(), narrow, route(lead("v2"), hostnames=["*.example.com"]))
    assert decided((*own, *theirs), request("/", "a.example.com")) == "v2"


def test_a_route_is_for_the_ports_of_its_listeners() -> None:
    objects = (gateway(listener(), secure()), route(lead("v1"), parents=({"name": "edge", "sectionName": "https"},)))
    assert (decided(objects, request("/"), 80), decided(objects, request("/"), 443)) == ("-", "v1")


def test_what_is_not_in_force_is_among_the_problems() -> None:
    found = join(read(gateway(listener(), listener("more", port=8080)), route({"backendRefs": [to("gone")]}),
                      {"kind": "ReferenceGrant", "metadata": {"name": "x", "namespace": "data"}, "spec": {}}).said)
    assert set(found.problems) == {("Gateway", "shop", "edge"), ("HTTPRoute", "shop", "web"), ("ReferenceGrant", "data", "x")}


EXAMPLE = Path(__file__).parents[3] / "examples" / "ingress" / "gateway-api.yaml"
EXAMPLES: tuple[tuple[int, RequestHead, str], ...] = (
    (80, request("/api", "shop.example.com"), "301"),
    (443, request("/", "shop.example.com", **{"x-version": "v2"}), "web-v2"),
    (443, request("/", "shop.example.com"), "web"),
    (443, request("/api/orders", "shop.example.com"), "orders"),
    (443, request("/daily", "reports.example.com"), "warehouse"),
    (443, request("/daily", "reports.example.com", "POST"), "-"),
    (443, request("/", "other.example.com"), "-"),
    (443, request("/", "example.com"), "-"),
)


@pytest.fixture
def example() -> Edge:
    objects = [
        *read_file(EXAMPLE), service(), service("web-v2"), service("orders", port=8080), service("warehouse", "data"),
        secret("example-com-tls"),
    ]
    found = join(read_cluster(Cluster.of(objects)).said)
    assert found.problems == {}
    return found.edge


@pytest.mark.parametrize(("port", "asked", "service"), EXAMPLES)
def test_the_example(example: Edge, port: int, asked: RequestHead, service: str) -> None:
    found = RouteTable(example.routes).find(port, asked)
    if found is None:
        assert service == "-"
    elif found.rule.redirect is not None:
        assert str(found.rule.redirect.status) == service
    else:
        assert found.rule.backends[0].service.partition(".")[0] == service


# Any object: compiled or told, never an exception.

WORDS = ["", "edge", "web", "shop", "data", "http", "*.example.com", "a.example.com", "/a",
         "Exact", "All", "Same", "Service", "10s", "\n", "é"]
ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-1, 70000), st.floats(allow_nan=False), st.sampled_from(WORDS)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(WORDS), inner, max_size=2)), max_leaves=4,
)
WHOLE: tuple[Json, ...] = (
    gateway_class(), service(), secret(), grant("HTTPRoute", "shop", {"group": "", "kind": "Service"}),
    gateway(listener(hostname="*.example.com", allowedRoutes={"namespaces": {"from": "Selector", "selector": {"matchLabels": {}}}}),
            secure()),
    route(
        {"matches": [path("/a", headers=[{"name": "a", "value": "b"}])], "backendRefs": [to(weight=1)], "timeouts": {"request": "1s"},
         "filters": [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}}}]},
        hostnames=["a.example.com"],
    ),
)


def places_in(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(found for key, one in inner for found in places_in(one, (*here, key)))]


def replaced(value: Any, where: tuple[Any, ...], by: Any) -> Any:
    if not where:
        return by
    key, *rest = where
    if isinstance(value, dict):
        return {**value, key: replaced(value[key], tuple(rest), by)}
    return [replaced(one, tuple(rest), by) if i == key else one for i, one in enumerate(value)]


PLACES = [
    (i, ("spec", *where)) for i, one in enumerate(WHOLE) if one["kind"] not in ("Service", "Secret")
    for where in places_in(one["spec"])
]


@settings(max_examples=400)
@given(st.sampled_from(PLACES), ANY)
def test_any_object_is_compiled_or_told(place: tuple[int, tuple[Any, ...]], by: Any) -> None:
    objects = list(WHOLE)
    objects[place[0]] = replaced(objects[place[0]], place[1], by)
    found = read_cluster(Cluster.of(objects))
    joined = join(found.said)
    RouteTable(joined.edge.routes)
    for one in found.gateways.values():
        assert [listener.status() for listener in one.listeners] or one.problems or not one.listeners
    for one_route in found.routes.values():
        assert attached_json(one_route)
        is_empty = place[1][1:] == ("rules",) and by == []
        assert one_route.routes or one_route.problems or is_empty
