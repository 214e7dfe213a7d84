"""Credentials from PEM files, checked as a whole before they are taken: key and leaf belong together, the leaf is an SVID."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from sidecar.model import identity
from sidecar.model.config import FileIdentity
from sidecar.model.errors import ConfigError
from sidecar.net.files import read_file
from sidecar.net.tls_context import Credentials, load_certificates, load_private_key
from sidecar.net.verify import read_svid

# What `cryptography` raises for a certificate that is none of ours, or that it cannot read.
_UNREADABLE = (
    ValueError, IndexError, x509.ExtensionNotFound, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)


def load_credentials(files: FileIdentity) -> tuple[Credentials, str]:
    """(credentials, PEM of the roots). ConfigError names the file that is wrong and how."""
    chain = tuple(load_certificates(read_file(files.chain_file, "identity.chainFile"), "identity.chainFile"))
    roots = read_file(files.roots_file, "identity.rootsFile")
    load_certificates(roots, "identity.rootsFile")
    key = load_private_key(read_file(files.key_file, "identity.keyFile"), "identity.keyFile")
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError("identity.keyFile", "the key is not ECDSA; SVIDs here are ECDSA P-256")
    return assemble(chain, key, "identity.chainFile"), roots.decode("ascii", "replace")


def assemble(chain: tuple[x509.Certificate, ...], key: ec.EllipticCurvePrivateKey, where: str) -> Credentials:
    """The credentials that these parts make together, or ConfigError at `where`."""
    leaf = chain[0]
    try:
        if leaf.public_key() != key.public_key():
            raise ConfigError(where, "the leaf certificate is not for this key")
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        spiffe_id = identity.parse(names.get_values_for_type(x509.UniformResourceIdentifier)[0])
        domain = identity.parts(spiffe_id)[0]
        peer = read_svid(leaf, domain)
    except _UNREADABLE as exc:
        raise ConfigError(where, f"the leaf certificate is no SVID: {exc}") from exc
    return Credentials(spiffe_id, domain, chain, key, peer.not_after)
