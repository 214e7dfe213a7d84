"""What a certificate request is good for: the public key, once the requester has proved that it holds the private one.

Trust: the bytes are a stranger's. Names, extensions and attributes of the request are never looked at, so they cannot end up
anywhere. Attacked by tests/certs/test_request.py.
Spec: RFC 2986.
"""

import hashlib
import re
from collections.abc import Container

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.model.errors import MeshError

MAX_REQUEST_BYTES = 16 << 10
# We are stricter than RFC 7468 s2: nothing before or behind it. What is read is all there is, and of two requests neither is.
_PEM = re.compile(rb"-----BEGIN CERTIFICATE REQUEST-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE REQUEST-----\s*")


class BadRequest(MeshError):
    """The request itself is unusable; asking again with the same one is in vain."""


def key_hash(public_key: PublicKeyTypes) -> str:
    """By what name log and issuer know a key: SHA-256 of its SubjectPublicKeyInfo, hex."""
    return _hash(_spelt(public_key))


def public_key_of(csr_pem: bytes, own_keys: Container[str]) -> ec.EllipticCurvePublicKey:
    """The key that the request proves possession of, or BadRequest.

    Args:
        own_keys: `key_hash` of the authorities' keys, which nobody else can have come by honestly.
    """
    if len(csr_pem) > MAX_REQUEST_BYTES:
        raise BadRequest(f"the certificate request is longer than {MAX_REQUEST_BYTES} bytes; a key needs less")
    if _PEM.fullmatch(csr_pem) is None:
        raise BadRequest("the certificate request is no PKCS #10 request in PEM, one and nothing else")
    try:
        csr = x509.load_pem_x509_csr(csr_pem)
        public_key = csr.public_key()
        # We are stricter: what the mesh's own agent makes, and no other algorithm.
        if not isinstance(public_key, ec.EllipticCurvePublicKey) or not isinstance(public_key.curve, ec.SECP256R1):
            raise BadRequest("the key of the certificate request is not ECDSA P-256; make one that is")
        # We are stricter than RFC 5480 s2: a named curve and the uncompressed point. A curve that is spelt out may have another base
        # point, and a key with two spellings could have two holders.
        spelt = _spelt(public_key)
        if spelt not in csr.tbs_certrequest_bytes:
            raise BadRequest("the key of the certificate request is not a named curve and an uncompressed point; write it so")
        if not isinstance(csr.signature_hash_algorithm, hashes.SHA256) or not csr.is_signature_valid:
            raise BadRequest("the certificate request is not signed with SHA-256 by the key that it holds; sign it so")
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as exc:
        raise BadRequest("the certificate request is no PKCS #10 request in PEM") from exc
    if _hash(spelt) in own_keys:
        raise BadRequest("the key of the certificate request is the issuer's own; make a new one")
    return public_key


def _spelt(public_key: PublicKeyTypes) -> bytes:
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _hash(spelt: bytes) -> str:
    return hashlib.sha256(spelt).hexdigest()
