"""The control plane's signature over the head of a ledger: whoever rewrites what was signed is contradicted by it.

    countersign.key             P-256, made at the first start; it stays in the injector's state directory, not with the evidence
    ledger/countersign.pem      the public half, and those of earlier keys

Trust: the signature says that the control plane had this head at this time, nothing of whether its lines are true. Who can read the key
can sign a ledger that never was: mode 0600, and a copy of the evidence belongs where the injector's host cannot write.
"""

import base64
import binascii
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key, load_pem_public_key

from certs.files import key_pem_of, read_private, write
from certs.request import key_hash
from sidecar.model.errors import ConfigError
from sidecar.model.ledger import Countersignature, signed_text

PUBLIC = "countersign.pem"
_P256_SHA256 = ec.ECDSA(hashes.SHA256())
_END = b"-----END PUBLIC KEY-----\n"


class Signer:
    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self._key_hash = key_hash(key.public_key())

    @classmethod
    def open(cls, key_file: Path, folder: Path) -> "Signer":
        """The key in the file, made if there is none; its public half is among those in the folder's countersign.pem.

        Raises:
            ConfigError: a file cannot be read or written, is open to others, or holds something else.
        """
        if not key_file.exists():
            write(key_file, key_pem_of(ec.generate_private_key(ec.SECP256R1())))
        try:
            key = load_pem_private_key(read_private(key_file), None)
        except OSError as exc:
            raise ConfigError("", f"{key_file}: {exc.strerror}") from exc
        except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
            raise ConfigError("", f"{key_file} holds no private key in PEM") from exc
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ConfigError("", f"{key_file} holds no P-256 key")
        public = folder / PUBLIC
        known = public.read_bytes() if public.exists() else b""
        if key_hash(key.public_key()) not in (load_keys(known, str(public)) if known else {}):
            if known:
                print(f"bartizan: {key_file}: another key than before; the earlier ones stay in {public}", file=sys.stderr, flush=True)
            pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            write(public, pem + known, replace=True)
        return cls(key)

    def sign(self, pod: str, head: str, count: int, now: float) -> Countersignature:
        time = round(now, 3)    # as `signed_text` has it
        signature = self._key.sign(signed_text(pod, head, count, time), _P256_SHA256)
        return Countersignature(pod, head, count, time, self._key_hash, base64.b64encode(signature).decode())


Keys = dict[str, ec.EllipticCurvePublicKey]


def load_keys(pem: bytes, where: str) -> Keys:
    """Public keys by their hash. ConfigError if the PEM holds anything else, or nothing."""
    keys: Keys = {}
    for text in pem.split(_END)[:-1]:
        try:
            key = load_pem_public_key(text + _END)
        except (ValueError, UnsupportedAlgorithm) as exc:
            raise ConfigError("", f"{where} holds what is no public key") from exc
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ConfigError("", f"{where} holds a key that is not ECDSA")
        keys[key_hash(key)] = key
    if not keys:
        raise ConfigError("", f"{where} holds no public key in PEM")
    return keys


def why_not_signed(signed: Countersignature, keys: Keys) -> str:
    """Why the countersignature cannot be believed; empty: it holds."""
    key = keys.get(signed.key)
    if key is None:
        return f"was made with the key {signed.key[:16]}..., which is none of the control plane's"
    try:
        key.verify(base64.b64decode(signed.signature, validate=True), signed_text(signed.pod, signed.head, signed.count, signed.time),
                   _P256_SHA256)
    except (InvalidSignature, binascii.Error, ValueError):
        return "was not made with the control plane's key, or was changed"
    return ""
