"""Credentials and trust become TLS together; of trust the newest counts."""

import pytest
from cryptography.hazmat.primitives import hashes
from msgspec.structs import replace

from sidecar.control.keyring import Keyring
from sidecar.model.errors import ConfigError
from sidecar.model.snapshot import Snapshot, Workload, parse_snapshot, render_snapshot
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


def test_certificate_and_trust_of_one_answer_come_into_force_together() -> None:
    ring, tls = keyring()
    ring.take_issued(CREDENTIALS, pki.trust(root(), version=3))
    before = tls.current
    fresh = pki.credentials(pki.issue(root("new"), pki.uri(pki.WEB)))
    for late in (pki.trust(root("new"), version=2), pki.trust(root(), version=4)):
        with pytest.raises(ConfigError, match=r"leads to no root of the trust bundle, version [34]"):
            ring.take_issued(fresh, late)       # peers hold the newer trust: they would refuse it
        assert (tls.current, ring.credentials, ring.version) == (before, CREDENTIALS, 3)
    with pytest.raises(ConfigError, match="roots"):
        ring.take_issued(CREDENTIALS, Trust(4, "no PEM"))
    assert (tls.current, ring.version) == (before, 3)
    ring.take_issued(fresh, pki.trust(root(), root("new"), version=4))
    assert (ring.credentials, ring.version) == (fresh, 4)
    ring.take_issued(CREDENTIALS, pki.trust(root(), version=1))     # a certificate under an older trust than ours counts by ours
    assert (ring.credentials, ring.version) == (CREDENTIALS, 4)


def test_who_signs_and_who_should() -> None:
    old, new = root(), root("new")
    ring, _ = keyring()
    assert (ring.version, ring.signer, ring.is_of_the_signer) == (0, "", False)
    ring.take_issued(CREDENTIALS, pki.trust(old, version=1))
    signer = ring.signer
    assert signer == old.certificate.fingerprint(hashes.SHA256()).hex()
    assert ring.is_of_the_signer        # nobody minds
    both = pki.trust(old, new, version=2)
    ring.take_trust(replace(both, signer=signer))
    assert ring.is_of_the_signer
    ring.take_trust(replace(both, version=3, signer=new.certificate.fingerprint(hashes.SHA256()).hex()))
    assert (ring.version, ring.signer, ring.is_of_the_signer) == (3, signer, False)
    ring.take_trust(pki.trust(new, version=4))
    assert (ring.signer, ring.is_of_the_signer) == ("", False)      # our root was dropped: no peer takes our chain


def test_a_version_is_held_only_with_all_of_its_roots() -> None:
    """Else the mesh would drop the old root while roots in files still lack the new one."""
    ring, _ = keyring()
    ring.take_files(CREDENTIALS, ROOTS)
    ring.take_trust(pki.trust(root(), version=5))
    assert ring.version == 5
    ring.take_trust(pki.trust(root(), root("new"), version=6))
    assert (ring.version, ring.signer != "") == (0, True)
    ring.take_files(CREDENTIALS, pki.pem([root("new").certificate, root().certificate]))
    assert ring.version == 6


def test_a_kept_snapshot_does_not_roll_the_trust_back() -> None:
    """Whichever of the two that were kept over a restart is taken first."""
    newest = pki.trust(root(), revoked=REVOKED, version=9)
    text = render_snapshot(Snapshot(Workload(pki.WEB, "shop"), trust=pki.trust(root(), version=8)))
    old = parse_snapshot(text).trust
    assert old is not None
    for takes in ((old, newest), (newest, old)):
        ring, tls = keyring()
        ring.take_credentials(CREDENTIALS)
        for trust in takes:
            ring.take_trust(trust)
        assert tls.current is not None
        assert (ring.version, tls.current.anchors.deny.pods) == (9, {"u-1"})
