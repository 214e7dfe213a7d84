"""Which fields behind a body go on: none by which a hop could be misled about framing, routing, credentials or the caller.

> A sender MUST NOT generate a trailer field unless it knows that the field's definition permits it (RFC 9110 s6.5.1).
We cannot know them all, so the classes that the section names are dropped, and everything that would speak of the caller.

Trust: what comes in is well-formed fields of a stranger. They are never merged into the head. Attacked by
tests/protocol/test_trailers.py. Who does not say `TE: trailers` gets none (`proxy/attempt.py`).
"""

from sidecar.model.fields import CLAIMS, DROPPED_PREFIXES
from sidecar.model.message import Headers

_FORBIDDEN = CLAIMS | {
    # framing, routing
    b"transfer-encoding", b"content-length", b"host", b"connection", b"keep-alive", b"upgrade", b"te", b"trailer", b"http2-settings",
    b"proxy-connection", b"via", b"max-forwards", b"expect",
    # content
    b"content-encoding", b"content-type", b"content-range", b"content-location", b"content-language", b"content-disposition",
    # credentials
    b"authorization", b"proxy-authorization", b"proxy-authenticate", b"www-authenticate", b"authentication-info",
    b"proxy-authentication-info", b"cookie", b"set-cookie",
    # control of request and response
    b"cache-control", b"pragma", b"range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range",
    b"age", b"date", b"expires", b"location", b"retry-after", b"vary", b"warning", b"origin", b"referer", b"accept-encoding",
    b"strict-transport-security", b"x-request-id", b"traceparent", b"tracestate",
}


def allowed_trailers(fields: Headers) -> Headers:
    """Those of `fields` that may go on."""
    return [field for field in fields if _is_allowed(field[0].lower())]


def _is_allowed(name: bytes) -> bool:
    return name not in _FORBIDDEN and not name.startswith((b":", *DROPPED_PREFIXES)) and b"_" not in name
