from typing import Any

import msgspec
import pytest

from injector.documents import RouteRule
from injector.semantics.routes import opaque_problems, route_problems

JWT = {"issuer": "https://a", "audiences": ["shop"]}
PREFIX = [{"path": {"value": "/a"}}]
EXACT = [{"path": {"value": "/a", "type": "Exact"}}]


def _rule(**fields: Any) -> RouteRule:
    return msgspec.convert({"name": "r", "allow": [], **fields}, RouteRule)


def _problems(**fields: Any) -> list[str]:
    return [path for path, _ in route_problems(_rule(**fields))]


@pytest.mark.parametrize("caller", [
    {"serviceAccount": "web"}, {"serviceAccount": "*", "namespace": "*"}, {"serviceAccount": "web-*"}, {"serviceAccount": "*-web"},
    {"serviceAccount": "*.web"}, {"namespace": "shop"}, {"namespace": "shop-*"}, {"source": "10.0.0.0/8"}, {"source": "fd00::/8"},
    {"identity": "spiffe://example.org/ns/shop/sa/web"}, {"identity": "spiffe://example.org/*"},
    {"identity": "spiffe://example.org/ns/shop/*"}, {"identity": "spiffe://example.org/ns/shop/sa/w*"},
    {"identity": "spiffe://example.org/ns/sh*"},
])
def test_callers(caller: dict[str, Any]) -> None:
    assert _problems(allow=[caller], deny=[caller]) == []


@pytest.mark.parametrize(("caller", "field"), [
    ({}, ""), ({"serviceAccount": "w*b"}, ".serviceAccount"), ({"serviceAccount": "*web*"}, ".serviceAccount"),
    ({"serviceAccount": "**"}, ".serviceAccount"), ({"serviceAccount": "Web"}, ".serviceAccount"),
    ({"serviceAccount": "a/b"}, ".serviceAccount"),
    ({"namespace": "sh.op"}, ".namespace"), ({"namespace": "s*p"}, ".namespace"),
    ({"identity": "web"}, ".identity"), ({"identity": "*"}, ".identity"), ({"identity": "spiffe://example.org*"}, ".identity"),
    ({"identity": "spiffe://example.org/web"}, ".identity"), ({"identity": "spiffe://example.org/ns/*/sa/web"}, ".identity"),
    ({"identity": "spiffe://example.org/ns/shop/sa/*web*"}, ".identity"),
    ({"source": "10.0.0.1/8"}, ".source"), ({"source": "here"}, ".source"), ({"source": "10.0.0.0/8", "namespace": "shop"}, ".source"),
    ({"claims": {"role": ["admin"]}}, ".claims"),
])
def test_what_is_no_caller(caller: dict[str, Any], field: str) -> None:
    assert _problems(allow=[caller]) == [f"allow[0]{field}"]
    assert _problems(deny=[caller]) == [f"deny[0]{field}"]


def test_claims_are_of_a_token() -> None:
    assert _problems(allow=[{"claims": {"role": ["admin"]}}, {"source": "10.0.0.0/8", "claims": {"role": ["x"]}}], jwt=JWT) == []
    assert _problems(allow=[{"claims": {"role": []}}], jwt=JWT) == ["allow[0].claims.role"]
    assert _problems(jwt={**JWT, "audiences": []}) == ["jwt.audiences"]


@pytest.mark.parametrize(("host", "is_good"), [
    ("orders.shop", True), ("orders", True), ("*.shop", True), ("*.example.com", True), ("", False), ("*", False), ("a*.com", False),
    ("*.*.com", False), ("Orders.shop", False), ("orders.shop:80", False), ("orders.shop.", False),
    ("10.0.0.1", True), ("a_b", False), ("127.1", False),
])
def test_hosts(host: str, is_good: bool) -> None:
    rule = RouteRule("r", (), hosts=(host,))
    assert [path for path, _ in route_problems(rule)] == ([] if is_good else ["hosts[0]"])


@pytest.mark.parametrize(("match", "field"), [
    ({"path": {"type": "RegularExpression", "value": "/a/[0-9]+"}}, None),
    ({"path": {"type": "RegularExpression", "value": "/a(?!b)"}}, "path.value"),
    ({"headers": [{"name": "x", "value": "(", "type": "Exact"}]}, None),
    ({"headers": [{"name": "x", "value": "(", "type": "RegularExpression"}]}, "headers[0].value"),
    ({"query": [{"name": "x", "value": "(", "type": "RegularExpression"}]}, "query[0].value"),
    ({"headers": [{"name": "x-forwarded-for", "value": "a"}]}, "headers[0].name"),
    ({"method": "PURGE"}, None), ({"method": "TRACE"}, "method"), ({"method": "CONNECT"}, "method"),
])
def test_matches(match: dict[str, Any], field: str | None) -> None:
    assert _problems(matches=[match]) == ([f"matches[0].{field}"] if field else [])


