"""A `Trust` made ready for TLS: its roots as certificates, its deny-list as a table. Built once when it changes."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from sidecar.model.trust import DenyList, Trust

from .tls_context import is_issued_by, load_certificates


class Anchors(msgspec.Struct, frozen=True, eq=False):
    trust: Trust
    roots: tuple[x509.Certificate, ...]
    deny: DenyList

    @classmethod
    def of(cls, trust: Trust) -> "Anchors":
        """ConfigError if the roots are no certificates."""
        return cls(trust, tuple(load_certificates(trust.roots.encode(), "roots")), DenyList.of(trust.revoked))

    def signer_of(self, chain: Sequence[x509.Certificate]) -> str:
        """SHA-256 fingerprint, hex, of the root that the chain leads to, by its signatures: two roots may share a name. Empty: none.

        Where two share a key (a root that was made anew), it is the one that the mesh signs with.
        """
        if not all(is_issued_by(lower, upper) for lower, upper in pairwise(chain)):
            return ""
        last = chain[-1]
        found = [root.fingerprint(hashes.SHA256()).hex() for root in self.roots if last == root or is_issued_by(last, root)]
        return self.trust.signer if self.trust.signer in found else next(iter(found), "")
