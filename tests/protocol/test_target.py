"""Paths in their one spelling; the hostile ones are in tests/vectors/http1 (`path_*`, `target_*`)."""

import posixpath
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.path import judge_path
from sidecar.protocol.target import _PLAIN, judge_target


@pytest.mark.parametrize(
    ("target", "judged"),
    [
        (b"/", b"/"),
        (b"/?", b"/?"),
        (b"/a/", b"/a/"),
        (b"/a/b?c=//..%2e;%", b"/a/b?c=//..%2e;%"),
        (b"/a?b?c", b"/a?b?c"),
        (b"/%41%7e%2D", b"/A~-"),
        (b"/a%3fb%23%3b%20", b"/a%3Fb%23%3B%20"),
        (b"/%e2%82%ac", b"/%E2%82%AC"),
        (b"/100%25", b"/100%25"),
        (b"/100%25/zz", b"/100%25/zz"),
        (b"/.a/..b/c../d./...", b"/.a/..b/c../d./..."),
        (b"/!\"$&'()*+,-.:<=>@[]^_`{|}~", b"/!\"$&'()*+,-.:<=>@[]^_`{|}~"),
        (b"/a!\"$&'()*+,-.:<=>@[]^_`{|}~", b"/a!\"$&'()*+,-.:<=>@[]^_`{|}~"),
    ],
)
def test_judged(target: bytes, judged: bytes) -> None:
    assert judge_target(target) == judged


@pytest.mark.parametrize(
    ("target", "broken"),
    [
        (b"", "does not begin with a slash"),
        (b"?a", "does not begin with a slash"),
        (b"a/b", "does not begin with a slash"),
        (b"/a b", "byte 0x20"),
        (b"/a#", "byte 0x23"),
        (b"/?\x7f", "byte 0x7f"),
        (b"/\xff", "byte 0xff"),
        (b"/%", "two hex digits"),
        (b"//", "empty segment"),
        (b"/a/%2E%2e", "dot segment"),
        (b"/%2e?a", "dot segment"),
        (b"/a\\", "backslash"),
        (b"/a;b", "%3B"),
        (b"/%2F", "escaped separator or control %2F"),
        (b"/%7f", "escaped separator or control %7F"),
        (b"/%252f", "doubly escaped"),
        (b"/%25%32f", "doubly escaped"),
        (b"/%ff", "UTF-8"),
        (b"/%ed%a0%80", "UTF-8"),
    ],
)
def test_refused(target: bytes, broken: str) -> None:
    with pytest.raises(ValueError, match=broken):
        judge_target(target)


PIECES = st.sampled_from([
    b"/", b"//", b".", b"..", b"a", b"%", b"%2e", b"%2E", b"%2f", b"%5c", b"%25", b"%32", b"65", b"%41", b"%c0%af", b"%e9",
    b"%C3%A9", b";", b"?", b"\\", b"#", b"@", b"%40", b"~", b"_", b"\x00", b"\xff", b"%00", b"%u002f",
])
TARGETS = st.lists(PIECES, max_size=8).map(lambda pieces: b"/" + b"".join(pieces)) | st.binary(max_size=20)


@given(TARGETS)
def test_any_bytes_what_is_taken_has_one_reading(target: bytes) -> None:
    """Judging again changes nothing, and a server that decodes and normalises finds the path that was judged."""
    try:
        judged = judge_target(target)
    except ValueError:
        return
    assert judge_target(judged) == judged
    path = unquote_to_bytes(judged.partition(b"?")[0])
    assert unquote_to_bytes(path.replace(b"%", b"%25")) == path
    assert posixpath.normpath(path) == (path.rstrip(b"/") or b"/")
    assert b"\\" not in path
    assert not any(byte < 0x20 or byte == 0x7F for byte in path)


@given(TARGETS)
def test_the_shortcut_takes_only_what_the_long_way_leaves_as_it_is(target: bytes) -> None:
    if _PLAIN.fullmatch(target) is not None:
        path = target.partition(b"?")[0]
        assert judge_path(path) == path
