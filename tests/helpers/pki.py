"""One small certificate factory: authorities, SVIDs, web certificates, and whatever is wrong with any of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sidecar.model.identity import parse
from sidecar.model.trust import Revoked, Trust
from sidecar.net import tls_context
from sidecar.net.anchors import Anchors
from sidecar.net.tls_context import ALPN_HTTP1, Context, Credentials, PrivateKey, ServerCredentials
from sidecar.net.tls_mesh import MeshTls

DOMAIN = "example.org"
WEB = f"spiffe://{DOMAIN}/ns/shop/sa/web"
ORDERS = f"spiffe://{DOMAIN}/ns/shop/sa/orders"
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Holder:
    """A certificate with its key, and the intermediates up to the root."""

    certificate: x509.Certificate
    key: PrivateKey
    intermediates: tuple[x509.Certificate, ...] = ()

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        return (self.certificate, *self.intermediates)

    @property
    def chain_pem(self) -> str:
        return pem(self.chain)

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def pem(certificates: Iterable[x509.Certificate]) -> str:
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


def host(text: str) -> x509.GeneralName:
    """A DNS name or an IP address, whichever `text` is."""
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def issue(
    issuer: Holder | None,
    *names: x509.GeneralName,
    subject: str = "",
    pod_uid: str = "",
    holder: str = "",
    is_ca: bool = False,
    signs: bool | None = None,
    purposes: Sequence[x509.ObjectIdentifier] = (CLIENT, SERVER),
    begins: timedelta = -HOUR,
    ends: timedelta = HOUR,
    key: PrivateKey | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
) -> Holder:
    """A certificate.

    Args:
        issuer: None: it signs itself.
        signs: whether its key usage is that of a CA; None: if it is one.
        begins, ends: from now.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    now, signs = datetime.now(UTC), is_ca if signs is None else signs
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else []
    attributes += [x509.NameAttribute(NameOID.USER_ID, pod_uid)] if pod_uid else []
    attributes += [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, holder)] if holder else []
    name = x509.Name(attributes)
    builder = (
        x509.CertificateBuilder().subject_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .issuer_name(issuer.certificate.subject if issuer else name).not_valid_before(now + begins).not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        .add_extension(x509.KeyUsage(not signs, False, False, False, False, signs, signs, False, False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer is not None:
        of_issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(of_issuer, critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not attributes)
    if purposes and not is_ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.NameConstraints))
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    intermediates = issuer.chain if issuer is not None and issuer.certificate.issuer != issuer.certificate.subject else ()
    return Holder(certificate, key, intermediates)


def authority(name: str, issuer: Holder | None = None, *extensions: x509.ExtensionType) -> Holder:
    return issue(issuer, subject=name, is_ca=True, extensions=extensions, ends=24 * HOUR)


def weak_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)


def credentials(holder: Holder, identity: str = WEB) -> Credentials:
    """A workload's; `identity` is what it believes to be, whatever the certificate says."""
    assert isinstance(holder.key, ec.EllipticCurvePrivateKey)
    ends = holder.certificate.not_valid_after_utc.timestamp()
    return Credentials(parse(identity), DOMAIN, holder.chain, holder.key, ends)


def anchors(*roots: Holder, revoked: Revoked = Revoked(), version: int = 1) -> Anchors:  # noqa: B008 -- frozen
    return Anchors.of(trust(*roots, revoked=revoked, version=version))


def trust(*roots: Holder, revoked: Revoked = Revoked(), version: int = 1) -> Trust:  # noqa: B008 -- frozen
    return Trust(version, pem(root.certificate for root in roots), revoked=revoked)


def mesh_client(holder: Holder, root: Holder, alpn: bytes = ALPN_HTTP1) -> Context:
    return tls_context.mesh_client(credentials(holder), [root.certificate], alpn)


def mesh_server(holder: Holder, root: Holder) -> Context:
    return tls_context.mesh_server(credentials(holder), [root.certificate])


def mesh_tls(holder: Holder, root: Holder, identity: str = WEB) -> MeshTls:
    return MeshTls.of(credentials(holder, identity), anchors(root))


def server_credentials(holder: Holder, client_root: Holder | None = None) -> ServerCredentials:
    return ServerCredentials(holder.chain, holder.key, [client_root.certificate] if client_root else None)
