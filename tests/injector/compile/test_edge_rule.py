from pathlib import Path

import bcrypt
import pytest
import yaml

from injector.cluster import EMPTY
from injector.cluster.objects import Object
from injector.compile.edge import EdgeBook, compile_edge
from injector.compile.edge_rule import ANYBODY, MOST_WEIGHT, Annotated, annotated, with_canaries, with_rule
from injector.compile.last_good import LastGood
from injector.compile.looked import Looked
from injector.documents import EdgeRule
from sidecar.model.edge import ClientCertificates, EdgeRoute
from sidecar.model.route import Caller, HeaderEdit, Match, RateLimit
from sidecar.model.service import Backend
from sidecar.policy.credentials import verify_key
from tests.certs.support import JWKS
from tests.helpers import pki
from tests.injector.pods import mesh_policy

from .edge_objects import asked, backend, cluster_of, ingress, joined, path, rule, service

ROUTE = EdgeRoute("r", ANYBODY, ports=(80,), backends=(Backend("web.shop", 80),))


def one(text: object, name: str = "i") -> Object:
    metadata = {"name": name, "namespace": "shop", **({"annotations": {"bartizan.dev/edge": text}} if text is not None else {})}
    return Object({"kind": "Ingress", "metadata": metadata})


def route(text: str) -> EdgeRoute:
    found = annotated(one(text), LastGood(), Looked(EMPTY), {})
    assert found.problems == ()
    return with_rule(ROUTE, found)


def test_nothing_said_changes_nothing() -> None:
    assert annotated(one(None), LastGood(), Looked(EMPTY), {}) == Annotated()
    assert with_rule(ROUTE, Annotated()) == ROUTE


def test_every_field() -> None:
    found = route("""
rateLimit: {requests: 20, per: 1m, by: header, header: x-key, burst: 40}
concurrency: 7
maxBody: 2MiB
timeouts: {request: 15s, idle: 1m}
retries: {attempts: 2, on: [503]}
allowFrom: [192.0.2.0/24, 2001:db8::/32]
denyFrom: [192.0.2.7/32]
requestHeaders: {set: {x-env: test}}
responseHeaders: {remove: [server]}
""")
    assert found.rate_limit == RateLimit(20, 60.0, "header", "x-key", 40)
    assert (found.concurrency, found.max_body_bytes, found.request_s, found.idle_s) == (7, 2 << 20, 15.0, 60.0)
    assert found.retries is not None
    assert (found.retries.attempts, found.retries.on) == (2, ("503",))
    assert found.allow == (Caller(source="192.0.2.0/24"), Caller(source="2001:db8::/32"))
    assert found.deny == (Caller(source="192.0.2.7/32"),)
    assert found.request_headers == HeaderEdit(set={"x-env": "test"})
    assert found.response_headers == HeaderEdit(remove=("server",))


def test_a_limit_is_one_of_each_client_unless_it_says_otherwise() -> None:
    assert route("rateLimit: {requests: 5}").rate_limit == RateLimit(5, 1.0, "identity")


# -- what is broken


@pytest.mark.parametrize("text", ["allowFrom: [nowhere]", "alowFrom: [192.0.2.0/24]", "[", "7", "concurrency: 0\nmaxBody: 1KiB"])
def test_what_cannot_be_read_lets_nobody_in(text: str) -> None:
    found = annotated(one(text), LastGood(), Looked(EMPTY), {})
    assert found.is_unreadable
    assert "nobody is let in before it is corrected" in found.problems[-1]
    assert with_rule(ROUTE, found).allow == ()


def test_a_value_that_is_no_text() -> None:
    assert annotated(one({"a": 1}), LastGood(), Looked(EMPTY), {}).is_unreadable


def test_what_was_in_force_before_counts_on() -> None:
    last_good = LastGood()
    annotated(one("allowFrom: [192.0.2.0/24]\nconcurrency: 5"), last_good, Looked(EMPTY), {})
    for text in ("allowFrom: [nowhere]\nconcurrency: 6", "["):
        found = annotated(one(text), last_good, Looked(EMPTY), {})
        assert not found.is_unreadable
        assert found.problems
        assert found.rule.allow_from == ("192.0.2.0/24",)
    annotated(one(None), last_good, Looked(EMPTY), {})
    assert annotated(one("allowFrom: [nowhere]"), last_good, Looked(EMPTY), {}).is_unreadable


# -- canaries


