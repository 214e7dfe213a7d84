"""TLS settings, one function for each use. A context is built for one set of credentials and never changed afterwards.

    mesh          TLS 1.3 both ways, both certificates SVIDs, no resumption, ALPN names what flows inside
    edge          clients of an ingress gateway: one context for each certificate that it shows, their own certificates where asked for
    https         the mesh's own endpoints (issuer, webhook, stream): server named by DNS, client by SVID where asked
    origination   external hosts: chain and name verified, always; no setting turns it off, a policy may waive a check for a while
    unverified    the pod's own application, asked by its probes, and nobody else

Trust: every client context here verifies the server, but for `unverified_client`, by which nothing leaves the pod; every mesh
server context the client.
"""

from collections.abc import Callable, Sequence

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto  # noqa: TID251 -- this file owns it
from OpenSSL._util import lib  # noqa: TID251 -- what pyOpenSSL has no function for

from sidecar.model.edge import ClientCertificates
from sidecar.model.errors import ClientTlsRejected, ConfigError, TlsRejected
from sidecar.model.identity import SpiffeId

ALPN_HTTP1 = b"bartizan/h1"
ALPN_HTTP2 = b"bartizan/h2"
ALPN_TCP = b"bartizan/tcp"
MESH_ALPN = (ALPN_HTTP1, ALPN_HTTP2, ALPN_TCP)
ALPN_EGRESS = b"bartizan/egress"    # what leaves by a gateway: said by sidecars that have judged it, and never for a call in the mesh

Context = SSL.Context
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

MOST_INTERMEDIATES = 5      # of a peer's chain; OpenSSL would follow a hundred, a signature each
MOST_KEY_BITS = 8192        # of any key in it; OpenSSL would verify with 16384, as slowly as a dozen handshakes

# TLS 1.2 suites with forward secrecy and AEAD only (RFC 9325 s4.2); 1.3 has no others.
_TLS12_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
# Those of Mozilla's "intermediate" profile, which is for servers of the public; with the suites above it is all of that profile.
_EDGE_GROUPS = b"X25519:prime256v1:secp384r1"
EDGE_ALPN = (b"h2", b"http/1.1")


class Credentials(msgspec.Struct, frozen=True):
    """What this workload proves.

    Args:
        chain: leaf first, then intermediates; 1..6.
        not_after: Unix seconds; when the leaf ends.
    """

    identity: SpiffeId
    trust_domain: str
    chain: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey
    not_after: float


class ServerCredentials(msgspec.Struct, frozen=True):
    """For the mesh's own HTTPS endpoints.

    Args:
        client_roots: given, a client certificate that chains to them is demanded.
    """

    chain: Sequence[x509.Certificate]
    key: PrivateKey
    client_roots: Sequence[x509.Certificate] | None = None


def _context(method: int, minimum: int, *, takes_tickets: bool = False) -> Context:
    context = SSL.Context(method)
    context.set_min_proto_version(minimum)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | (0 if takes_tickets else SSL.OP_NO_TICKET))
    # OP_NO_TICKET alone still resumes by session ID; with the cache off nothing does (measured).
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_verify_depth(MOST_INTERMEDIATES)
    if minimum == SSL.TLS1_2_VERSION:
        context.set_cipher_list(_TLS12_CIPHERS)
    return context


def _identify(context: Context, chain: Sequence[x509.Certificate], key: PrivateKey) -> None:
    context.use_certificate(chain[0])
    for certificate in chain[1:]:
        context.add_extra_chain_cert(certificate)
    context.use_privatekey(key)


def _identify_by(context: Context, chain: str, key: str, where: str) -> None:
    """By what an operator gave, in PEM. ConfigError with its place, if it is unusable."""
    try:
        _identify(context, load_certificates(chain.encode(), where), load_private_key(key.encode(), where))
        context.check_privatekey()
    except (ValueError, SSL.Error) as exc:
        raise ConfigError(where, f"the certificate and its key cannot be used together: {exc}") from exc


