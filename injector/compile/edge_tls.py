"""Certificates for the edge, out of Secrets of type kubernetes.io/tls.

Trust: a Secret is written by whoever may write in its namespace. What is no chain with its key is left out, so that one Secret stops no
snapshot: its hosts are not answered, and whose object names it is told.
"""

import warnings
from collections.abc import Iterable

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.utils import CryptographyDeprecationWarning

from injector.cluster import Key
from injector.cluster.objects import Object
from sidecar.model.edge import ClientCertificates, TlsHost
from sidecar.model.value import Name

from .egress import client_certificate


def tls_host(
    key: Key, secret: Object | None, hosts: Iterable[Name], min_version: str, clients: ClientCertificates | None = None,
) -> tuple[TlsHost, str]:
    """(what is spoken with clients that name these hosts, what is wrong with the Secret).

    Args:
        key: namespace and name of the Secret.
    """
    name = "/".join(key)
    found = TlsHost(name, tuple(hosts), clients=clients, min_version="1.3" if min_version == "1.3" else "1.2")
    if secret is None:
        return found, f"there is no Secret {name}, or the injector may not read it: TLS is refused for its hosts"
    held = client_certificate(name, secret)
    if held.chain is None or held.key is None:
        return found, f"the Secret {name} does not hold tls.crt and tls.key, as type kubernetes.io/tls does: TLS is refused for its hosts"
    if why := _why_unusable(held.chain, held.key):
        return found, f"the certificate of the Secret {name} is unusable: {why}; TLS is refused for its hosts"
    return TlsHost(name, found.hosts, held.chain, held.key, clients, found.min_version), ""


def _why_unusable(chain: str, key: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)     # of odd certificates: the gateway's TLS has the last word
            leaf = x509.load_pem_x509_certificates(chain.encode())[0].public_key()
            private = load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        return f"tls.crt or tls.key cannot be read ({str(exc)[:100]})"
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return "" if leaf.public_bytes(*form) == private.public_key().public_bytes(*form) else "tls.key is not the key of tls.crt"
