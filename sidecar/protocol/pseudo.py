"""HTTP/2 heads under the very law of `framing.py`: pseudo-header fields become what HTTP/1.1 says, then the same judge decides.

What RFC 9113 s8.1.1 calls malformed is told apart (Malformed): it ends its stream without an answer. All else that is wrong is
what it would be in HTTP/1.1, with the same reason, and can be explained to the client.

Trust: what comes in is a stranger's fields, well compressed and otherwise anything; what leaves has one body length, one host, one
path and none of the pseudo-header and connection-specific fields by which a translated head could be split or redirected.
Attacked by tests/protocol/test_pseudo.py, with the downgrade attacks of HTTP/2 to HTTP/1.1 as a table.
Spec: RFC 9113 s8.2, s8.3. Stricter: no CONNECT, nothing behind `:path` but an origin-form target, `host` only beside an equal
`:authority`.
"""

import re
from http import HTTPStatus

from sidecar.model.errors import BadResponse, ProtocolViolation
from sidecar.model.message import Body, BodyKind, Headers, RequestHead, ResponseHead
from sidecar.model.reason import Reason

from .authority import parse_authority
from .chunked import MAX_TRAILERS_BYTES
from .framing import MAX_FIELDS, MAX_HEAD_BYTES, TEXT, TOKEN, decide_request, decide_response, judge_request, judge_response
from .trailers import allowed_trailers


class Malformed(ValueError):
    """> [Such] requests and responses MUST be treated as a stream error of type PROTOCOL_ERROR (RFC 9113 s8.1.1)."""


# What the law asks of fields, in the lower case of HTTP/2 and without whitespace around values: one look for nearly all of them.
_GOOD_REQUEST_NAME = re.compile(rb"[!#$%&'*+\-.^`|~0-9a-z]++")
_GOOD_RESPONSE_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]++")
_GOOD_VALUE = re.compile(rb"(?![ \t])%b(?<![ \t])" % TEXT)
_TOKEN = re.compile(TOKEN)
# > A field name MUST NOT contain characters in the ranges 0x00-0x20, 0x41-0x5a, or 0x7f-0xff (RFC 9113 s8.2.1), nor a colon.
_BAD_NAME = re.compile(rb"[\x00-\x20A-Z\x7f-\xff:]")
_BAD_VALUE = re.compile(rb"[\0\r\n]|\A[ \t]|[ \t]\Z")
_SCHEME = re.compile(rb"[a-z][a-z0-9+.-]*+", re.IGNORECASE)      # asked for, and then nobody's word
_STATUS = re.compile(rb"[1-5][0-9][0-9]")

_REQUEST_PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority"})
_RESPONSE_PSEUDO = frozenset({b":status"})
# > An endpoint MUST NOT generate an HTTP/2 message containing connection-specific header fields (RFC 9113 s8.2.2).
_CONNECTION_SPECIFIC = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te"})
_BODILESS = frozenset({204, 304})

_CHUNKED = (b"transfer-encoding", b"chunked")       # how HTTP/1.1 says what END_STREAM will: a body that ends by itself
_EMPTY = (b"content-length", b"0")
_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}


