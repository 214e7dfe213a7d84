"""What the hash is taken of, and that absence is told from emptiness."""

import pytest

from sidecar.model.message import NO_BODY, Headers, RequestHead
from sidecar.model.service import HashOn
from sidecar.policy.hash_key import hash_key

HEADER, COOKIE, QUERY = HashOn(header="X-User"), HashOn(cookie="sid"), HashOn(query="user")


@pytest.mark.parametrize(("on", "target", "headers", "expected"), [
    (HEADER, b"/", [(b"x-user", b"a")], b"a"),
    (HEADER, b"/", [(b"x-USER", b"a"), (b"x-user", b"b")], b"a, b"),
    (HEADER, b"/", [(b"x-user", b"")], b""),
    (HEADER, b"/", [(b"x-users", b"a")], None),
    (COOKIE, b"/", [(b"Cookie", b"a=b; sid=1=2; sid=3")], b"1=2"),
    (COOKIE, b"/", [(b"cookie", b"a=b"), (b"cookie", b"sid=1")], b"1"),     # HTTP/2 may split them
    (COOKIE, b"/", [(b"cookie", b"xsid=1; SID=2; sid")], None),
    (COOKIE, b"/", [], None),
    (QUERY, b"/a?x=1&user=2", [], b"2"),
    (QUERY, b"/a?user=", [], b""),
    (QUERY, b"/user=2", [], None),
    (QUERY, b"/a?user", [], None),
    (HashOn(), b"/a?user=1", [(b"x-user", b"a")], None),
])
def test_the_key(on: HashOn, target: bytes, headers: Headers, expected: bytes | None) -> None:
    assert hash_key(on, RequestHead(b"GET", target, b"a", None, headers, NO_BODY, is_last=False)) == expected
