"""What the API documentation says of Ingresses, as a table: manifest, request, backend. And what becomes of what it does not speak of."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from injector.cluster import EMPTY
from injector.cluster.objects import Object
from injector.compile.edge import compile_edge
from injector.compile.edge_join import Joined
from injector.compile.edge_rule import Annotated
from injector.compile.ingress import read_ingress
from injector.compile.looked import Looked
from sidecar.model.snapshot import Snapshot, Workload, parse_snapshot, render_snapshot

from .edge_objects import Asked, Item, asked, backend, cluster_of, from_words, ingress, joined, path, rule, service

ACCEPTANCE = Path(__file__).parents[2] / "vectors" / "acceptance"

# Rules, then requests: host, path, and the Service that answers; `-` where none does. Port 443 and port 80 answer alike.
TABLE = """
# the examples table of the API documentation
x.test P / s
    x.test / s
    x.test /any s
    x.test /any/path/ s
    x.test /index.html?q=1 s
x.test E /foo s
    x.test /foo s
    x.test /bar -
    x.test /foo/ -
    x.test /foo/bar -
    x.test /Foo -
    x.test /foo?x=/bar s
x.test E /foo/ s
    x.test /foo -
    x.test /foo/ s
    x.test /foo/x -
x.test P /foo s
    x.test /foo s
    x.test /foo/ s
    x.test /foo/bar s
    x.test /foobar -
    x.test /fo -
    x.test /FOO -
    x.test / -
    x.test /bar/foo -
x.test P /foo/ s
    x.test /foo s
    x.test /foo/ s
    x.test /foo/x s
    x.test /foox -
x.test P /aaa/bb s
    x.test /aaa/bbb -
    x.test /aaa/bb/c s
x.test P /aaa/bbb s
    x.test /aaa/bbb s
    x.test /aaa/bbb/ s
    x.test /aaa/bbb/ccc s
    x.test /aaa -
x.test P /aaa/bbb/ s
    x.test /aaa/bbb s
    x.test /aaa/bbb/ s
    x.test /aaa/bbbxyz -
x.test P / a | x.test P /aaa b
    x.test /aaa/ccc b
    x.test /aaa b
    x.test /ccc a
    x.test /aaab a
    x.test / a
x.test P / a | x.test P /aaa b | x.test P /aaa/bbb c
    x.test /aaa/bbb c
    x.test /aaa/bbb/ c
    x.test /aaa/b b
    x.test /ccc a
x.test P /aaa s
    x.test /ccc -
x.test P /foo p | x.test E /foo e
    x.test /foo e
    x.test /foo/ p
    x.test /foo/x p
x.test E /foo e | x.test P /foo p
    x.test /foo e
    x.test /foo/ p
# the longest path counts, wherever it stands
x.test P /a/b/c long | x.test P / root | x.test P /a short
    x.test /a/b/c/d long
    x.test /a/b short
    x.test /a/b/cc short
    x.test /b root
x.test E /a/b exact | x.test P /a/b/c deep | x.test P /a wide
    x.test /a/b exact
    x.test /a/b/ wide
    x.test /a/b/c deep
    x.test /a/b/x wide
x.test E / root | x.test P / rest
    x.test / root
    x.test /x rest
x.test E / root
    x.test / root
    x.test /x -
# ImplementationSpecific is Prefix here, and may have no path
x.test I - s
    x.test / s
    x.test /x/y s
x.test I /foo s
    x.test /foo s
    x.test /foo/bar s
    x.test /foobar -
x.test I /foo/ s
    x.test /foo s
x.test I /foo i | x.test E /foo e
    x.test /foo e
    x.test /foo/bar i
# case: of hosts none, of paths all
www.x.test P /app s
    WWW.X.TEST /app s
    Www.x.Test /app s
    www.x.test /APP -
    www.x.test /App -
# the port in Host, and the dot at its end
x.test P / s
    x.test:80 / s
    x.test:443 / s
    x.test:8443 / s
    x.test. / s
    y.test:80 / -
# wildcards are one label
*.foo.test P / s
    bar.foo.test / s
    baz.bar.foo.test / -
    foo.test / -
    BAR.FOO.TEST / s
    bar.foo.test:80 /x s
    barfoo.test / -
    xn--bcher-kva.foo.test / s
*.foo.test P /w wild | bar.foo.test P /e exact
    bar.foo.test /e exact
    bar.foo.test /w wild
    qux.foo.test /w wild
    qux.foo.test /e -
