"""ASN.1 written by hand, for what no library agrees to write: keys and requests that are wrong in one place."""

from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

OIDS = {
    "ecPublicKey": "06072a8648ce3d0201", "prime-field": "06072a8648ce3d0101",
    "prime256v1": "06082a8648ce3d030107", "prime192v1": "06082a8648ce3d030101",
    "ecdsa-with-SHA1": "06072a8648ce3d0401", "ecdsa-with-SHA256": "06082a8648ce3d040302", "ecdsa-with-SHA384": "06082a8648ce3d040303",
    "rsaEncryption": "06092a864886f70d010101", "md5WithRSAEncryption": "06092a864886f70d010104",
    "sha256WithRSAEncryption": "06092a864886f70d01010b", "challengePassword": "06092a864886f70d010907",
    "commonName": "0603550403",
}
# The curve P-256 (FIPS 186-5): the prime, its coefficients, the base point, the order.
P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
G = bytes.fromhex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
                  "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag]) + (bytes([len(body)]) if len(body) < 128 else bytes([0x80 + len(size)]) + size) + body


def seq(*parts: bytes) -> bytes:
    return tlv(0x30, *parts)


def integer(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def bits(data: bytes) -> bytes:
    return tlv(0x03, b"\0", data)


def oid(name: str) -> bytes:
    return bytes.fromhex(OIDS[name])


def on_p256(point: bytes) -> bytes:
    """A SubjectPublicKeyInfo, whatever the point is."""
    return seq(seq(oid("ecPublicKey"), oid("prime256v1")), bits(point))


def on_explicit_curve(point: bytes) -> bytes:
    """P-256 spelt out instead of named: where the Windows hole CVE-2020-0601 began, and where a base point could be another's."""
    field = seq(oid("prime-field"), integer(P))
    curve = seq(tlv(0x04, (P - 3).to_bytes(32, "big")), tlv(0x04, B.to_bytes(32, "big")))
    params = seq(integer(1), field, curve, tlv(0x04, b"\4", G), integer(ORDER), integer(1))
    return seq(seq(oid("ecPublicKey"), params), bits(point))


def rsa_key(modulus: int, exponent: int) -> bytes:
    return seq(seq(oid("rsaEncryption"), b"\5\0"), bits(seq(integer(modulus), integer(exponent))))


def name(common: bytes, tag: int = 0x0C) -> bytes:
    """A distinguished name of one attribute; `tag`: UTF8String."""
    return seq(tlv(0x31, seq(oid("commonName"), tlv(tag, common))))


def info_of(key: Any) -> bytes:
    data: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data


def ecdsa(key: ec.EllipticCurvePrivateKey, algorithm: hashes.HashAlgorithm | None = None) -> Callable[[bytes], bytes]:
    return lambda data: key.sign(data, ec.ECDSA(algorithm or hashes.SHA256()))


def pkcs1(key: Any, algorithm: hashes.HashAlgorithm) -> Callable[[bytes], bytes]:
    return lambda data: key.sign(data, padding.PKCS1v15(), algorithm)


def request(
    key_info: bytes, sign: Callable[[bytes], bytes], *, algorithm: bytes = b"", version: bytes = b"", subject: bytes = b"",
    attributes: bytes = b"", behind: bytes = b"",
) -> bytes:
    """A PKCS #10 request in DER (RFC 2986 s4); what is not given is as it should be.

    Args:
        behind: bytes that follow its end.
    """
    info = seq(version or integer(0), subject or seq(), key_info, tlv(0xA0, attributes))
    return seq(info, algorithm or seq(oid("ecdsa-with-SHA256")), bits(sign(info))) + behind
