"""Who in the mesh the other end of a TLS connection is, once the handshake has verified its chain; and what a client's certificate
says, who comes from outside of it.

Trust: the certificate's bytes are the peer's; OpenSSL has verified chain, dates, purposes and name constraints. What leaves here
is a `Peer` with at most one identity, of our trust domain, in its one spelling, or an error.
Spec: X509-SVID s2, s5.2.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from msgspec.structs import replace
from OpenSSL import SSL, crypto  # noqa: TID251 -- this file owns it

from sidecar.model import identity
from sidecar.model.call import Peer
from sidecar.model.client import ClientCertificate
from sidecar.model.errors import NotVerified, ReasonedError
from sidecar.model.reason import Reason
from sidecar.model.trust import DenyList

MOST_READ = 256     # chains that are remembered; one takes 3 KB

Chain = tuple[bytes, ...]   # DER, leaf first

# What `cryptography` raises for a certificate that it cannot read.
UNREADABLE = (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


def read_svid(certificate: x509.Certificate, trust_domain: str) -> Peer:
    """What the X.509-SVID says. ValueError names the rule of the SVID profile that it breaks."""
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as exc:
        raise ValueError(f"no SVID: it has no {exc.oid._name}") from exc
    except UNREADABLE as exc:
        raise ValueError(f"no SVID: its extensions cannot be read: {exc}") from exc
    # > a validator encountering an SVID containing more than one URI SAN MUST reject the SVID. We are stricter: no other names.
    names = list(san)
    if len(names) != 1 or not isinstance(names[0], x509.UniformResourceIdentifier):
        raise ValueError(f"no SVID: {len(names)} names, where exactly one URI belongs")
    if constraints.ca:
        raise ValueError("no SVID: it is a CA")
    if usage.key_cert_sign or usage.crl_sign or not usage.digital_signature:
        raise ValueError("no SVID: its key usage is not digitalSignature alone")
    spiffe_id = identity.parse(names[0].value)
    if identity.parts(spiffe_id)[0] != trust_domain:
        raise ValueError(f"{spiffe_id} is not of the trust domain {trust_domain}")
    return _peer(certificate, spiffe_id)


def _peer(certificate: x509.Certificate, spiffe_id: identity.SpiffeId | None) -> Peer:
    uids = certificate.subject.get_attributes_for_oid(NameOID.USER_ID)
    units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    return Peer(
        identity=spiffe_id,
        pod_uid=str(uids[0].value) if len(uids) == 1 else "",
        serial=certificate.serial_number,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        key=key_hash(certificate),
        holder=str(units[0].value) if len(units) == 1 else "",
    )


def peer_of(connection: SSL.Connection, trust_domain: str, failed: type[ReasonedError]) -> Peer:
    """The verified mesh peer at the other end, or `failed`. Whether it was revoked is for `refuse_revoked` to say."""
    return _read_chain(_verified(connection), trust_domain, failed)


class Peers:
    """What verified chains were found to say, by their bytes: to read one costs 60 us, to find it here 8.

    Only the reading is remembered. Chain, dates and possession of the key OpenSSL verifies in every handshake, and whether any of it
    was revoked is asked for every connection.

    Args:
        most: chains.
    """

    def __init__(self, trust_domain: str, most: int = MOST_READ) -> None:
        self._trust_domain = trust_domain
        self._most = most
        self._read: dict[Chain, Peer] = {}

    def at(self, connection: SSL.Connection, failed: type[ReasonedError]) -> Peer:
        """As `peer_of`."""
        chain = _verified(connection)
        peer = self._read.get(chain)
        if peer is None:
            peer = _read_chain(chain, self._trust_domain, failed)
            if len(self._read) >= self._most:
                del self._read[next(iter(self._read))]
            self._read[chain] = peer
        return peer


def mesh_peer_of(connection: SSL.Connection, peers: Peers, failed: type[ReasonedError]) -> Peer:
    """As `peer_of`, where a sidecar belongs at the other end.

    The mesh's own protocols say that one speaks there, which has judged and written down what it sends. Of a key that the
    application holds nobody can say so: it may serve TLS of the application's own, and may have been carried off.
    """
    peer = peers.at(connection, failed)
    if peer.holder:
        raise failed(f"the certificate of {peer.identity} is held by the {peer.holder[:40]}; in the mesh only a sidecar's counts")
    return peer


def _verified(connection: SSL.Connection) -> Chain:
    """What the handshake has verified; empty if the other end showed nothing."""
    return tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, one) for one in connection.get_verified_chain() or ())


def _read_chain(chain: Chain, trust_domain: str, failed: type[ReasonedError]) -> Peer:
    if not chain:
        raise failed("the peer presented no certificate")
    try:
        leaf, *above = map(x509.load_der_x509_certificate, chain)
        return replace(read_svid(leaf, trust_domain), signers=tuple(map(key_hash, above)))
    except UNREADABLE as exc:
        raise failed(str(exc)) from exc


def why_revoked(peer: Peer, deny: DenyList) -> str:
    """In words; empty if it is not. Whoever stole an authority's key can make any certificate: with it goes all that it signed."""
    if not deny.keys.isdisjoint(peer.signers):
        return "the key of the authority that issued its certificate was revoked"
    return deny.why(peer.identity or "", peer.pod_uid, peer.serial, peer.key)


def refuse_revoked(peer: Peer, deny: DenyList, failed: type[ReasonedError]) -> None:
    """`failed`, whose reason tells a revoked peer from others."""
    if why := why_revoked(peer, deny):
        error = failed(why)
        error.reason = Reason.REVOKED
        raise error


def _signers(connection: SSL.Connection) -> tuple[str, ...]:
    return tuple(map(key_hash, (connection.get_verified_chain(as_cryptography=True) or [])[1:]))


def refuse_revoked_server(connection: SSL.Connection, deny: DenyList) -> None:
    """NotVerified if one of the mesh's own HTTPS servers shows a certificate that was revoked."""
    certificate = connection.get_peer_certificate(as_cryptography=True)
    assert certificate is not None, "the handshake has verified it"
    if why := why_revoked(replace(_peer(certificate, None), signers=_signers(connection)), deny):
        raise NotVerified(why)


def read_client_certificate(certificate: x509.Certificate, authority: str) -> ClientCertificate:
    """What a verified certificate says. UNREADABLE if it says it so that nobody can read it.

    Args:
        authority: the name of the roots that it chains to.
    """
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        san = x509.SubjectAlternativeName(())
    return ClientCertificate(
        subject=certificate.subject.rfc4514_string(),
        common_name=str(names[0].value) if len(names) == 1 else "",
        dns=tuple(san.get_values_for_type(x509.DNSName)),
        emails=tuple(san.get_values_for_type(x509.RFC822Name)),
        uris=tuple(san.get_values_for_type(x509.UniformResourceIdentifier)),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        authority=authority,
    )


def key_hash(certificate: x509.Certificate) -> str:
    """SHA-256 of the SubjectPublicKeyInfo, hex."""
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).hexdigest()


def chain_error(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], now: float) -> str:
    """Empty if OpenSSL verifies the chain, otherwise what it says.

    Args:
        chain: leaf first.
        now: Unix seconds.
    """
    store = crypto.X509Store()
    for root in roots:
        store.add_cert(crypto.X509.from_cryptography(root))
    store.set_time(datetime.fromtimestamp(now, UTC))
    leaf, *rest = (crypto.X509.from_cryptography(certificate) for certificate in chain)
    try:
        crypto.X509StoreContext(store, leaf, rest).verify_certificate()
    except crypto.X509StoreContextError as exc:
        return str(exc)
    return ""