*.foo.test P / wild | bar.foo.test P / exact
    bar.foo.test / exact
    qux.foo.test / wild
*.foo.test E /x exact | bar.foo.test P / host
    bar.foo.test /x host
    qux.foo.test /x exact
*.bar.foo.test P / deep | *.foo.test P / shallow
    a.bar.foo.test / deep
    bar.foo.test / shallow
    a.foo.test / shallow
    a.b.foo.test / -
# no host: every host
- P /foo every
    a.test /foo every
    b.test /foo/x every
    10.0.0.1 /foo every
    [2001:db8::1] /foo every
    a.test /bar -
- P / every | x.test P / host
    x.test / host
    y.test / every
- P /foo every | x.test P /bar host
    x.test /bar host
    x.test /foo every
    y.test /foo every
    y.test /bar -
- P /foo every | *.x.test P / wild | a.x.test P /a exact
    a.x.test /a exact
    a.x.test /b wild
    b.x.test /foo wild
    y.test /foo every
# several hosts, several paths: fan-out and virtual hosts
foo.bar.test P /foo service1 | foo.bar.test P /bar service2
    foo.bar.test /foo service1
    foo.bar.test /bar/x service2
    foo.bar.test / -
    bar.bar.test /foo -
first.bar.test P / service1 | second.bar.test P / service2 | - P / service3
    first.bar.test / service1
    second.bar.test /x service2
    third.bar.test / service3
    10.1.2.3 / service3
# several Ingresses are one set of rules
x.test P /a one == x.test P /b two
    x.test /a one
    x.test /b two
    x.test /c -
x.test P / one == x.test P /b two == x.test E /b three
    x.test /a one
    x.test /b three
    x.test /b/ two
x.test P /a older == x.test P /a younger
    x.test /a older
x.test P /a/ older == x.test P /a younger
    x.test /a older
x.test E /a exact == x.test P /a prefix
    x.test /a exact
    x.test /a/ prefix
x.test P / one == y.test P / two
    x.test / one
    y.test / two
    z.test / -
# default backends
default d
    x.test / d
    y.test /any d
    10.0.0.1 / d
x.test P /foo s | default d
    x.test /foo s
    x.test /bar d
    x.test / d
    y.test /foo d
x.test E / s | default d
    x.test / s
    x.test /x d
x.test P /foo s == default d
    x.test /foo s
    x.test /bar d
    y.test / d
x.test P /foo s | default first == y.test P /foo t | default second
    x.test /bar first
    y.test /bar second
    z.test / first
default first == default second
    z.test / first
x.test P /x s | - P /foo every | default d
    x.test /x s
    x.test /foo every
    x.test /bar d
    y.test /foo every
    y.test /x d
x.test P /foo/bar deep | - P /foo every | default d
    x.test /foo/bar deep
    x.test /foo/x every
    x.test / d
*.x.test P /w wild | a.x.test P /a host | default d
    a.x.test /a host
    a.x.test /w wild
    a.x.test /x d
    b.x.test /x d
# percent-encoding: what the application decodes is compared
x.test P /a%20b s
    x.test /a%20b s
    x.test /a%20b/c s
    x.test /a%20bc -
x.test P /a@b s
    x.test /a@b s
    x.test /a%40b s
    x.test /a%40b/c s
x.test P /a%40b s
    x.test /a@b s
x.test E /%61bc s
    x.test /abc s
    x.test /%61%62c s
    x.test /ABC -
x.test P /caf%C3%A9 s
    x.test /caf%C3%A9 s
    x.test /caf%c3%a9/x s
    x.test /cafe -
x.test P /café s
    x.test /caf%C3%A9 s
x.test P /~user s
    x.test /%7Euser s
    x.test /~user/x s
x.test P /a%3Bb s
    x.test /a%3bb s
x.test P /a+b s
    x.test /a+b s
    x.test /a%2Bb s
    x.test /a%20b -
# signs that are no expressions
x.test P /a.c s
    x.test /a.c s
    x.test /abc -
