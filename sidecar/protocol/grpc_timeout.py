"""The deadline that a gRPC caller gives to its call.

It makes us wait longer than we would without. So it counts in HTTP/2 only (gRPC knows no other), where a caller that is gone is seen
while we wait: else a few calls without end would hold the places of a route for ever.
Spec: grpc.io "gRPC over HTTP2", Requests: `grpc-timeout: TimeoutValue TimeoutUnit`.
"""

import re

from sidecar.model.message import RequestHead

_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
MOST_S = 3600.0     # as long as a tunnel may rest: one whose end nobody heard is over some time
_UNIT_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def grpc_timeout_s(request: RequestHead) -> float | None:
    """At most MOST_S; None: it is no gRPC, or has no end. What is no timeout, or is said twice, is for the application to judge."""
    said = [value for name, value in request.headers if name.lower() == b"grpc-timeout"]
    found = _TIMEOUT.fullmatch(said[0]) if len(said) == 1 else None
    if found is None or not (request.is_http2 and request.is_grpc):
        return None
    return min(int(found[1]) * _UNIT_S[found[2]], MOST_S)
