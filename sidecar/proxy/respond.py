"""Our own answers: the one table from reason to status, and the response that explains itself.

A refusal says its code, its token and the nearest rule in headers, and cause and cure in the body, because the person who meets
it is seldom the one who wrote the rule.
"""

from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote

from sidecar.model.message import NO_BODY, Body, BodyKind, Headers, ResponseHead
from sidecar.model.reason import Reason
from sidecar.protocol import render

# grpc-message is percent-encoded but for printable ASCII without the percent sign.
_GRPC_SAFE = " !\"#$&'()*+,/:;<=>?@[\\]^`{|}~"


class Row(NamedTuple):
    """
    Args:
        grpc: status code for gRPC callers (grpc.io "Status codes and their use").
        closes: the connection cannot go on, since its framing or its peer is in doubt.
    """

    status: int
    grpc: int
    closes: bool


TABLE: dict[Reason, Row] = {
    Reason.NO_ROUTE: Row(403, 7, False),
    Reason.NOT_ALLOWED: Row(403, 7, False),
    Reason.PLAINTEXT: Row(403, 7, True),
    Reason.PERMISSIVE_ENDED: Row(403, 7, True),
    Reason.OWN_PORT: Row(403, 7, True),
    Reason.RATE_LIMITED: Row(429, 8, False),
    Reason.TOO_MANY_REQUESTS: Row(503, 14, False),
    Reason.BODY_TOO_LARGE: Row(413, 8, True),
    Reason.TOKEN_REFUSED: Row(401, 16, False),
    Reason.CALLER_DENIED: Row(403, 7, False),
    Reason.FAULT_INJECTED: Row(503, 14, False),     # the rule says which status
    Reason.NETWORK_POLICY_IN: Row(403, 7, False),
    Reason.NO_EDGE_ROUTE: Row(404, 12, False),
    Reason.NOT_AUTHENTICATED: Row(401, 16, False),
    Reason.REFUSED_BY_AUTHORIZER: Row(403, 7, False),       # the authorizer says which status
    Reason.AUTHORIZER_UNREACHED: Row(503, 14, False),
    Reason.ACCESS_UNUSABLE: Row(503, 14, False),
    Reason.HOST_NOT_APPROVED: Row(403, 7, False),
    Reason.ADDRESS_NOT_APPROVED: Row(403, 7, True),
    Reason.CLIENT_CERTIFICATE_MISSING: Row(503, 14, False),
    Reason.SPECIAL_ADDRESS: Row(403, 7, False),
    Reason.ROOTS_UNUSABLE: Row(503, 14, False),
    Reason.SERVER_NOT_VERIFIED: Row(503, 14, False),
    Reason.REDIRECT_LOST: Row(503, 14, True),
    Reason.MISDIRECTED: Row(421, 7, True),
    Reason.BUDGET_EXHAUSTED: Row(429, 8, False),
    Reason.REQUEST_NOT_APPROVED: Row(403, 7, False),
    Reason.NAME_NOT_APPROVED: Row(403, 7, False),       # said in the words of DNS
    Reason.NAME_SUSPICIOUS: Row(403, 7, False),
    Reason.START_TLS_REFUSED: Row(503, 14, True),
    Reason.ENTRY_UNREADABLE: Row(503, 14, False),
    Reason.GATEWAY_UNREACHED: Row(503, 14, False),
    Reason.NETWORK_POLICY_OUT: Row(403, 7, False),
    Reason.BAD_HEAD: Row(400, 13, True),
    Reason.BAD_FRAMING: Row(400, 13, True),
    Reason.BAD_HOST: Row(400, 13, True),
    Reason.BAD_TARGET: Row(400, 13, True),
    Reason.METHOD: Row(405, 12, True),
    Reason.HEAD_TOO_LARGE: Row(431, 8, True),
    Reason.VERSION: Row(505, 12, True),
    Reason.EXPECTATION: Row(417, 13, True),
    Reason.TARGET_TOO_LONG: Row(414, 8, True),
    Reason.NOT_HTTP: Row(400, 13, True),
    Reason.TIMED_OUT_DOWNSTREAM: Row(408, 4, True),
    Reason.HTTP2_VIOLATION: Row(400, 13, True),
    Reason.HTTP2_FLOOD: Row(429, 8, True),
    Reason.CONNECT_FAILED: Row(503, 14, False),
    Reason.TIMED_OUT: Row(504, 4, True),
    Reason.RESET: Row(502, 14, False),
    Reason.NO_ENDPOINT: Row(503, 14, False),
    Reason.BAD_RESPONSE: Row(502, 14, False),
    Reason.NAME_NOT_RESOLVED: Row(503, 14, False),
    Reason.CIRCUIT_OPEN: Row(503, 14, False),
    Reason.PEER_NOT_VERIFIED: Row(403, 16, True),
    Reason.WRONG_IDENTITY: Row(503, 14, False),
    Reason.NO_IDENTITY: Row(503, 14, False),
    Reason.REVOKED: Row(403, 7, True),
    Reason.CERTIFICATE_UNUSABLE: Row(503, 14, True),
    Reason.CLIENT_TLS: Row(403, 16, True),
    Reason.NO_SNAPSHOT: Row(503, 14, False),
    Reason.NOT_TOLD: Row(503, 14, False),
}


