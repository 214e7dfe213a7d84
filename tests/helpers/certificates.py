"""Certificates that no authority of the mesh would sign, with the TLS contexts of whoever shows them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, reduce
from math import gcd

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from OpenSSL import SSL

from sidecar.net.tls_context import ALPN_HTTP1, PrivateKey
from tests.helpers import der, pki
from tests.helpers.pki import Holder

HOUR = timedelta(hours=1)
Extensions = Sequence[tuple[x509.ExtensionType, bool]]


def usage(*, signs: bool = False, crl: bool = False, digital: bool = True) -> tuple[x509.ExtensionType, bool]:
    return x509.KeyUsage(digital, False, False, False, False, signs, crl, False, False), True


def constraints(*, ca: bool = False, length: int | None = None) -> tuple[x509.ExtensionType, bool]:
    return x509.BasicConstraints(ca, length), True


def names(*each: x509.GeneralName) -> tuple[x509.ExtensionType, bool]:
    return x509.SubjectAlternativeName(each), False


def raw_name(uri: bytes) -> tuple[x509.ExtensionType, bool]:
    """A SAN of one URI of any bytes, which ASN.1 would have as IA5String."""
    value = der.seq(der.tlv(0x86, uri))
    return x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, value), False


BOTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False
SVID = (constraints(), usage(), BOTH)


def made(issuer: Holder, extensions: Extensions, *, subject: str = "", key: PrivateKey | None = None) -> Holder:
    """A certificate with these extensions and no others."""
    key, now = key or ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else [])
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(issuer.certificate.subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - HOUR).not_valid_after(now + HOUR)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    is_of_root = issuer.certificate.issuer == issuer.certificate.subject
    return Holder(builder.sign(issuer.key, hashes.SHA256()), key, () if is_of_root else issuer.chain)


def svid(issuer: Holder, uri: str = pki.ORDERS, key: PrivateKey | None = None) -> Holder:
    return made(issuer, [*SVID, names(pki.uri(uri))], key=key)


def authority(issuer: Holder, subject: str, length: int | None = None, key: PrivateKey | None = None) -> Holder:
    return made(issuer, [constraints(ca=True, length=length), usage(signs=True, crl=True, digital=False)], subject=subject, key=key)


def signed_again(holder: Holder, issuer: Holder, algorithm: hashes.HashAlgorithm) -> Holder:
    """The same certificate, signed with a hash that no library signs certificates with any more."""
    is_rsa = isinstance(issuer.key, rsa.RSAPrivateKey)
    if is_rsa:
        old = der.seq(der.oid("sha256WithRSAEncryption"), b"\5\0")
        new, sign = der.seq(der.oid("md5WithRSAEncryption"), b"\5\0"), der.pkcs1(issuer.key, algorithm)
    else:
        assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
        old, new = der.seq(der.oid("ecdsa-with-SHA256")), der.seq(der.oid("ecdsa-with-SHA1"))
        sign = der.ecdsa(issuer.key, algorithm)
    body = holder.certificate.tbs_certificate_bytes[4:]     # of a SEQUENCE whose length takes two bytes
    assert old in body
    info = der.seq(body.replace(old, new, 1))
    return replace(holder, certificate=x509.load_der_x509_certificate(der.seq(info, new, der.bits(sign(info)))))


def long_chain(root: Holder, length: int) -> Holder:
    """A leaf under `length` - 1 intermediates, each of them good."""
    issuer = root
    for number in range(length - 1):
        issuer = authority(issuer, f"intermediate {number}")
    return svid(issuer)


@cache
def huge_key() -> rsa.RSAPrivateKey:
    """16384 bits, of many small primes: as slow for others as any, and quickly made. RSA asks for nothing but that they differ."""
    primes: set[int] = set()
    while len(primes) < 32:
        numbers = rsa.generate_private_key(65537, 1024).private_numbers()
        primes |= {numbers.p, numbers.q}
    each = sorted(primes)
    halves = each[:16], each[16:]
    p, q = (reduce(int.__mul__, half) for half in halves)
    order = reduce(lambda one, other: one * other // gcd(one, other), [prime - 1 for prime in each])
    order_p, order_q = (reduce(lambda a, b: a * b // gcd(a, b), [prime - 1 for prime in half]) for half in halves)
    d = pow(65537, -1, order)
    public = rsa.RSAPublicNumbers(65537, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % order_p, d % order_q, pow(q, -1, p), public)
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def context(
    holder: Holder | None, *, is_server: bool, alpn: bytes = ALPN_HTTP1, chain: Sequence[x509.Certificate] | None = None
) -> SSL.Context:
    """Of an attacker, who presents what he likes, and takes whatever the other side presents."""
    made = SSL.Context(SSL.TLS_SERVER_METHOD if is_server else SSL.TLS_CLIENT_METHOD)
    made.set_cipher_list(b"ALL:@SECLEVEL=0")
    if holder is not None:
        made.use_certificate(holder.certificate)
        for certificate in holder.intermediates if chain is None else chain:
            made.add_extra_chain_cert(certificate)
        made.use_privatekey(holder.key)
    if is_server:
        made.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        made.set_alpn_select_callback(lambda _, offered: alpn if alpn in offered else SSL.NO_OVERLAPPING_PROTOCOLS)
    elif alpn:
        made.set_alpn_protos([alpn])
    return made
