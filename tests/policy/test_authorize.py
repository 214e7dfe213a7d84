"""The judge of what enters, as tables: whom a rule lets in. Which rule decides: test_route_table.py."""

import pytest
from msgspec.structs import replace

from sidecar.model.decision import Denied, Permit
from sidecar.model.edge import EdgeRoute, Restriction
from sidecar.model.identity import SpiffeId, parse
from sidecar.model.message import NO_BODY, RequestHead
from sidecar.model.reason import Reason
from sidecar.model.route import Caller, DirectResponse, Jwt, Match, PathMatch, Redirect, Route
from sidecar.model.snapshot import Inbound, PortMode
from sidecar.policy.authorize import Asker, Claims, authorize, authorize_client, find_route, judge_source
from sidecar.policy.route_table import Found, RouteTable

WEB = parse("spiffe://example.org/ns/shop/sa/web")
THIEF = parse("spiffe://example.org/ns/shop/sa/thief")
STRANGER = parse("spiffe://example.com/ns/shop/sa/web")
NOW = 1_800_000_000.0
ALLOW_WEB = (Caller("web", "shop"),)
POD = "10.1.0.9"


def get(target: str = "/", method: str = "GET") -> RequestHead:
    return RequestHead(method.encode(), target.encode(), b"orders", None, [], NO_BODY, False)


def prefix(path: str) -> Match:
    return Match(PathMatch(path))


def judge(
    inbound: Inbound, request: RequestHead | None = None, *, peer: SpiffeId | None = WEB, source: str = POD, claims: Claims | None = None,
    port: int = 8080, now: float = NOW,
) -> Permit | Denied:
    found = find_route(port, request, is_plaintext=peer is None, inbound=inbound, table=RouteTable(inbound.routes or ()), now=now)
    return authorize(found, Asker(peer, source, claims), "example.org") if isinstance(found, Found) else found


# -- which rule decides


def test_the_most_specific_decides_alone() -> None:
    """Who is allowed by the wider rule is not let through by it where the narrower one refuses."""
    wide, narrow = Route("wide", ALLOW_WEB), Route("narrow", (Caller("admin", "shop"),), matches=(prefix("/admin"),))
    inbound = Inbound(routes=(wide, narrow))
    assert judge(inbound, get("/a")) == Permit("wide")
    assert judge(inbound, get("/admin/x")) == Denied(Reason.NOT_ALLOWED, "narrow")
    assert judge(inbound, get("/admin")) == Denied(Reason.NOT_ALLOWED, "narrow")


def test_the_permit_says_which_rule_and_alternative() -> None:
    plain = Route("r", ALLOW_WEB, matches=(prefix("/a"), prefix("/b")))
    for route, more in ((plain, None), (limited := replace(plain, idle_s=1.0), limited)):
        permit = judge(Inbound(routes=(route,)), get("/b/c"))
        assert isinstance(permit, Permit)
        assert permit.route is more
        assert permit.match is route.matches[1]


def test_no_rule_is_a_refusal() -> None:
    assert judge(Inbound(routes=()), get()) == Denied(Reason.NO_ROUTE)
    assert judge(Inbound(routes=(Route("r", ALLOW_WEB, port=81),)), get(), port=80) == Denied(Reason.NO_ROUTE)


def test_without_routes() -> None:
    assert judge(Inbound(), get(), peer=THIEF) == Permit("without-routes")
    refused = judge(Inbound(without_routes="nothing"), get())
    assert isinstance(refused, Denied)
    assert refused.reason is Reason.NO_ROUTE


@pytest.mark.parametrize("route", [
    Route("r", ALLOW_WEB, redirect=Redirect("https")), Route("r", ALLOW_WEB, direct_response=DirectResponse(200)),
])
def test_no_connection_goes_where_requests_are_answered(route: Route) -> None:
    refused = judge(Inbound(routes=(route,)), None)
    assert isinstance(refused, Denied)
    assert refused.reason is Reason.NOT_HTTP
    assert judge(Inbound(routes=(route,)), get()) == Permit("r")


# -- whom it lets in


