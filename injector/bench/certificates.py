"""The certificates of both ends, issued as the mesh issues them: root, SVID intermediate, ECDSA P-256 leaves for a day."""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certs.ca import DAY_S, create_root, create_svid_intermediate
from certs.profile import issue_svid
from sidecar.model.identity import parse

from .layout import CLIENT, SERVER, TRUST_DOMAIN


def write_certificates(folder: Path, now: float) -> None:
    """`roots.pem`; for `server` and `client` NAME.pem (leaf and intermediate), NAME.key, and NAME.both.pem, as HAProxy wants it."""
    root = create_root(TRUST_DOMAIN, now)
    intermediate = create_svid_intermediate(root, TRUST_DOMAIN, now)
    (folder / "roots.pem").write_bytes(_pem(root.certificate))
    for name, identity in (("server", SERVER), ("client", CLIENT)):
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = issue_svid(intermediate, key.public_key(), parse(identity), "", DAY_S, now)
        chain = _pem(leaf) + _pem(intermediate.certificate)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{name}.pem").write_bytes(chain)
        for file, text in ((f"{name}.key", secret), (f"{name}.both.pem", chain + secret)):
            (folder / file).touch(mode=0o600)
            (folder / file).write_bytes(text)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
