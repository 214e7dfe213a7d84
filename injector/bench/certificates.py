"""The certificates of both ends, issued as the mesh issues them: root, SVID intermediate, ECDSA P-256 leaves for a day."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certs.ca import DAY_S, Authority, create_https_intermediate, create_root, create_svid_intermediate
from certs.profile import issue_https, issue_svid
from sidecar.model.identity import parse

from .layout import CLIENT, DOMAIN, SERVER, TRUST_DOMAIN


def write_certificates(folder: Path, now: float, hosts: Sequence[str]) -> None:
    """`roots.pem`; for `server`, `client` and `outside` NAME.pem (leaf and intermediate), NAME.key, and NAME.both.pem, as HAProxy wants it.

    Args:
        hosts: the names of `outside`.
    """
    root = create_root(TRUST_DOMAIN, now)
    intermediate = create_svid_intermediate(root, TRUST_DOMAIN, now)
    (folder / "roots.pem").write_bytes(_pem(root.certificate))
    for name, identity in (("server", SERVER), ("client", CLIENT)):
        key = ec.generate_private_key(ec.SECP256R1())
        _write(folder, name, issue_svid(intermediate, key.public_key(), parse(identity), "", DAY_S, now), intermediate, key)
    web, key = create_https_intermediate(root, [DOMAIN], now), ec.generate_private_key(ec.SECP256R1())
    _write(folder, "outside", issue_https(web, key.public_key(), hosts, DAY_S, now), web, key)


HERE = "localhost"      # by which name injector and API server are asked


@dataclass(frozen=True, slots=True)
class Control:
    """What the rows of the control plane have: a folder with `roots.pem`, `here.pem` and `here.key`, and who issues SVIDs.

    Args:
        roots: PEM.
    """

    folder: Path
    roots: str
    svids: Authority


def write_control(folder: Path, now: float) -> Control:
    """
    Args:
        folder: exists.
    """
    root = create_root(TRUST_DOMAIN, now)
    roots = _pem(root.certificate)
    (folder / "roots.pem").write_bytes(roots)
    web, key = create_https_intermediate(root, [HERE], now), ec.generate_private_key(ec.SECP256R1())
    _write(folder, "here", issue_https(web, key.public_key(), [HERE], DAY_S, now), web, key)
    return Control(folder, roots.decode(), create_svid_intermediate(root, TRUST_DOMAIN, now))


def _write(folder: Path, name: str, leaf: x509.Certificate, issuer: Authority, key: ec.EllipticCurvePrivateKey) -> None:
    chain = _pem(leaf) + _pem(issuer.certificate)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.pem").write_bytes(chain)
    for file, text in ((f"{name}.key", secret), (f"{name}.both.pem", chain + secret)):
        (folder / file).touch(mode=0o600)
        (folder / file).write_bytes(text)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