def judge_request_fields(fields: Headers, is_end: bool) -> RequestHead:
    """The request that these fields are.

    Args:
        is_end: no body follows.
    Raises: Malformed; ProtocolViolation as `framing.judge_request` does.
    """
    pseudo, regular, is_plain = _split(fields, _REQUEST_PSEUDO, _GOOD_REQUEST_NAME)
    method = pseudo.get(b":method")
    if method is None:
        raise Malformed("no :method")
    if _size(fields) > MAX_HEAD_BYTES:
        raise ProtocolViolation(Reason.HEAD_TOO_LARGE, f"a header list of more than {MAX_HEAD_BYTES} bytes")
    if len(regular) > MAX_FIELDS:   # before crumbs of cookies are one field
        raise ProtocolViolation(Reason.HEAD_TOO_LARGE, f"{len(regular)} header fields; {MAX_FIELDS} are allowed")
    has_length = False
    hosts: list[bytes] = []
    kept: Headers = []
    cookie = -1
    for field in regular:
        name, value = field
        if name == b"cookie" and cookie >= 0:
            # > [They] MUST be concatenated into a single octet string using "; " (RFC 9113 s8.2.3).
            kept[cookie] = (b"cookie", kept[cookie][1] + b"; " + value)
            continue
        if name in _CONNECTION_SPECIFIC and not (name == b"te" and value.lower() == b"trailers"):
            # > The TE header field MAY be present; it MUST NOT contain any value other than "trailers" (RFC 9113 s8.2.2).
            raise Malformed(f"{name.decode()} belongs to HTTP/1.1")
        if name == b"host":
            hosts.append(value)
            continue
        if name == b"cookie":
            cookie = len(kept)
        elif name == b"content-length":
            has_length = True
            if is_end and value != b"0":
                raise Malformed("content-length, and the stream ends without a body")
        kept.append(field)
    if method == b"CONNECT":
        raise ProtocolViolation(Reason.METHOD, "the method is CONNECT")
    path = pseudo.get(b":path")
    if not path or _SCHEME.fullmatch(pseudo.get(b":scheme", b"")) is None:
        raise Malformed("no :path, or no :scheme")
    host = _one_host(pseudo.get(b":authority"), hosts)
    if host is not None:
        kept.insert(0, (b"host", host))
    if not (has_length or is_end):
        kept.append(_CHUNKED)
    if not path.startswith(b"/") and path != b"*":
        raise ProtocolViolation(Reason.BAD_TARGET, "the path does not begin with a slash")
    judge = decide_request if is_plain and _TOKEN.fullmatch(method) is not None else judge_request
    return judge(method, path, b"2", kept)


def judge_response_fields(fields: Headers, is_end: bool, method: bytes) -> ResponseHead:
    """The response that these fields are, to a request with `method`. Raises: Malformed, BadResponse."""
    pseudo, regular, is_plain = _split(fields, _RESPONSE_PSEUDO, _GOOD_RESPONSE_NAME)
    said = pseudo.get(b":status", b"")
    if _STATUS.fullmatch(said) is None:
        raise Malformed("no :status, or none of three digits")
    if _size(fields) > MAX_HEAD_BYTES:
        raise BadResponse(f"a header list of more than {MAX_HEAD_BYTES} bytes")
    status = int(said)
    has_length = False
    for name, value in regular:
        if name in _CONNECTION_SPECIFIC:
            raise Malformed(f"{name.decode()} belongs to HTTP/1.1")
        if name == b"content-length":
            has_length = True
            if is_end and value != b"0" and not (method == b"HEAD" or status in _BODILESS):
                raise Malformed("content-length, and the stream ends without a body")
    if status == 101 or (status < 200 and is_end):
        raise Malformed(f"status {status} cannot be said in HTTP/2 in this place")
    if not (has_length or status < 200 or status in _BODILESS or method == b"HEAD"):
        regular.append(_EMPTY if is_end else _CHUNKED)
    judge = decide_response if is_plain else judge_response
    return judge(status, _PHRASES.get(status, b""), b"1.1", regular, method)


def judge_trailer_fields(fields: Headers) -> Headers:
    """Those of a trailer section that may go on. Raises: Malformed."""
    _, regular, is_plain = _split(fields, frozenset(), _GOOD_RESPONSE_NAME)
    if _size(fields) > MAX_TRAILERS_BYTES:
        raise Malformed(f"more than {MAX_TRAILERS_BYTES} bytes of trailers")
    if not is_plain:
        raise Malformed("a trailer is no header field")
    return allowed_trailers(regular)


