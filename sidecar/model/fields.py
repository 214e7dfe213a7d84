"""Header fields that have an owner: the connection, the framing, or the sidecar, which alone says who calls.

`protocol/framing.py` takes them out of what arrives; no rule may match or edit them. Names in lower case.
"""

# RFC 9110 s7.6.1, and the older names that still are on the way.
HOP_BY_HOP = frozenset({
    b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", b"http2-settings",
    b"proxy-authenticate", b"proxy-authorization",
})
FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"})
# By these an application believes who calls, and from where: whatever a client says there is a lie until we say it.
IDENTITY = frozenset({
    b"forwarded", b"x-real-ip", b"client-cert", b"client-cert-chain",   # the last two: RFC 9440
})
OTHER_MESHES = (b"x-envoy-", b"l5d-")
DROPPED_PREFIXES = (b"x-bartizan-", b"x-forwarded-", *OTHER_MESHES)
REQUEST_ID = b"x-request-id"    # a new one, unless a sidecar vouches for it


def has_owner(name: str) -> bool:
    """Whether rules must leave the field `name` (any case) alone. So they must one with an underscore, which no request can bring."""
    field = name.lower().encode()
    return (
        field in HOP_BY_HOP or field in FRAMING or field in IDENTITY or field == REQUEST_ID
        or field.startswith(DROPPED_PREFIXES) or b"_" in field
    )