@pytest.mark.parametrize(("allow", "holds"), [
    ((), False),
    ((Caller("web", "shop"),), True),
    ((Caller("*", "shop"),), True),
    ((Caller("web", "*"),), True),
    ((Caller("*", "*"),), True),
    ((Caller(),), True),
    ((Caller("admin", "shop"), Caller("web", "shop")), True),
    ((Caller("web", "other"),), False),
    ((Caller("admin", "shop"),), False),
    ((Caller("shop", "web"),), False),
    ((Caller("admin", "*"), Caller("*", "other")), False),
    ((Caller("w*", "shop"),), True),
    ((Caller("*b", "sh*"),), True),
    ((Caller("a*", "shop"),), False),
    ((Caller("we", "shop"),), False),
    ((Caller("Web", "shop"),), False),
    ((Caller(identity=WEB),), True),
    ((Caller(identity=THIEF),), False),
    ((Caller(identity="spiffe://example.org/ns/shop/*"),), True),
    ((Caller(identity="spiffe://example.org/ns/sho/*"),), False),
    ((Caller(identity="*"),), True),
    ((Caller("admin", identity=WEB),), False),
    ((Caller(source="0.0.0.0/0"),), False),     # speaks of plaintext peers and of nobody else
])
def test_allow_and_deny_by_name(allow: tuple[Caller, ...], holds: bool) -> None:
    expected = Permit("r") if holds else Denied(Reason.NOT_ALLOWED, "r")
    assert judge(Inbound(routes=(Route("r", allow),)), get()) == expected
    assert judge(Inbound(routes=(Route("r", allow),)), None) == expected
    expected = Denied(Reason.CALLER_DENIED, "r") if holds else Permit("r")
    assert judge(Inbound(routes=(Route("r", ALLOW_WEB, deny=allow),)), get()) == expected


@pytest.mark.parametrize("allow", [Caller(), Caller("web", "shop"), Caller(identity=STRANGER), Caller(identity="spiffe://*")])
def test_another_trust_domain_is_nobody(allow: Caller) -> None:
    assert judge(Inbound(routes=(Route("r", (allow,)),)), get(), peer=STRANGER) == Denied(Reason.NOT_ALLOWED, "r")


# -- plaintext


def permissive(*routes: Route, until: float | None = NOW + 1) -> Inbound:
    return Inbound("permissive", until, routes=routes)


@pytest.mark.parametrize(("until", "expected"), [
    (NOW + 1, Permit("r")),
    (NOW, Denied(Reason.PERMISSIVE_ENDED)),
    (NOW - 1, Denied(Reason.PERMISSIVE_ENDED)),
    (None, Denied(Reason.PERMISSIVE_ENDED)),
])
def test_permissive_ends(until: float | None, expected: Permit | Denied) -> None:
    inbound = permissive(Route("r", ALLOW_WEB, matches=(prefix("/a"),)), until=until)
    assert judge(inbound, get("/a"), peer=None) == expected
    assert judge(inbound, get("/a"), peer=THIEF) == Denied(Reason.NOT_ALLOWED, "r")


def test_permissive_asks_for_a_route_all_the_same() -> None:
    assert judge(permissive(Route("r", ALLOW_WEB, matches=(prefix("/a"),))), get("/b"), peer=None) == Denied(Reason.NO_ROUTE)


def test_strict_refuses_plaintext_whatever_the_date() -> None:
    assert judge(Inbound("strict", NOW + 1, routes=(Route("r", (Caller("*", "*"),)),)), get(), peer=None) == Denied(Reason.PLAINTEXT)
    assert judge(Inbound(), get(), peer=None) == Denied(Reason.PLAINTEXT)


STRICT_HERE = Inbound("permissive", NOW + 1, port_modes={80: PortMode("strict")})
PERMISSIVE_HERE = Inbound(port_modes={80: PortMode("permissive", NOW + 1)})
ENDED_HERE = Inbound("permissive", NOW + 1, port_modes={80: PortMode("permissive", NOW)})
NEVER_ENDS = Inbound("permissive", NOW + 1, port_modes={80: PortMode("permissive", None)})


@pytest.mark.parametrize(("inbound", "here", "beside"), [
    (STRICT_HERE, Denied(Reason.PLAINTEXT), Permit("without-routes")),
    (PERMISSIVE_HERE, Permit("without-routes"), Denied(Reason.PLAINTEXT)),
    (ENDED_HERE, Denied(Reason.PERMISSIVE_ENDED), Permit("without-routes")),
    (NEVER_ENDS, Denied(Reason.PERMISSIVE_ENDED), Permit("without-routes")),
])
@pytest.mark.parametrize("request_", [get(), None], ids=["HTTP", "TCP"])
def test_each_port_has_its_mode(inbound: Inbound, here: Permit | Denied, beside: Permit | Denied, request_: RequestHead | None) -> None:
    assert judge(inbound, request_, peer=None, port=80) == here
    assert judge(inbound, request_, peer=None, port=81) == beside
    assert judge(inbound, request_, peer=WEB, port=80) == judge(inbound, request_, peer=WEB, port=81) == Permit("without-routes")