def _split(
    fields: Headers, known: frozenset[bytes], good_name: re.Pattern[bytes]
) -> tuple[dict[bytes, bytes], Headers, bool]:
    """Pseudo-header fields, the others, and whether the grammar of the latter is beyond doubt."""
    pseudo: dict[bytes, bytes] = {}
    regular: Headers = []
    is_plain = True
    for field in fields:
        name, value = field
        if name[:1] == b":":
            # > All pseudo-header fields MUST appear before all regular field lines; not twice, none but these (RFC 9113 s8.3).
            if name not in known or name in pseudo or regular:
                raise Malformed(f"pseudo-header field {name[:40]!r} is unknown, repeated or behind others")
            if _BAD_VALUE.search(value) is not None:
                raise Malformed(f"control byte or whitespace in {name.decode()}")
            pseudo[name] = value
            continue
        if good_name.fullmatch(name) is None or _GOOD_VALUE.fullmatch(value) is None:
            if not name or _BAD_NAME.search(name) is not None:
                raise Malformed(f"field name {name[:40]!r} holds what no HTTP/2 name may")
            if _BAD_VALUE.search(value) is not None:
                raise Malformed(f"line end, NUL or outer whitespace in the value of {name[:40]!r}")
            is_plain = False    # the law has its own words for the rest
        regular.append(field)   # as it came: it may say of itself that it is never to be indexed
    return pseudo, regular, is_plain


def _size(fields: Headers) -> int:
    """As SETTINGS_MAX_HEADER_LIST_SIZE counts (RFC 9113 s6.5.2)."""
    return sum([len(name) + len(value) + 32 for name, value in fields])


def _one_host(authority: bytes | None, hosts: list[bytes]) -> bytes | None:
    """The authority. `host` may stand beside `:authority` if it says the same, or alone (RFC 9113 s8.3.1)."""
    if not hosts:
        return authority
    if len(hosts) > 1:
        raise ProtocolViolation(Reason.BAD_HOST, f"{len(hosts)} host fields")
    if authority is None:
        return hosts[0]
    try:
        if authority != hosts[0] and _canonical(authority) != _canonical(hosts[0]):
            raise ValueError(f":authority is {authority[:80]!r}, host {hosts[0][:80]!r}")
    except ValueError as exc:
        raise ProtocolViolation(Reason.BAD_HOST, str(exc)) from None
    return authority


def _canonical(authority: bytes) -> tuple[bytes, int]:
    """Without the default port: `:scheme` is nobody's word but the listener's, and Host of port 80 or 443 is the same host."""
    host, port = parse_authority(authority)
    return host, port or 80


# -- the opposite way


def request_fields(head: RequestHead, host: bytes, extra: Headers, scheme: bytes) -> Headers:
    """What is sent for a judged request.

    Args:
        host: what `:authority` says.
        extra: fields of our own, after the client's.
    """
    fields = [(b":method", head.method), (b":scheme", scheme), (b":authority", host), (b":path", head.target)]
    fields += _lower(head.headers)
    fields += _lower(extra)
    if head.body.kind is BodyKind.LENGTH:
        fields.append((b"content-length", b"%d" % head.body.length))
    if head.takes_trailers:
        fields.append((b"te", b"trailers"))
    if head.expects_continue:
        fields.append((b"expect", b"100-continue"))
    return fields


def response_fields(head: ResponseHead, extra: Headers) -> Headers:
    """What is sent for a judged response."""
    fields = [(b":status", b"%d" % head.status)]
    fields += _lower(head.headers)
    fields += _lower(extra)
    length = _length(head.body, head.content_length)
    if length is not None:
        fields.append((b"content-length", b"%d" % length))
    return fields


def trailer_fields(fields: Headers) -> Headers:
    """What is sent for trailers."""
    return _lower(fields)


def _lower(fields: Headers) -> Headers:
    """Who spoke HTTP/2 said them so: then they are the same values, whose hashes are known."""
    return [field if field[0].islower() else (field[0].lower(), field[1]) for field in fields]


def _length(body: Body, content_length: int | None) -> int | None:
    if body.kind is BodyKind.LENGTH:
        return body.length
    return content_length if body.kind is BodyKind.NONE else None