def _trust(context: Context, roots: Sequence[x509.Certificate]) -> None:
    store = context.get_cert_store()
    assert store is not None
    for root in roots:
        store.add_cert(crypto.X509.from_cryptography(root))


def _trust_mesh(context: Context, roots: Sequence[x509.Certificate], chain: Sequence[x509.Certificate]) -> None:
    """The roots, and beside them the intermediates of our own chain that a root has signed: most peers' chains go through the same.

    Verifying ends there, which saves each handshake the signature of the root, and that is half of its cost: P-384, and 0.35 ms
    instead of 0.75. Dates and name constraints of the intermediate hold as before. Chains through others are verified to a root.
    """
    _trust(context, [*roots, *(one for one in chain[1:] if any(is_issued_by(one, root) for root in roots))])
    store = context.get_cert_store()
    assert store is not None
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """By name and signature; dates and constraints are not looked at."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _accept(conn: SSL.Connection, cert: crypto.X509, error: int, depth: int, is_ok: int) -> bool:
    """OpenSSL's verdict stands, save for keys that are too long. What is raised here ends the handshake, as a refusal does."""
    if is_ok and (bits := cert.get_pubkey().bits()) > MOST_KEY_BITS:
        raise ValueError(f"a key of {bits} bits in the certificate chain; {MOST_KEY_BITS} are accepted")
    return bool(is_ok)


def mesh_server(credentials: Credentials, roots: Sequence[x509.Certificate], spoken: Sequence[bytes] = MESH_ALPN) -> Context:
    """
    Args:
        spoken: ALPN; a caller that offers none of them is refused.
    """
    context = _context(SSL.TLS_SERVER_METHOD, SSL.TLS1_3_VERSION)
    _identify(context, credentials.chain, credentials.key)
    _trust_mesh(context, roots, credentials.chain)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _accept)

    def select(conn: SSL.Connection, offered: list[bytes]) -> bytes:
        for protocol in offered:
            if protocol in spoken:
                return protocol
        raise TlsRejected("the client offers no protocol of the mesh")  # sends the alert, and leaves the handshake as it is

    context.set_alpn_select_callback(select)
    return context


def mesh_client(credentials: Credentials, roots: Sequence[x509.Certificate], alpn: bytes) -> Context:
    context = _context(SSL.TLS_CLIENT_METHOD, SSL.TLS1_3_VERSION)
    _identify(context, credentials.chain, credentials.key)
    _trust_mesh(context, roots, credentials.chain)
    context.set_verify(SSL.VERIFY_PEER, _accept)
    context.set_alpn_protos([alpn])
    return context


def https_server(credentials: ServerCredentials) -> Context:
    context = _context(SSL.TLS_SERVER_METHOD, SSL.TLS1_2_VERSION)
    _identify(context, credentials.chain, credentials.key)
    if credentials.client_roots is not None:
        _trust(context, credentials.client_roots)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _accept)
    return context


def https_client(roots: Sequence[x509.Certificate], credentials: Credentials | None = None) -> Context:
    context = _context(SSL.TLS_CLIENT_METHOD, SSL.TLS1_3_VERSION)
    _trust(context, roots)
    if credentials is not None:
        _identify(context, credentials.chain, credentials.key)
    context.set_verify(SSL.VERIFY_PEER, _accept)
    context.set_alpn_protos([b"http/1.1"])
    return context


