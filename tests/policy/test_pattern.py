import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.errors import ConfigError
from sidecar.policy.pattern import Expression, name_holds


@pytest.mark.parametrize(("pattern", "name", "holds"), [
    ("web", "web", True),
    ("web", "web2", False),
    ("web", "Web", False),
    ("*", "anything", True),
    ("web*", "web", True),
    ("web*", "web-2", True),
    ("web*", "we", False),
    ("*-job", "nightly-job", True),
    ("*-job", "-job", True),
    ("*-job", "nightly-jobs", False),
    ("we", "web", False),
    ("eb", "web", False),
])
def test_names(pattern: str, name: str, holds: bool) -> None:
    assert name_holds(pattern, name) is holds


@pytest.mark.parametrize(("text", "value", "holds"), [
    ("/users/[0-9]+", b"/users/7", True),
    ("/users/[0-9]+", b"/users/7/x", False),
    ("/users/[0-9]+", b"/x/users/7", False),
    ("a|b", b"ab", False),
    ("^a$", b"a", True),
    ("a$", b"a\n", False),
    (".*", b"", True),
    ("caf.", "caf\u00e9".encode(), True),
    ("(?i)a", b"A", True),
])
def test_an_expression_must_match_the_whole(text: str, value: bytes, holds: bool) -> None:
    assert Expression(text, "x").holds(value) is holds


@pytest.mark.parametrize("text", [".*", r"\C*", "[^a]*", "(?s).*", r"[\x00-\x{10FFFF}]*"])
@pytest.mark.parametrize("value", [b"\xff", b"a\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x82"])
def test_what_is_no_utf8_matches_nothing(text: str, value: bytes) -> None:
    assert not Expression(text, "x").holds(value)


@pytest.mark.parametrize(("text", "why"), [
    ("(", "no RE2 expression"),
    ("[a", "no RE2 expression"),
    (r"(a)\1", "no RE2 expression"),
    ("(?=a)", "no RE2 expression"),
    ("(?<!a)b", "no RE2 expression"),
    ("a{1001}", "no RE2 expression"),
    ("(a{100}){100}", "no RE2 expression"),
    ("\ud800", "no RE2 expression"),
    ("[^/]{200}", "too large"),
    (r"(\pL|\pN){9}", "too large"),
    ("a" * 1001, "too large"),
])
def test_refused_when_it_is_read(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        Expression(text, "here")
    assert caught.value.where == "here"


@pytest.mark.parametrize("text", ["(a+)+", "(a|a)*", "(a|b)*a(a|b){100}", "(.*)*", "(x+x+)+y"])
def test_what_would_backtrack_for_years_ends(text: str) -> None:
    assert not Expression(text + "!", "x").holds(b"a" * 60_000)


@given(st.binary(max_size=20))
def test_any_bytes_are_matched_or_not(value: bytes) -> None:
    assert Expression("(?s).*", "x").holds(value) is (value.decode(errors="ignore").encode() == value)