def explanation(
    reason: Reason, rule: str, detail: str, *, is_grpc: bool = False, status: int | None = None, challenges: tuple[str, ...] = ()
) -> tuple[ResponseHead, bytes]:
    """The response that explains a refusal: head and body.

    Args:
        rule: the nearest rule, if any.
        detail: what to add to the reason's own words; shown to the caller, so nothing secret.
        is_grpc: say it as a gRPC status, in a head that is all there is (grpc.io "gRPC over HTTP2", Trailers-Only).
        status: instead of the table's.
        challenges: of a 401; none are said by whoever takes bearer tokens only.
    """
    row = TABLE[reason]
    headers: Headers = [(b"x-bartizan-reason", f"{reason.code} {reason.token}".encode())]
    if row.status == 401:       # RFC 9110 s15.5.2 demands one
        headers += [(b"www-authenticate", challenge.encode()) for challenge in challenges or ("Bearer",)]
    if rule:
        headers.append((b"x-bartizan-rule", rule.encode("unicode_escape")))
    if is_grpc:
        told = quote(f"{reason.code} {reason.token}: {detail or reason.cause}", safe=_GRPC_SAFE)
        headers += [
            (b"content-type", b"application/grpc"), (b"grpc-status", b"%d" % row.grpc), (b"grpc-message", told.encode()),
        ]
        return ResponseHead(200, b"OK", headers, NO_BODY, None, False), b""
    lines = [f"{reason.code} {reason.token}: {reason.cause}"]
    if detail:
        lines.append(detail)
    if rule:
        lines.append(f"rule: {rule}")
    lines.append(reason.cure)
    text = ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")
    headers.insert(0, (b"content-type", b"text/plain; charset=utf-8"))
    status = status or row.status
    return ResponseHead(status, phrase(status), headers, Body(BodyKind.LENGTH, len(text)), len(text), False), text


def phrase(status: int) -> bytes:
    """The reason phrase of HTTP/1.1; empty for a status without one."""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


def explain(reason: Reason, rule: str, detail: str) -> bytes:
    """The bytes of the last response on a connection, HTTP/1.1, where there is no exchange to answer."""
    head, text = explanation(reason, rule, detail)
    return render.render_response(head, [], close=True, chunk_until_close=False) + text


def explain_http2(reason: Reason) -> bytes:
    """The bytes by which a connection of HTTP/2 is refused for what it lacks: GOAWAY has room for a few words."""
    # 2 MB that a pod without HTTP/2 does without
    from sidecar.protocol.http2.engine import Engine
    from sidecar.protocol.http2.frames import Code

    engine = Engine(is_server=True)
    engine.goaway(Code.INADEQUATE_SECURITY, f"{reason.code} {reason.token}; see: bartizan explain {reason.code}")
    return engine.take_output()
