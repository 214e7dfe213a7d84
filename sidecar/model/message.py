"""HTTP heads as values: what `protocol/` reads and writes and what the recipes pass along.

Names and values are bytes as received (RFC 9110 s5.5 lets values hold bytes above 0x7f); names keep their case, compare them
through `lower()`. Whoever holds a head may rely on `protocol/framing.py` having judged it.
"""

from enum import Enum

import msgspec

Headers = list[tuple[bytes, bytes]]


class BodyKind(Enum):
    NONE = "none"
    LENGTH = "length"       # exactly `length` bytes
    CHUNKED = "chunked"     # ends by itself: chunked in HTTP/1.1, END_STREAM in HTTP/2
    UNTIL_CLOSE = "close"   # responses only


# By name alone: a look-up in the enumeration takes 0.2 us, and an exchange would need twenty.
NONE, LENGTH, CHUNKED, UNTIL_CLOSE = BodyKind


class Body(msgspec.Struct, frozen=True, gc=False):
    """How the bytes after a head are delimited. `length` counts for LENGTH only (and is > 0 there)."""

    kind: BodyKind
    length: int = 0


NO_BODY = Body(BodyKind.NONE)


class RequestHead(msgspec.Struct, frozen=True, gc=False):
    """A judged request head.

    Args:
        method: a token, as received (methods are case-sensitive).
        target: origin-form path with query, or `*` for OPTIONS; exactly the bytes that are forwarded and that policy judged.
        host: the one authority, lower case, without port, without trailing dot: the same value feeds policy, SNI and log.
        port: the port in Host, or None.
        headers: end-to-end fields only: hop-by-hop, framing, Host and identity-bearing fields are gone; order kept.
        is_last: the client will send no further request on this connection.
        expects_continue: the client waits for 100 before it sends the body.
        is_http10: it can be told neither chunks nor interim responses.
        takes_trailers: `TE: trailers` was said.
        is_http2: it came by HTTP/2.
        upgrade: the one protocol that the client asks to change to, lower case; empty: none.
    """

    method: bytes
    target: bytes
    host: bytes
    port: int | None
    headers: Headers
    body: Body
    is_last: bool
    expects_continue: bool = False
    is_http10: bool = False
    takes_trailers: bool = False
    upgrade: bytes = b""
    is_http2: bool = False

    @property
    def is_grpc(self) -> bool:
        """Refusals are told to it as a gRPC status."""
        return any(
            name.lower() == b"content-type" and value[:16].lower() == b"application/grpc" for name, value in self.headers
        )

    @property
    def path(self) -> bytes:
        return self.target.partition(b"?")[0]


class ResponseHead(msgspec.Struct, frozen=True, gc=False):
    """A judged response head.

    Args:
        status: 100..599.
        headers: end-to-end fields only, as for requests; Content-Length stays out too, `body` says it.
        content_length: what Content-Length said, also where no body follows (HEAD, 304), else None.
        is_last: the server will answer no further request on this connection.
        may_hold_ours: a field may be one that only sidecars may say (`x-bartizan-*`); whether the server is one, is to be asked then.
    """

    status: int
    phrase: bytes
    headers: Headers
    body: Body
    content_length: int | None
    is_last: bool
    may_hold_ours: bool = True
