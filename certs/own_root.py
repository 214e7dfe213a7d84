"""A root that was brought along, and issuing pairs that were made elsewhere below it: looked at before anything is written.

With the root's key the two intermediates are made as below a root of our own. Without it each of the two is a certificate, the CAs
above it, and a key, as cert-manager (tls.crt, tls.key, ca.crt) or Vault leave them. What could not work is refused with cause and
cure; what works but protects less is told. Last, a leaf of each kind is made on trial, and OpenSSL must verify it.

Trust: whoever can have a certificate signed below a root that is brought along can be anybody in the mesh: it should be the mesh's
alone. Keys are read by the rule of `files`. Attacked by tests/certs/test_own_root.py.
Spec: RFC 5280 s4.2, s6; X509-SVID s3, s4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from sidecar.model.errors import ConfigError
from sidecar.model.identity import workload_id
from sidecar.net.verify import chain_error

from . import files
from .ca import Authority, SigningKey, create_https_intermediate, create_svid_intermediate, trust_domain_of
from .profile import MIN_S, issue_https, issue_svid, permitted_domains

LEAST_RSA_BITS = 2048
_OTHER_KEY = f"has a weak key, or one of another kind; use ECDSA P-256 or P-384, or RSA of {LEAST_RSA_BITS} bits or more"
_SHARED = "who can have a certificate signed below {} can be anybody in the mesh; it should sign for nothing else"
_CURVES = (ec.SECP256R1, ec.SECP384R1)
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)

E = TypeVar("E", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Pair:
    """Where a certificate, with the CAs above it, and its key are."""

    certificate: Path
    key: Path


def with_key(
    directory: Path, root: Path, key: Path, trust_domain: str, https_domains: Sequence[str], now: float
) -> tuple[files.Authorities, list[str]]:
    """Make an authority below the root. Returns it and what its operator should know."""
    files.check_words(trust_domain, https_domains)
    certificate = _root(root, now)
    authority = Authority(certificate, _key(key, root, [certificate]))
    # Made once for the trial, since nothing may be written that is of no use.
    _try(root, certificate, create_svid_intermediate(authority, trust_domain, now), trust_domain, now)
    _try(root, certificate, create_https_intermediate(authority, https_domains, now), trust_domain, now, is_https=True)
    return files.init(directory, trust_domain, https_domains, now, authority), [_SHARED.format(root)]


def with_pairs(
    directory: Path, root: Path, svid: Pair, https: Pair, trust_domain: str, now: float
) -> tuple[files.Authorities, list[str]]:
    """Take an authority that was made elsewhere. Returns it and what its operator should know."""
    certificate = _root(root, now)
    for_svids, for_https = _pair(svid, root, certificate, now), _pair(https, root, certificate, now)
    if for_svids.key.public_key() == for_https.key.public_key():
        raise ConfigError("", f"{svid.key} and {https.key} are one key; make two pairs, so that a stolen one cannot do the other's work")
    try:
        domain = trust_domain_of(for_svids.certificate)
    except ValueError as exc:
        raise ConfigError("", f"{svid.certificate}: {exc}; have it made with the one URI name spiffe://{trust_domain}") from exc
    if domain != trust_domain:
        raise ConfigError("", f"{svid.certificate} is for the trust domain {domain}, not {trust_domain}")
    notes = [_SHARED.format(root)]
    constraints = _extension(for_svids.certificate, x509.NameConstraints)
    if constraints is None or not _names(constraints.permitted_subtrees, x509.UniformResourceIdentifier):
        notes.append(f"{svid.certificate} has no name constraint for URIs: who steals its key can sign for any trust domain below this "
                     f"root; have it made with the permitted URI {trust_domain}")
    if constraints is None or not _names(constraints.excluded_subtrees, x509.DNSName):
        notes.append(f"{svid.certificate} may sign DNS names too; have it made with all of them excluded")
    if not permitted_domains(for_https):
        notes.append(f"{https.certificate} may sign any DNS name; have it made with name constraints for svc and svc.cluster.local")
    _try(svid.certificate, certificate, for_svids, trust_domain, now)
    _try(https.certificate, certificate, for_https, trust_domain, now, is_https=True)
    return files.lay_out(directory, certificate, {files.SVID: for_svids, files.HTTPS: for_https}), notes


def _root(path: Path, now: float) -> x509.Certificate:
    found = files.load_certificates(path)
    if len(found) != 1:
        raise ConfigError("", f"{path} holds {len(found)} certificates; give the root alone, the one that is its own issuer")
    root = found[0]
    _check_ca(path, root, 1, now)
    if not files.is_issued_by(root, root):
        raise ConfigError("", f"{path} is no root: {root.issuer.rfc4514_string() or 'another'} has issued it; give that one here, and "
                              "this one as an issuing certificate or behind one")
    return root


def _pair(pair: Pair, root_path: Path, root: x509.Certificate, now: float) -> Authority:
    chain = list(files.load_certificates(pair.certificate))
    if chain[-1] == root:       # Vault's chains end with it
        del chain[-1]
    if not chain:
        raise ConfigError("", f"{pair.certificate} is the root itself; have an intermediate made, and keep the root's key elsewhere")
    key = _key(pair.key, pair.certificate, chain)
    _check_ca(root_path, root, len(chain), now)
    for below, certificate in enumerate(chain):
        _check_ca(pair.certificate, certificate, below, now)
        if not isinstance(certificate.signature_hash_algorithm, _HASHES):
            raise ConfigError("", f"{pair.certificate}: {_who(certificate)} is signed with a weak hash; have it made with SHA-256")
    _check_purposes(pair.certificate, chain[0])
    for lower, upper in pairwise((*chain, root)):
        if not files.is_issued_by(lower, upper):
            raise ConfigError("", f"{pair.certificate}: {_who(lower)} was not issued by {_who(upper)}; put the issuing certificate first, "
                                  f"then whoever issued it, up to but not including {root_path}")
    return Authority(chain[0], key, tuple(chain[1:]))


def _key(path: Path, of: Path, chain: Sequence[x509.Certificate]) -> SigningKey:
    """The private key of the first certificate."""
    try:
        pem = files.read_private(path)
        key = load_pem_private_key(pem, None)
    except TypeError as exc:
        raise ConfigError("", f"{path} needs a password; write it without: openssl pkey -in {path} -out FILE") from exc
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise ConfigError("", f"{path} holds no private key in PEM that can be read") from exc
    except OSError as exc:
        raise ConfigError("", f"{path}: {exc.strerror}") from exc
    public_key = key.public_key()
    if public_key != chain[0].public_key():
        if any(public_key == certificate.public_key() for certificate in chain):
            raise ConfigError("", f"{of}: its certificates are in the wrong order; put that of the key {path} first")
        raise ConfigError("", f"{path} is not the key of {of}; give the two that were made together")
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ConfigError("", f"{path} {_OTHER_KEY}")
    return key


def _check_ca(path: Path, certificate: x509.Certificate, below: int, now: float) -> None:
    """That it can stand above `below` further CAs."""
    who = f"{path}: {_who(certificate)}"
    constraints, usage = _extension(certificate, x509.BasicConstraints), _extension(certificate, x509.KeyUsage)
    if constraints is None or not constraints.ca:
        raise ConfigError("", f"{who} is no CA; give a CA's certificate (cert-manager: `isCA: true`)")
    if usage is None or not usage.key_cert_sign:
        raise ConfigError("", f"{who} may not sign certificates; have it made with the key usage keyCertSign (cert-manager: `cert sign`)")
    if constraints.path_length is not None and constraints.path_length < below:
        raise ConfigError("", f"{who} allows {constraints.path_length} CAs below it (pathlen), and {below} will be there; have it made "
                              f"with pathlen {below} or more, or bring the issuing pairs themselves and the root above them")
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if ends.timestamp() <= now:
        raise ConfigError("", f"{who} ended at {ends:%Y-%m-%d %H:%M} UTC; have it renewed")
    if begins.timestamp() > now:
        raise ConfigError("", f"{who} begins at {begins:%Y-%m-%d %H:%M} UTC only; wait, or set this machine's clock")
    if not _is_strong(certificate.public_key()):
        raise ConfigError("", f"{who} {_OTHER_KEY}")


def _check_purposes(path: Path, certificate: x509.Certificate) -> None:
    """OpenSSL applies the purposes of a CA to what it signs."""
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    if purposes is not None and not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} <= set(purposes):
        raise ConfigError("", f"{path}: {_who(certificate)} is not for servers and clients both (extended key usage); have it made for "
                              "serverAuth and clientAuth, or without that extension")


def _try(
    path: Path, root: x509.Certificate, authority: Authority, trust_domain: str, now: float, *, is_https: bool = False
) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    if is_https:
        leaf = issue_https(authority, key, [f"trial.{next(iter(permitted_domains(authority)), 'svc')}"], MIN_S, now)
    else:
        leaf = issue_svid(authority, key, workload_id(trust_domain, "trial", "trial"), "trial", MIN_S, now)
    if why := chain_error([leaf, *authority.chain], [root], now):
        raise ConfigError("", f"{path}: a certificate made below it on trial is not verified: {why}; see its extensions, above all name "
                              f"constraints: openssl x509 -in {path} -text")


def _is_strong(key: PublicKeyTypes) -> bool:
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= LEAST_RSA_BITS and key.public_numbers().e > 3
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES)


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except ValueError as exc:
        raise ConfigError("", f"{_who(certificate)}: its extensions cannot be read: {exc}") from exc


def _names(subtrees: Sequence[x509.GeneralName] | None, kind: type[x509.GeneralName]) -> list[x509.GeneralName]:
    return [name for name in subtrees or () if isinstance(name, kind)]


def _who(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or f"the certificate {certificate.serial_number:x}"
