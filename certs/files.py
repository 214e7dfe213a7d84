"""The authority's directory: keys, certificates, bundle and log, all of mode 0600 and written whole or not at all.

    root.key        the root, key and certificate; needed for `init` and `rotate --intermediates` only, so it can be kept elsewhere
    svid.key        the intermediate for SVIDs; one file, so that key and certificate cannot disagree after a crash
    https.key       the intermediate for the mesh's own HTTPS
    roots.pem       whom the mesh trusts: the root, and while roots are rotated the other one too
    issuance.log    what was issued
    revoked.json    who is refused although its certificate has not ended (`revocation`)
    trust.json      what was published last (`trust`)
    rotation.json   while roots are rotated: how far that is (`rotation`), with next-root.key, previous-svid.key, previous-https.key

A directory may be a Secret that Kubernetes mounts: its files are symbolic links, which are followed, and with `fsGroup` they are
root's and of mode 0440. To a process that is not root no other mode would do, and the group is the pod's own: so a group may read
(never write) what is root's, and nobody else may read anything. Nothing can be written there; where the issuer shall renew, rotate
and revoke, it keeps the Secret itself (`secret_store`).

Trust: who can read a key here can be anybody in the mesh, hence the modes; a key that others can read is refused, not mended,
since it may have been read.
"""

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from sidecar.model.errors import ConfigError, MeshError

from .ca import (
    Authority,
    SigningKey,
    check_trust_domain,
    create_https_intermediate,
    create_root,
    create_svid_intermediate,
    trust_domain_of,
)
from .profile import DNS_NAME, permitted_domains

ROOT, SVID, HTTPS = "root.key", "svid.key", "https.key"
LOG = "issuance.log"
ROOTS = "roots.pem"


@dataclass(frozen=True, slots=True)
class Authorities:
    """What an issuer signs with.

    Args:
        roots: the trust bundle; it holds the root that both intermediates chain to.
    """

    trust_domain: str
    roots: tuple[x509.Certificate, ...]
    svid: Authority
    https: Authority


def init(
    directory: Path, trust_domain: str, https_domains: Sequence[str], now: float, root: Authority | None = None
) -> Authorities:
    """Make a new authority, below `root` if that was brought along. ConfigError if the directory already holds one, or part of one."""
    check_words(trust_domain, https_domains)
    root = root or create_root(trust_domain, now)
    svid, https = create_svid_intermediate(root, trust_domain, now), create_https_intermediate(root, https_domains, now)
    return lay_out(directory, root.certificate, {ROOT: root, SVID: svid, HTTPS: https})


def check_words(trust_domain: str, https_domains: Sequence[str]) -> None:
    """ConfigError for what would end up in a CA's names and is none."""
    check_trust_domain(trust_domain)
    for domain in https_domains:
        if DNS_NAME.fullmatch(domain) is None:
            raise ConfigError("httpsDomain", f"{domain!r} is no DNS name in lower case")


def lay_out(directory: Path, root: x509.Certificate, authorities: Mapping[str, Authority]) -> Authorities:
    """Write them as the files that they are named by. ConfigError if the directory already holds an authority, or part of one."""
    make_directory(directory)
    for name in (ROOT, SVID, HTTPS, ROOTS, LOG):
        if (directory / name).exists():
            raise ConfigError("", f"{directory / name} exists already; nothing is overwritten, choose another directory")
    write(directory / ROOTS, pem_of(root))
    for name, authority in authorities.items():
        store(directory / name, authority)
    return load(directory)


def renew(directory: Path, now: float) -> Authorities:
    """New intermediates from the same root, with the same constraints. What the old ones signed stays valid until it ends."""
    old = load(directory)
    if not (directory / ROOT).exists():
        raise ConfigError("", f"{directory / ROOT} is not here; put it back for as long as this takes, or, if it is lost, change the root: "
                              f"`bartizan certs rotate {directory} --root`")
    root = load_authority(directory / ROOT)
    if root.certificate not in old.roots:
        raise ConfigError("", f"{directory / ROOT} is no root of {directory / ROOTS}, so nobody would trust what it signs; after a change "
                              "of the root it is the new one's key that belongs there")
    store(directory / SVID, create_svid_intermediate(root, old.trust_domain, now), replace=True)
    store(directory / HTTPS, create_https_intermediate(root, permitted_domains(old.https), now), replace=True)
    return load(directory)


