"""Each rule that could never hold, or would not do what it says, is refused with its place."""

import pytest

from sidecar.model.errors import ConfigError
from sidecar.model.route import (
    Caller,
    DirectResponse,
    HeaderEdit,
    HeaderMatch,
    Jwt,
    Match,
    PathMatch,
    QueryMatch,
    RateLimit,
    Redirect,
    Rewrite,
    Route,
)
from sidecar.model.rule_check import check_route

JWT = Jwt("https://issuer.example", ("shop",))
WHOLE = Route(
    "whole", (Caller("web", "sh*"), Caller("*-job"), Caller(identity="spiffe://example.org/ns/shop/sa/web"),
              Caller(identity="spiffe://example.org/ns/shop/*"), Caller(identity="*"), Caller(source="10.0.0.0/8"),
              Caller(source="fd00::/8", claims={"sub": ("a",)}), Caller(claims={"groups": ("admins",)})),
    8080,
    (Match(PathMatch("/caf\u00e9/%7Ex")), Match(PathMatch("/"), "GET", (HeaderMatch("x-v", "1"),), (QueryMatch("a", "b"),))),
    ("example.com", "*.example.com", "orders", "10.1.0.5", "[fd00::5]"),
    (Caller("thief", "*"),), JWT, RateLimit(5, by="header", header="x-tenant"),
    request_headers=HeaderEdit({"x-a": "1"}, {"x-b": "2"}, ("authorization", "cookie")),
    response_headers=HeaderEdit(remove=("server",)), rewrite=Rewrite(prefix="/v2", hostname="orders.internal"),
)


def test_a_whole_rule() -> None:
    check_route("r", WHOLE)


def test_answers() -> None:
    check_route("r", Route("a", (), redirect=Redirect("https", "example.com", 8443, "/x")))
    check_route("r", Route("a", (), redirect=Redirect(prefix="")))
    check_route("r", Route("a", (), direct_response=DirectResponse(204)))


EXACT = (Match(PathMatch("/a", "Exact")),)


@pytest.mark.parametrize(("route", "where"), [
    (Route("a", (), hosts=("Example.com",)), "hosts[0]"),
    (Route("a", (), hosts=("ok", "example.com:80")), "hosts[1]"),
    (Route("a", (), hosts=("example.com.",)), "hosts[0]"),
    (Route("a", (), hosts=("*",)), "hosts[0]"),
    (Route("a", (), hosts=("*.*.com",)), "hosts[0]"),
    (Route("a", (), hosts=("a*.com",)), "hosts[0]"),
    (Route("a", (), hosts=("a_b",)), "hosts[0]"),
    (Route("a", (), hosts=("127.1",)), "hosts[0]"),
    (Route("a", (), hosts=("fd00::5",)), "hosts[0]"),
    (Route("a", (), hosts=("[fd00:0::5]",)), "hosts[0]"),
    (Route("a", (), hosts=("*.10.0.0.1",)), "hosts[0]"),
    (Route("a", (), matches=(Match(PathMatch("/a/../b")),)), "matches[0].path.value"),
    (Route("a", (), matches=(Match(PathMatch("/a%2fb", "Exact")),)), "matches[0].path.value"),
    (Route("a", (), matches=(Match(PathMatch("/a?b")),)), "matches[0].path.value"),
    (Route("a", (), matches=(Match(headers=(HeaderMatch("Host", "x"),)),)), "matches[0].headers[0].name"),
    (Route("a", (), matches=(Match(headers=(HeaderMatch("X-Forwarded-For", "x"),)),)), "matches[0].headers[0].name"),
    (Route("a", (), matches=(Match(headers=(HeaderMatch("x_v", "x"),)),)), "matches[0].headers[0].name"),
    (Route("a", (Caller("a*b"),)), "allow[0].serviceAccount"),
    (Route("a", (Caller("*a*"),)), "allow[0].serviceAccount"),
    (Route("a", (), deny=(Caller("a", "**"),)), "deny[0].namespace"),
    (Route("a", (Caller(identity="web"),)), "allow[0].identity"),
    (Route("a", (Caller(identity="web*"),)), "allow[0].identity"),
    (Route("a", (Caller(identity="spiffe://example.org/ns/*/sa/*"),)), "allow[0].identity"),
    (Route("a", (Caller(identity="spiffe://example.org/ns/*/sa/web"),)), "allow[0].identity"),
    (Route("a", (Caller("web", source="10.0.0.0/8"),)), "allow[0].source"),
    (Route("a", (Caller(source="10.0.0.1/8"),)), "allow[0].source"),
    (Route("a", (Caller(source="pod"),)), "allow[0].source"),
    (Route("a", (Caller(claims={"sub": ("a",)}),)), "allow[0].claims"),
    (Route("a", (), deny=(Caller(claims={"sub": ("a",)}),)), "deny[0].claims"),
    (Route("a", (), jwt=Jwt("i", ())), "jwt.audiences"),
    (Route("a", (), jwt=Jwt("i", ("a",), "x-forwarded-jwt")), "jwt.header"),
    (Route("a", (), rate_limit=RateLimit(1, by="header")), "rateLimit.header"),
    (Route("a", (), rate_limit=RateLimit(1, header="x-a")), "rateLimit.header"),
    (Route("a", (), rate_limit=RateLimit(1, by="header", header="te")), "rateLimit.header"),
    *((Route("a", (), request_headers=HeaderEdit({name: "x"})), "requestHeaders.set")
      for name in ("Host", "content-length", "Transfer-Encoding", "connection", "te", "upgrade", "expect", "forwarded", "X-Real-IP",
                   "x-forwarded-client-cert", "X-Bartizan-Tls", "x-request-id", "x-envoy-peer", "l5d-client-id", "client-cert", "a_b")),
    (Route("a", (), request_headers=HeaderEdit(add={"x-forwarded-proto": "x"})), "requestHeaders.add"),
    (Route("a", (), response_headers=HeaderEdit(remove=("content-length",))), "responseHeaders.remove"),
    (Route("a", (), response_headers=HeaderEdit({"x-bartizan-reason": "x"})), "responseHeaders.set"),
    (Route("a", (), redirect=Redirect("https"), direct_response=DirectResponse(200)), ""),
    (Route("a", (), redirect=Redirect("https"), rewrite=Rewrite("/")), ""),
    (Route("a", (), rewrite=Rewrite("/"), direct_response=DirectResponse(200)), ""),
    (Route("a", (), redirect=Redirect(status=301)), "redirect"),
    (Route("a", (), redirect=Redirect(path="/a", prefix="/b")), "redirect"),
    (Route("a", (), redirect=Redirect(hostname="*.example.com")), "redirect.hostname"),
    (Route("a", (), redirect=Redirect(path="//evil.example")), "redirect.path"),
    (Route("a", (), rewrite=Rewrite("a")), "rewrite.path"),
    (Route("a", (), rewrite=Rewrite("/a?b=c")), "rewrite.path"),
    (Route("a", (), rewrite=Rewrite(prefix="/a/..")), "rewrite.prefix"),
    (Route("a", (), matches=EXACT, rewrite=Rewrite(prefix="/b")), "rewrite.prefix"),
    (Route("a", (), matches=(Match(method="GET"),), redirect=Redirect(prefix="/b")), "redirect.prefix"),
    (Route("a", (), rewrite=Rewrite(hostname="A.example")), "rewrite.hostname"),
    (Route("a", (), direct_response=DirectResponse(204, "text")), "directResponse.body"),
])
def test_refused_with_its_place(route: Route, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_route("r", route)
    assert caught.value.where == f"r.{where}".rstrip(".")
    assert caught.value.problem