def canaries(text: str, of: EdgeRoute = ROUTE) -> list[EdgeRoute]:
    look = Looked(cluster_of(service("v2"), service("v3")))
    return with_canaries(of, annotated(one(text), LastGood(), look, {}).rule, "shop", look)[0]


def test_by_weight_the_remaining_share_stays() -> None:
    (found,) = canaries("canary: [{service: v2, port: 80, weight: 5}, {service: v3, port: 80, weight: 15}]")
    assert [(each.service, each.weight) for each in found.backends] == [("web.shop", 80), ("v2.shop", 5), ("v3.shop", 15)]


@pytest.mark.parametrize(("weight", "stays"), [(0, 1), (100, 0)])
def test_the_ends_of_the_scale(weight: int, stays: int) -> None:
    (found,) = canaries(f"canary: [{{service: v2, port: 80, weight: {weight}}}]")
    assert found.backends[0].weight == stays


def test_weights_of_several_backends_keep_their_proportion_and_their_bound() -> None:
    heavy = EdgeRoute("r", ANYBODY, ports=(80,), backends=(Backend("a.shop", 80, MOST_WEIGHT), Backend("b.shop", 80, MOST_WEIGHT // 2)))
    (found,) = canaries("canary: [{service: v2, port: 80, weight: 10}]", heavy)
    weights = [each.weight for each in found.backends]
    assert max(weights) <= MOST_WEIGHT
    assert [round(100 * weight / sum(weights)) for weight in weights] == [60, 30, 10]


def test_one_that_leads_nowhere_takes_nothing() -> None:
    assert canaries("canary: [{service: gone, port: 80, weight: 50}, {service: gone, port: 80, header: {name: a, value: b}}]") == [ROUTE]


def test_each_alternative_has_its_canary() -> None:
    of = EdgeRoute("r", ANYBODY, ports=(80,), matches=(Match(method="GET"), Match(method="PUT")), backends=ROUTE.backends)
    found = canaries("canary: [{service: v2, port: 80, header: {name: x-c, value: '1'}}]", of)
    assert [len(each.matches) for each in found] == [2, 2]
    assert found[0].name == "r/canary-0"


EDGE = """
canary:
- {service: weighed, port: 80, weight: 100}
- {service: cookie, port: http, cookie: {name: canary, value: always.yes}}
- {service: header, port: 8080, header: {name: X-Canary, value: always}}
"""


@pytest.mark.parametrize(("headers", "expected"), [
    ({}, "web weighed"),
    ({"x-canary": "always"}, "header"),
    ({"X-CANARY": "always"}, "header"),
    ({"x-canary": "Always"}, "web weighed"),
    ({"x-canary": "never"}, "web weighed"),
    ({"cookie": "canary=always.yes"}, "cookie"),
    ({"cookie": "a=b; canary=always.yes"}, "cookie"),
    ({"cookie": "canary=always.yes; a=b"}, "cookie"),
    ({"cookie": "a=b;canary=always.yes;c=d"}, "cookie"),
    ({"cookie": "canary=alwaysXyes"}, "web weighed"),
    ({"cookie": "canary=always.yess"}, "web weighed"),
    ({"cookie": "notcanary=always.yes"}, "web weighed"),
    ({"cookie": "x=canary=always.yes"}, "web weighed"),
    ({"cookie": "Canary=always.yes"}, "web weighed"),
    ({"x-canary": "always", "cookie": "canary=always.yes"}, "header"),
])
def test_header_before_cookie_before_weight(headers: dict[str, str], expected: str) -> None:
    services = [service(name) for name in ("weighed", "cookie", "header")]
    item = ingress("i", [rule("x.test", path("P", "/a", "web")), rule("x.test", path("P", "/a/b", "web"))], edge=EDGE)
    found = asked(item, *services)
    assert [found.to("x.test", target, headers=headers) for target in ("/a", "/a/x", "/a/b")] == [expected] * 3


def test_a_canary_without_its_service_is_told() -> None:
    found = joined(ingress("i", [rule("x.test", path("P", "/", "web"))], edge="canary: [{service: gone, port: 80, weight: 50}]"))
    assert found.problems["Ingress", "shop", "i"] == ("canary: there is no Service gone in namespace shop; nothing is sent there",)


def test_the_annotation_is_for_the_default_backend_too() -> None:
    item = ingress("i", [rule("x.test", path("P", "/", "web"))], edge="concurrency: 3", defaultBackend=backend("d"))
    assert {one.concurrency for one in joined(item).edge.routes} == {3}


def test_an_empty_annotation() -> None:
    assert annotated(one("{}"), LastGood(), Looked(EMPTY), {}).rule == EdgeRule()


# -- who clients are


EXAMPLE = Path(__file__).parents[3] / "examples" / "ingress" / "access.yaml"


def test_who_may_come_in_reaches_the_gateway() -> None:
    """The example: each rule of the object asks, its certificates are asked for where its hosts are, and what is missing is said."""
    objects = list(yaml.safe_load_all(EXAMPLE.read_text(encoding="utf-8")))
    found = compile_edge(cluster_of(*objects))
    office, partners = found.edge.access["ingress/shop/back-office"], found.edge.access["ingress/shop/partners"]
    assert office.basic is not None
    assert [(user.name, user.roles) for user in office.basic.users] == [("ann", ("admin", "staff")), ("bob", ("staff",))]
    assert all(bcrypt.checkpw(f"{user.name}-secret".encode(), user.hash.encode()) for user in office.basic.users)
    assert office.api_keys is not None
    assert verify_key(office.api_keys, b"warehouse-key") is not None
    assert not office.unusable
    rules = {route.name: route for route in found.edge.routes if not route.redirect}
    assert rules["ingress/shop/back-office/0/0"].access == "ingress/shop/back-office"
    assert [one.paths for one in rules["ingress/shop/back-office/0/0"].restrictions] == [("/admin",), ("/stock",)]
    assert "gatekeeper.shop" in found.services
    assert partners.certificate == "shop/partner-authority"
    assert partners.unusable == "the Secret shop/partner-authority is missing, or the control plane may not read it"
    assert any("partner-authority is missing" in text for text in found.problems["Ingress", "shop", "partners"])


def test_certificates_are_asked_for_where_the_hosts_of_the_object_are() -> None:
    objects = list(yaml.safe_load_all(EXAMPLE.read_text(encoding="utf-8")))
    roots = pki.pem([pki.authority("partner").certificate])
    metadata = {"name": "partner-authority", "namespace": "shop"}
    authority = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"ca.crt": roots}}
    found = compile_edge(cluster_of(*objects, authority)).edge.listeners
    hosts = {host.hosts: host.clients for listener in found for host in listener.tls or ()}
    assert hosts == {
        ("office.example.com",): None, ("partners.example.com",): ClientCertificates(roots, True, "shop/partner-authority"),
    }


def test_another_policy_is_looked_at_and_another_secret() -> None:
    """What is kept of an object is kept as long as the Secrets and the MeshPolicies that it was made of are the same."""
    text = "authentication: {jwt: {issuer: 'https://login.example', audiences: [a]}, apiKeys: {secret: keys}}"
    book, objects = EdgeBook(LastGood()), [ingress("web", [rule("x.test", path("P", "/", "web"))], edge=text)]

    def unusable(*more: dict[str, object]) -> str:
        return compile_edge(cluster_of(*objects, *more), book=book).edge.access["ingress/shop/web"].unusable

    keys = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "shop"}, "stringData": {"a": "0" * 64}}
    trusts = mesh_policy(tokenIssuers=[{"issuer": "https://login.example", "jwks": JWKS.decode()}])
    assert "the Secret shop/keys is missing" in unusable()
    assert "no MeshPolicy" in unusable(keys)
    assert unusable(keys, trusts) == ""


@pytest.mark.parametrize("text", [
    "authentication: {basic: {}}", "authentication: {}", "authentication: {apiKeys: {secret: keys, headers: x}}",
    "authorization: [{}]", "authorization: [{paths: [a], allow: []}]",
])
def test_what_cannot_be_read_of_it_lets_nobody_in(text: str) -> None:
    found = annotated(one(f"{text}\nconcurrency: 5"), LastGood(), Looked(EMPTY), {})
    assert found.is_unreadable
    assert with_rule(ROUTE, found).allow == ()


def test_claims_need_somebody_to_say_them() -> None:
    asks = "authentication: {external: {host: a.example}}"
    for said, is_told in ("", True), (asks, True), ("authentication: {basic: {secret: s}}", False):
        found = annotated(one(f"authorization: [{{allow: [{{roles: [a]}}]}}]\n{said}"), LastGood(), Looked(EMPTY), {})
        assert any("nobody has roles or claims" in text for text in found.problems) is is_told
        assert len(with_rule(ROUTE, found).restrictions) == 1
