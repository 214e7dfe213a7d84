"""What a forwarded request says of its caller: written by us alone, after the caller's own fields of these names are gone
(`protocol/framing.py` drops them).
"""

import os

from sidecar.model.call import Peer
from sidecar.model.message import Headers, RequestHead

from .runtime import Runtime


def identity_headers(runtime: Runtime, peer: Peer | None, tls: str) -> Headers:
    """What the application is told of its caller. The caller's own headers of these names are gone (`protocol/framing.py`)."""
    if peer is None:
        return [(b"x-forwarded-proto", b"http")]
    rules = runtime.rules.current
    us = rules.snapshot.workload.identity if rules else ""
    return [
        (b"x-forwarded-client-cert", f"By={us};Hash={peer.fingerprint};URI={peer.identity}".encode()),
        (b"x-forwarded-proto", b"https"),
        (b"x-bartizan-tls", tls.encode() or b"none, in-process"),
    ]


def request_id(request: RequestHead, *, is_trusted: bool) -> str:
    """The caller's request ID if a sidecar vouches for it and it is plain, else a new one; taken out of the headers either way."""
    given = [value for name, value in request.headers if name.lower() == b"x-request-id"]
    request.headers[:] = [field for field in request.headers if field[0].lower() != b"x-request-id"]
    if is_trusted and len(given) == 1 and len(given[0]) <= 64 and given[0].replace(b"-", b"").isalnum():
        return given[0].decode("ascii")
    return os.urandom(16).hex()