def load(directory: Path) -> Authorities:
    """The authority of the directory. ConfigError names the file that is missing, readable by others, or does not fit."""
    roots = load_certificates(directory / ROOTS)
    svid, https = load_authority(directory / SVID), load_authority(directory / HTTPS)
    for name, authority in ((SVID, svid), (HTTPS, https)):
        if not any(is_issued_by(authority.chain[-1], root) for root in roots):
            raise ConfigError("", f"{directory / name} was not signed by a root of {directory / ROOTS}; add its root there")
    try:
        return Authorities(trust_domain_of(svid.certificate), roots, svid, https)
    except ValueError as exc:
        raise ConfigError("", f"{directory / SVID}: {exc}") from exc


def make_directory(path: Path) -> None:
    """If it is not there."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def load_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(path.read_bytes()))
    except (ValueError, x509.InvalidVersion) as exc:
        raise ConfigError("", f"{path} holds no certificate in PEM") from exc
    except OSError as exc:
        raise ConfigError("", f"{path}: {exc.strerror}; `bartizan certs init` makes an authority") from exc


def pem_of(*certificates: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def key_pem_of(key: SigningKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write(path: Path, data: bytes, *, replace: bool = False) -> None:
    """Write a file of mode 0600, whole or not at all; after it returns the disk has it.

    Raises:
        ConfigError: it exists and is not to be replaced, or cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(file, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(file)
            if replace:
                os.rename(temporary, path)
            else:
                os.link(temporary, path)    # a rename that refuses to overwrite
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)
    except FileExistsError as exc:
        raise ConfigError("", f"{path} exists already and is not overwritten; remove it or choose another name") from exc
    except OSError as exc:
        raise ConfigError("", f"{path}: {exc.strerror}") from exc


class Busy(MeshError):
    """Somebody else is changing the directory at this moment."""


@contextmanager
def locked(directory: Path, *, wait: bool = True) -> Iterator[None]:
    """Whoever changes what is published holds this lock meanwhile, verb and issuer alike; what comes of a crash releases it.

    Raises:
        Busy: somebody else has it, and we do not `wait`.
        ConfigError: there is no such directory.
    """
    try:
        file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise ConfigError("", f"{directory}: {exc.strerror}; `bartizan certs init` makes an authority") from exc
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise Busy(f"{directory} is being changed") from exc
        yield
    finally:
        os.close(file)


def sync_directory(path: Path) -> None:
    """Wait until the disk knows the names in the directory."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def store(path: Path, authority: Authority, *, replace: bool = False) -> None:
    write(path, key_pem_of(authority.key) + pem_of(*authority.chain), replace=replace)


def load_authority(path: Path) -> Authority:
    """Key and certificates that stand together in one file. ConfigError names it if it is missing, open to others, or no such file."""
    try:
        pem = read_private(path)
        key, (certificate, *above) = load_pem_private_key(pem, None), x509.load_pem_x509_certificates(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as exc:
        raise ConfigError("", f"{path} does not hold a private key without a password and its certificate, in PEM") from exc
    except OSError as exc:
        raise ConfigError("", f"{path}: {exc.strerror}; `bartizan certs init` makes an authority") from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) or key.public_key() != certificate.public_key():
        raise ConfigError("", f"{path}: its key is not that of its certificate")
    return Authority(certificate, key, tuple(above))


def read_private(path: Path) -> bytes:
    """A file that nobody else may read. ConfigError if somebody may; OSError."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if is_open_to_others(stat.S_IMODE(status.st_mode), status.st_uid, os.geteuid()):
            raise ConfigError("", f"{path} is open to others; if nobody read it: chmod 600 {path}; otherwise have it made anew")
        return file.read()


def is_open_to_others(mode: int, owner: int, process: int) -> bool:
    """Whether the mode lets in more than it must; the module's docstring says what that is."""
    is_mounted = owner == 0 != process
    return bool(mode & (0o037 if is_mounted else 0o077))


def is_issued_by(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
