"""Edits of heads, as tables; the one of prefixes is the Gateway API's own."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.message import NO_BODY, Headers, RequestHead
from sidecar.model.route import HeaderEdit, Match, PathMatch, Redirect, Rewrite
from sidecar.policy.edit import edit_headers, location, rewrite_request
from sidecar.protocol.target import judge_target

EVERYTHING = Match()


def get(target: bytes, host: bytes = b"orders", port: int | None = None) -> RequestHead:
    return RequestHead(b"GET", target, host, port, [], NO_BODY, False)


HEADERS: Headers = [(b"X-A", b"1"), (b"b", b"2"), (b"x-a", b"3")]


@pytest.mark.parametrize(("edit", "expected"), [
    (HeaderEdit(), HEADERS),
    (HeaderEdit(remove=("x-a",)), [(b"b", b"2")]),
    (HeaderEdit(remove=("X-A", "absent")), [(b"b", b"2")]),
    (HeaderEdit({"x-A": "9"}), [(b"b", b"2"), (b"x-A", b"9")]),
    (HeaderEdit({"new": ""}), [*HEADERS, (b"new", b"")]),
    (HeaderEdit(add={"x-a": "9"}), [*HEADERS, (b"x-a", b"9")]),
    (HeaderEdit({"b": "4"}, {"b": "5"}, ("b",)), [(b"X-A", b"1"), (b"x-a", b"3"), (b"b", b"4"), (b"b", b"5")]),
])
def test_headers(edit: HeaderEdit, expected: Headers) -> None:
    before = list(HEADERS)
    assert edit_headers(HEADERS, edit) == expected
    assert before == HEADERS


PREFIXES = [
    ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
    ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
    ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
    ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
    ("/foo", "/foo", "/xyz", "/xyz"),
    ("/foo/", "/foo", "/xyz", "/xyz/"),
    ("/foo/bar", "/foo", "", "/bar"),
    ("/foo/", "/foo", "", "/"),
    ("/foo", "/foo", "", "/"),
    ("/foo/", "/foo", "/", "/"),
    ("/foo", "/foo", "/", "/"),
    ("/", "/", "/xyz", "/xyz/"),
    ("/foo", "/", "/xyz", "/xyz/foo"),
    ("/a/b/c/d", "/a/b", "/x/y/z", "/x/y/z/c/d"),
    ("/a%40b/c%2C", "/a@b", "/caf\u00e9", "/caf%C3%A9/c%2C"),
]


@pytest.mark.parametrize(("path", "matched", "prefix", "expected"), PREFIXES)
@pytest.mark.parametrize("query", [b"", b"?", b"?a=/foo&b=%zz"])
def test_prefixes(path: str, matched: str, prefix: str, expected: str, query: bytes) -> None:
    match = Match(PathMatch(matched))
    rewritten = rewrite_request(get(path.encode() + query), Rewrite(prefix=prefix), match)
    assert rewritten.target == location(get(path.encode() + query), Redirect(prefix=prefix), match) == expected.encode() + query


def test_without_matches_the_prefix_is_everything() -> None:
    assert rewrite_request(get(b"/a/b?c"), Rewrite(prefix="/v1"), EVERYTHING).target == b"/v1/a/b?c"


def test_rewrites_of_path_and_host() -> None:
    request = get(b"/a/b?c", b"orders.shop", 8080)
    rewritten = rewrite_request(request, Rewrite(path="/caf\u00e9 x", hostname="internal"), EVERYTHING)
    assert (rewritten.target, rewritten.host, rewritten.port) == (b"/caf%C3%A9%20x?c", b"internal", None)
    kept = rewrite_request(request, Rewrite(path="/x"), EVERYTHING)
    assert (kept.host, kept.port) == (b"orders.shop", 8080)
    assert rewrite_request(get(b"*"), Rewrite(prefix="/v1"), EVERYTHING).target == b"*"


@pytest.mark.parametrize(("redirect", "expected"), [
    ({"path": "/x"}, b"/x?q"),
    ({"scheme": "https"}, b"https://orders/a?q"),
    ({"scheme": "http"}, b"http://orders/a?q"),
    ({"hostname": "b.example"}, b"//b.example:8080/a?q"),
    ({"scheme": "https", "hostname": "b.example", "path": "/"}, b"https://b.example/?q"),
    ({"scheme": "https", "port": 443}, b"https://orders/a?q"),
    ({"scheme": "https", "port": 8443}, b"https://orders:8443/a?q"),
    ({"port": 81}, b"//orders:81/a?q"),
])
def test_locations(redirect: dict[str, Any], expected: bytes) -> None:
    assert location(get(b"/a?q", port=8080), Redirect(**redirect), EVERYTHING) == expected


@pytest.mark.parametrize("redirect", [{"hostname": "b.test"}, {"scheme": "https"}, {"prefix": "/v2"}])
def test_the_server_itself_is_nowhere_else(redirect: dict[str, Any]) -> None:
    """`*` is no path: behind a host it would be a part of its name."""
    with pytest.raises(ValueError, match="no path"):
        location(get(b"*"), Redirect(**redirect), EVERYTHING)


TARGETS = st.lists(st.sampled_from(["a", "%40", "..a", "x.", "%25", "/"]), max_size=6).map(
    lambda pieces: ("/p/" + "".join(pieces)).replace("//", "/")
)


@given(TARGETS, st.sampled_from(["", "/", "/x", "/x/y/"]))
def test_what_comes_out_would_be_let_through_as_it_is(text: str, prefix: str) -> None:
    """The path after a rewrite is one that the judge leaves as it is, and a Location on the same host never names another."""
    try:
        target = judge_target(text.encode())
    except ValueError:
        return
    match = Match(PathMatch("/p"))
    assert judge_target(rewrite_request(get(target), Rewrite(prefix=prefix), match).target)
    found = location(get(target), Redirect(prefix=prefix), match)
    assert judge_target(found) == found
    assert not found.startswith(b"//")
