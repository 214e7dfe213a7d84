"""The slow way: heads that the fast pattern does not match, read by h11.

h11 is a parser and no boundary: it joins folded lines, takes bare line feeds, merges repeated Content-Length fields and passes
control bytes (measured). So the bytes are examined before; then h11 judges the grammar, and the fields are what the lines hold.

Trust: what comes in is one head as it arrived, up to and with its empty line; what leaves are its parts, still to be judged by
`framing.py`. Attacked by tests/protocol/test_http1.py.
Spec: RFC 9112 s2.2, s3, s4, s5.
"""

import re

import h11  # noqa: TID251 -- the one file that may

from sidecar.model.errors import BadResponse, ProtocolViolation
from sidecar.model.message import Headers
from sidecar.model.reason import Reason

from .framing import MAX_FIELDS, MAX_HEAD_BYTES, TOKEN

_RAW_RULES = (
    (re.compile(rb"(?<!\r)\n"), "line feed without carriage return"),
    (re.compile(rb"\r(?!\n)"), "carriage return without line feed"),
    (re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"), "control byte"),
    (re.compile(rb"\A[ \t]"), "whitespace before the first line"),
    (re.compile(rb"\A\r\n"), "empty first line"),
    # > A server that receives an obs-fold MUST either reject the message or replace it (RFC 9112 s5.2).
    (re.compile(rb"\r\n[ \t]"), "folded line, or whitespace before a field name"),
    (re.compile(rb"\r\n[^:\r]*+(?<=[ \t]):"), "whitespace before the colon of a field"),
    (re.compile(rb"\r\n:"), "empty field name"),
    (re.compile(rb"\r\n[^:\r]++\r"), "field without colon"),
)
_NOT_ASCII_TARGET = re.compile(rb"%b [!-~]*+[\x80-\xff]" % TOKEN)
# What h11's own words are about: it refuses a few things before our law sees them.
_REASONS = (("Host:", Reason.BAD_HOST), ("Content-Length", Reason.BAD_FRAMING), ("Transfer-Encoding", Reason.BAD_FRAMING))


def parse_request(head: bytes) -> tuple[bytes, bytes, bytes, Headers]:
    """(method, target, version, fields) of a whole request head. Raises: ProtocolViolation."""
    # > a server SHOULD ignore at least one empty line (CRLF) received prior to the request-line (RFC 9112 s2.2). One it is.
    head = head.removeprefix(b"\r\n")
    try:
        _check_bytes(head)
        if head.count(b"\r\n") > MAX_FIELDS + 2:    # h11 would take 20 ms to read what the law then refuses
            raise ProtocolViolation(Reason.HEAD_TOO_LARGE, f"more than {MAX_FIELDS} header fields")
        if _NOT_ASCII_TARGET.match(head) is not None:
            raise ProtocolViolation(Reason.BAD_TARGET, "byte outside ASCII in the target; escape it")
        reader = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        reader.receive_data(head)
        event = reader.next_event()
        assert isinstance(event, h11.Request)
        return event.method, event.target, event.http_version, _fields(head)
    except h11.RemoteProtocolError as exc:
        detail = _words(exc)
        raise ProtocolViolation(next((reason for word, reason in _REASONS if word in detail), Reason.BAD_HEAD), detail) from exc
    except ValueError as exc:
        raise ProtocolViolation(Reason.BAD_HEAD, str(exc)) from None


def parse_response(head: bytes) -> tuple[int, bytes, bytes, Headers]:
    """(status, phrase, version, fields) of a whole response head. Raises: BadResponse."""
    try:
        _check_bytes(head)
        if head.count(b"\r\n") > MAX_FIELDS + 2:
            raise ValueError(f"more than {MAX_FIELDS} header fields")
        reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        reader.send(h11.Request(method="GET", target="/", headers=[("host", "any")]))  # h11 wants to know what is answered
        reader.receive_data(head)
        event = reader.next_event()
        assert isinstance(event, h11.InformationalResponse | h11.Response)
        return event.status_code, event.reason, event.http_version, _fields(head)
    except h11.RemoteProtocolError as exc:
        raise BadResponse(_words(exc)) from exc
    except ValueError as exc:
        raise BadResponse(str(exc)) from None


def _words(exc: h11.RemoteProtocolError) -> str:
    """What h11 says, without the line that it quotes: a secret may stand there, and this goes into logs."""
    return str(exc).partition(": bytearray(")[0]


def _check_bytes(head: bytes) -> None:
    for rule, broken in _RAW_RULES:
        if (found := rule.search(head)) is not None:
            raise ValueError(f"{broken} at byte {found.start()} of the head")


def _fields(head: bytes) -> Headers:
    """The fields as the lines spell them, not as h11 gives them: it merges Content-Length fields, which is the law's to see."""
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")[1:]
    return [(name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]
