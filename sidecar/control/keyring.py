"""What the sidecar proves and whom it trusts, from wherever the two come: together they are its TLS.

Either may change alone. Of trust the newest version counts, so that a revocation that has arrived by one way is not undone by what
comes late by another: an answer of the issuer, a snapshot, or what was kept over a restart.

Trust: the issuer and the injector are believed about whom the mesh trusts; each was verified by the roots held before. So the injector,
taken over, could bring other roots: it is as trusted as the issuer. What leaves here is never older than what came before it.
Attacked by tests/threats/test_trust.py.
"""

from msgspec.structs import replace

from sidecar.model.errors import ConfigError
from sidecar.model.trust import Trust
from sidecar.net.anchors import Anchors
from sidecar.net.tls_context import Credentials
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.verify import key_hash
from sidecar.net.watched import Watched


class Keyring:
    """
    Args:
        tls: set to what is held, as soon as that is both credentials and trust.
    Attributes:
        credentials: None: none yet.
        trust: the newest that was heard of.
        anchors: that trust with the roots that are in force.
        version: of the trust whose roots are all in force; 0: of none. This is what may be acknowledged.
        signer: fingerprint of the root that our chain leads to; empty: none that we trust.
    """

    def __init__(self, tls: Watched[MeshTls | None]) -> None:
        self.tls = tls
        self.credentials: Credentials | None = None
        self.trust: Trust | None = None
        self.anchors: Anchors | None = None
        self.version = 0
        self.signer = ""
        self._is_signer_revoked = False
        self._roots: str | None = None

    @property
    def is_of_the_signer(self) -> bool:
        """Whether our chain leads to the root that new certificates chain to, by no authority that was revoked: else it is time for a
        new one.
        """
        wanted = self.anchors.trust.signer if self.anchors is not None else ""
        return bool(self.signer) and wanted in ("", self.signer) and not self._is_signer_revoked

    def take_credentials(self, credentials: Credentials) -> None:
        self._join(credentials, self.trust, self._roots)

    def take_files(self, credentials: Credentials, roots: str) -> None:
        """Credentials and roots that stand in files: they are changed there, and whoever else speaks of trust adds the deny-list only.

        ConfigError, and nothing changes, if the roots are no certificates.
        """
        self._join(credentials, self.trust, roots)

    def take_trust(self, trust: Trust) -> bool:
        """Whether it was news. ConfigError, and nothing changes, if its roots are no certificates."""
        if not self._is_news(trust):
            return False
        self._join(self.credentials, trust, self._roots)
        return True

    def take_issued(self, credentials: Credentials, trust: Trust) -> None:
        """Both in one step. ConfigError, and nothing changes, if the chain leads to no root of the newer trust: peers would refuse it."""
        newest = trust if self.trust is None or self._is_news(trust) else self.trust
        if not Anchors.of(newest).signer_of(credentials.chain):
            raise ConfigError("chain", f"it leads to no root of the trust bundle, version {newest.version}")
        self._join(credentials, newest, self._roots)

    def _is_news(self, trust: Trust) -> bool:
        return self.trust is None or trust.version > self.trust.version

    def _join(self, credentials: Credentials | None, trust: Trust | None, roots: str | None) -> None:
        """All is built before anything changes."""
        heard = Anchors.of(trust) if trust is not None else None
        anchors = heard
        if roots is not None:
            anchors = Anchors.of(replace(trust, roots=roots) if trust is not None else Trust(0, roots))
        tls = MeshTls.of(credentials, anchors) if credentials is not None and anchors is not None else None
        self.credentials, self.trust, self.anchors, self._roots = credentials, trust, anchors, roots
        is_whole = heard is not None and anchors is not None and set(heard.roots) <= set(anchors.roots)
        self.version = heard.trust.version if heard is not None and is_whole else 0
        if tls is not None:
            self.signer = tls.anchors.signer_of(tls.credentials.chain)
            self._is_signer_revoked = not tls.anchors.deny.keys.isdisjoint(map(key_hash, tls.credentials.chain[1:]))
            self.tls.set(tls)
