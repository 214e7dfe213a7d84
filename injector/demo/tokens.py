"""Service-account tokens as an API server of Kubernetes 1.30 issues them: JWTs bound to one pod, ES256.

The key lives as long as the world; its public half is what the issuer verifies with (JWKS).
Spec: RFC 7515, RFC 7517, RFC 7519; KEP-1205 (bound service account tokens).
"""

import base64
import hashlib
import json
import uuid
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

DEFAULT_LIFETIME_S = 3600
RENEW_AT = 0.8   # of its life the kubelet replaces a token
P256_BYTES = 32


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenSigner:
    """
    Args:
        issuer: `iss` of every token, and its audience where a pod names none.
    """

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self._key = ec.generate_private_key(ec.SECP256R1())
        public = self._key.public_key()
        self.kid = b64(hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest())

    def jwks(self) -> dict[str, Any]:
        numbers = self._key.public_key().public_numbers()
        return {"keys": [{
            "kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": self.kid,
            "x": b64(numbers.x.to_bytes(P256_BYTES, "big")), "y": b64(numbers.y.to_bytes(P256_BYTES, "big")),
        }]}

    def token(self, pod: dict[str, Any], account_uid: str, audience: str, lifetime_s: int, now: float) -> str:
        """A token for the service account of `pod`, bound to that pod."""
        metadata, account = pod["metadata"], pod["spec"]["serviceAccountName"]
        issued = int(now)
        return self.sign({
            "aud": [audience or self.issuer],
            "exp": issued + lifetime_s,
            "iat": issued,
            "iss": self.issuer,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": {
                "namespace": metadata["namespace"],
                "pod": {"name": metadata["name"], "uid": metadata["uid"]},
                "serviceaccount": {"name": account, "uid": account_uid},
            },
            "nbf": issued,
            "sub": f"system:serviceaccount:{metadata['namespace']}:{account}",
        })

    def sign(self, claims: dict[str, Any]) -> str:
        head = b64(json.dumps({"alg": "ES256", "kid": self.kid}, separators=(",", ":")).encode())
        signed = f"{head}.{b64(json.dumps(claims, separators=(',', ':')).encode())}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{b64(r.to_bytes(P256_BYTES, 'big') + s.to_bytes(P256_BYTES, 'big'))}"
