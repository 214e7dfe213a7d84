"""Trust made ready: roots as certificates, the deny-list as a table."""

import pytest

from sidecar.model.errors import ConfigError
from sidecar.model.trust import Revoked, Trust
from sidecar.net.anchors import Anchors
from tests.helpers import pki

ROOT = pki.authority("root")


def test_roots_and_deny_list() -> None:
    found = Anchors.of(Trust(3, pki.pem([ROOT.certificate]), revoked=Revoked(pods=("u-1",))))
    assert found.roots == (ROOT.certificate,)
    assert found.deny.pods == {"u-1"}


def test_roots_that_are_none() -> None:
    with pytest.raises(ConfigError, match="roots"):
        Anchors.of(Trust(1, ""))
