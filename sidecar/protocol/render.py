"""Judged heads back to bytes: the only place where a head that we send on is written.

Framing is said anew from `body`, never copied, so that what the next hop reads is what we decided.
Trust: what comes in was judged by `framing.py` or is our own; that no value can break a line is asserted, not hoped.
Spec: RFC 9112 s3 to s6.
"""

from sidecar.model.message import CHUNKED, NONE, UNTIL_CLOSE, Body, Headers, RequestHead, ResponseHead

# > A user agent SHOULD send Content-Length in a request when the method defines a meaning for enclosed content (RFC 9110 s8.6).
# Servers answer 411 to these otherwise.
_EXPECTED_TO_HAVE_CONTENT = frozenset({b"POST", b"PUT", b"PATCH"})

_line = b": ".join      # of a name and a value


def render_request(head: RequestHead, host: bytes, extra: Headers) -> bytes:
    """The request head as HTTP/1.1.

    Args:
        host: what Host says, with the port if it needs one.
        extra: fields of our own, after the client's.

    `te` and `upgrade` are hop-by-hop: said anew where the request's value has them.
    """
    lines = [b"%b %b HTTP/1.1" % (head.method, head.target), b"host: " + host, *map(_line, head.headers), *map(_line, extra)]
    if head.body.kind is not NONE:
        lines.append(_framing(head.body))
    elif head.method in _EXPECTED_TO_HAVE_CONTENT:
        lines.append(b"content-length: 0")
    if head.expects_continue:
        lines.append(b"expect: 100-continue")
    if head.upgrade:
        lines += [b"upgrade: " + head.upgrade, b"connection: upgrade"]
    elif head.takes_trailers:
        lines += [b"te: trailers", b"connection: te"]
    return _joined(lines)


def render_response(
    head: ResponseHead, extra: Headers, *, close: bool, chunk_until_close: bool, upgrade: bytes = b""
) -> bytes:
    """The response head as HTTP/1.1.

    Args:
        extra: fields of our own, after the server's.
        close: say that this is the last response on the connection.
        chunk_until_close: announce a body that ends with the upstream's connection as chunked (the client speaks HTTP/1.1).
        upgrade: the protocol that a 101 changes to.
    """
    kind = head.body.kind
    lines = [b"HTTP/1.1 %d %b" % (head.status, head.phrase), *map(_line, head.headers), *map(_line, extra)]
    if kind is UNTIL_CLOSE:
        assert chunk_until_close or close, "a body that ends with the connection needs the connection to end"
        if chunk_until_close:
            lines.append(b"transfer-encoding: chunked")
    elif kind is not NONE:
        lines.append(_framing(head.body))
    elif head.content_length is not None:
        lines.append(b"content-length: %d" % head.content_length)
    if upgrade:
        lines += [b"upgrade: " + upgrade, b"connection: upgrade"]
    elif close:
        lines.append(b"connection: close")
    return _joined(lines)


def _framing(body: Body) -> bytes:
    return b"transfer-encoding: chunked" if body.kind is CHUNKED else b"content-length: %d" % body.length


def _joined(lines: list[bytes]) -> bytes:
    text = b"\r\n".join(lines)
    # What ends the lines is all there is of these bytes.
    assert len(text) - len(text.translate(None, b"\r\n\0")) == 2 * (len(lines) - 1), "a field value breaks its line"
    return text + b"\r\n\r\n"
