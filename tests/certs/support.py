"""What the issuer's tests share: a fixed time, requests, tokens of a cluster's making, and OpenSSL as the judge of chains."""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

NOW = 1_800_000_000.0
DOMAIN = "example.org"
ISSUER = "https://kubernetes.default.svc.cluster.local"
POD_UID = "5b1f3a4e-0d0c-4d1c-9a53-0f5f3a5f6a10"

RSA_KEY = rsa.generate_private_key(65537, 2048)     # slow to make, so made once
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def csr_of(key: Any, *extensions: x509.ExtensionType, algorithm: Any = hashes.SHA256()) -> bytes:  # noqa: B008 -- a constant
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)


def openssl_verdict(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], now: float) -> str:
    """"" if OpenSSL verifies the chain (leaf first), otherwise what it says."""
    store = crypto.X509Store()
    for root in roots:
        store.add_cert(crypto.X509.from_cryptography(root))
    store.set_time(datetime.fromtimestamp(now, UTC))
    store.set_flags(crypto.X509StoreFlags.X509_STRICT)
    leaf, *rest = (crypto.X509.from_cryptography(certificate) for certificate in chain)
    try:
        crypto.X509StoreContext(store, leaf, rest).verify_certificate()
    except crypto.X509StoreContextError as exc:
        return str(exc)
    return ""


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _integer(value: int, size: int) -> str:
    return b64(value.to_bytes(size, "big"))


def jwk_of(key: Any, kid: str, **more: object) -> dict[str, object]:
    numbers = key.public_key().public_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        return {"kty": "RSA", "kid": kid, "n": _integer(numbers.n, key.key_size // 8), "e": _integer(numbers.e, 3), **more}
    return {"kty": "EC", "crv": "P-256", "kid": kid, "x": _integer(numbers.x, 32), "y": _integer(numbers.y, 32), **more}


JWKS = json.dumps({"keys": [jwk_of(RSA_KEY, "r", use="sig", alg="RS256"), jwk_of(EC_KEY, "e", use="sig", alg="ES256")]}).encode()


def claims(**changed: object) -> dict[str, object]:
    """Those of a good token, with changes; a claim that is changed to None is left out."""
    good: dict[str, object] = {
        "aud": ["bartizan"],
        "exp": int(NOW) + 3600,
        "iat": changed.get("nbf") or int(NOW),
        "iss": ISSUER,
        "jti": "0f0f",
        "kubernetes.io": {
            "namespace": "shop",
            "pod": {"name": "web-0", "uid": POD_UID},
            "serviceaccount": {"name": "web", "uid": "a"},
        },
        "nbf": int(NOW),
        "sub": "system:serviceaccount:shop:web",
    }
    return {name: value for name, value in (good | changed).items() if value is not None}


def token(payload: object, *, alg: str = "ES256", kid: object = "e", key: Any = EC_KEY, **header: object) -> str:
    """Signed by `key` in the way that its type has, whatever `alg` says."""
    return signed(json.dumps({"alg": alg, "kid": kid, **header}).encode(), json.dumps(payload).encode(), key)


def signed(header: bytes, payload: bytes, key: Any = EC_KEY) -> str:
    text = f"{b64(header)}.{b64(payload)}"
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    else:
        r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return f"{text}.{b64(signature)}"