def edge_server(*, chain: str, key: str, min_version: str, clients: ClientCertificates | None) -> Context:
    """For clients of an ingress gateway that name one of the hosts of a certificate.

    Tickets are given where no client certificate is asked for: a session resumed is a handshake without certificates, and what the
    first one proved may have ended or been taken back since. The keys of the tickets are this context's own, so that none of one
    certificate's hosts is resumed at another's.

    Args:
        chain, key: PEM.
        min_version: "1.2" or "1.3".
        clients: what they are asked for; None: nothing.

    Raises: ConfigError with `certificate` or `clientCertificates` as its place, if the material is unusable.
    """
    minimum = SSL.TLS1_3_VERSION if min_version == "1.3" else SSL.TLS1_2_VERSION
    context = _context(SSL.TLS_SERVER_METHOD, minimum, takes_tickets=clients is None)
    if lib.SSL_CTX_set1_curves_list(context._context, _EDGE_GROUPS) != 1:
        raise AssertionError("OpenSSL does not know the groups of the edge")
    _identify_by(context, chain, key, "certificate")
    if clients is not None:
        roots = load_certificates(clients.roots.encode(), "clientCertificates")
        _trust(context, roots)
        for root in roots:
            context.add_client_ca(root)
        context.set_verify(SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if clients.is_required else 0), _accept)

    def select(conn: SSL.Connection, offered: list[bytes]) -> bytes:
        for protocol in EDGE_ALPN:
            if protocol in offered:
                return protocol
        # > [the server] SHALL send a fatal "no_application_protocol" alert (RFC 7301 s3.2): so no other protocol's client is led here.
        raise ClientTlsRejected("the client offers neither h2 nor http/1.1")

    context.set_alpn_select_callback(select)
    return context


def origination(
    *, min_version: str, roots: str | None, chain: str | None, key: str | None, is_http2: bool | None = False,
    is_waived: Callable[[SSL.Connection, int, int], bool] | None = None,
) -> Context:
    """For external hosts.

    Args:
        is_http2: offer HTTP/2 before HTTP/1.1; None: offer nothing, since it is no HTTP.
        min_version: "1.2" or "1.3".
        roots: PEM bundle; None: the system's.
        chain, key: PEM of the client certificate; both or neither.
        is_waived: asked, with error and depth, about each verdict of OpenSSL's against a certificate; whether it counts for nothing.

    Raises:
        ConfigError: with `roots` or `clientCertificate` as its place, if the material is unusable. Nothing has been sent.
    """
    # Tickets are taken here, and here only; OpenSSL still keeps none: what may be resumed `net/tls_external.py` decides.
    context = _context(SSL.TLS_CLIENT_METHOD, SSL.TLS1_3_VERSION if min_version == "1.3" else SSL.TLS1_2_VERSION, takes_tickets=True)
    if roots is None:
        context.set_default_verify_paths()
    else:
        _trust(context, load_certificates(roots.encode(), "roots"))
    if chain is not None and key is not None:
        _identify_by(context, chain, key, "clientCertificate")

    def accept(conn: SSL.Connection, cert: crypto.X509, error: int, depth: int, is_ok: int) -> bool:
        return _accept(conn, cert, error, depth, is_ok or (is_waived is not None and is_waived(conn, error, depth)))

    context.set_verify(SSL.VERIFY_PEER, accept)
    if is_http2 is not None:
        context.set_alpn_protos([b"h2", b"http/1.1"] if is_http2 else [b"http/1.1"])
    return context


def unverified_client(*, is_http2: bool) -> Context:
    """For probes of the pod's own application (`net/app_probe.py`), in whose certificate the kubelet is not interested, either.

    Args:
        is_http2: offer HTTP/2 before HTTP/1.1.
    """
    context = _context(SSL.TLS_CLIENT_METHOD, SSL.TLS1_2_VERSION)
    context.set_cipher_list(b"DEFAULT")     # an application that is old is not for that reason ill
    context.set_alpn_protos([b"h2", b"http/1.1"] if is_http2 else [b"http/1.1"])
    return context


def load_certificates(pem: bytes, where: str) -> list[x509.Certificate]:
    """The certificates in a PEM text, one at least, or ConfigError."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion) as exc:
        raise ConfigError(where, f"holds no certificate in PEM, or one that cannot be read: {str(exc).partition('. See ')[0]}") from exc


def load_private_key(pem: bytes, where: str) -> PrivateKey:
    """The EC or RSA key in a PEM text, or ConfigError, which tells nothing of the key."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise ConfigError(where, f"holds no usable private key: {exc}") from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ConfigError(where, "the private key is neither EC nor RSA")
    return key
