import pytest

from injector.documents import HostRequest, RangeRequest, RouteRule
from injector.semantics.egress import egress_problems
from injector.semantics.routes import route_problems
from injector.semantics.text import below, duration_problems, host_problems, network_problems, pattern_problems, repeated
from sidecar.model.route import Match, PathMatch


@pytest.mark.parametrize(
    "host", ["a.example.com", "*.example.com", "*.a.example.com", "localhost", "_x.example.com", "xn--a.example.com"],
)
def test_host_names(host: str) -> None:
    assert list(host_problems("host", host)) == []
    assert list(egress_problems(HostRequest(host))) == []


@pytest.mark.parametrize(
    "host",
    ["", "*", "**.example.com", "*example.com", "a.*.com", "a..b", "-a.example.com", "a b", "::1", "10.0.0.1", "a:80",
     "a" * 64 + ".b.c", "é.com"],
)
def test_what_is_no_host_name(host: str) -> None:
    assert [path for path, _ in host_problems("host", host)] == ["host"]


@pytest.mark.parametrize(
    ("text", "is_good"), [("10.0.0.0/8", True), ("::/0", True), ("10.0.0.1", True), ("10.0.0.1/8", False), ("x", False)],
)
def test_networks(text: str, is_good: bool) -> None:
    assert (list(network_problems("cidr", text)) == []) is is_good
    assert (list(egress_problems(RangeRequest(text))) == []) is is_good


@pytest.mark.parametrize(("path", "is_good"), [
    ("/", True), ("/a/b-c_d.e~f", True), ("/a/", True), ("/a//b", False), ("/./a", False), ("/a/..", False),
    ("/a#b", False), ("/a?b", False), ("a", False), ("", False),
])
def test_paths_are_those_that_a_request_can_have(path: str, is_good: bool) -> None:
    rule = RouteRule("r", (), matches=(Match(PathMatch(path)),))
    assert (list(route_problems(rule)) == []) is is_good


@pytest.mark.parametrize(("text", "said"), [
    ("3s", None), ("1ms", None), ("24h", None), (None, None),
    ("0s", "0s is no time at all; leave request out if you want none"), ("0h0ms", "no time at all"),
    ("25h", "25h is longer than 24h, which is the most"), ("24h1ms", "longer than 24h"),
])
def test_durations(text: str | None, said: str | None) -> None:
    problems = list(duration_problems("timeouts.request", text))
    assert (problems == []) is (said is None)
    assert said is None or said in problems[0][1]


@pytest.mark.parametrize("expression", ["/a/[0-9]+", "(?i)x", ".*", r"\d{1,20}"])
def test_expressions(expression: str) -> None:
    assert list(pattern_problems("value", expression)) == []


@pytest.mark.parametrize("expression", ["(", "a(?=b)", r"(a)\1", "[z-a]", "a{1001}"])
def test_what_is_no_expression(expression: str) -> None:
    assert [path for path, _ in pattern_problems("value", expression)] == ["value"]


def test_places() -> None:
    assert list(below("a", iter([("b", "x"), ("", "y")]))) == [("a.b", "x"), ("a", "y")]
    assert [path for path, _ in repeated("hosts", "host", ["a", "b", "a"])] == ["hosts[2].host"]