REFUSED = Denied(Reason.CALLER_DENIED, "r")
OUTSIDE = Denied(Reason.NOT_ALLOWED, "r")
NEAR, FAR = Caller(source="10.1.0.0/16"), Caller(source="10.2.0.0/16")


@pytest.mark.parametrize(("allow", "deny", "expected"), [
    ((Caller("other"),), (), Permit("r")),      # names cannot be asked of who has none
    ((), (), OUTSIDE),                          # but nobody is nobody
    ((NEAR,), (), Permit("r")),
    ((FAR,), (), OUTSIDE),
    ((FAR, NEAR), (), Permit("r")),
    ((Caller(), FAR), (), OUTSIDE),             # once a source is named, plaintext must have one that is
    ((Caller(), NEAR), (), Permit("r")),
    ((Caller(source="fd00::/8"),), (), OUTSIDE),
    ((Caller(),), (NEAR,), REFUSED),
    ((Caller(),), (FAR,), Permit("r")),
    ((NEAR,), (Caller(source="10.1.0.9/32"),), REFUSED),
    ((Caller(),), (Caller("web"),), Permit("r")),
    ((Caller(),), (Caller("*", "shop"),), Permit("r")),
    ((Caller(),), (Caller(identity="*"),), Permit("r")),
    ((Caller(),), (Caller(),), REFUSED),
])
def test_plaintext_is_asked_for_its_source(allow: tuple[Caller, ...], deny: tuple[Caller, ...], expected: Permit | Denied) -> None:
    assert judge(permissive(Route("r", allow, deny=deny)), get(), peer=None) == expected


def test_ipv6_sources() -> None:
    inbound = permissive(Route("r", (Caller(source="fd00:1::/32"),)))
    assert judge(inbound, get(), peer=None, source="fd00:1::9") == Permit("r")
    assert judge(inbound, get(), peer=None, source="fd00:2::9") == OUTSIDE


# -- tokens

JWT = Jwt("https://issuer.example", ("shop",))
ADMINS = Caller(claims={"groups": ("admins", "root")})


@pytest.mark.parametrize("peer", [WEB, None])
def test_without_a_valid_token_nobody_is_let_in(peer: SpiffeId | None) -> None:
    inbound = permissive(Route("r", (Caller(),), jwt=JWT))
    assert judge(inbound, get(), peer=peer) == Denied(Reason.TOKEN_REFUSED, "r")
    assert judge(inbound, None, peer=peer) == Denied(Reason.TOKEN_REFUSED, "r")     # a TCP connection brings none
    assert judge(inbound, get(), peer=peer, claims={}) == Permit("r")


@pytest.mark.parametrize(("claims", "holds"), [
    ({"groups": "admins"}, True),
    ({"groups": ["users", "admins"]}, True),
    ({"groups": ["users"]}, False),
    ({"groups": "admins root"}, False),
    ({"groups": []}, False),
    ({"groups": [["admins"]]}, False),
    ({"groups": {"admins": True}}, False),
    ({"groups": None}, False),
    ({"Groups": "admins"}, False),
    ({}, False),
])
@pytest.mark.parametrize("peer", [WEB, None])
def test_claims(peer: SpiffeId | None, claims: Claims, holds: bool) -> None:
    inbound = permissive(Route("r", (ADMINS,), jwt=JWT))
    assert judge(inbound, get(), peer=peer, claims=claims) == (Permit("r") if holds else OUTSIDE)
    inbound = permissive(Route("r", (Caller(),), jwt=JWT, deny=(ADMINS,)))
    assert judge(inbound, get(), peer=peer, claims=claims) == (REFUSED if holds else Permit("r"))


@pytest.mark.parametrize("value", [1, True, 1.0])
def test_what_is_no_text_is_no_value(value: object) -> None:
    inbound = Inbound(routes=(Route("r", (Caller(claims={"n": ("1", "True", "true", "1.0")}),), jwt=JWT),))
    assert judge(inbound, get(), claims={"n": value}) == OUTSIDE


