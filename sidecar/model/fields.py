"""Header fields that have an owner: the connection, the framing, or the sidecar, which alone says who calls.

`protocol/framing.py` takes them out of what arrives; no rule may match or edit them. Names in lower case.
"""

# RFC 9110 s7.6.1, and the older names that still are on the way.
HOP_BY_HOP = frozenset({
    b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", b"http2-settings",
    b"proxy-authenticate", b"proxy-authorization",
})
FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"})
# By these an application believes who calls and from where, or that something else was asked for than what was judged. A client's
# word is no evidence of the first, and of the second it would pass by the rules: so they are gone before we say ours. What one
# application tells another of its users (Remote-User, X-Auth-Request-*) is theirs and goes on.
CLAIMS = frozenset({
    # the connection's other end, and its certificate: RFC 7239, RFC 9440, then proxies and clouds
    b"forwarded", b"client-cert", b"client-cert-chain", b"x-real-ip", b"client-ip", b"x-client-ip", b"x-cluster-client-ip",
    b"true-client-ip", b"cf-connecting-ip", b"cf-connecting-ipv6", b"cf-pseudo-ipv4", b"fastly-client-ip", b"fly-client-ip",
    b"x-azure-clientip", b"x-azure-socketip", b"x-appengine-user-ip", b"x-remote-ip", b"x-remote-addr", b"x-originating-ip",
    b"x-proxyuser-ip", b"proxy-client-ip", b"forwarded-for", b"x-forwarded", b"x-arr-clientcert",
    # how it spoke
    b"x-scheme", b"x-url-scheme", b"front-end-https",
    # another URL, host or method: frameworks that obey them would serve what no rule has seen
    b"x-rewrite-url", b"x-host", b"x-http-host-override", b"x-http-method", b"x-http-method-override", b"x-method-override",
    b"x-sendfile-type", b"x-accel-mapping",     # a proxy tells Rack by them which files it may have sent (CVE-2025-61780)
    b"proxy",   # CGI and its heirs take it for HTTP_PROXY (CVE-2016-5385)
})
OURS = b"x-bartizan-"
OTHER_MESHES = (b"x-envoy-", b"l5d-", b"x-istio-")
DROPPED_PREFIXES = (
    OURS, b"x-forwarded-", *OTHER_MESHES,
    b"x-original-",                                             # -url, -uri, -host, -method, -for: as above
    # certificates that somebody else is said to have verified
    b"x-client-cert", b"x-ssl-", b"ssl-client-", b"x-tls-client-", b"x-amzn-mtls-", b"wl-proxy-",
    # an edge's login; no such edge stands before a sidecar
    b"x-amzn-oidc-", b"x-goog-authenticated-user-", b"x-goog-iap-", b"x-ms-client-principal", b"cf-access-",
    b"x-apigateway-api-userinfo", b"x-endpoint-api-userinfo",
)
# What an ingress gateway says of the client that it speaks for: `protocol/client_word.py`.
CLIENT_WORD = b"bartizan-client"
# The ID of a request, the trace that it belongs to, and that word: as `proxy/headers.py` says them.
CONTEXT = frozenset({b"x-request-id", b"traceparent", b"tracestate", CLIENT_WORD})


def has_owner(name: str) -> bool:
    """Whether rules must leave the field `name` (any case) alone. So they must one with an underscore, which no request can bring."""
    field = name.lower().encode()
    return (
        field in HOP_BY_HOP or field in FRAMING or field in CLAIMS or field in CONTEXT
        or field.startswith(DROPPED_PREFIXES) or b"_" in field
    )
