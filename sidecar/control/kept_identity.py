"""The workload's identity over a restart of its container: key, certificate and trust in one file of memory-backed storage that the
sidecar alone mounts, so that a restarted sidecar serves on at once, also while the issuer is away.

Trust: this is the one place where the sidecar's own key is written. The file is of mode 0600 and replaced whole; one that others
could read is not used, since it may have been read.
"""

import os
import stat

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sidecar.model.errors import ConfigError
from sidecar.model.trust import Trust, check_trust
from sidecar.model.value import Value, from_json
from sidecar.net.files import keep
from sidecar.net.tls_context import Credentials, load_certificates, load_private_key

from .file_identity import assemble


class _Kept(Value, frozen=True):
    chain: str
    key: str
    trust: Trust
    renew_at: float


class KeptIdentity(msgspec.Struct, frozen=True):
    """
    Args:
        renew_at: Unix seconds; when the next certificate is asked for.
    """

    credentials: Credentials
    trust: Trust
    renew_at: float


def write_kept(path: str, kept: KeptIdentity) -> None:
    """OSError if it cannot be written; what was kept before is then still there."""
    chain = "".join(item.public_bytes(Encoding.PEM).decode("ascii") for item in kept.credentials.chain)
    key = kept.credentials.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
    keep(path, msgspec.json.encode(_Kept(chain, key, kept.trust, kept.renew_at)))


def read_kept(path: str) -> KeptIdentity | None:
    """None: nothing was kept. ConfigError, which tells nothing of the key: it is not whole, or others could read it. Whether it has
    ended is for the caller to judge.
    """
    try:
        with open(path, "rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise ConfigError("", f"{path} is open to others")
            text = file.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ConfigError("", f"cannot read {path}: {exc.strerror}") from exc
    kept = from_json(text, _Kept)
    check_trust("trust", kept.trust)
    key = load_private_key(kept.key.encode(), "key")
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError("key", "the key is not ECDSA")
    credentials = assemble(tuple(load_certificates(kept.chain.encode(), "chain")), key, "chain")
    return KeptIdentity(credentials, kept.trust, kept.renew_at)
