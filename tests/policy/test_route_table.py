"""Which rule decides: as tables, and against the straightforward scan of all rules in order of precedence."""

import re
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.model.edge import EdgeRoute
from sidecar.model.errors import ConfigError
from sidecar.model.message import NO_BODY, Headers, RequestHead
from sidecar.model.path import judge_rule_path
from sidecar.model.route import HeaderMatch, Match, PathMatch, QueryMatch, Route
from sidecar.model.service import CallRule
from sidecar.policy.route_table import EVERYTHING, RouteTable
from sidecar.protocol.target import judge_target


def get(target: str = "/", method: str = "GET", headers: Headers | None = None, host: str = "orders") -> RequestHead:
    """As framing leaves it."""
    judged = target.encode() if target == "*" else judge_target(target.encode())
    return RequestHead(method.encode(), judged, host.encode(), None, headers or [], NO_BODY, False)


def name(routes: tuple[Route, ...], request: RequestHead | None, port: int = 8080) -> str | None:
    found = RouteTable(routes).find(port, request)
    return found.rule.name if found else None


def exact(path: str, method: str | None = None) -> Match:
    return Match(PathMatch(path, "Exact"), method)


def prefix(path: str, method: str | None = None, *headers: HeaderMatch) -> Match:
    return Match(PathMatch(path), method, headers)


def regex(path: str, method: str | None = None) -> Match:
    return Match(PathMatch(path, "RegularExpression"), method)


TraceFunction = Callable[[FrameType, str, Any], Any]
V1 = HeaderMatch("v", "1")
Q1 = QueryMatch("q", "1")


@pytest.mark.parametrize(("less", "more"), [
    (Route("a", (), hosts=("a.b",), matches=(exact("/x/y"),)), Route("b", (), port=8080)),
    (Route("a", (), matches=(exact("/x/y", "GET"),)), Route("b", (), hosts=("a.b",))),
    (Route("a", (), matches=(exact("/x/y", "GET"),)), Route("b", (), hosts=("*.b",))),
    (Route("a", (), hosts=("*.b",), matches=(exact("/x/y"),)), Route("b", (), hosts=("a.b",))),
    (Route("a", ()), Route("b", (), matches=(prefix("/"),))),
    (Route("a", (), matches=(prefix("/"),)), Route("b", (), matches=(prefix("/x"),))),
    (Route("a", (), matches=(prefix("/x", "GET"),)), Route("b", (), matches=(prefix("/x/y"),))),
    (Route("a", (), matches=(prefix("/x/y", "GET", V1),)), Route("b", (), matches=(regex("/.*"),))),
    (Route("a", (), matches=(regex("/.*", "GET"),)), Route("b", (), matches=(regex("/x/.*"),))),
    (Route("a", (), matches=(regex("/x/y"),)), Route("b", (), matches=(exact("/x/y"),))),
    (Route("a", (), matches=(prefix("/x", None, V1),)), Route("b", (), matches=(prefix("/x", "GET"),))),
    (Route("a", (), matches=(Match(PathMatch("/x"), query=(Q1, Q1)),)), Route("b", (), matches=(prefix("/x", None, V1),))),
    (Route("a", (), matches=(prefix("/x"),)), Route("b", (), matches=(Match(PathMatch("/x"), query=(Q1,)),))),
    (Route("a", (), matches=(Match(method="GET"),)), Route("b", (), matches=(prefix("/"),))),
])
def test_the_more_specific_decides_in_either_order(less: Route, more: Route) -> None:
    request = get("/x/y?q=1", headers=[(b"V", b"1")], host="a.b")
    assert name((less,), request) == "a"    # else it proves nothing
    assert name((less, more), request) == name((more, less), request) == "b"


def test_of_equals_the_first_in_the_document_decides() -> None:
    first, second = Route("a", (), matches=(prefix("/x"),)), Route("b", (), matches=(prefix("/x/"),))
    assert name((first, second), get("/x")) == "a"
    assert name((second, first), get("/x")) == "b"


