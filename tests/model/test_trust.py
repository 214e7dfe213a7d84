"""Who is refused by a deny-list, and which document is none."""

import pytest

from sidecar.model.errors import ConfigError
from sidecar.model.trust import NOBODY, DenyList, Revoked, Trust, check_trust, serial_text

WEB = "spiffe://example.org/ns/shop/sa/web"
KEY = "ab" * 32


@pytest.mark.parametrize(("revoked", "word"), [
    (Revoked(identities=(WEB,)), "identity"),
    (Revoked(pods=("u-1",)), "pod"),
    (Revoked(serials=(serial_text(10),)), "certificate"),
    (Revoked(keys=(KEY,)), "key"),
])
def test_each_name_alone_is_enough(revoked: Revoked, word: str) -> None:
    deny = DenyList.of(revoked)
    assert word in deny.why(WEB, "u-1", 10, KEY)
    assert deny.why("spiffe://example.org/ns/shop/sa/orders", "u-2", 11, "cd" * 32) == ""


def test_what_is_not_known_is_not_revoked() -> None:
    assert DenyList.of(Revoked(pods=("",))).why(WEB, "", 1, "") == ""
    assert NOBODY.why(WEB, "u-1", 10, KEY) == ""


def test_a_serial_has_one_spelling() -> None:
    assert serial_text(0xAB) == "ab".rjust(32, "0")
    assert len(serial_text(1 << 150)) == 38


@pytest.mark.parametrize(("trust", "where"), [
    (Trust(1, "", signer="AB" * 32), "trust.signer"),
    (Trust(1, "", revoked=Revoked(identities=(WEB, "web"))), r"trust.revoked.identities\[1\]"),
    (Trust(1, "", revoked=Revoked(keys=("ab",))), r"trust.revoked.keys\[0\]"),
    (Trust(1, "", revoked=Revoked(serials=("0x1",))), r"trust.revoked.serials\[0\]"),
])
def test_what_is_none(trust: Trust, where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        check_trust("trust", trust)
