"""A `Trust` made ready for TLS: its roots as certificates, its deny-list as a table. Built once when it changes."""

from dataclasses import dataclass

from cryptography import x509

from sidecar.model.trust import DenyList, Trust

from .tls_context import load_certificates


@dataclass(frozen=True, eq=False)
class Anchors:
    trust: Trust
    roots: tuple[x509.Certificate, ...]
    deny: DenyList

    @classmethod
    def of(cls, trust: Trust) -> "Anchors":
        """ConfigError if the roots are no certificates."""
        return cls(trust, tuple(load_certificates(trust.roots.encode(), "roots")), DenyList.of(trust.revoked))
