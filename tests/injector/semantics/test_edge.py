import pytest

from injector.validate import read_edge


@pytest.mark.parametrize("text", [
    "canary: [{service: v2, port: 80, weight: 10}, {service: v3, port: http, header: {name: x-v, value: '3'}}]",
    "canary: [{service: v2, port: 80, cookie: {name: v, value: 'a.b'}}]",
    "rateLimit: {requests: 1, per: 500ms, by: client}",
    "minTlsVersion: '1.3'",
])
def test_what_is_right(text: str) -> None:
    assert read_edge(text).problems == ()


@pytest.mark.parametrize(("text", "line", "problem"), [
    ("canary:\n- {service: v2, port: 80}", 2, "canary[0]: write one of `weight`, `header` and `cookie`"),
    ("canary:\n- {service: v2, port: 80, weight: 5, header: {name: a, value: b}}", 2, "write one of"),
    ("canary:\n- {service: v2.other, port: 80, weight: 5}", 2, "canary[0].service: 'v2.other' is no name of a Service"),
    ("canary:\n- {service: v2, port: '80', weight: 5}", 2, "a number stands without quotes"),
    ("canary:\n- {service: v2, port: 80, weight: 101}", 2, "expected a whole number <= 100"),
    ("canary:\n- {service: a, port: 80, weight: 60}\n- {service: b, port: 80, weight: 60}", 1, "the weights are 120 together"),
    ("canary:\n- {service: v2, port: 80, header: {name: x-forwarded-for, value: b}}", 2, "is not for rules"),
    ("canary:\n- {service: v2, port: 80, cookie: {name: c, value: 'a b'}}", 2, "expected the value of a cookie"),
    ("canary:\n- {service: v2, prt: 80, weight: 1}", 2, 'unknown field "prt" in canary[0]'),
    ("rateLimit: {requests: 1, by: header}", 1, "rateLimit.header: it goes with `by: header`"),
    ("rateLimit: {requests: 1, header: x-key}", 1, "it goes with `by: header`"),
    ("rateLimit: {requests: 1, by: clent}", 1, 'did you mean "client"?'),
    ("rateLimit: {requests: 1, per: 0s}", 1, "rateLimit.per: 0s is no time at all"),
    ("timeouts: {request: 25h}", 1, "longer than 24h"),
    ("retries: {on: []}", 1, "retries.on: name at least one thing"),
    ("allowFrom:\n- 192.0.2.7/24", 2, "did you mean 192.0.2.0/24?"),
    ("denyFrom:\n- 192.0.2.0/24\n- nowhere", 3, "is no range of addresses"),
    ("requestHeaders: {set: {host: x}}", 1, "Host is what the request was judged by"),
    ("requestHeaders: {set: {x-forwarded-proto: x}}", 1, "is the mesh's own"),
    ("minTlsVersion: '1.1'", 1, "is not valid; known here: 1.2, 1.3"),
    ("httpRedirect: false", 1, 'unknown field "httpRedirect"; did you mean "httpsRedirect"?'),
    ("- a", 1, "expected fields, such as `httpsRedirect: false`"),
])
def test_what_is_wrong_has_a_line_and_a_cure(text: str, line: int, problem: str) -> None:
    (found,) = read_edge(text).problems
    assert problem in found.text
    assert (found.source, found.line) == ("bartizan.dev/edge", line)
