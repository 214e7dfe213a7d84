"""Which names a listener hears of a route: a table from the API's documentation, and properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.compile.hostnames import deep, intersect, is_within, left_to

INTERSECTIONS: tuple[tuple[str, str, str], ...] = (
    # listener                  of the route                            both
    ("",                        "",                                     "*"),
    ("",                        "a.example.com",                        "a.example.com"),
    ("",                        "*.example.com",                        "*.example.com"),
    ("",                        "a.example.com b.example.com",          "a.example.com b.example.com"),
    ("a.example.com",           "",                                     "a.example.com"),
    ("*.example.com",           "",                                     "*.example.com"),
    ("a.example.com",           "a.example.com",                        "a.example.com"),
    ("a.example.com",           "b.example.com",                        "-"),
    ("a.example.com",           "*.example.com",                        "a.example.com"),
    ("a.b.example.com",         "*.example.com",                        "a.b.example.com"),
    ("example.com",             "*.example.com",                        "-"),
    ("a.example.com",           "*.example.net",                        "-"),
    ("a.example.com",           "a.example.com *.example.com",          "a.example.com"),
    ("*.example.com",           "a.example.com",                        "a.example.com"),
    ("*.example.com",           "a.b.example.com",                      "a.b.example.com"),
    ("*.example.com",           "example.com",                          "-"),
    ("*.example.com",           "a.example.net",                        "-"),
    ("*.example.com",           "anexample.com",                        "-"),
    ("*.example.com",           "test.example.com test.example.net",    "test.example.com"),
    ("*.example.com",           "*.example.com",                        "*.example.com"),
    ("*.example.com",           "*.a.example.com",                      "*.a.example.com"),
    ("*.a.example.com",         "*.example.com",                        "*.a.example.com"),
    ("*.a.example.com",         "*.b.example.com",                      "-"),
    ("*.example.com",           "*.com",                                "*.example.com"),
    ("*.com",                   "*.example.com example.net",            "*.example.com"),
    ("very.specific.com",       "non.matching.com *.nonmatchingwildcard.io very.specific.com", "very.specific.com"),
    ("*.wildcard.io",           "foo.wildcard.io foo.bar.wildcard.io",  "foo.wildcard.io foo.bar.wildcard.io"),
    ("*.anotherwildcard.io",    "wildcard.io",                          "-"),
)


@pytest.mark.parametrize(("listener", "names", "both"), INTERSECTIONS)
def test_intersections(listener: str, names: str, both: str) -> None:
    expected = () if both == "-" else ("",) if both == "*" else tuple(both.split())
    assert intersect(listener, names.split()) == expected


def test_a_star_stands_for_one_label_or_more() -> None:
    assert (deep("*.example.com"), deep("a.example.com"), deep("")) == ("**.example.com", "a.example.com", "")


HOST = st.lists(st.sampled_from(["a", "b", "com"]), min_size=1, max_size=4).map(".".join)
NAME = st.one_of(st.just(""), HOST, HOST.map(lambda host: f"*.{host}"))


def hosts(name: str, host: str) -> bool:
    """The API's words: a wildcard stands for one label or more, nothing for everything."""
    return not name or host == name or (name.startswith("*.") and host.endswith(name[1:]) and len(host) > len(name) - 1)


@given(NAME, st.lists(NAME.filter(bool), max_size=3), HOST)
def test_a_host_is_in_the_intersection_exactly_if_it_is_in_both(listener: str, names: list[str], host: str) -> None:
    in_both = hosts(listener, host) and (not names or any(hosts(name, host) for name in names))
    assert any(hosts(name, host) for name in intersect(listener, names)) == in_both


@given(NAME, NAME, HOST)
def test_within_holds_for_every_host(name: str, outer: str, host: str) -> None:
    if is_within(name, outer) and hosts(name, host):
        assert hosts(outer, host)


def test_the_narrowest_listener_of_a_port_hears_a_name_alone() -> None:
    assert left_to("a.example.com", "*.example.com", [""])
    assert not left_to("a.example.com", "", ["*.example.com"])
    assert not left_to("*.a.example.com", "*.example.com", ["*.a.example.com"])
    assert left_to("*.example.com", "*.example.com", ["a.example.com"]), "only a part of it is another's"
    assert left_to("", "", ["*.example.com"])