def test_all_that_an_entry_asks_must_hold() -> None:
    both = Caller("web", "shop", claims={"groups": ("admins",), "tenant": ("a", "b")})
    inbound = Inbound(routes=(Route("r", (both,), jwt=JWT),))
    good = {"groups": "admins", "tenant": "b"}
    assert judge(inbound, get(), claims=good) == Permit("r")
    assert judge(inbound, get(), claims=good, peer=THIEF) == OUTSIDE
    assert judge(inbound, get(), claims={**good, "tenant": "c"}) == OUTSIDE
    assert judge(inbound, get(), claims={"groups": "admins"}) == OUTSIDE


# -- clients at the edge


@pytest.mark.parametrize(("source", "claims", "expected"), [
    ("192.0.2.7", None, Permit("r")),
    ("198.51.100.7", None, OUTSIDE),
    ("198.51.100.7", {"roles": ["staff"]}, Permit("r")),        # either entry will do
    ("198.51.100.7", {"roles": ["guest"]}, OUTSIDE),
    ("192.0.2.66", None, REFUSED),
    ("192.0.2.66", {"roles": ["staff"]}, REFUSED),
    ("198.51.100.7", {"roles": ["staff", "suspended"]}, REFUSED),
])
def test_clients(source: str, claims: Claims | None, expected: Permit | Denied) -> None:
    route = EdgeRoute(
        "r", (Caller(source="192.0.2.0/24"), Caller(claims={"roles": ("staff",)})), ports=(443,),
        deny=(Caller(source="192.0.2.66/32"), Caller(claims={"roles": ("suspended",)})),
    )
    found = RouteTable((route,)).find(443, get())
    assert found is not None
    assert authorize_client(found, get(), source, claims) == expected
    if claims is None:      # what the source alone decides is decided before credentials are looked at
        assert judge_source(found, get(), source) == (REFUSED if expected == REFUSED else None)


@pytest.mark.parametrize(("method", "path", "roles", "expected"), [
    ("GET", "/", [], Permit("r")),
    ("GET", "/admin", [], OUTSIDE),
    ("GET", "/admin/x", ["staff"], OUTSIDE),
    ("GET", "/admin/x", ["admin"], Permit("r")),
    ("GET", "/adm%69n/x", [], OUTSIDE),                     # compared decoded
    ("GET", "/administration", [], Permit("r")),            # by whole elements
    ("GET", "/admin/health", [], Permit("r")),              # the first that is for it decides
    ("POST", "/orders", [], OUTSIDE),
    ("POST", "/orders", ["staff"], Permit("r")),
    ("POST", "/orders", ["staff", "suspended"], REFUSED),
    ("GET", "/orders", [], Permit("r")),
    ("GET", "/closed", ["admin"], OUTSIDE),
    ("GET", "/orders", ["banned"], REFUSED),                # what the rule itself says holds besides
])
def test_restrictions(method: str, path: str, roles: list[str], expected: Permit | Denied) -> None:
    def of(*names: str) -> tuple[Caller, ...]:
        return (Caller(claims={"roles": names}),)

    route = EdgeRoute("r", (Caller(),), ports=(443,), deny=of("banned"), restrictions=(
        Restriction(("/admin/health",)), Restriction(("/admin",), allow=of("admin")),
        Restriction(("/orders", "/carts/"), ("POST", "PUT"), of("staff", "admin"), of("suspended")), Restriction(("/closed",), allow=()),
    ))
    request = get(path, method=method)
    found = RouteTable((route,)).find(443, request)
    assert found is not None
    assert authorize_client(found, request, "192.0.2.7", {"roles": roles}) == expected


def test_from_where_no_claim_helps() -> None:
    inside = Caller(source="10.0.0.0/8", claims={"roles": ("admin",)})
    route = EdgeRoute("r", (Caller(),), ports=(443,), restrictions=(Restriction(("/admin",), allow=(inside,)),))
    found = RouteTable((route,)).find(443, get())
    assert found is not None
    assert judge_source(found, get("/admin"), "192.0.2.7") == OUTSIDE
    assert judge_source(found, get("/admin"), "10.1.2.3") is None
    assert judge_source(found, get("/"), "192.0.2.7") is None