def test_the_alternative_that_matched_is_told() -> None:
    table = RouteTable((Route("r", (), matches=(exact("/a"), prefix("/b"))),))
    found = table.find(80, get("/b/c"))
    assert found is not None
    assert found.match == prefix("/b")
    for rule, more in ((Route("r", ()), None), (asking := Route("r", (), concurrency=1), asking)):
        assert RouteTable((rule,)).find(80, get()) == (rule, EVERYTHING, more)


def test_callers_rules_are_found_alike() -> None:
    table = RouteTable((CallRule("all"), CallRule("host", ("orders",)), CallRule("path", ("orders",), (prefix("/a"),))))
    assert [found.rule.name for target in ("/a/b", "/") if (found := table.find(80, get(target)))] == ["path", "host"]
    assert table.find(80, None) is None


def test_a_callers_rule_that_was_declared_for_its_port_alone_comes_first() -> None:
    anywhere, here = CallRule("anywhere", matches=(exact("/a"),)), CallRule("here", names_port=True)
    found = RouteTable((anywhere, here)).find(80, get("/a"))
    assert found is not None
    assert found.rule is here


# -- hosts, paths, headers, query


@pytest.mark.parametrize(("rule", "host", "holds"), [
    ("a.example.com", "a.example.com", True),
    ("a.example.com", "b.example.com", False),
    ("*.example.com", "a.example.com", True),
    ("*.example.com", "example.com", False),
    ("*.example.com", "a.b.example.com", False),
    ("*.example.com", "evilexample.com", False),
    ("*.example.com", "a.evilexample.com", False),
    ("*.example.com", "a.example.com.evil", False),
    ("**.example.com", "a.example.com", True),
    ("**.example.com", "a.b.example.com", True),
    ("**.example.com", "example.com", False),
    ("**.example.com", "evilexample.com", False),
    ("10.0.0.1", "10.0.0.1", True),
    ("[fd00::1]", "[fd00::1]", True),
])
def test_hosts(rule: str, host: str, holds: bool) -> None:
    assert (name((Route("r", (), hosts=(rule,)),), get(host=host)) == "r") is holds


def test_the_nearest_host_decides() -> None:
    spelt = ("**.com", "a.b.example.com", "*.b.example.com", "**.example.com", "**.b.example.com")
    rules = tuple(Route(host, (), hosts=(host,)) for host in spelt)
    asked = ["a.b.example.com", "c.b.example.com", "d.c.b.example.com", "c.example.com", "x.com"]
    assert [name(rules, get(host=host)) for host in asked] == [
        "a.b.example.com", "*.b.example.com", "**.b.example.com", "**.example.com", "**.com"]


def test_a_rule_at_the_edge_is_for_its_ports() -> None:
    table = RouteTable((EdgeRoute("r", (), ports=(80, 443)),))
    assert [table.find(port, get()) is not None for port in (80, 443, 8080)] == [True, True, False]


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
    (PathMatch("/a/b"), "/a", False),
    (PathMatch("/a/b"), "/a/b/c/d", True),
    (PathMatch("/"), "/", True),
    (PathMatch("/"), "/x", True),
    (PathMatch("/"), "*", False),
    (PathMatch("/app", "Exact"), "/app", True),
    (PathMatch("/app", "Exact"), "/app/", False),
    (PathMatch("/app", "Exact"), "/app/x", False),
    (PathMatch("/app/", "Exact"), "/app", False),
    (PathMatch("/a.c", "RegularExpression"), "/abc", True),
    (PathMatch("/a.c", "RegularExpression"), "/abcd", False),
    (PathMatch("a.c", "RegularExpression"), "/abc", False),
    (PathMatch(".*", "RegularExpression"), "*", False),
])
def test_paths(match: PathMatch, path: str, holds: bool) -> None:
    assert (name((Route("r", (), matches=(Match(match),)),), get(path)) == "r") is holds


