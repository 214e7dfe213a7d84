"""Trust made ready: roots as certificates, the deny-list as a table."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

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


# -- which root a chain leads to

OTHER = pki.authority("root")       # another key under the same name
INTERMEDIATE = pki.authority("intermediate", ROOT)
LEAF = pki.issue(INTERMEDIATE, pki.uri(pki.WEB))


def fingerprint(holder: pki.Holder) -> str:
    return holder.certificate.fingerprint(hashes.SHA256()).hex()


@pytest.mark.parametrize(("chain", "roots", "signer"), [
    (LEAF.chain, [ROOT], ROOT),
    (LEAF.chain, [OTHER, ROOT], ROOT),                                          # by the signature, not by the name
    (LEAF.chain, [OTHER], None),
    (LEAF.chain, [pki.authority("another")], None),
    ((*LEAF.chain, ROOT.certificate), [OTHER, ROOT], ROOT),                     # the root came along
    (LEAF.chain, [INTERMEDIATE], INTERMEDIATE),                                 # an anchor need not sign itself
    (pki.issue(ROOT, pki.uri(pki.WEB)).chain, [ROOT], ROOT),
    (LEAF.chain[:1], [ROOT], None),                                             # the intermediate is missing
    (pki.issue(OTHER, pki.uri(pki.WEB)).chain + LEAF.chain[1:], [ROOT], None),  # one that does not belong
])
def test_the_root_that_a_chain_leads_to(chain: tuple[x509.Certificate, ...], roots: list[pki.Holder], signer: pki.Holder | None) -> None:
    assert pki.anchors(*roots).signer_of(chain) == (fingerprint(signer) if signer is not None else "")


def test_of_two_roots_with_one_key_it_is_the_one_that_signs() -> None:
    anew = pki.issue(None, subject="root", is_ca=True, key=ROOT.key)
    for signer in (ROOT, anew):
        trust = Trust(1, pki.pem([ROOT.certificate, anew.certificate]), fingerprint(signer))
        assert Anchors.of(trust).signer_of(LEAF.chain) == fingerprint(signer)
