"""The law of HTTP/1.1 heads: which ones are taken, where their bodies end, which of their fields go on.

Both readers end here (`head.py` the fast way, `http1.py` through h11), so that there is one verdict. A head that two servers
could read differently is refused, never repaired; what leaves is re-emitted from values (`render.py`), not copied.

Trust: what comes in is a stranger's request, or an upstream's response that could poison the next user's. What leaves has exactly
one body length, one host and one path, no hop-by-hop field and none by which somebody could speak as another. Attacked by
tests/protocol/test_framing.py and by every file of tests/vectors/http1.
Spec: RFC 9110 s5, s7; RFC 9112 s2 to s7. Stricter than they are wherever a comment says so.
"""

import re

from msgspec.structs import replace

from sidecar.model.errors import BadResponse, ProtocolViolation
from sidecar.model.fields import CLAIMS, DROPPED_PREFIXES, FRAMING, HOP_BY_HOP, OTHER_MESHES, OURS
from sidecar.model.message import NO_BODY, Body, BodyKind, Headers, RequestHead, ResponseHead
from sidecar.model.reason import Reason

from .authority import parse_authority
from .target import MAX_TARGET_BYTES, judge_target

MAX_HEAD_BYTES = 65536
MAX_FIELDS = 100

# The grammar of fields, as pattern text: the fast reader builds its patterns of the same pieces.
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
# > field-name = token. We are stricter in requests: no underscore, since CGI and its heirs read X_User as X-User.
REQUEST_NAME = rb"[!#$%&'*+\-.^`|~0-9A-Za-z]++"
TEXT = rb"[\t -~\x80-\xff]*+"  # of values and phrases: no control but HTAB; bytes above 0x7f pass as they are

