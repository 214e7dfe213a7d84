"""The certificate authority: a root, and two intermediates that cannot do each other's work.

The one for SVIDs may sign URI names of its trust domain and no DNS name; the one for the mesh's own HTTPS may sign DNS names
below its domains and no URI. A stolen intermediate is thereby worth what it was for. The root signs nothing but the two, so its
key can be kept elsewhere.
Spec: RFC 5280 s4.2; X509-SVID s3, s4.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_network

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from sidecar.model.errors import ConfigError
from sidecar.model.identity import TRUST_DOMAIN

DAY_S = 86400
ROOT_S = 3650 * DAY_S
INTERMEDIATE_S = 365 * DAY_S
BACKDATE_S = 60     # for verifiers whose clock is behind ours

HTTPS_DOMAINS = ("svc", "svc.cluster.local")    # where Kubernetes puts the names of Services

# Ours are EC; a root or an intermediate that was brought along may be RSA.
SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Extensions = Iterable[tuple[x509.ExtensionType, bool]]

_CA_USAGE = x509.KeyUsage(
    digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
    key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
)
_EVERY_ADDRESS = tuple(x509.IPAddress(ip_network(text)) for text in ("0.0.0.0/0", "::/0"))
# There is no URI constraint that excludes every URI (RFC 5280 names hosts only), so the one host that cannot exist is permitted.
_NO_URI = x509.UniformResourceIdentifier("uri.invalid")


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA certificate and its key.

    Args:
        above: what stands between it and its root, if anything does, in the order of a chain.
    """

    certificate: x509.Certificate
    key: SigningKey = field(repr=False)
    above: tuple[x509.Certificate, ...] = ()

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """What goes with each of its leaves."""
        return (self.certificate, *self.above)

    @property
    def not_after(self) -> float:
        return min(certificate.not_valid_after_utc.timestamp() for certificate in self.chain)


def create_root(trust_domain: str, now: float) -> Authority:
    """A self-signed root. ConfigError if the trust domain is none."""
    check_trust_domain(trust_domain)
    key = ec.generate_private_key(ec.SECP384R1())
    subject = _name("root")
    extensions = [*_ca(path_length=1), (_domain_id(trust_domain), False)]
    return Authority(sign(subject, key.public_key(), extensions, subject, key, now, now + ROOT_S), key)


def check_trust_domain(text: str) -> None:
    if TRUST_DOMAIN.fullmatch(text) is None:
        raise ConfigError("trustDomain", f"{text!r} is none; write it in lower case like a DNS name: example.org")


def create_svid_intermediate(root: Authority, trust_domain: str, now: float) -> Authority:
    """The intermediate that signs SVIDs of `trust_domain`, and cannot sign for a DNS name or an address."""
    # A permitted URI alone leaves other kinds of name free; the empty DNS name stands for all of them.
    constraints = x509.NameConstraints([x509.UniformResourceIdentifier(trust_domain)], [x509.DNSName(""), *_EVERY_ADDRESS])
    return _intermediate(root, "SVID", [(constraints, True), (_domain_id(trust_domain), False)], now)


def create_https_intermediate(root: Authority, domains: Sequence[str], now: float) -> Authority:
    """The intermediate for the mesh's own HTTPS: DNS names that are, or end in, one of `domains`; no SVID, no address."""
    constraints = x509.NameConstraints([*(x509.DNSName(domain) for domain in domains), _NO_URI], _EVERY_ADDRESS)
    return _intermediate(root, "HTTPS", [(constraints, True)], now)


def fingerprint(certificate: x509.Certificate) -> str:
    """By what name a rotation knows a root: SHA-256 of its DER, hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def trust_domain_of(certificate: x509.Certificate) -> str:
    """The trust domain that a signing certificate of ours is for, or ValueError."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as exc:
        raise ValueError("it names no trust domain") from exc
    match names.get_values_for_type(x509.UniformResourceIdentifier):
        case [uri] if uri.startswith("spiffe://") and TRUST_DOMAIN.fullmatch(domain := uri.removeprefix("spiffe://")):
            return domain
    raise ValueError("it names no trust domain")


def sign(
    subject: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    extensions: Extensions,
    issuer: x509.Name,
    key: SigningKey,
    now: float,
    not_after: float,
    key_id: x509.SubjectKeyIdentifier | None = None,
) -> x509.Certificate:
    """The certificate: 128 random bits of serial, backdated, key identifiers of both sides.

    Args:
        extensions: each with whether it is critical.
        key: the issuer's.
        now, not_after: Unix seconds.
        key_id: how the issuer's certificate names its key; None: by the usual hash. Others use others, and OpenSSL compares.
    """
    known_as = (
        x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()) if key_id is None
        else x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id))
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(secrets.randbits(128))
        .not_valid_before(datetime.fromtimestamp(int(now) - BACKDATE_S, UTC))
        .not_valid_after(datetime.fromtimestamp(int(not_after), UTC))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(known_as, critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    is_strong = key.key_size > (3072 if isinstance(key, rsa.RSAPrivateKey) else 256)
    return builder.sign(key, hashes.SHA384() if is_strong else hashes.SHA256())


def key_id_of(certificate: x509.Certificate) -> x509.SubjectKeyIdentifier | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return None


def _intermediate(root: Authority, kind: str, extensions: list[tuple[x509.ExtensionType, bool]], now: float) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    not_after = min(now + INTERMEDIATE_S, root.not_after)
    extensions = [*_ca(path_length=0), *extensions]
    above = root.certificate
    made = sign(_name(kind), key.public_key(), extensions, above.subject, root.key, now, not_after, key_id_of(above))
    return Authority(made, key)


def _ca(path_length: int) -> list[tuple[x509.ExtensionType, bool]]:
    return [(x509.BasicConstraints(ca=True, path_length=path_length), True), (_CA_USAGE, True)]


def _domain_id(trust_domain: str) -> x509.SubjectAlternativeName:
    # > a signing certificate's SPIFFE ID [...] MUST NOT have a path component (X509-SVID s3)
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")])


def _name(kind: str) -> x509.Name:
    # Told apart by a few random digits, since two roots of one name would confuse whoever reads a bundle during a rotation.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Bartizan {kind} {secrets.token_hex(4)}")])