x.test P /* s
    x.test /x -
    x.test /* s
# names as they go over the wire
xn--bcher-kva.test P / s
    xn--bcher-kva.test / s
    XN--BCHER-KVA.test / s
    bcher.test / -
"""


def cases() -> list[Any]:
    found, words = [], ""
    for line in TABLE.splitlines():
        if line.startswith("#") or not line:
            continue
        if line.startswith(" "):
            host, target, expected = line.split()
            found.append(pytest.param(words, host, target, expected, id=f"{words} : {host}{target}"))
        else:
            words = line
    return found


def test_there_are_enough_of_them() -> None:
    assert len(cases()) >= 120


@pytest.mark.parametrize(("words", "host", "target", "expected"), cases())
def test_the_documentation_says(words: str, host: str, target: str, expected: str) -> None:
    one = asked(*from_words(words.replace(" | ", "\n")))
    for port in (80, 443):
        assert (one.to(host, target, port=port) or "-") == expected


# -- the words of the documentation as a program

Rules = list[tuple[str, str, str]]      # host, kind, path


def oracle(rules: Rules, host: str, target: str) -> str | None:
    """> If more than one path matches, precedence is given to the longest; of equals Exact counts. > Exact: with case sensitivity.
    > Prefix: matching on a path prefix split by `/`, element by element. > Wildcard: only the first label, just one."""
    best: tuple[int, int, int, int] | None = None
    found = None
    for number, (named, kind, value) in enumerate(rules):
        labels, asked_labels = named.split("."), host.split(".")
        if named == "":
            precision = 0
        elif named == host:
            precision = 2
        elif labels[0] == "*" and labels[1:] == asked_labels[1:]:
            precision = 1
        else:
            continue
        elements = [part for part in value.split("/") if part]
        wanted = [part for part in target.split("/") if part]
        if kind == "Exact" and value != target:
            continue
        if kind == "Prefix" and wanted[:len(elements)] != elements:
            continue
        rank = precision, len(elements), kind == "Exact", -number
        if best is None or rank > best:
            best, found = rank, f"s{number}"
    return found


_HOSTS = st.sampled_from(["", "x.test", "a.x.test", "b.x.test", "*.x.test", "*.a.x.test"])
_ELEMENTS = st.lists(st.sampled_from(["a", "b", "ab", "A"]), max_size=3)
_PATHS = st.builds(lambda parts, end: "/" + "/".join(parts) + (end if parts else ""), _ELEMENTS, st.sampled_from(["", "/"]))


@given(
    st.lists(st.tuples(_HOSTS, st.sampled_from(["Exact", "Prefix"]), _PATHS), max_size=6),
    st.lists(st.tuples(st.sampled_from(["x.test", "a.x.test", "c.x.test", "q.a.x.test", "y.test"]), _PATHS), min_size=1, max_size=6),
)
def test_as_the_words_of_the_documentation(rules: Rules, requests: list[tuple[str, str]]) -> None:
    """For any rules of one Ingress and any request, the backend is the one that a plain reading of the documentation finds."""
    one = asked(ingress("i", [rule(host, path(kind, value, f"s{number}")) for number, (host, kind, value) in enumerate(rules)]))
    for host, target in requests:
        assert one.to(host, target) == oracle(rules, host, target)


# -- backends


@pytest.mark.parametrize(("port", "number"), [(80, 80), (8080, 8080), ("http", 80)])
def test_ports_by_number_and_by_name(port: object, number: int) -> None:
    found = joined(ingress("i", [rule("x.test", path("P", "/", "web", port))]))
    route = Asked(found).route("x.test")
    assert route is not None
    assert [(one.service, one.port) for one in route.backends] == [("web.shop", number)]
    assert found.services == {"web.shop"}
    assert found.problems == {}


@pytest.mark.parametrize(("one", "problem"), [
    ({"resource": {"kind": "StorageBucket", "name": "b"}}, "a `resource` is no Service"),
    ({}, "it names no Service"),
    ({"service": {"name": "web", "port": {"name": "grpc"}}}, "has no TCP port 'grpc' (ports: 80 (http), 8080)"),
    ({"service": {"name": "web"}}, "has no TCP port"),
    ({"service": {"name": "web.other", "port": {"number": 80}}}, "is no name of a Service"),
    ({"service": {"name": 7, "port": {"number": 80}}}, "expected text"),
    ({"service": []}, "expected an object"),
    ("web", "expected an object"),
])
def test_a_backend_that_is_none_answers_503_and_leaves_its_requests_to_no_other_rule(one: Any, problem: str) -> None:
    item = ingress("i", [rule("x.test", {"path": "/a", "pathType": "Prefix", "backend": one}, path("P", "/", "root"))])
    found = joined(service("web"), item)
    (told,) = found.problems["Ingress", "shop", "i"]
    assert problem in told
    assert told.startswith("spec.rules[0].http.paths[0].backend")
    assert Asked(found).to("x.test", "/a/b") == 503
    assert Asked(found).to("x.test", "/") == "root"


@pytest.mark.parametrize(("items", "problem"), [
    ([], "there is no Service web in namespace shop"),
    ([service("web", "other")], "there is no Service web in namespace shop"),
    ([service("web", selector=None)], "selects no pods"),
    ([service("web", type="ExternalName", externalName="x.test")], "selects no pods"),
    ([service("web", ports=[{"port": 80, "protocol": "UDP"}])], "has no TCP port '80'"),
])
def test_a_service_that_is_not_there_is_told_and_named(items: list[Item], problem: str) -> None:
    found = compile_edge(cluster_of(*items, ingress("i", [rule("x.test", path("P", "/", "web"))])))
    assert problem in found.problems["Ingress", "shop", "i"][0]
    assert Asked(found).to("x.test") == "web"      # the Service may come; until then the gateway has no endpoint


# -- what is not in force is told, and the rest goes on


@pytest.mark.parametrize("value", [
    "/a//b", "/a/../b", "/a/./b", "/a/..", "/a%2Fb", "/a%2fb", "/a%5Cb", "/a\\b", "/a;b", "/a%00", "/a%0ab", "/a%", "/a%zz", "/a%252e",
    "/a%FFb", "/a%C0%AF", "/a?b", "/a#b", "a/b", "//", "/a/%2e%2e/b", "/.%3Bx/", "/" + "x" * 1024, "/\udc80",
])
@pytest.mark.parametrize("kind", ["Exact", "Prefix", "ImplementationSpecific"])
def test_a_path_that_no_request_could_have_is_told_and_others_go_on(kind: str, value: str) -> None:
    found = joined(ingress("i", [rule("x.test", path(kind, value, "bad"), path("P", "/good", "good"))]))
    (told,) = found.problems["Ingress", "shop", "i"]
    assert told.startswith("spec.rules[0].http.paths[0].path: ")
    assert "the path is not in force" in told
    assert Asked(found).to("x.test", "/good") == "good"
    assert len(found.edge.routes) == 1


@pytest.mark.parametrize(("one", "problem"), [
    ({"path": "/"}, "pathType: it is missing; write Exact, Prefix or ImplementationSpecific"),
    ({"path": "/", "pathType": "prefix"}, "pathType: 'prefix' is none of"),
    ({"pathType": "Exact"}, "path: it is missing"),
    ({"pathType": "Prefix", "path": ""}, "path: it is missing"),
    ({"pathType": "Prefix", "path": 7}, "path: expected text"),
])
def test_a_path_that_says_too_little(one: Item, problem: str) -> None:
    found = joined(ingress("i", [rule("x.test", {"backend": backend("web"), **one}, path("P", "/good", "good"))]))
    assert problem in found.problems["Ingress", "shop", "i"][0]
    assert Asked(found).to("x.test", "/good") == "good"


@pytest.mark.parametrize("host", [
    "X.test", "x.test:80", "x..test", "*", "*.", "a.*.test", "*.*.test", "**.x.test", "x_y.test", "-x.test", "x.test.", "http://x.test",
    "10.0.0.1", "[::1]", "2001:db8::1", "bücher.test",
    "x" * 64 + ".test", "x." * 130 + "test", "x test", "x.test\n", "*x.test", 7, ["x.test"],
])
def test_a_host_that_is_none_is_told_and_others_go_on(host: Any) -> None:
    found = joined(ingress("i", [{**rule("a.test", path("P", "/", "bad")), "host": host}, rule("good.test", path("P", "/", "good"))]))
    (told,) = found.problems["Ingress", "shop", "i"]
    assert told.startswith("spec.rules[0].host: ")
    assert Asked(found).to("good.test") == "good"
    assert len(found.edge.routes) == 1


def test_expressions_of_other_controllers_are_told_to_be_literal() -> None:
    found = joined(ingress("i", [rule("x.test", path("I", "/foo(/|$)(.*)", "web"))]))
    assert "each of its signs stands for itself" in found.problems["Ingress", "shop", "i"][0]


def test_a_host_without_paths_gets_the_default_backend() -> None:
    bare = {"host": "x.test"}
    assert asked(ingress("i", [bare], defaultBackend=backend("d"))).to("x.test", "/any") == "d"
    assert "has no paths, and there is no defaultBackend" in joined(ingress("i", [bare])).problems["Ingress", "shop", "i"][0]


@pytest.mark.parametrize("spec", [
    None, [], "x", {"rules": {}}, {"rules": [7]}, {"rules": [{"http": []}]}, {"rules": [{"http": {"paths": {}}}]},
    {"rules": [{"http": {"paths": [None]}}]}, {"tls": 7}, {"tls": [7]}, {"tls": [{"hosts": 7}]}, {"tls": [{"hosts": [7]}]},
    {"tls": [{"secretName": 7}]}, {"defaultBackend": []}, {"defaultBackend": {"service": 7}},
])
def test_whatever_has_another_form_is_told(spec: Any) -> None:
    one = Object({"kind": "Ingress", "metadata": {"name": "i", "namespace": "shop"}, "spec": spec})
    said = read_ingress(one, Looked(EMPTY), Annotated())
    assert spec is None or said.problems


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 99) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["rules", "host", "http", "paths", "path", "tls", "hosts", "backend", "defaultBackend"]), inner),
)


def valid(found: Joined) -> Joined:
    """Whose snapshot the gateway takes."""
    snapshot = Snapshot(Workload("spiffe://example.org/ns/a/sa/b", "a", "b", ("10.0.0.1",)), edge=found.edge)
    assert parse_snapshot(render_snapshot(snapshot)) == snapshot
    return found


@given(json_like)
def test_any_spec_is_compiled_or_told(spec: Any) -> None:
    """Whatever an Ingress holds: a valid snapshot, and never an exception."""
    found = valid(joined({**ingress("i"), "spec": spec}, ingress("good", [rule("good.test", path("P", "/", "good"))])))
    assert Asked(found).to("good.test") == "good"


_WORDS = st.sampled_from(["x.test", "*.x.test", "/", "/a", "/a//b", "Exact", "Prefix", "web", "", 80, None, "http", True, [], {}])
_PORTS = _WORDS | st.fixed_dictionaries({}, optional={"number": _WORDS, "name": _WORDS})
_BACKENDS = _WORDS | st.fixed_dictionaries({}, optional={
    "service": st.fixed_dictionaries({}, optional={"name": _WORDS, "port": _PORTS}), "resource": _WORDS,
})
_ONE_PATH = st.fixed_dictionaries({}, optional={"path": _WORDS, "pathType": _WORDS, "backend": _BACKENDS})
_RULES = st.fixed_dictionaries({}, optional={
    "host": _WORDS, "http": _WORDS | st.fixed_dictionaries({}, optional={"paths": _WORDS | st.lists(_ONE_PATH, max_size=3)}),
})
_SPECS = st.fixed_dictionaries({}, optional={
    "rules": st.lists(_RULES, max_size=3), "defaultBackend": _BACKENDS,
    "tls": st.lists(st.fixed_dictionaries({}, optional={"hosts": _WORDS | st.lists(_WORDS, max_size=2), "secretName": _WORDS}), max_size=2),
})


@given(_SPECS, _SPECS)
def test_what_is_nearly_right_is_compiled_or_told(spec: Item, other: Item) -> None:
    valid(joined({**ingress("i"), "spec": spec}, {**ingress("j", namespace="other"), "spec": other}))


# -- the manifests that operators learn from


def acceptance(name: str) -> Item:
    (found,) = yaml.safe_load_all((ACCEPTANCE / name).read_text())
    found["metadata"].setdefault("namespace", "default")
    return dict(found)


def test_any_path_of_the_host_reaches_web_and_another_host_nobody() -> None:
    one = asked(acceptance("ingress-web.yaml"))
    assert {one.to("myapp.example.com", target) for target in ("/", "/x", "/x/y/", "/?q")} == {"web"}
    assert one.to("other.example.com") is None
    assert asked(acceptance("ingress-web.yaml"), *from_words("default d")).to("other.example.com") == "d"


def test_one_path_of_the_host_reaches_the_service_and_its_neighbour_does_not() -> None:
    one = asked(acceptance("ingress-app-path.yaml"))
    assert {one.to("www.example.com", target) for target in ("/app", "/app/x", "/app/")} == {"app-service"}
    assert {one.to("www.example.com", target) for target in ("/apple", "/", "/x/app")} == {None}