_TOKEN = re.compile(TOKEN)
_REQUEST_NAME = re.compile(REQUEST_NAME)
_TEXT = re.compile(TEXT)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_ABSOLUTE = re.compile(rb"http://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


# > A sender MUST NOT send a connection option corresponding to a field intended for all recipients (RFC 9110 s7.6.1).
# Nominating one of these would make us remove what the next hop decides by.
_NOT_NOMINABLE = CLAIMS | {b"host", b"authorization", b"content-length", b"transfer-encoding", b"cookie", b"set-cookie"}

# Judged and then said anew by `render.py`; all else goes on, save what is dropped.
_JUDGED_IN_REQUESTS = FRAMING | {b"te", b"trailer", b"upgrade"}
_JUDGED_IN_RESPONSES = frozenset({b"content-length", b"transfer-encoding", b"connection", b"upgrade"})
_DROPPED_FROM_REQUESTS = HOP_BY_HOP | CLAIMS


def judge_request(method: bytes, target: bytes, version: bytes, fields: Headers) -> RequestHead:
    """The request that these parts are.

    Args:
        version: as h11 gives it, b"1.1"; b"2" for what `pseudo.py` has translated.
        fields: values without surrounding whitespace.
    Raises: ProtocolViolation with the reason and the byte rule that was broken.
    """
    try:
        if _TOKEN.fullmatch(method) is None:
            raise ValueError(f"the method is no token: {method[:40]!r}")
        _check_fields(_REQUEST_NAME, fields)
    except ValueError as exc:
        raise ProtocolViolation(Reason.BAD_HEAD, str(exc)) from None
    return decide_request(method, target, version, fields)


def decide_request(method: bytes, target: bytes, version: bytes, fields: Headers) -> RequestHead:
    """`judge_request` for a reader whose pattern has proved the grammar of method and fields already."""
    if version not in (b"1.1", b"1.0", b"2"):
        raise ProtocolViolation(Reason.VERSION, f"the version is {version.decode('latin-1')[:10]}, neither 1.1 nor 1.0")
    if len(fields) > MAX_FIELDS:
        raise ProtocolViolation(Reason.HEAD_TOO_LARGE, f"{len(fields)} header fields; {MAX_FIELDS} are allowed")
    if method.upper() in (b"CONNECT", b"TRACE"):
        raise ProtocolViolation(Reason.METHOD, f"the method is {method.decode()}")

    kept, special = _sort(fields, _JUDGED_IN_REQUESTS, _DROPPED_FROM_REQUESTS, DROPPED_PREFIXES)
    lengths, codings = special.get(b"content-length"), special.get(b"transfer-encoding")
    body = NO_BODY
    if lengths or codings:
        try:
            length = _message_length(version, lengths, codings)
        except ValueError as exc:
            raise ProtocolViolation(Reason.BAD_FRAMING, str(exc)) from None
        body = Body(BodyKind.CHUNKED) if length is None else _of_length(length)
    host, port, target = _decide_target(method, target, special.get(b"host"))
    is_last = version == b"1.0"
    takes_trailers, upgrade = False, b""
    if b"te" in special:
        takes_trailers = b"trailers" in _options(special[b"te"])
        if takes_trailers and b"trailer" in special:    # some servers take no trailer that was not announced
            kept.append((b"trailer", b", ".join(special[b"trailer"])))
    if b"connection" in special:
        try:
            kept, says_close = _obey_connection(special[b"connection"], kept)
        except ValueError as exc:
            raise ProtocolViolation(Reason.BAD_HEAD, str(exc)) from None
        is_last = is_last or says_close
    expects_continue = False
    if b"expect" in special:
        said = b", ".join(special[b"expect"])
        if said != b"100-continue":
            raise ProtocolViolation(Reason.EXPECTATION, f"Expect is {said[:80]!r}, not exactly 100-continue")
        # > A server that receives a 100-continue expectation in an HTTP/1.0 request MUST ignore it (RFC 9110 s10.1.1);
        # and who has no body does not wait.
        expects_continue = version != b"1.0" and body is not NO_BODY
    if b"upgrade" in special and b"connection" in special and version == b"1.1" and method == b"GET" and body is NO_BODY:
        # One protocol, named by the connection's own option; any other wish is dropped, as RFC 9110 s7.8 lets us.
        named = special[b"upgrade"]
        if len(named) == 1 and _TOKEN.fullmatch(named[0]) is not None and b"upgrade" in _options(special[b"connection"]):
            upgrade = named[0].lower()
    return RequestHead(
        method, target, host, port, kept, body, is_last, expects_continue, version == b"1.0", takes_trailers, upgrade,
        version == b"2",
    )


def judge_response(
    status: int, phrase: bytes, version: bytes, fields: Headers, request_method: bytes, upgrade: bytes = b""
) -> ResponseHead:
    """The response that these parts are, to a request with `request_method` and perhaps `upgrade`. Raises: BadResponse."""
    try:
        if _TEXT.fullmatch(phrase) is None:
            raise ValueError("control byte in the reason phrase")
        _check_fields(_TOKEN, fields)
    except ValueError as exc:
        raise BadResponse(str(exc)) from None
    return decide_response(status, phrase, version, fields, request_method, upgrade)


def decide_response(
    status: int, phrase: bytes, version: bytes, fields: Headers, request_method: bytes, upgrade: bytes = b""
) -> ResponseHead:
    """`judge_response` for a reader whose pattern has proved the grammar already."""
    if version not in (b"1.1", b"1.0"):
        raise BadResponse(f"the version is {version.decode('latin-1')[:10]}, neither 1.1 nor 1.0")
    if not 100 <= status <= 599:
        raise BadResponse(f"status {status} is outside 100..599")
    if len(fields) > MAX_FIELDS:
        raise BadResponse(f"{len(fields)} header fields; {MAX_FIELDS} are allowed")

    # `x-bartizan-*` goes on: whether this server may say it, `proxy/attempt.py` knows.
    kept, special = _sort(fields, _JUDGED_IN_RESPONSES, HOP_BY_HOP, OTHER_MESHES)
    lengths, codings = special.get(b"content-length"), special.get(b"transfer-encoding")
    if status == 101:
        _check_upgrade(upgrade, special)
    try:
        length = _message_length(version, lengths, codings) if lengths or codings else None
        says_close = False
        if b"connection" in special:
            kept, says_close = _obey_connection(special[b"connection"], kept)
    except ValueError as exc:
        raise BadResponse(str(exc)) from None

    if status < 200 or status == 204:
        # > A server MUST NOT send a Content-Length header field in any response with a status code of 1xx or 204 (RFC 9110 s8.6).
        # Many send 0, which says nothing new; more than that, and the next response would begin with a body.
        if codings or length:
            raise BadResponse(f"a body is announced with status {status}, which has none")
        body, length = NO_BODY, None
    elif status == 304 or request_method == b"HEAD":
        body = NO_BODY
    elif codings:
        body = Body(BodyKind.CHUNKED)
    elif length is not None:
        body = _of_length(length)
    else:
        body = Body(BodyKind.UNTIL_CLOSE)
    is_last = says_close or version == b"1.0" or body.kind is BodyKind.UNTIL_CLOSE
    may_hold_ours = any(field[0][:len(OURS)].lower() == OURS for field in kept)
    return ResponseHead(status, phrase, kept, body, length, is_last, may_hold_ours)


def _check_upgrade(upgrade: bytes, special: dict[bytes, list[bytes]]) -> None:
    """> A server MUST NOT switch to a protocol that was not indicated by the client (RFC 9110 s7.8)."""
    if not upgrade:
        raise BadResponse("101 though no upgrade was asked for")
    if [value.lower() for value in special.get(b"upgrade", ())] != [upgrade] or b"upgrade" not in _options(
        special.get(b"connection", [])
    ):
        raise BadResponse(f"101 to another protocol than {upgrade.decode()}")


def _options(values: list[bytes]) -> set[bytes]:
    """The members of a list field, lower case, without parameters."""
    return {part.partition(b";")[0].strip(b" \t").lower() for part in b",".join(values).split(b",")}


def _check_fields(name_rule: re.Pattern[bytes], fields: Headers) -> None:
    for name, value in fields:
        if name_rule.fullmatch(name) is None:
            raise ValueError(f"field name {name[:40]!r} " + ("holds an underscore" if _TOKEN.fullmatch(name) else "is no token"))
        if _TEXT.fullmatch(value) is None:
            raise ValueError(f"control byte in the value of field {name[:40]!r}")


def _sort(
    fields: Headers, judged: frozenset[bytes], dropped: frozenset[bytes], dropped_prefixes: tuple[bytes, ...]
) -> tuple[Headers, dict[bytes, list[bytes]]]:
    """The fields that go on, and the values of those that are judged, by name in lower case."""
    kept: Headers = []
    special: dict[bytes, list[bytes]] = {}
    for field in fields:
        name = field[0].lower()
        if name in judged:
            special.setdefault(name, []).append(field[1])
        elif name not in dropped and not name.startswith(dropped_prefixes):
            kept.append(field)
    return kept, special


def _message_length(version: bytes, lengths: list[bytes] | None, codings: list[bytes] | None) -> int | None:
    """The body's length, None if it is chunked. One of the two fields is there.

    > A server MAY reject a request that contains both Content-Length and Transfer-Encoding (RFC 9112 s6.1). We do, both ways.
    > identical repeated Content-Length values may be replaced by one (RFC 9110 s8.6). We are stricter: one field, one number.
    """
    if codings:
        if lengths:
            raise ValueError("Content-Length and Transfer-Encoding together")
        if len(codings) != 1 or codings[0].lower() != b"chunked":
            raise ValueError(f"Transfer-Encoding is {b', '.join(codings)[:80]!r}, not exactly chunked")
        if version == b"1.0":
            raise ValueError("Transfer-Encoding in HTTP/1.0")
        return None
    assert lengths
    if len(lengths) != 1:
        raise ValueError(f"{len(lengths)} Content-Length fields")
    if _LENGTH.fullmatch(lengths[0]) is None:
        raise ValueError(f"Content-Length is {lengths[0][:40]!r}, not 1 to 18 digits")
    return int(lengths[0])


def _of_length(length: int) -> Body:
    return Body(BodyKind.LENGTH, length) if length else NO_BODY


def _decide_target(method: bytes, target: bytes, hosts: list[bytes] | None) -> tuple[bytes, int | None, bytes]:
    """(host, port, target in origin form or `*`)"""
    if hosts is None or len(hosts) != 1:
        raise ProtocolViolation(Reason.BAD_HOST, f"{len(hosts or ()) or 'no'} Host fields; one is needed")
    value = hosts[0]
    try:
        host, port = parse_authority(value)
    except ValueError as exc:
        raise ProtocolViolation(Reason.BAD_HOST, str(exc)) from None
    _check_length(target)
    if not target.startswith(b"/") and (absolute := _ABSOLUTE.fullmatch(target)) is not None:
        try:
            named, named_port = parse_authority(absolute[1])
        except ValueError as exc:
            raise ProtocolViolation(Reason.BAD_HOST, f"in the target: {exc}") from None
        if (named, named_port or 80) != (host, port or 80):
            raise ProtocolViolation(Reason.BAD_HOST, f"the target names {absolute[1][:80]!r}, Host says {value[:80]!r}")
        target = absolute[2]
        if not target.startswith(b"/"):
            # > An OPTIONS request without path and query becomes `*` (RFC 9112 s3.2.4).
            target = b"*" if method == b"OPTIONS" and not target else b"/" + target
    if target == b"*":
        if method != b"OPTIONS":
            raise ProtocolViolation(Reason.BAD_TARGET, "the target * is for OPTIONS only")
        return host, port, target
    return host, port, _judge_target(target)


def with_target(head: RequestHead, target: bytes) -> RequestHead:
    """The request that differs from `head`, whose target is in origin form too, in its `target` alone. Raises: ProtocolViolation."""
    _check_length(target)
    return replace(head, target=_judge_target(target), headers=head.headers[:])


def _check_length(target: bytes) -> None:
    if len(target) > MAX_TARGET_BYTES:
        raise ProtocolViolation(Reason.TARGET_TOO_LONG, f"the target has {len(target)} bytes; {MAX_TARGET_BYTES} are allowed")


def _judge_target(target: bytes) -> bytes:
    try:
        return judge_target(target)
    except ValueError as exc:
        raise ProtocolViolation(Reason.BAD_TARGET, str(exc)) from None


def _obey_connection(values: list[bytes], kept: Headers) -> tuple[Headers, bool]:
    """`kept` without the fields that Connection nominates, and whether it says close."""
    options = {option for option in (part.strip(b" \t").lower() for part in b",".join(values).split(b",")) if option}
    for option in options:
        if _TOKEN.fullmatch(option) is None:
            raise ValueError(f"Connection holds {option[:40]!r}, which is no token")
        if option in _NOT_NOMINABLE or option.startswith(DROPPED_PREFIXES):
            raise ValueError(f"Connection nominates {option.decode()[:80]}, which is no hop-by-hop field")
    if not options <= _HARMLESS_OPTIONS:
        kept = [field for field in kept if field[0].lower() not in options]
    return kept, b"close" in options


_HARMLESS_OPTIONS = HOP_BY_HOP | {b"close"}  # these name no field that could still be in `kept`
