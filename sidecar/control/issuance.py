"""One certificate from the issuer: key and request made in memory, sent with the pod's token. When to ask is for the caller to know.

Trust: the token goes to nobody but a verified issuer; what comes back is an SVID for the very key that was made here, held by
whom it was asked for, or nothing is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from sidecar.model.config import IssuedIdentity
from sidecar.model.errors import ConfigError, ConnectFailed
from sidecar.model.trust import Trust
from sidecar.net.dial import Dialer
from sidecar.net.files import read_file
from sidecar.net.service import call_https, control_addresses
from sidecar.net.tls_context import Credentials, load_certificates
from sidecar.net.verify import read_svid

from .file_identity import assemble

Holder = Literal["sidecar", "application"]


class Issued(msgspec.Struct, rename="camel"):
    """The issuer's answer.

    Args:
        chain: PEM certificates, leaf first.
        now: the issuer's clock.
    """

    chain: list[str]
    trust: Trust
    not_after: float
    now: float


@dataclass(frozen=True)
class Obtained:
    """What became of it.

    Args:
        now: the issuer's clock.
    """

    credentials: Credentials
    trust: Trust
    now: float


class NotEntitled(ConnectFailed):
    """The issuer was asked, and says no."""


async def obtain(
    config: IssuedIdentity, roots: Sequence[x509.Certificate], dialer: Dialer, holder: Holder = "sidecar"
) -> Obtained:
    """Ask once. The caller sets the deadline.

    Args:
        holder: who will hold the key; the certificate says so if it is the application.

    Raises:
        NotEntitled: the token or the pod was refused.
        MeshError: no issuer that `roots` verify, or an answer that cannot be used.
    """
    token = read_file(config.token_file, "identity.tokenFile").strip()
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    asked = {"csr": request.public_bytes(Encoding.PEM).decode("ascii")}
    if holder != "sidecar":
        asked["holder"] = holder
    url = config.url.rstrip("/") + "/v1/svid"
    answer = await call_https(
        dialer, await control_addresses(url), url, "POST", roots=roots,
        headers=[(b"authorization", b"Bearer " + token), (b"content-type", b"application/json")], body=msgspec.json.encode(asked),
    )
    if answer.status != 200:
        failed = NotEntitled if answer.status in (401, 403) else ConnectFailed
        raise failed(f"the issuer answered {answer.status}: {answer.body[:300].decode('utf-8', 'replace')}")
    try:
        issued = msgspec.json.decode(answer.body, type=Issued)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ConnectFailed(f"the issuer's answer cannot be read: {exc}") from exc
    credentials = assemble(tuple(load_certificates("".join(issued.chain).encode(), "chain")), key, "chain")
    said = read_svid(credentials.chain[0], credentials.trust_domain).holder or "sidecar"
    if said != holder:
        raise ConfigError("chain", f"the certificate is for a key held by the {said}; asked for was one held by the {holder}")
    return Obtained(credentials, issued.trust, issued.now)
