"""What a consistent hash is taken of: a header field, a cookie, or a parameter of the query.

The client chooses it, so it decides about nothing but which endpoint is asked. Pure.
Spec: RFC 6265 s5.4 (cookies); parameters are taken as they stand, undecoded.
"""

from sidecar.model.message import RequestHead
from sidecar.model.service import HashOn


def hash_key(on: HashOn, request: RequestHead) -> bytes | None:
    """None where the request does not have it. Of several values the first counts; fields of one name are one list."""
    if on.header is not None:
        return _field(request, on.header.lower().encode(), b", ")
    if on.cookie is not None:
        pairs = (_field(request, b"cookie", b"; ") or b"").split(b";")
        return _value(pairs, on.cookie.encode())
    if on.query is not None:
        return _value(request.target.partition(b"?")[2].split(b"&"), on.query.encode())
    return None


def _field(request: RequestHead, wanted: bytes, between: bytes) -> bytes | None:
    found = [value for name, value in request.headers if name.lower() == wanted]
    return between.join(found) if found else None


def _value(pairs: list[bytes], wanted: bytes) -> bytes | None:
    for pair in pairs:
        name, equals, value = pair.strip(b" \t").partition(b"=")
        if name == wanted and equals:
            return value
    return None
