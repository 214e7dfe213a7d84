"""Asking the issuer for a certificate: key and request made in memory, sent with the pod's token.

A new key for each certificate. The sidecar asks for its SVID so, the injector for the certificate of its own HTTPS. The key never
leaves this process.

Trust: the token goes to nobody but who proves the issuer's name under `roots`; the answer is a chain for the very key that was
made here, or nothing is.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from sidecar.model.errors import ConnectFailed
from sidecar.model.trust import NOBODY, DenyList, Trust

from .dial import Dialer
from .service import call_https, control_addresses
from .tls_context import load_certificates


class _Answer(msgspec.Struct, rename="camel"):
    chain: list[str]
    trust: Trust
    not_after: float
    now: float


class Issued(msgspec.Struct, frozen=True):
    """
    Args:
        chain: leaf first; the leaf is for `key`.
        not_after: Unix seconds; when the leaf ends.
        now: the issuer's clock.
    """

    chain: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey
    trust: Trust
    not_after: float
    now: float


class NotEntitled(ConnectFailed):
    """The issuer was asked, and says no."""


async def ask_issuer(
    dialer: Dialer, url: str, token: bytes, roots: Sequence[x509.Certificate], asked: Mapping[str, str] = MappingProxyType({}),
    deny: DenyList = NOBODY,
) -> Issued:
    """A certificate for a key made just now. The caller sets the deadline.

    Args:
        url: of the issuer's endpoint.
        asked: what stands in the question besides the request.
        deny: an issuer that is on it gets no token.

    Raises:
        NotEntitled: the token or the pod was refused.
        UpstreamError: nobody there, not verified, or an answer that cannot be read.
        ConfigError: the chain is none.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    body = msgspec.json.encode({"csr": request.public_bytes(Encoding.PEM).decode("ascii"), **asked})
    answer = await call_https(
        dialer, await control_addresses(url), url, "POST", roots=roots,
        headers=[(b"authorization", b"Bearer " + token.strip()), (b"content-type", b"application/json")], body=body, deny=deny,
    )
    if answer.status != 200:
        failed = NotEntitled if answer.status in (401, 403) else ConnectFailed
        raise failed(f"the issuer answered {answer.status}: {answer.body[:300].decode('utf-8', 'replace')}")
    try:
        issued = msgspec.json.decode(answer.body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ConnectFailed(f"the issuer's answer cannot be read: {exc}") from exc
    chain = tuple(load_certificates("".join(issued.chain).encode(), "chain"))
    try:
        is_ours = chain[0].public_key() == key.public_key()
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise ConnectFailed(f"the key in the certificate of the issuer cannot be read: {exc}") from exc
    if not is_ours:
        raise ConnectFailed("the issuer's certificate is not for the key that was asked for")
    return Issued(chain, key, issued.trust, issued.not_after, issued.now)
