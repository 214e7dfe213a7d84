"""The fast way: one strict pattern recognises the plain, well-formed head that makes up nearly all traffic.

What it does not match exactly (HTTP/1.0, odd whitespace, whatever is wrong) goes the slow way through `http1.py`. Both end in
`framing.py`, and a property test holds them to one verdict. The slow way costs twenty times as much, a fast head about 6 us.

A connection remembers one head that it has seen twice running: those who speak to us mostly say the same but for the target, which is
judged each time (1 us instead of 6). What was judged of the same bytes is the same; what changes with every message (IDs, traces)
is not remembered and costs a comparison. No other connection sees it, so that nobody's words are flushed or found by a stranger.

Trust: what comes in is what a stranger sent so far. The patterns only recognise; their pieces are those of the law.
Attacked by tests/protocol/test_head.py with every file of tests/vectors/http1, whole and byte by byte.
Spec: RFC 9112 s2.1.
"""

import re

from msgspec.structs import replace

from sidecar.model.errors import BadResponse, ProtocolViolation
from sidecar.model.message import LENGTH, NONE, RequestHead, ResponseHead
from sidecar.model.reason import Reason

from .framing import (
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    REQUEST_NAME,
    TEXT,
    TOKEN,
    decide_request,
    decide_response,
    judge_request,
    judge_response,
    with_target,
)
from .render import render_response
from .target import MAX_TARGET_BYTES, PLAIN


def _fields(name: bytes) -> bytes:
    """At most one space before the value and none behind it, so that nothing has to be trimmed."""
    return rb"((?:%b: ?(?![ \t])%b(?<![ \t])\r\n){0,%d}+)\r\n" % (name, TEXT, MAX_FIELDS)


_REQUEST = re.compile(rb"(%b) ([!-~]++) HTTP/1\.1\r\n%b" % (TOKEN, _fields(REQUEST_NAME)))
_RESPONSE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9])(?: (%b))?\r\n%b" % (TEXT, _fields(TOKEN)))
_FIELD = re.compile(rb"([^:]++): ?([^\r]*+)\r\n")

_LINE = re.compile(rb"(%b) (/[!-~]*+) HTTP/1\.1" % TOKEN)
_PLAIN_LINE = re.compile(rb"(%b) (%b) HTTP/1\.1" % (TOKEN, PLAIN))

_END = b"\r\n\r\n"
MAX_KNOWN_BYTES = 2048      # of a head that is remembered


def read_request(buffer: bytes | bytearray) -> tuple[RequestHead, int] | None:
    """The request head that `buffer` begins with, and its length in bytes; None while its end is not there.

    Raises: ProtocolViolation; for a bare line feed and for more than 64 KiB also before the end is there.
    """
    end = buffer.find(_END) + len(_END)
    if end < len(_END) or end > MAX_HEAD_BYTES:
        _check_unfinished(buffer, end)
        return None
    match = _REQUEST.fullmatch(buffer, 0, end)
    if match is not None:
        method, target, block = match.groups()
        return decide_request(method, target, b"1.1", _FIELD.findall(block)), end
    from . import http1  # with h11, which most processes never need

    return judge_request(*http1.parse_request(bytes(buffer[:end]))), end


def read_response(buffer: bytes | bytearray, request_method: bytes, upgrade: bytes = b"") -> tuple[ResponseHead, int] | None:
    """The response head that `buffer` begins with, and its length in bytes; None while its end is not there.

    Args:
        upgrade: what the request asked to change to.
    Raises: BadResponse, when `read_request` would raise.
    """
    end = buffer.find(_END) + len(_END)
    if end < len(_END) or end > MAX_HEAD_BYTES:
        try:
            _check_unfinished(buffer, end)
        except ProtocolViolation as exc:
            raise BadResponse(exc.detail) from None
        return None
    match = _RESPONSE.fullmatch(buffer, 0, end)
    if match is not None:
        status, phrase, block = match.groups()
        return decide_response(int(status), phrase or b"", b"1.1", _FIELD.findall(block), request_method, upgrade), end
    from . import http1

    return judge_response(*http1.parse_response(bytes(buffer[:end])), request_method, upgrade), end


class RequestReader:
    """`read_request` for the heads of one connection."""

    __slots__ = ("_known", "_known_fields", "_seen_fields")

    def __init__(self) -> None:
        self._seen_fields = self._known_fields = b""    # what follows the request line, from its end to the head's
        self._known: RequestHead | None = None

    def read(self, buffer: bytes) -> tuple[RequestHead, int] | None:
        at = buffer.find(b"\r\n")
        known = self._known
        if known is not None and buffer.startswith(self._known_fields, at):
            line = _PLAIN_LINE.fullmatch(buffer, 0, at)
            if line is not None and at <= MAX_TARGET_BYTES and line[1] == known.method:
                return replace(known, target=line[2], headers=known.headers[:]), at + len(self._known_fields)
            line = _LINE.fullmatch(buffer, 0, at)
            if line is not None and line[1] == known.method:
                return with_target(known, line[2]), at + len(self._known_fields)
        found = read_request(buffer)
        if found is not None and found[1] - at <= MAX_KNOWN_BYTES:
            fields = buffer[at:found[1]]
            if fields != self._seen_fields:
                self._seen_fields = fields
            elif _LINE.fullmatch(buffer, 0, at) is not None:
                self._known, self._known_fields = with_target(found[0], b"/"), fields
        return found


class ResponseReader:
    """`read_response` for the heads of one connection.

    Attributes:
        text: the head that was read last as a client of HTTP/1.1 is told it, if it was a known one and is told to everyone alike.
    """

    __slots__ = ("_asked", "_head", "_known", "_known_text", "_seen", "text")

    def __init__(self) -> None:
        self._seen = self._head = self._known_text = self.text = b""
        self._asked = (b"", b"")
        self._known: ResponseHead | None = None

    def read(self, buffer: bytes, request_method: bytes, upgrade: bytes = b"") -> tuple[ResponseHead, int] | None:
        known = self._known
        if known is not None and buffer.startswith(self._head) and self._asked == (request_method, upgrade):
            self.text = self._known_text
            return known, len(self._head)
        self.text = b""
        found = read_response(buffer, request_method, upgrade)
        if found is not None and found[1] <= MAX_KNOWN_BYTES:
            head = buffer[:found[1]]
            if head != self._seen:
                self._seen = head
            else:
                self._known, self._head, self._asked = found[0], head, (request_method, upgrade)
                is_alike = found[0].body.kind in (NONE, LENGTH) and found[0].status >= 200
                self._known_text = render_response(found[0], [], close=False, chunk_until_close=True) if is_alike else b""
        return found


def _check_unfinished(buffer: bytes | bytearray, end: int) -> None:
    """The two things that more bytes cannot mend."""
    if end > MAX_HEAD_BYTES or len(buffer) > MAX_HEAD_BYTES:
        raise ProtocolViolation(Reason.HEAD_TOO_LARGE, f"no end of the head within {MAX_HEAD_BYTES} bytes")
    if buffer.count(b"\n") != buffer.count(b"\r\n"):
        raise ProtocolViolation(Reason.BAD_HEAD, "line feed without carriage return in the head")
