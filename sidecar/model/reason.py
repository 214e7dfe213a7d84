"""Why something was refused or failed: one stable code for each reason, with the cause and the cure that a person needs.

A reason is a value, not an exception. It appears in the response (`x-bartizan-reason`), in the access log and in the metric,
and `bartizan explain CODE` prints the texts below. Codes never change their meaning and are never used again.

    BZ01xx  what enters a pod         BZ04xx  the other side of a forwarded request
    BZ02xx  what leaves a pod         BZ05xx  certificates and identities
    BZ03xx  malformed HTTP            BZ06xx  our own state
"""

from enum import Enum


class Reason(Enum):
    """One reason. `code` is what machines read, `token` what people read, `cause` and `cure` what `explain` prints."""

    def __init__(self, code: str, token: str, cause: str, cure: str) -> None:
        self.code = code
        self.token = token
        self.cause = cause
        self.cure = cure

    @property
    def is_failure(self) -> bool:
        """Whether nobody decided it: the other side failed, or the way there."""
        return self.code.startswith("BZ04") or self is Reason.TIMED_OUT_DOWNSTREAM

    # -- what enters a pod
    NO_ROUTE = (
        "BZ0101", "no-route",
        "No rule of this workload matches the port, method, path and headers of the request; what no rule allows is refused.",
        "Add a rule to the annotation bartizan.dev/routes of the destination's pod or of its workload.",
    )
    NOT_ALLOWED = (
        "BZ0102", "identity-not-allowed",
        "A rule matches the request, but its `allow` does not name the caller's identity.",
        "Add the caller's service account to `allow` of that rule, or call with the right service account.",
    )
    PLAINTEXT = (
        "BZ0103", "plaintext-refused",
        "The port accepts mesh mTLS only and the peer sent plaintext or a TLS of its own: it has no sidecar, or its sidecar was by-passed.",
        "Give the caller a sidecar, or let a MeshPolicy make this workload `permissive` until a date.",
    )
    PERMISSIVE_ENDED = (
        "BZ0104", "permissive-ended",
        "Plaintext was let through until the date in the MeshPolicy; that date is past.",
        "Give the caller a sidecar, or move the date in the MeshPolicy.",
    )
    OWN_PORT = (
        "BZ0105", "own-port",
        "The connection's original destination is one of the sidecar's own ports or no address of the pod, or it was not redirected.",
        "Call the application's port at an address in the pod's status. Nobody but the kernel's redirect connects to the sidecar's ports.",
    )
    RATE_LIMITED = (
        "BZ0106", "rate-limited",
        "The caller has used up what the rule's `rateLimit` grants, or the wrong passwords that one address may try in a minute.",
        "Call less often, or raise `rateLimit` of that rule. The limit holds in each pod of the destination for itself.",
    )
    TOO_MANY_REQUESTS = (
        "BZ0107", "concurrency-limit",
        "As many requests as the rule's `concurrency` allows are under way at this pod.",
        "Try again, run more pods, or raise `concurrency` of that rule.",
    )
    BODY_TOO_LARGE = (
        "BZ0108", "body-too-large",
        "The body of the request is larger than the rule's `maxBody`.",
        "Send less, or raise `maxBody` of that rule.",
    )
    TOKEN_REFUSED = (
        "BZ0109", "token-refused",
        "The rule demands a bearer token of a certain issuer and audience; there is none, or it is not valid.",
        "Send a current token of the issuer that `jwt` of that rule names; the detail says what was wrong with this one.",
    )
    CALLER_DENIED = (
        "BZ0110", "caller-denied",
        "The rule's `deny` names the caller, whatever `allow` says.",
        "If that is not meant, take the caller out of `deny` of that rule.",
    )
    FAULT_INJECTED = (
        "BZ0111", "fault-injected",
        "The rule's `fault` answers a share of the requests with an error, on purpose.",
        "Nothing is broken. Take `fault` out of that rule when the experiment is over.",
    )
    NETWORK_POLICY_IN = (
        "BZ0112", "network-policy",
        "NetworkPolicies isolate the pod for what enters, and none of them lists the caller at this port.",
        "List the caller's pod, namespace or address, and the port, in `ingress` of a NetworkPolicy that selects this pod.",
    )
    NO_EDGE_ROUTE = (
        "BZ0113", "no-edge-route",
        "No rule of the ingress gateway is for this port, host, path and method, and there is no default backend.",
        "Add the host and path to an Ingress or an HTTPRoute of the class `bartizan`; their status says what was not taken over, and why.",
    )
    NOT_AUTHENTICATED = (
        "BZ0115", "not-authenticated",
        "The rule at the edge asks who the client is, and the request does not say, or what it says is not right.",
        "Send one of the credentials that WWW-Authenticate names, current and once; `authentication` of the rule says which those are.",
    )
    REFUSED_BY_AUTHORIZER = (
        "BZ0116", "refused-by-authorizer",
        "The authorizer that the rule names was asked about this request and did not let it in; status and body are its own words.",
        "Ask whoever runs the authorizer (`authentication.external` of the rule) why; its log has the request under the same path.",
    )
    AUTHORIZER_UNREACHED = (
        "BZ0117", "authorizer-unreached",
        "The authorizer that the rule names gave no verdict: it was not reached, not approved, too slow or failed. Nothing was let in.",
        "Look at the detail in the access log. A host outside needs an EgressPolicy that approves it for the gateway, with TLS.",
    )
    ACCESS_UNUSABLE = (
        "BZ0118", "access-unusable",
        "What the rule at the edge verifies clients with (a Secret, the keys of an issuer) is missing or unreadable; nobody is let in.",
        "Create or correct what the detail names; the status of the Ingress or HTTPRoute says the same.",
    )
    # -- what leaves a pod
    HOST_NOT_APPROVED = (
        "BZ0201", "host-not-approved",
        "No entry of this workload's bartizan.dev/egress, approved by an EgressPolicy, names this host and port.",
        "Ask for the host in bartizan.dev/egress and have an EgressPolicy approve it for this workload.",
    )
    ADDRESS_NOT_APPROVED = (
        "BZ0202", "address-not-approved",
        "The connection names no host (no Host header, no SNI) and no approved address range covers its destination.",
        "Call the host by name, or have the address range approved (`cidr`).",
    )
    CLIENT_CERTIFICATE_MISSING = (
        "BZ0203", "client-certificate-missing",
        "The host asks for mutual TLS and the Secret with the client certificate is missing or unusable. Nothing was sent.",
        "Create the Secret (tls.crt, tls.key) in the workload's namespace.",
    )
    SPECIAL_ADDRESS = (
        "BZ0204", "special-address",
        "The approved name resolves to a loopback, link-local, private, cluster or otherwise special address only.",
        "If that is meant, let the EgressPolicy name the range in `specialAddresses`; otherwise look who answers for the name.",
    )
    ROOTS_UNUSABLE = (
        "BZ0205", "roots-unusable",
        "The CA bundle that this host is to be verified with is missing or unreadable. Nothing was sent.",
        "Put a PEM bundle into `caBundle` of the EgressPolicy, or leave it out to use the system's roots.",
    )
    SERVER_NOT_VERIFIED = (
        "BZ0206", "server-not-verified",
        "The server's certificate does not chain to the roots or is not for this host, or TLS failed. Nothing was sent.",
        "Look at the detail in the access log; correct the external server, or the CA bundle of the EgressPolicy. In the mesh: see that a "
        "sidecar of the same trust domain answers at the endpoint.",
    )
    REDIRECT_LOST = (
        "BZ0207", "redirect-lost",
        "The sidecar's own test says that a rule of the interception is gone; what leaves the pod is closed until it is back.",
        "Restart the pod. Find out who changed packet rules: nobody but the init container should hold NET_ADMIN.",
    )
    MISDIRECTED = (
        "BZ0208", "misdirected",
        "A second request on the connection names another port, or Host and the TLS name disagree, or TLS is spoken at this port.",
        "Send each host its own connection.",
    )
    BUDGET_EXHAUSTED = (
        "BZ0209", "budget-exhausted",
        "As many bytes as the approval's `bytesPerHour` allows were sent by this pod within the last hour.",
        "Wait until the hour is over, find out what was sent, or raise `bytesPerHour` in the EgressPolicy.",
    )
    REQUEST_NOT_APPROVED = (
        "BZ0210", "request-not-approved",
        "The host is approved for this workload, but not this method or this path (`methods`, `paths` of the EgressPolicy).",
        "Have the EgressPolicy list the method or the path, if the workload needs it.",
    )
    NAME_NOT_APPROVED = (
        "BZ0211", "name-not-approved",
        "The application asked for the address of a name that is neither the cluster's nor approved; it was told that there is none.",
        "Ask for the host in bartizan.dev/egress and have an EgressPolicy approve it. If nobody knows the name: find out who asks for it.",
    )
    NAME_SUSPICIOUS = (
        "BZ0212", "name-suspicious",
        "The name is below an approved wildcard, but longer or more random than names are, or new ones come too fast: a tunnel looks so.",
        "If it is none, raise the limit that the detail names, or have the names that are needed approved one by one.",
    )
    START_TLS_REFUSED = (
        "BZ0213", "start-tls-refused",
        "TLS could not be asked for in the words of `startTls`: the server does not offer it, said something else or more than it may, "
        "or one of the two ends does not speak that protocol. Nothing of the application's was sent.",
        "Switch TLS on at the server, or correct `startTls` in bartizan.dev/egress; without it TLS begins with the first byte.",
    )
    ENTRY_UNREADABLE = (
        "BZ0215", "entry-unreadable",
        "What the workload's bartizan.dev/egress says of this host cannot be read, and never could. Nothing was sent.",
        "Correct the entry: the detail says what is wrong with it, and so does `bartizan analyze`.",
    )
    GATEWAY_UNREACHED = (
        "BZ0214", "gateway-unreached",
        "The EgressPolicy lets the host be reached through its egress gateway only, and there is no way to that. Nothing was sent.",
        "See that pods of the gateway's Service are ready, have a sidecar, and that its port leads to 15008; the detail says what failed.",
    )
    NETWORK_POLICY_OUT = (
        "BZ0216", "network-policy-out",
        "NetworkPolicies isolate the pod for what leaves, and none of them lists the address and port that would be connected to.",
        "List the pod behind the Service and its own port, or the address, in `egress` of a NetworkPolicy that selects this pod.",
    )
    # -- malformed HTTP
    BAD_HEAD = (
        "BZ0301", "malformed-head",
        "The request line or a header field breaks RFC 9112: bare line feed, folding, control byte, name that is no token.",
        "Mend the client; the access log names the byte rule that was broken.",
    )
    BAD_FRAMING = (
        "BZ0302", "ambiguous-framing",
        "Content-Length and Transfer-Encoding disagree, repeat, or are not exactly what RFC 9112 allows; two hops may differ.",
        "Send one Content-Length, or Transfer-Encoding: chunked, never both.",
    )
    BAD_HOST = (
        "BZ0303", "bad-host",
        "The request has no Host, several, or one that is no plain host name with optional port.",
        "Send exactly one Host header that equals the authority of the target.",
    )
    BAD_TARGET = (
        "BZ0304", "unsafe-path",
        "The target is not a plain origin-form path: dot segment, empty segment, encoded slash, parameter, fragment or bad escape.",
        "Send the path in its normal form.",
    )
    METHOD = (
        "BZ0305", "method-refused",
        "CONNECT and TRACE are not forwarded.",
        "Use another method; a tunnel needs a port declared `opaque`.",
    )
    HEAD_TOO_LARGE = (
        "BZ0306", "head-too-large",
        "The head of the request is longer than 64 KiB or has more than 100 fields.",
        "Send fewer or shorter header fields.",
    )
    VERSION = (
        "BZ0307", "version-refused",
        "The request is not HTTP/1.1, nor HTTP/1.0 where a MeshPolicy accepts that.",
        "Speak HTTP/1.1, let a MeshPolicy say `acceptHttp10`, or declare the port `opaque` if it is not HTTP.",
    )
    EXPECTATION = (
        "BZ0308", "expectation-refused",
        "Expect holds something other than 100-continue.",
        "Leave the header out.",
    )
    TARGET_TOO_LONG = (
        "BZ0309", "target-too-long",
        "The request target is longer than 8 KiB.",
        "Send a shorter path or query.",
    )
    NOT_HTTP = (
        "BZ0310", "not-http",
        "The port's protocol is HTTP, as that of every port is unless it is declared otherwise, and the bytes are not.",
        "Declare the port in bartizan.dev/ports: `PORT: opaque`.",
    )
    TIMED_OUT_DOWNSTREAM = (
        "BZ0311", "downstream-timed-out",
        "The client did not send its request, or did not take the answer, in time.",
        "Look at the client and the network between.",
    )
    HTTP2_VIOLATION = (
        "BZ0312", "http2-violation",
        "The client broke a rule of HTTP/2: frames, streams, windows, header compression, or a message that RFC 9113 calls malformed.",
        "Mend the client; the access log names the rule that was broken.",
    )
    HTTP2_FLOOD = (
        "BZ0313", "http2-flood",
        "The client sent more HTTP/2 frames without use than any honest one does: resets, pings, settings, empty or endless frames.",
        "If it is no attack: let the client reset fewer requests, and send PING and SETTINGS seldom.",
    )
    # -- the other side
    CONNECT_FAILED = (
        "BZ0401", "connect-failed",
        "The upstream could not be connected to.",
        "See that it listens on the pod address, not on 127.0.0.1 only, and on this port.",
    )
    TIMED_OUT = (
        "BZ0402", "upstream-timed-out",
        "The upstream did not answer in time.",
        "Look at the upstream.",
    )
    RESET = (
        "BZ0403", "upstream-reset",
        "The upstream closed or reset the connection before the answer was complete.",
        "If it happens to idle connections: let the server's keep-alive time exceed 60 s.",
    )
    NO_ENDPOINT = (
        "BZ0404", "no-endpoint",
        "The Service has no ready endpoint that is a pod of the mesh.",
        "See that pods of the Service are ready and have a sidecar.",
    )
    BAD_RESPONSE = (
        "BZ0405", "bad-response",
        "The upstream's answer is not well-formed HTTP/1.1.",
        "Mend the server; the access log names what was wrong.",
    )
    NAME_NOT_RESOLVED = (
        "BZ0406", "name-not-resolved",
        "The resolvers that the mesh trusts have no address for the name.",
        "See that the name exists and that the resolvers in the MeshPolicy answer.",
    )
    CIRCUIT_OPEN = (
        "BZ0407", "circuit-open",
        "This caller has as many connections, waiting or running requests to the Service as `limits` allows; no more are begun.",
        "See why the Service is slow; add endpoints, or raise `limits` in its bartizan.dev/endpoints.",
    )
    # -- certificates and identities
    PEER_NOT_VERIFIED = (
        "BZ0501", "peer-not-verified",
        "The peer's certificate does not chain to the mesh's roots, or carries no single valid SPIFFE ID.",
        "See that both sides have current certificates of the same trust domain.",
    )
    WRONG_IDENTITY = (
        "BZ0502", "wrong-identity",
        "The endpoint proved an identity other than the one that the mesh names for it.",
        "Look for a stale endpoint or an impostor; the access log has both identities.",
    )
    NO_IDENTITY = (
        "BZ0503", "no-identity",
        "This sidecar has no valid certificate: not issued yet, or ended while the issuer was away.",
        "See that the issuer is reachable and accepts the pod's token.",
    )
    REVOKED = (
        "BZ0504", "revoked",
        "The peer's certificate is genuine and has not ended, but its identity, pod, key or serial number was revoked.",
        "If it was revoked by mistake: `bartizan certs revoke --lift`. Otherwise find out what the peer did since.",
    )
    CERTIFICATE_UNUSABLE = (
        "BZ0505", "certificate-unusable",
        "The Secret with the ingress gateway's certificate for this host is missing or unusable. Nothing else is shown in its place.",
        "Create the Secret (tls.crt, tls.key) that `tls` of the Ingress or of the Gateway's listener names; the detail says what is wrong.",
    )
    CLIENT_TLS = (
        "BZ0506", "client-tls-refused",
        "TLS with a client of the ingress gateway failed: nobody here has the name it asked for, it speaks no version or suite that is "
        "good enough, or its certificate is missing, has ended or chains to none of the roots for this host.",
        "See that a listener has a certificate for the name; the detail says what was wrong with the client's side.",
    )
    # -- our own state
    NO_SNAPSHOT = (
        "BZ0601", "no-snapshot",
        "This sidecar has no configuration yet; until it has, everything is refused.",
        "See that the injector is reachable and that the pod is known to it.",
    )
    NOT_TOLD = (
        "BZ0602", "not-told",
        "This may be an address of the mesh, and the injector has not said so far: an approved range would lead there in plaintext.",
        "See that the injector is reachable, and try again; or call it by its name and port.",
    )


BY_CODE = {reason.code: reason for reason in Reason}