@pytest.mark.parametrize("rule", [
    "/adm@in/caf\u00e9", "/adm%40in/caf%C3%A9", "/%61dm%40in/caf%c3%a9",
])
@pytest.mark.parametrize("kind", ["Exact", "PathPrefix"])
@pytest.mark.parametrize("path", [
    "/adm@in/caf%C3%A9", "/adm%40in/caf%c3%a9", "/%61%64%6d%40%69%6E/%63af%C3%a9", "/adm%40in/caf%C3%A9?x=/other", "/adm@in/caf%C3%A9?",
])
def test_no_rule_is_dodged_by_another_spelling(rule: str, kind: str, path: str) -> None:
    """P1 to P5: what an application decodes to the guarded path is judged by the guarded path's rule."""
    routes = (Route("wide", (), matches=(prefix("/"),)), Route("narrow", (), matches=(Match(PathMatch(rule, kind)),)))  # type: ignore[arg-type]
    assert name(routes, get(path)) == "narrow"
    routes = (routes[0], Route("narrow", (), matches=(regex("/adm@in/caf."),)))
    assert name(routes, get(path)) == "narrow"


@pytest.mark.parametrize("path", [
    "/Adm@in", "/adm@in%20", "/adm@in.", "/adm@in%3Fx", "/adm@in%23", "/adm@in%3B", "/adm@in%25", "/adm@in/x",
])
def test_what_is_another_path_is_another_path(path: str) -> None:
    routes = (Route("wide", (), matches=(prefix("/"),)), Route("narrow", (), matches=(exact("/adm@in"),)))
    assert name(routes, get(path)) == "wide"


@pytest.mark.parametrize(("headers", "holds"), [
    ([(b"x-v", b"1")], True),
    ([(b"X-V", b"1"), (b"x-w", b"2")], True),
    ([], False),
    ([(b"x-v", b"2")], False),
    ([(b"x-v", b"1 ")], False),
    ([(b"x-v", b"1"), (b"x-v", b"1")], False),
    ([(b"x-v", b"1"), (b"X-V", b"2")], False),
    ([(b"x-v", b"2"), (b"x-v", b"1")], False),
    ([(b"x-v", b"1"), (b"x-v", b"1"), (b"x-v", b"1")], False),
])
def test_headers_match_exactly_and_never_when_they_repeat(headers: Headers, holds: bool) -> None:
    for one in (HeaderMatch("X-v", "1"), HeaderMatch("X-v", "[1]", "RegularExpression")):
        assert (name((Route("r", (), matches=(Match(headers=(one,)),)),), get(headers=headers)) == "r") is holds


def test_a_field_that_is_no_text_matches_no_expression() -> None:
    routes = (Route("r", (), matches=(Match(headers=(HeaderMatch("x-v", "(?s).*", "RegularExpression"),)),)),)
    assert name(routes, get(headers=[(b"x-v", b"\xff")])) is None
    assert name(routes, get(headers=[(b"x-v", "\u00ff".encode())])) == "r"


@pytest.mark.parametrize(("query", "holds"), [
    ("?q=a%20b", True),
    ("?q=a+b", True),
    ("?x=1&%71=a+b&y", True),
    ("?q=a%2520b", False),
    ("?q=a%2Bb", False),
    ("?Q=a+b", False),
    ("?q=a+b&q=a+b", False),
    ("?q=a+b&%71=c", False),
    ("?q=a+b&q", False),
    ("?q=a+b;x=1", False),
    ("?q=%ff", False),
    ("?q=a+b&q=%ff", False),
    ("?%ff=1&q=a+b", True),
    ("?p?q=a+b", False),
    ("?", False),
    ("", False),
])
def test_query(query: str, holds: bool) -> None:
    for one in (QueryMatch("q", "a b"), QueryMatch("q", "a[ ]b", "RegularExpression")):
        assert (name((Route("r", (), matches=(Match(query=(one,)),)),), get("/" + query)) == "r") is holds, one


