"""Heads by which an HTTP/2 client could have a translating proxy say something else in HTTP/1.1, or to another: each with what
becomes of it. A table of fields, an expectation, and whether the stream ends with the head."""

from typing import NamedTuple

from sidecar.model.message import Headers
from sidecar.model.reason import Reason

METHOD, SCHEME, AUTHORITY, PATH = (b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"orders"), (b":path", b"/a")
PLAIN: Headers = [METHOD, SCHEME, AUTHORITY, PATH]


class Bad(NamedTuple):
    """`reason` None: malformed, the stream ends with RST_STREAM; else refused with it. Never does it reach anybody."""

    name: str
    fields: Headers
    reason: Reason | None
    is_end: bool = True


def _of(*, method: bytes = b"GET", scheme: bytes = b"http", authority: bytes = b"orders", path: bytes = b"/a") -> Headers:
    return [(b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path)]


def _with(*fields: tuple[bytes, bytes]) -> Headers:
    return [*PLAIN, *fields]


BAD = [
    Bad("a request line in the path", _of(path=b"/ HTTP/1.1"), Reason.BAD_TARGET),
    Bad("an absolute path", _of(path=b"http://evil/"), Reason.BAD_TARGET),
    Bad("a path without slash", _of(path=b"evil"), Reason.BAD_TARGET),
    Bad("the star for GET", _of(path=b"*"), Reason.BAD_TARGET),
    Bad("a fragment", _of(path=b"/a#b"), Reason.BAD_TARGET),
    Bad("no ASCII in the path", _of(path=b"/\xff"), Reason.BAD_TARGET),
    Bad("a dot segment", _of(path=b"/a/../b"), Reason.BAD_TARGET),
    Bad("an empty path", _of(path=b""), None),
    Bad("a line end in the path", _of(path=b"/ HTTP/1.1\r\nx: y"), None),
    Bad("an empty method", _of(method=b""), Reason.BAD_HEAD),
    Bad("a request line in the method", _of(method=b"GET / HTTP/1.1"), Reason.BAD_HEAD),
    Bad("a line end in the method", _of(method=b"GET\r\nx"), None),
    Bad("CONNECT", [(b":method", b"CONNECT"), AUTHORITY], Reason.METHOD),
    Bad("extended CONNECT", [*_of(method=b"CONNECT"), (b":protocol", b"websocket")], None),
    Bad("TRACE", _of(method=b"TRACE"), Reason.METHOD),
    Bad("a URL in the scheme", _of(scheme=b"http://evil/?"), None),
    Bad("an empty scheme", _of(scheme=b""), None),
    Bad("a user in the authority", _of(authority=b"a@evil"), Reason.BAD_HOST),
    Bad("a space in the authority", _of(authority=b"a b"), Reason.BAD_HOST),
    Bad("a path in the authority", _of(authority=b"a/../b"), Reason.BAD_HOST),
    Bad("an empty authority", _of(authority=b""), Reason.BAD_HOST),
    Bad("two ports", _of(authority=b"a:1:2"), Reason.BAD_HOST),
    Bad("no authority at all", [METHOD, SCHEME, PATH], Reason.BAD_HOST),
    Bad("another host", _with((b"host", b"evil")), Reason.BAD_HOST),
    Bad("two hosts", _with((b"host", b"orders"), (b"host", b"orders")), Reason.BAD_HOST),
    Bad("a length without a body", _with((b"content-length", b"5")), None),
    Bad("a length that is none", _with((b"content-length", b"+5")), Reason.BAD_FRAMING, is_end=False),
    Bad("two lengths", _with((b"content-length", b"5"), (b"content-length", b"5")), Reason.BAD_FRAMING, is_end=False),
    Bad("a line end in a value", _with((b"x", b"a\r\nhost: evil")), None),
    Bad("a line feed in a value", _with((b"x", b"a\nb")), None),
    Bad("NUL in a value", _with((b"x", b"a\0b")), None),
    Bad("a control byte in a value", _with((b"x", b"a\x01b")), Reason.BAD_HEAD),
    Bad("DEL in a value", _with((b"x", b"a\x7fb")), Reason.BAD_HEAD),
    Bad("a space before a value", _with((b"x", b" a")), None),
    Bad("capitals in a name", _with((b"X", b"a")), None),
    Bad("an empty name", _with((b"", b"a")), None),
    Bad("a name that is no token", _with((b"x(", b"a")), Reason.BAD_HEAD),
    Bad("a name with a colon", _with((b"x:y", b"a")), None),
    Bad("a name with a line end", _with((b"x: a\r\nhost", b"a")), None),
    Bad("an underscore in a name", _with((b"x_user", b"a")), Reason.BAD_HEAD),
    Bad("connection", _with((b"connection", b"close")), None),
    Bad("transfer-encoding", _with((b"transfer-encoding", b"chunked")), None, is_end=False),
    Bad("upgrade", _with((b"upgrade", b"h2c")), None),
    Bad("keep-alive", _with((b"keep-alive", b"1")), None),
    Bad("proxy-connection", _with((b"proxy-connection", b"close")), None),
    Bad("te: gzip", _with((b"te", b"gzip")), None),
    Bad("a second :path", [*PLAIN, PATH], None),
    Bad("a late :path", [METHOD, SCHEME, AUTHORITY, (b"x", b"y"), PATH], None),
    Bad("an unknown pseudo-header", [*PLAIN, (b":evil", b"x")], None),
    Bad("a response's pseudo-header", [*PLAIN, (b":status", b"200")], None),
    Bad("no method", [SCHEME, AUTHORITY, PATH], None),
    Bad("no scheme", [METHOD, AUTHORITY, PATH], None),
    Bad("no path", [METHOD, SCHEME, AUTHORITY], None),
    Bad("a hundred and one fields", _with(*[(b"x", b"y")] * 100), Reason.HEAD_TOO_LARGE),
    Bad("a hundred and one crumbs of cookies", _with(*[(b"cookie", b"y")] * 101), Reason.HEAD_TOO_LARGE),
    Bad("a list of 64 KiB", _with(*[(b"x", b"y" * 8170)] * 8), Reason.HEAD_TOO_LARGE),
    Bad("a path of 9000 bytes", _of(path=b"/" + b"a" * 9000), Reason.TARGET_TOO_LONG),
    Bad("expect: tea", _with((b"expect", b"tea")), Reason.EXPECTATION, is_end=False),
]
