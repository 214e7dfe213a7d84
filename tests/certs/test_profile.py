"""Leaves: every field is ours, and the chain stands before OpenSSL."""

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.ca import DAY_S, HTTPS_DOMAINS, INTERMEDIATE_S, create_https_intermediate, create_root, create_svid_intermediate
from certs.profile import MAX_HTTPS_S, MIN_S, issue_https, issue_svid
from sidecar.model.errors import ConfigError
from sidecar.model.identity import workload_id

from .support import DOMAIN, NOW, POD_UID, new_key, openssl_verdict

ROOT = create_root(DOMAIN, NOW)
SVID = create_svid_intermediate(ROOT, DOMAIN, NOW)
HTTPS = create_https_intermediate(ROOT, HTTPS_DOMAINS, NOW)
WEB = workload_id(DOMAIN, "shop", "web")


def svid(lifetime_s=3600.0, now=NOW, pod_uid=POD_UID, key=None):
    return issue_svid(SVID, (key or new_key()).public_key(), WEB, pod_uid, lifetime_s, now)


def extension(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind)


def test_svid_follows_the_profile():
    key = new_key()
    leaf = svid(key=key)
    assert leaf.public_key() == key.public_key()
    san = extension(leaf, x509.SubjectAlternativeName)
    assert list(san.value) == [x509.UniformResourceIdentifier(WEB)]
    assert not san.critical
    assert [(each.oid, each.value) for each in leaf.subject] == [(NameOID.USER_ID, POD_UID)]
    usage = extension(leaf, x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert not usage.value.crl_sign
    purposes = extension(leaf, x509.ExtendedKeyUsage).value
    assert set(purposes) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not extension(leaf, x509.BasicConstraints).value.ca
    authority_id = extension(leaf, x509.AuthorityKeyIdentifier).value.key_identifier
    assert authority_id == extension(SVID.certificate, x509.SubjectKeyIdentifier).value.digest
    assert extension(leaf, x509.SubjectKeyIdentifier).value == x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    assert openssl_verdict([leaf, SVID.certificate], [ROOT.certificate], NOW) == ""


def test_without_a_pod_the_subject_is_empty_and_the_name_critical():
    leaf = svid(pod_uid="")
    assert len(leaf.subject.rdns) == 0
    assert extension(leaf, x509.SubjectAlternativeName).critical
    assert openssl_verdict([leaf, SVID.certificate], [ROOT.certificate], NOW) == ""


def test_an_applications_key_stands_in_the_subject():
    leaf = issue_svid(SVID, new_key().public_key(), WEB, POD_UID, 3600, NOW, holder="application")
    said = [(NameOID.USER_ID, POD_UID), (NameOID.ORGANIZATIONAL_UNIT_NAME, "application")]
    assert [(each.oid, each.value) for each in leaf.subject] == said
    assert openssl_verdict([leaf, SVID.certificate], [ROOT.certificate], NOW) == ""


@pytest.mark.parametrize(("asked_s", "got_s"), [(3600, 3600), (0, MIN_S), (-5, MIN_S), (1e12, DAY_S), (DAY_S + 1, DAY_S)])
def test_lifetime_is_clamped(asked_s, got_s):
    leaf = svid(asked_s)
    assert leaf.not_valid_after_utc.timestamp() == NOW + got_s
    assert leaf.not_valid_before_utc.timestamp() == NOW - 60


def test_never_past_the_authority():
    leaf = svid(3600, now=NOW + INTERMEDIATE_S - 100)
    assert leaf.not_valid_after_utc == SVID.certificate.not_valid_after_utc


def test_an_ended_authority_issues_nothing():
    with pytest.raises(ConfigError, match="bartizan certs rotate"):
        svid(3600, now=NOW + INTERMEDIATE_S)


def test_https_follows_the_profile():
    names = ["issuer.bartizan-system.svc", "issuer.bartizan-system.svc.cluster.local"]
    leaf = issue_https(HTTPS, new_key().public_key(), names, 1e12, NOW)
    san = extension(leaf, x509.SubjectAlternativeName)
    assert list(san.value) == [x509.DNSName(name) for name in names]
    assert san.critical
    assert leaf.not_valid_after_utc.timestamp() == NOW + MAX_HTTPS_S
    assert openssl_verdict([leaf, HTTPS.certificate], [ROOT.certificate], NOW) == ""


@pytest.mark.parametrize("names", [
    [], ["bank.example"], ["notsvc"], ["*.svc"], ["A.svc"], ["a..svc"], ["a.svc."], ["a\0.svc"], ["a.svc\n"], ["x" * 64 + ".svc"],
    ["10.0.0.1"], ["a." * 130 + "svc"],
])
def test_https_refuses_other_names(names):
    with pytest.raises(ConfigError, match="names"):
        issue_https(HTTPS, new_key().public_key(), names, 3600, NOW)
