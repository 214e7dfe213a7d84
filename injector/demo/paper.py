"""The outside world's papers: a certificate authority of its own, certificates for its hosts, one for a client.

Made afresh for each world and never used again; nothing of the mesh's own authority is in here.
"""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY, HOUR = datetime.timedelta(days=1), datetime.timedelta(hours=1)


class Papers:
    """
    Args:
        now: UTC.
    """

    def __init__(self, now: datetime.datetime) -> None:
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("Partner Root")
        self._certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def roots(self) -> str:
        return self._certificate.public_bytes(Encoding.PEM).decode()

    def issue(self, name: str, is_client: bool = False, is_expired: bool = False) -> tuple[str, str]:
        """(certificate, key), both PEM, for a host name or a client's common name."""
        key = ec.generate_private_key(ec.SECP256R1())
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if is_client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = (
            self._builder(_named(name), key, self._now - HOUR if is_expired else None)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if not is_client:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        return (builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM).decode(),
                key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())

    def lay_out(self, folder: Path, hosts: list[str], expired: frozenset[str] = frozenset()) -> None:
        """Write what the outside's servers need: roots.pem, and certificate with key as NAME.pem.

        Args:
            expired: those of `hosts` whose certificate has ended.
        """
        folder.mkdir(parents=True, mode=0o700)
        (folder / "roots.pem").write_text(self.roots)
        for name in hosts:
            (folder / f"{name}.pem").write_text("".join(self.issue(name, is_expired=name in expired)))

    def _builder(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, ends: datetime.datetime | None = None
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(self._now - DAY)
            .not_valid_after(ends or self._now + 30 * DAY)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )
