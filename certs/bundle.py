"""The trust bundle as SPIFFE writes it: a JWK set whose keys carry the root certificates, for whoever federates or has an SDK.

Spec: SPIFFE Trust Domain and Bundle s4; RFC 7517 s4.7, RFC 7518 s6.
"""

import base64
from collections.abc import Iterable

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

REFRESH_S = 300     # a rotation waits for its holders; whoever merely reads the bundle should see a new root long before it signs
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


def spiffe_bundle(roots: Iterable[x509.Certificate], version: int) -> bytes:
    """The document. A root whose key is neither EC nor RSA has no place in it."""
    keys = [key for key in map(_jwk, roots) if key is not None]
    return msgspec.json.encode({"keys": keys, "spiffe_sequence": version, "spiffe_refresh_hint": REFRESH_S})


def _jwk(root: x509.Certificate) -> dict[str, object] | None:
    # > use MUST be x509-svid; x5c MUST be set, with exactly one certificate (SPIFFE Trust Domain and Bundle s4.2, X509-SVID s6.2)
    about: dict[str, object] = {"use": "x509-svid", "x5c": [base64.b64encode(root.public_bytes(Encoding.DER)).decode()]}
    match root.public_key():
        case ec.EllipticCurvePublicKey() as key if key.curve.name in _CURVES:
            size, point = (key.key_size + 7) // 8, key.public_numbers()
            return {"kty": "EC", "crv": _CURVES[key.curve.name], "x": _text(point.x, size), "y": _text(point.y, size), **about}
        case rsa.RSAPublicKey() as key:
            numbers = key.public_numbers()
            return {"kty": "RSA", "n": _text(numbers.n), "e": _text(numbers.e), **about}
        case _:
            return None


def _text(number: int, size: int = 0) -> str:
    data = number.to_bytes(size or (number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
