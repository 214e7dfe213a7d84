"""What the sidecar proves and whom it trusts, from wherever the two come: together they are its TLS.

Either may change alone. Of trust the newest version counts, so that a revocation that has arrived by one way is not undone by what
comes late by another.
"""

from msgspec.structs import replace

from sidecar.model.trust import Trust
from sidecar.net.anchors import Anchors
from sidecar.net.tls_context import Credentials
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.watched import Watched


class Keyring:
    """
    Args:
        tls: set to what is held, as soon as that is both credentials and trust.
    """

    def __init__(self, tls: Watched[MeshTls | None]) -> None:
        self._tls = tls
        self._credentials: Credentials | None = None
        self._roots: str | None = None
        self._trust: Trust | None = None

    @property
    def trust(self) -> Trust | None:
        """The newest that was heard of."""
        return self._trust

    def take_credentials(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._join()

    def take_files(self, credentials: Credentials, roots: str) -> None:
        """Credentials and roots that stand in files: they are changed there, and whoever else speaks of trust adds the deny-list only."""
        Anchors.of(Trust(0, roots))     # ConfigError before anything changes
        self._credentials, self._roots = credentials, roots
        self._join()

    def take_trust(self, trust: Trust) -> bool:
        """Whether it was news. ConfigError, and nothing changes, if its roots are no certificates."""
        if self._trust is not None and trust.version <= self._trust.version:
            return False
        Anchors.of(trust)
        self._trust = trust
        self._join()
        return True

    def _join(self) -> None:
        trust = self._trust
        if self._roots is not None:
            trust = replace(trust, roots=self._roots) if trust is not None else Trust(0, self._roots)
        if self._credentials is not None and trust is not None:
            self._tls.set(MeshTls.of(self._credentials, Anchors.of(trust)))
