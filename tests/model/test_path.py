"""Rule paths and request paths meet in one spelling."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.path import decode_path, judge_path, judge_rule_path


@pytest.mark.parametrize(("text", "judged"), [
    ("/", b"/"),
    ("/a/", b"/a/"),
    ("/%61%7euser", b"/a~user"),
    ("/a%40b%2b", b"/a%40b%2B"),
    ("/a b", b"/a%20b"),
    ("/caf\u00e9", b"/caf%C3%A9"),
    ("/caf%c3%a9", b"/caf%C3%A9"),
    ("/100%25", b"/100%25"),
])
def test_rule_paths(text: str, judged: bytes) -> None:
    assert judge_rule_path(text) == judged


@pytest.mark.parametrize(("text", "why"), [
    ("", "begin with a slash"),
    ("a", "begin with a slash"),
    ("*", "begin with a slash"),
    ("/a?b", "%3F"),
    ("/a#b", "%3F or %23"),
    ("//", "empty segment"),
    ("/a//b", "empty segment"),
    ("/a/../b", "dot segment"),
    ("/%2e%2E/b", "dot segment"),
    ("/a/..%3B/b", "dot segment"),
    ("/a/%2e%2e%3bx=1/b", "dot segment"),
    ("/a/.%3b", "dot segment"),
    ("/a%2fb", "escaped separator"),
    ("/a\nb", "escaped separator or control %0A"),
    ("/a\\b", "backslash"),
    ("/a;b", "%3B"),
    ("/%252e", "doubly escaped"),
    ("/%zz", "two hex digits"),
    ("/%ff", "UTF-8"),
    ("/\ud800", "surrogates"),
])
def test_what_no_request_may_hold_no_rule_may(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        judge_rule_path(text)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="/\\%", min_codepoint=0x20), min_size=1, max_size=6).filter(
    lambda text: text not in (".", "..") and "\x7f" not in text
)


@given(st.lists(TEXT, min_size=1, max_size=4), st.data())
def test_every_spelling_is_compared_alike(segments: list[str], data: st.DataObject) -> None:
    """However much of a path is escaped, what rules compare is the text that was meant, segment by segment."""
    keep = data.draw(st.text("!$&'()*+,=:@", max_size=12))
    path = "/" + "/".join(quote(segment, safe=keep) for segment in segments)
    meant = ("/" + "/".join(segments)).encode()
    assert decode_path(judge_path(path.encode())) == meant
    assert decode_path(judge_rule_path(path)) == meant


PIECES = st.sampled_from(["/", "a", "%40", "@", "%25", "%41", "%3b", "4", "0"])


@given(st.lists(PIECES, max_size=8).map(lambda pieces: "/" + "".join(pieces)))
def test_decoding_makes_no_separator(text: str) -> None:
    try:
        path = judge_rule_path(text)
    except ValueError:
        return
    assert decode_path(path).count(b"/") == path.count(b"/")
