"""What an operator writes becomes what verifiers look for, or is refused; and an entry ends when it may."""

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certs import files
from certs.ca import DAY_S, HTTPS_DOMAINS
from certs.profile import MAX_HTTPS_S, issue_svid
from certs.request import key_hash
from certs.revocation import CLOCK_S, REVOKED, Revocation, add, lift, published, read, until, value_of
from sidecar.model.errors import ConfigError
from sidecar.model.identity import workload_id
from sidecar.model.trust import Revoked

from .support import DOMAIN, NOW, POD_UID, csr_of, new_key

WEB = f"spiffe://{DOMAIN}/ns/shop/sa/web"
SERIAL = "0" * 31 + "7"


def test_added_once_and_lifted(tmp_path):
    entry = Revocation("identity", WEB, NOW, "left the house")
    assert read(tmp_path) == ()
    assert add(tmp_path, entry)
    assert not add(tmp_path, Revocation("identity", WEB, NOW + 1, "again"))
    assert add(tmp_path, Revocation("pod", POD_UID, NOW))
    assert read(tmp_path) == (entry, Revocation("pod", POD_UID, NOW))
    assert (tmp_path / REVOKED).stat().st_mode & 0o777 == 0o600
    assert not lift(tmp_path, "pod", WEB)
    assert lift(tmp_path, "identity", WEB)
    assert not lift(tmp_path, "identity", WEB)
    assert read(tmp_path) == (Revocation("pod", POD_UID, NOW),)


def test_what_is_published():
    key = "ab" * 32
    entries = [Revocation("serial", SERIAL, NOW, "", NOW + 10), Revocation("key", key, NOW), Revocation("pod", "b", NOW),
               Revocation("pod", "a", NOW), Revocation("identity", WEB, NOW)]
    assert published(entries, NOW) == Revoked((WEB,), ("a", "b"), (key,), (SERIAL,))
    assert published(entries, NOW + 9.9).serials == (SERIAL,)
    assert published(entries, NOW + 10) == Revoked((WEB,), ("a", "b"), (key,), ())
    assert published(entries, NOW + 1e9) == Revoked((WEB,), ("a", "b"), (key,), ())


def test_a_serial_is_known_until_its_certificate_must_have_ended_by_every_clock():
    assert until(NOW + DAY_S, NOW) == NOW + DAY_S + CLOCK_S
    assert until(None, NOW) == NOW + MAX_HTTPS_S + CLOCK_S


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b'{"entries":[{"kind":"name","value":"x","time":1}]}', b'{"entrys":[]}'])
def test_a_list_that_cannot_be_read_is_not_an_empty_one(tmp_path, document):
    (tmp_path / REVOKED).write_bytes(document)
    with pytest.raises(ConfigError, match=r"revoked\.json"):
        read(tmp_path)


@pytest.mark.parametrize(("kind", "text", "value"), [
    ("identity", WEB, WEB),
    ("pod", POD_UID, POD_UID),
    ("key", "AB" * 32, "ab" * 32),
    ("serial", SERIAL, SERIAL),
    ("serial", "7", SERIAL),
    ("serial", "AB:cd", "0" * 28 + "abcd"),
    ("serial", "f" * 40, "f" * 40),
])
def test_one_spelling(kind, text, value):
    assert value_of(kind, text, DOMAIN) == value


@pytest.mark.parametrize(("kind", "text", "why"), [
    ("identity", "web", "not a SPIFFE ID"),
    ("identity", WEB + "/", "not a SPIFFE ID"),
    ("identity", WEB.upper(), "not a SPIFFE ID"),
    ("identity", "spiffe://other.org/ns/shop/sa/web", "not of this authority's trust domain"),
    ("pod", "", "no pod uid"),
    ("pod", "shop/web-0", "no pod uid"),
    ("pod", "a\n", "no pod uid"),
    ("serial", "", "no serial"),
    ("serial", "0", "no serial"),
    ("serial", "0x7", "no serial"),
    ("serial", "f" * 41, "no serial"),
    ("serial", "٧", "no serial"),
    ("key", "ab" * 31, "No such file"),
    ("key", "/dev/null", "holds neither"),
])
def test_what_would_revoke_nobody_is_refused(kind, text, why):
    with pytest.raises(ConfigError, match=why):
        value_of(kind, text, DOMAIN)


def test_a_key_from_whatever_holds_it(tmp_path):
    key, authorities = new_key(), files.init(tmp_path / "ca", DOMAIN, HTTPS_DOMAINS, NOW)
    leaf = issue_svid(authorities.svid, key.public_key(), workload_id(DOMAIN, "shop", "web"), POD_UID, 3600, NOW)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for pem in (files.pem_of(leaf), files.pem_of(leaf, authorities.svid.certificate), csr_of(key), public):
        (tmp_path / "file").write_bytes(pem)
        assert value_of("key", str(tmp_path / "file"), DOMAIN) == key_hash(key.public_key())
