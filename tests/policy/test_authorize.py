"""The judge of what enters, as tables: which rule decides, and what it decides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.decision import Denied, Permit
from sidecar.model.identity import parse
from sidecar.model.message import NO_BODY, Headers, RequestHead
from sidecar.model.reason import Reason
from sidecar.model.route import Caller, HeaderMatch, Match, PathMatch, Route
from sidecar.model.snapshot import Inbound
from sidecar.policy.authorize import RouteTable, authorize, is_allowed, path_holds

WEB = parse("spiffe://example.org/ns/shop/sa/web")
THIEF = parse("spiffe://example.org/ns/shop/sa/thief")
STRANGER = parse("spiffe://example.com/ns/shop/sa/web")
NOW = 1_800_000_000.0
ALLOW_WEB = (Caller("web", "shop"),)


def get(target: str = "/", method: str = "GET", headers: Headers | None = None) -> RequestHead:
    return RequestHead(method.encode(), target.encode(), b"orders", None, headers or [], NO_BODY, False)


def exact(path: str, method: str | None = None) -> Match:
    return Match(PathMatch(path, "Exact"), method)


def prefix(path: str, method: str | None = None, *headers: HeaderMatch) -> Match:
    return Match(PathMatch(path), method, headers)


def judge(
    inbound: Inbound, request: RequestHead | None = None, *, peer: object = WEB, port: int = 8080, now: float = NOW
) -> Permit | Denied:
    return authorize(
        peer, request, port, inbound=inbound, table=RouteTable(inbound.routes or ()), trust_domain="example.org", now=now  # type: ignore[arg-type]
    )


# -- which rule decides


@pytest.mark.parametrize(("less", "more"), [
    (Route("a", ()), Route("b", (), port=8080)),
    (Route("a", (), matches=(exact("/x/y"),)), Route("b", (), port=8080)),
    (Route("a", ()), Route("b", (), matches=(prefix("/"),))),
    (Route("a", (), matches=(prefix("/"),)), Route("b", (), matches=(prefix("/x"),))),
    (Route("a", (), matches=(prefix("/x/y"),)), Route("b", (), matches=(exact("/x/y"),))),
    (Route("a", (), matches=(prefix("/x", "GET"),)), Route("b", (), matches=(prefix("/x/y"),))),
    (Route("a", (), matches=(prefix("/x", None, HeaderMatch("v", "1")),)), Route("b", (), matches=(prefix("/x", "GET"),))),
    (Route("a", (), matches=(prefix("/x"),)), Route("b", (), matches=(prefix("/x", None, HeaderMatch("v", "1")),))),
    (Route("a", (), matches=(Match(method="GET"),)), Route("b", (), matches=(prefix("/"),))),
])
def test_the_more_specific_decides_in_either_order(less: Route, more: Route) -> None:
    request = get("/x/y", headers=[(b"V", b"1")])
    for routes in ((less, more), (more, less)):
        found = RouteTable(routes).find(8080, request)
        assert found is more


def test_of_equals_the_first_in_the_document_decides() -> None:
    first, second = Route("a", (), matches=(prefix("/x"),)), Route("b", (), matches=(prefix("/x"),))
    assert RouteTable((first, second)).find(80, get("/x")) is first
    assert RouteTable((second, first)).find(80, get("/x")) is second


def test_the_most_specific_decides_alone() -> None:
    """Who is allowed by the wider rule is not let through by it where the narrower one refuses."""
    wide, narrow = Route("wide", ALLOW_WEB), Route("narrow", (Caller("admin", "shop"),), matches=(prefix("/admin"),))
    inbound = Inbound(routes=(wide, narrow))
    assert judge(inbound, get("/a")) == Permit("wide")
    assert judge(inbound, get("/admin/x")) == Denied(Reason.NOT_ALLOWED, "narrow")


def test_any_alternative_will_do() -> None:
    inbound = Inbound(routes=(Route("r", ALLOW_WEB, matches=(exact("/a", "GET"), exact("/b", "PUT"))),))
    assert judge(inbound, get("/a")) == judge(inbound, get("/b", "PUT")) == Permit("r")
    assert judge(inbound, get("/b")) == judge(inbound, get("/a", "PUT")) == Denied(Reason.NO_ROUTE)


@pytest.mark.parametrize(("match", "path", "holds"), [
    (PathMatch("/app"), "/app", True),
    (PathMatch("/app"), "/app/", True),
    (PathMatch("/app"), "/app/x", True),
    (PathMatch("/app"), "/apple", False),
    (PathMatch("/app"), "/App", False),
    (PathMatch("/app"), "/", False),
    (PathMatch("/app"), "/x/app", False),
    (PathMatch("/app/"), "/app", True),
    (PathMatch("/app/"), "/app/x", True),
    (PathMatch("/app/"), "/apple", False),
    (PathMatch("/"), "/", True),
    (PathMatch("/"), "/x", True),
    (PathMatch("/"), "*", False),
    (PathMatch("/app", "Exact"), "/app", True),
    (PathMatch("/app", "Exact"), "/app/", False),
    (PathMatch("/app", "Exact"), "/app/x", False),
    (PathMatch("/app/", "Exact"), "/app", False),
])
def test_paths(match: PathMatch, path: str, holds: bool) -> None:
    assert path_holds(match, path.encode()) is holds


@given(st.text("/ab", max_size=8).map(lambda text: "/" + text), st.text("/ab", max_size=8).map(lambda text: "/" + text))
def test_a_prefix_holds_for_whole_segments_only(wanted: str, path: str) -> None:
    """What a prefix holds for begins with it, and goes on with a slash or not at all."""
    stem = wanted.rstrip("/")
    if path_holds(PathMatch(wanted), path.encode()):
        assert path.startswith(stem)
        assert path[len(stem):][:1] in ("", "/")


@pytest.mark.parametrize(("headers", "holds"), [
    ([(b"x-v", b"1")], True),
    ([(b"X-V", b"1"), (b"x-w", b"2")], True),
    ([], False),
    ([(b"x-v", b"2")], False),
    ([(b"x-v", b"1 ")], False),
    ([(b"x-v", b"1"), (b"x-v", b"1")], False),
    ([(b"x-v", b"1"), (b"X-V", b"2")], False),
    ([(b"x-v", b"2"), (b"x-v", b"1")], False),
])
def test_headers_match_exactly_and_never_when_they_repeat(headers: Headers, holds: bool) -> None:
    route = Route("r", ALLOW_WEB, matches=(Match(headers=(HeaderMatch("X-v", "1"),)),))
    assert (RouteTable((route,)).find(80, get(headers=headers)) is route) is holds


def test_the_query_is_no_part_of_the_path() -> None:
    inbound = Inbound(routes=(Route("r", ALLOW_WEB, matches=(exact("/a"),)),))
    assert judge(inbound, get("/a?x=/b")) == Permit("r")
    assert judge(inbound, get("/b?x=/a")) == Denied(Reason.NO_ROUTE)


def test_methods_are_case_sensitive() -> None:
    inbound = Inbound(routes=(Route("r", ALLOW_WEB, matches=(Match(method="GET"),)),))
    assert judge(inbound, get(method="get")) == Denied(Reason.NO_ROUTE)


def test_a_tcp_connection_is_meant_by_a_route_without_matches_only() -> None:
    inbound = Inbound(routes=(
        Route("http", ALLOW_WEB, 8080, (prefix("/"),)), Route("header", ALLOW_WEB, 8080, (Match(headers=(HeaderMatch("a", "b"),)),)),
        Route("db", ALLOW_WEB, 5432),
    ))
    assert judge(inbound, None, port=5432) == Permit("db")
    assert judge(inbound, None, port=8080) == Denied(Reason.NO_ROUTE)
    assert judge(inbound, get(), port=5432) == Permit("db")


# -- whom it lets through


@pytest.mark.parametrize(("allow", "holds"), [
    ((), False),
    ((Caller("web", "shop"),), True),
    ((Caller("*", "shop"),), True),
    ((Caller("web", "*"),), True),
    ((Caller("*", "*"),), True),
    ((Caller("admin", "shop"), Caller("web", "shop")), True),
    ((Caller("web", "other"),), False),
    ((Caller("admin", "shop"),), False),
    ((Caller("shop", "web"),), False),
    ((Caller("admin", "*"), Caller("*", "other")), False),
    ((Caller("w*", "shop"),), False),
    ((Caller("we", "shop"),), False),
    ((Caller("Web", "shop"),), False),
])
def test_allow(allow: tuple[Caller, ...], holds: bool) -> None:
    assert is_allowed(WEB, allow, "example.org") is holds
    expected = Permit("r") if holds else Denied(Reason.NOT_ALLOWED, "r")
    assert judge(Inbound(routes=(Route("r", allow),)), get()) == expected


def test_another_trust_domain_is_nobody() -> None:
    assert judge(Inbound(routes=(Route("r", (Caller("*", "*"),)),)), get(), peer=STRANGER) == Denied(Reason.NOT_ALLOWED, "r")


def test_no_rule_is_a_refusal() -> None:
    assert judge(Inbound(routes=()), get()) == Denied(Reason.NO_ROUTE)
    assert judge(Inbound(routes=(Route("r", ALLOW_WEB, port=81),)), get(), port=80) == Denied(Reason.NO_ROUTE)


def test_without_routes() -> None:
    assert judge(Inbound(), get(), peer=THIEF) == Permit("without-routes")
    refused = judge(Inbound(without_routes="nothing"), get())
    assert isinstance(refused, Denied)
    assert refused.reason is Reason.NO_ROUTE


# -- plaintext


@pytest.mark.parametrize(("until", "expected"), [
    (NOW + 1, Permit("r")),
    (NOW, Denied(Reason.PERMISSIVE_ENDED)),
    (NOW - 1, Denied(Reason.PERMISSIVE_ENDED)),
    (None, Denied(Reason.PERMISSIVE_ENDED)),
])
def test_permissive_ends(until: float | None, expected: Permit | Denied) -> None:
    inbound = Inbound("permissive", until, routes=(Route("r", ALLOW_WEB, matches=(prefix("/a"),)),))
    assert judge(inbound, get("/a"), peer=None) == expected
    assert judge(inbound, get("/a"), peer=THIEF) == Denied(Reason.NOT_ALLOWED, "r")


def test_permissive_asks_for_a_route_all_the_same() -> None:
    inbound = Inbound("permissive", NOW + 1, routes=(Route("r", ALLOW_WEB, matches=(prefix("/a"),)),))
    assert judge(inbound, get("/b"), peer=None) == Denied(Reason.NO_ROUTE)


def test_strict_refuses_plaintext_whatever_the_date() -> None:
    assert judge(Inbound("strict", NOW + 1, routes=(Route("r", (Caller("*", "*"),)),)), get(), peer=None) == Denied(Reason.PLAINTEXT)
    assert judge(Inbound(), get(), peer=None) == Denied(Reason.PLAINTEXT)