@pytest.mark.parametrize(("fields", "paths"), [
    ({"port": 8080}, []), ({"port": 15021}, ["port"]),
    ({"rateLimit": {"requests": 5, "per": "1m", "by": "header", "header": "x-user"}}, []),
    ({"rateLimit": {"requests": 5, "by": "header"}}, ["rateLimit.header"]),
    ({"rateLimit": {"requests": 5, "by": "header", "header": "host"}}, ["rateLimit.header"]),
    ({"jwt": {**JWT, "header": "x-forwarded-token"}}, ["jwt.header"]),
    ({"rateLimit": {"requests": 5, "header": "x-user"}}, ["rateLimit.header"]),
    ({"rateLimit": {"requests": 5, "per": "0s"}}, ["rateLimit.per"]),
    ({"fault": {"delay": {"for": "10m"}, "abort": {"status": 503}}}, []),
    ({"fault": {}}, ["fault"]), ({"fault": {"delay": {"for": "0s"}}}, ["fault.delay.for"]),
    ({"fault": {"delay": {"for": "11m"}}}, ["fault.delay.for"]),
    ({"timeouts": {"request": "3s", "idle": "1h"}}, []),
    ({"timeouts": {"request": "0s", "idle": "25h"}}, ["timeouts.request", "timeouts.idle"]),
    ({"retries": {"methods": ["POST"], "on": ["connect-failure", 503, "503"]}}, []), ({"retries": {"methods": "any"}}, []),
    ({"retries": {"on": []}}, ["retries.on"]), ({"retries": {"methods": []}}, ["retries.methods"]),
    ({"retries": {"methods": ["CONNECT"]}}, ["retries.methods[0]"]),
    ({"retries": {"attemptTimeout": "0s", "backoff": "2m"}}, ["retries.attemptTimeout", "retries.backoff"]),
    ({"backends": [{"service": "a", "port": 80, "weight": 0}, {"service": "b", "port": 80}]}, []),
    ({"backends": [{"service": "a", "port": 80, "weight": 0}]}, ["backends"]),
    ({"backends": [{"service": "a.shop", "port": 80}]}, ["backends[0].service"]),
    ({"backends": [{"service": "a", "port": 80}, {"service": "a", "port": 80}]}, ["backends[1]"]),
    ({"mirror": {"service": "a.other", "port": 80}}, ["mirror.service"]),
])
def test_what_a_rule_does(fields: dict[str, Any], paths: list[str]) -> None:
    assert _problems(**fields) == paths


@pytest.mark.parametrize(("fields", "paths"), [
    ({"redirect": {"scheme": "https"}}, []), ({"redirect": {"prefix": "/b"}, "matches": PREFIX}, []),
    ({"directResponse": {"status": 204}}, []),
    ({"redirect": {}}, ["redirect"]), ({"redirect": {"status": 301}}, ["redirect"]), ({"rewrite": {}}, ["rewrite"]),
    ({"redirect": {"path": "/a", "prefix": "/b"}}, ["redirect"]), ({"rewrite": {"path": "/a", "prefix": "/b"}}, ["rewrite"]),
    ({"rewrite": {"prefix": "/b"}, "matches": PREFIX}, []), ({"rewrite": {"prefix": "/b"}, "matches": EXACT}, ["rewrite.prefix"]),
    ({"rewrite": {"prefix": "/b"}, "matches": [*PREFIX, {"method": "GET"}]}, ["rewrite.prefix"]),
    ({"rewrite": {"path": "b"}}, ["rewrite.path"]), ({"rewrite": {"hostname": "A.example"}}, ["rewrite.hostname"]),
    ({"redirect": {"hostname": "https://a.example"}}, ["redirect.hostname"]),
    ({"redirect": {"path": "/a"}, "directResponse": {"status": 200}}, [""]),
    ({"redirect": {"path": "/a"}, "rewrite": {"path": "/b"}}, ["redirect"]),
    ({"directResponse": {"status": 200}, "rewrite": {"path": "/b"}}, ["directResponse"]),
    ({"directResponse": {"status": 200}, "mirror": {"service": "a", "port": 80}}, ["directResponse"]),
    ({"directResponse": {"status": 204, "body": "x"}}, ["directResponse.body"]),
])
def test_answers(fields: dict[str, Any], paths: list[str]) -> None:
    assert _problems(**fields) == paths


@pytest.mark.parametrize("name", [
    "X-Forwarded-For", "x-forwarded-client-cert", "x_forwarded_for", "Forwarded", "Host", "Content-Length", "Transfer-Encoding",
    "Connection", "Upgrade", "TE", "a_b", "x-bartizan-reason", "X-Envoy-Attempt", "x-request-id", "traceparent", "x-real-ip", "client-cert",
])
def test_headers_that_the_mesh_owns(name: str) -> None:
    assert _problems(requestHeaders={"set": {name: "a"}}) == [f"requestHeaders.set.{name}"]
    assert _problems(requestHeaders={"add": {name: "a"}}) == [f"requestHeaders.add.{name}"]
    assert _problems(requestHeaders={"remove": ["x-ok", name]}) == ["requestHeaders.remove[1]"]


def test_headers_that_a_rule_may_edit() -> None:
    names = {"authorization": "a", "cookie": "a", "x-user": "a", "server": "a"}
    assert _problems(requestHeaders={"set": names}, responseHeaders={"add": names}) == []
    assert _problems(responseHeaders={"set": {"Content-Length": "3"}, "remove": ["x-bartizan-reason"]}) == [
        "responseHeaders.set.Content-Length", "responseHeaders.remove[0]",
    ]


def test_nobody_looks_into_what_is_opaque() -> None:
    rules = [_rule(port=5432, matches=PREFIX), _rule(port=5432), _rule(matches=PREFIX), _rule(port=443, jwt=JWT), _rule(port=80, jwt=JWT)]
    found = list(opaque_problems(rules, {5432: "opaque", 443: "app-tls", 80: "http2"}))
    assert [(rule.port, text) for rule, text in found] == [
        (5432, '"r" has matches, but port 5432 is opaque: nobody looks into what goes through it; remove it, or write '
               '`"5432": http` in bartizan.dev/ports'),
        (443, '"r" has jwt, but port 443 is app-tls: nobody looks into what goes through it; remove it, or write '
              '`"443": http` in bartizan.dev/ports'),
    ]