def test_the_query_is_no_part_of_the_path() -> None:
    routes = (Route("r", (), matches=(exact("/a"),)),)
    assert name(routes, get("/a?x=/b")) == "r"
    assert name(routes, get("/b?x=/a")) is None


def test_methods_are_case_sensitive() -> None:
    assert name((Route("r", (), matches=(Match(method="GET"),)),), get(method="get")) is None


def test_a_tcp_connection_is_meant_by_a_rule_for_everything_only() -> None:
    routes = (
        Route("path", (), 8080, (prefix("/"),)), Route("rest", (), 8080), Route("header", (), 8081, (Match(headers=(V1,)),)),
        Route("host", (), 8082, hosts=("a",)), Route("all", (), 8082), Route("some", (), 8083, (Match(),)), Route("db", (), 5432),
    )
    assert name(routes, None, 5432) == "db"
    assert [name(routes, None, port) for port in (8080, 8081, 8082, 8083, 9)] == [None] * 5
    assert name((Route("any", ()), *routes), None, 9) == "any"
    assert name((Route("any", ()), *routes), None, 8080) is None
    assert name((Route("any", ()), Route("path", (), matches=(prefix("/a"),)), *routes), None, 9) is None


@pytest.mark.parametrize(("match", "where"), [
    (Match(PathMatch("/(", "RegularExpression")), "r.matches[0].path.value"),
    (Match(headers=(V1, HeaderMatch("a", "(", "RegularExpression"))), "r.matches[0].headers[1].value"),
    (Match(query=(QueryMatch("a", "(", "RegularExpression"),)), "r.matches[0].query[0].value"),
])
def test_a_bad_expression_is_refused_with_its_place(match: Match, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RouteTable((Route("r", (), matches=(match,)),))
    assert caught.value.where == where


# -- the index against the scan

PORTS = st.sampled_from([None, 80, 81])
HOSTS = st.sampled_from(["a.x", "b.x", "x", "*.x", "*.a.x"])
SEGMENTS = st.sampled_from(["a", "b", "%40", "@", "%41", ""])
EXPRESSIONS = st.sampled_from(["/.*", "/a", "/a/.*", "/[@]", "/(a|b)/a?", "/A.*"])


@st.composite
def path_matches(draw: st.DrawFn) -> PathMatch:
    kind = draw(st.sampled_from(["Exact", "PathPrefix", "PathPrefix", "RegularExpression"]))
    if kind == "RegularExpression":
        return PathMatch(draw(EXPRESSIONS), "RegularExpression")
    return PathMatch(draw(PATHS), kind)  # type: ignore[arg-type]


PATHS = st.lists(SEGMENTS, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts)).filter(lambda path: "//" not in path)
MATCHES = st.builds(
    Match,
    st.none() | path_matches(),
    st.sampled_from([None, None, "GET", "PUT"]),
    st.lists(st.builds(HeaderMatch, st.sampled_from(["h", "I"]), st.sampled_from(["1", "2"])), max_size=2).map(tuple),
    st.lists(st.builds(QueryMatch, st.sampled_from(["q", "r"]), st.sampled_from(["1", " "])), max_size=2).map(tuple),
)
ROUTES = st.lists(
    st.builds(
        Route, st.just("r"), st.just(()), PORTS, st.lists(MATCHES, max_size=3).map(tuple),
        st.lists(HOSTS, max_size=2, unique=True).map(tuple),
    ),
    max_size=12,
).map(tuple)
REQUESTS = st.none() | st.builds(
    get,
    st.builds(str.__add__, PATHS, st.sampled_from(["", "?q=1", "?q=1&r=+", "?q=1&q=1", "?r=%20"])),
    st.sampled_from(["GET", "PUT"]),
    st.lists(st.tuples(st.sampled_from([b"h", b"H", b"i"]), st.sampled_from([b"1", b"2"])), max_size=2),
    st.sampled_from(["a.x", "b.x", "x", "c.x", "d.a.x", "y"]),
)


