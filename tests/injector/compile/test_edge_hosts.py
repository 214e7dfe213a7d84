import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.compile import edge_hosts
from injector.compile.edge_hosts import apart, path_of
from injector.compile.edge_rule import ANYBODY
from sidecar.model.edge import EdgeRoute
from sidecar.model.path import decode_path, judge_rule_path
from sidecar.model.route import HeaderMatch, Match, PathMatch
from sidecar.model.service import Backend
from sidecar.policy.route_table import RouteTable
from sidecar.protocol.framing import judge_request

PORT = 80


def route(name: str, host: str, path: str = "", **conditions: HeaderMatch) -> EdgeRoute:
    matches = (Match(PathMatch(path) if path else None, headers=tuple(conditions.values())),) if path or conditions else ()
    return EdgeRoute(name, ANYBODY, ports=(PORT,), hosts=(host,) if host else (), matches=matches, backends=(Backend("a.b", 80),))


def to(routes: list[EdgeRoute], host: str, path: str) -> str | None:
    found = RouteTable(routes).find(PORT, judge_request(b"GET", path.encode(), b"1.1", [(b"host", host.encode())]))
    if found is None or found.rule.direct_response is not None:
        return None
    return found.rule.name.partition("/")[0]


def owners(*hosts: str, namespace: str = "shop") -> dict[tuple[int, str], str]:
    return {(PORT, host): namespace for host in hosts}


def test_nothing_is_added_where_nobody_elses_rule_is_wider() -> None:
    owned = [("shop", route("a", "x.test", "/a")), ("shop", route("b", "", "/b")), ("other", route("c", "y.test", "/c"))]
    made, too_many = apart(owned, {**owners("x.test", ""), (PORT, "y.test"): "other"})
    assert [one.name for one in made if one.direct_response is None] == ["a", "b", "c"]
    assert [one.hosts for one in made if one.direct_response is not None] == [("y.test",)]
    assert too_many == []


@pytest.mark.parametrize("wide", ["", "*.x.test", "**.x.test", "**.test"])
def test_a_wider_rule_of_another_namespace_gets_nothing_of_the_host(wide: str) -> None:
    made, _ = apart([("shop", route("a", "a.x.test", "/a")), ("other", route("w", wide))], owners("a.x.test"))
    assert to(made, "a.x.test", "/a") == "a"
    assert to(made, "a.x.test", "/b") is None
    assert to(made, "b.x.test", "/b") == "w"


def test_a_host_that_is_led_somewhere_in_every_case_needs_no_answer() -> None:
    made, _ = apart([("shop", route("a", "x.test", "/")), ("other", route("w", ""))], owners("x.test"))
    assert len(made) == 2


def test_conditions_are_no_whole_path() -> None:
    owned = [("shop", route("a", "x.test", "/", header=HeaderMatch("x-y", "1"))), ("shop", route("s", "", "/b")), ("other", route("w", ""))]
    made, _ = apart(owned, owners("x.test"))
    assert to(made, "x.test", "/b") == "s"
    assert to(made, "x.test", "/c") is None


def test_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_hosts, "MOST_COPIED_BYTES", 20)       # two hosts, with quotes and comma
    owned = [("shop", route(f"h{i}", f"h{i}.test", "/a")) for i in range(3)]
    wide = [("shop", route("s", "", "/b")), ("other", route("w", "", "/c"))]
    made, too_many = apart([*owned, *wide], owners(*(f"h{i}.test" for i in range(3))))
    assert too_many == ["s"]
    assert [to(made, f"h{i}.test", "/b") for i in range(3)] == ["s", "s", None]
    assert [to(made, f"h{i}.test", "/c") for i in range(3)] == [None, None, None]


_NAMESPACES = st.sampled_from("ab")
_RULES = st.lists(st.tuples(
    _NAMESPACES, st.sampled_from(["x.test", "y.x.test", "*.x.test", "**.x.test", "**.test", ""]), st.sampled_from(["", "/", "/a", "/a/b"]),
), max_size=6)


@given(_RULES, st.sampled_from(["x.test", "y.x.test", "z.x.test", "q.y.x.test"]), st.sampled_from(["/", "/a", "/a/b", "/b"]))
def test_no_request_for_a_host_comes_to_a_namespace_that_has_no_rule_at_the_host_itself(
    rules: list[tuple[str, str, str]], host: str, path: str,
) -> None:
    """Whatever is answered for a named host, a namespace answers that has named it, or the one that it belongs to."""
    owned, belongs = [], {}
    for number, (namespace, name, value) in enumerate(rules):
        owned.append((namespace, route(f"{namespace}{number}", name, value)))
        belongs.setdefault((PORT, name), namespace)
    made, _ = apart(owned, belongs)
    assert len({one.name for one in made}) == len(made)
    found = to(made, host, path)
    named = {namespace for namespace, name, _ in rules if name == host}
    if found is not None and named:
        assert found[0] in named


@given(st.text("/ab%~ é41-", max_size=8).map(lambda text: "/" + text))
def test_paths_are_compared_as_rules_compare_them(text: str) -> None:
    try:
        wanted = decode_path(judge_rule_path(text))
    except ValueError:
        return
    assert path_of(Match(PathMatch(text))) == wanted
