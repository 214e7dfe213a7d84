"""Credentials and trust become TLS together; of trust the newest counts."""

import pytest

from sidecar.control.keyring import Keyring
from sidecar.model.errors import ConfigError
from sidecar.model.trust import Revoked, Trust
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.watched import Watched
from tests.helpers import pki
from tests.helpers.mesh import root

CREDENTIALS = pki.credentials(pki.issue(root(), pki.uri(pki.WEB)))
ROOTS = pki.pem([root().certificate])
REVOKED = Revoked(pods=("u-1",))


def keyring() -> tuple[Keyring, Watched[MeshTls | None]]:
    tls: Watched[MeshTls | None] = Watched(None)
    return Keyring(tls), tls


def test_neither_alone_is_tls() -> None:
    ring, tls = keyring()
    ring.take_credentials(CREDENTIALS)
    assert tls.current is None
    assert ring.take_trust(pki.trust(root()))
    assert tls.current is not None
    assert (tls.current.credentials, tls.current.anchors.roots) == (CREDENTIALS, (root().certificate,))
    ring, tls = keyring()
    ring.take_trust(pki.trust(root()))
    assert tls.current is None


def test_an_older_trust_is_never_taken() -> None:
    ring, tls = keyring()
    ring.take_credentials(CREDENTIALS)
    newest = pki.trust(root(), revoked=REVOKED, version=2)
    assert ring.take_trust(newest)
    held = tls.current
    assert not ring.take_trust(pki.trust(root(), version=1))
    assert not ring.take_trust(pki.trust(root(), version=2))
    assert (tls.current, ring.trust) == (held, newest)


def test_trust_that_cannot_be_read_changes_nothing() -> None:
    ring, tls = keyring()
    ring.take_credentials(CREDENTIALS)
    ring.take_trust(pki.trust(root()))
    held = tls.current
    with pytest.raises(ConfigError, match="roots"):
        ring.take_trust(Trust(2, "no PEM"))
    assert tls.current is held
    assert ring.take_trust(pki.trust(root(), version=2))


def test_roots_in_files_stay_and_the_deny_list_comes_from_elsewhere() -> None:
    ring, tls = keyring()
    ring.take_files(CREDENTIALS, ROOTS)
    ring.take_trust(pki.trust(root("stranger"), revoked=REVOKED))
    assert tls.current is not None
    assert tls.current.anchors.roots == (root().certificate,)
    assert tls.current.anchors.deny.pods == {"u-1"}
    with pytest.raises(ConfigError, match="roots"):
        ring.take_files(CREDENTIALS, "")
    ring.take_files(CREDENTIALS, pki.pem([root().certificate, root("stranger").certificate]))
    assert len(tls.current.anchors.roots) == 2
    assert tls.current.anchors.deny.pods == {"u-1"}