def scanned(routes: tuple[Route, ...], port: int, request: RequestHead | None) -> tuple[Route, Match] | None:
    """Every alternative of every rule, sorted by precedence; the first that holds."""
    entries = [
        (route, host, match) for route in routes for match in route.matches or (EVERYTHING,) for host in route.hosts or (None,)
    ]
    for route, host, match in sorted(entries, key=lambda entry: precedence(*entry)):
        if route.port not in (None, port):
            continue
        if request is None:
            return (route, match) if match is EVERYTHING and host is None else None
        if host_holds(host, request.host.decode()) and all_hold(match, request):
            return route, match
    return None


def precedence(route: Route, host: str | None, match: Match) -> tuple[object, ...]:
    path_rank: tuple[int, int] = (3, 0)
    if match.path is not None:
        value = match.path.value
        if match.path.type == "PathPrefix":
            value = unquote_to_bytes(judge_rule_path(value)).decode().rstrip("/")
        path_rank = (["Exact", "RegularExpression", "PathPrefix"].index(match.path.type), -len(value))
        if match.path.type == "Exact":
            path_rank = (0, 0)
    return (
        route.port is None, 2 if host is None else host.startswith("*"), path_rank, match.method is None, -len(match.headers),
        -len(match.query),
    )


def host_holds(rule: str | None, host: str) -> bool:
    return rule is None or re.fullmatch(re.escape(rule).replace(r"\*", "[^.]+"), host) is not None


def all_hold(match: Match, request: RequestHead) -> bool:
    target = request.target.decode()
    path, query = unquote_to_bytes(target.partition("?")[0]).decode(), parse_qsl(target.partition("?")[2])
    return (
        match.method in (None, request.method.decode())
        and (match.path is None or path_holds(match.path, path))
        and all([value for name, value in request.headers if name.lower() == one.name.lower().encode()] == [one.value.encode()]
                for one in match.headers)
        and all([value for name, value in query if name == one.name] == [one.value] for one in match.query)
    )


def path_holds(match: PathMatch, path: str) -> bool:
    if match.type == "RegularExpression":
        return re.fullmatch(match.value, path) is not None
    value = unquote_to_bytes(judge_rule_path(match.value)).decode()
    return path == value if match.type == "Exact" else (path + "/").startswith(value.rstrip("/") + "/")


def test_ten_thousand_rules_cost_what_ten_cost() -> None:
    """Counted in lines that are run, since time is no measure: of the first look-up for a path, before anything is remembered.

    Lines of the product alone: a garbage collection in between runs lines of others, among them the callback of hypothesis.
    """
    def lines(count: int) -> int:
        numbers = range(count)
        table = RouteTable((*(Route(f"p{i}", (), matches=(prefix(f"/a/{i}", "GET", V1),)) for i in numbers),
                            *(Route(f"e{i}", (), hosts=("*.b",), matches=(exact(f"/x/{i}"),)) for i in numbers)))
        seen = 0

        def count_line(frame: FrameType, event: str, _: object) -> TraceFunction:
            nonlocal seen
            seen += event == "line" and frame.f_globals["__name__"].startswith("sidecar.")
            return count_line

        wanted, before = get(f"/a/{count - 1}/x", headers=[(b"v", b"1")]), sys.gettrace()
        sys.settrace(count_line)
        try:
            found = table.find(80, wanted)
        finally:
            sys.settrace(before)
        assert found is not None
        assert found.rule.name == f"p{count - 1}"
        return seen

    assert 0 < lines(10_000) == lines(10)


@settings(max_examples=500)
@given(ROUTES, st.sampled_from([80, 81, 82]), REQUESTS)
def test_the_index_agrees_with_the_scan(routes: tuple[Route, ...], port: int, request: RequestHead | None) -> None:
    """For any rules and any request the index finds the alternative that a scan in order of precedence finds first."""
    found, expected = RouteTable(routes).find(port, request), scanned(routes, port, request)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found.rule is expected[0]
        assert found.match is expected[1]
