"""One certificate from the issuer for this workload. When to ask is for the caller to know, how to ask for `net/issuance.py`.

Trust: what the issuer answers is an SVID for the very key that was made here, held by whom it was asked for, or nothing is.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
from cryptography import x509

from sidecar.model.config import IssuedIdentity
from sidecar.model.errors import ConfigError
from sidecar.model.trust import NOBODY, DenyList, Trust
from sidecar.net.dial import Dialer
from sidecar.net.files import read_file
from sidecar.net.issuance import NotEntitled as NotEntitled
from sidecar.net.issuance import ask_issuer
from sidecar.net.tls_context import Credentials
from sidecar.net.verify import read_svid

from .file_identity import assemble

Holder = Literal["sidecar", "application"]


class Obtained(msgspec.Struct, frozen=True):
    """What became of it.

    Args:
        now: the issuer's clock.
    """

    credentials: Credentials
    trust: Trust
    now: float


async def obtain(
    config: IssuedIdentity, roots: Sequence[x509.Certificate], dialer: Dialer, holder: Holder = "sidecar", deny: DenyList = NOBODY
) -> Obtained:
    """Ask once. The caller sets the deadline.

    Args:
        holder: who will hold the key; the certificate says so if it is the application.

    Raises:
        NotEntitled: the token or the pod was refused.
        MeshError: no issuer that `roots` verify, or an answer that cannot be used.
    """
    token = read_file(config.token_file, "identity.tokenFile")
    asked = {} if holder == "sidecar" else {"holder": holder}
    issued = await ask_issuer(dialer, config.url.rstrip("/") + "/v1/svid", token, roots, asked, deny)
    credentials = assemble(issued.chain, issued.key, "chain")
    said = read_svid(credentials.chain[0], credentials.trust_domain).holder or "sidecar"
    if said != holder:
        raise ConfigError("chain", f"the certificate is for a key held by the {said}; asked for was one held by the {holder}")
    return Obtained(credentials, issued.trust, issued.now)
