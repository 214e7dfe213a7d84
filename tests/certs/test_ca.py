"""The two intermediates cannot do each other's work: OpenSSL says so, not we."""

import pytest
from cryptography import x509

from certs.ca import (
    BACKDATE_S,
    DAY_S,
    HTTPS_DOMAINS,
    INTERMEDIATE_S,
    ROOT_S,
    Authority,
    create_https_intermediate,
    create_root,
    create_svid_intermediate,
    sign,
    trust_domain_of,
)
from sidecar.model.errors import ConfigError

from .support import DOMAIN, NOW, new_key, openssl_verdict

ROOT = create_root(DOMAIN, NOW)
SVID = create_svid_intermediate(ROOT, DOMAIN, NOW)
HTTPS = create_https_intermediate(ROOT, HTTPS_DOMAINS, NOW)


def leaf_with(authority: Authority, *names: x509.GeneralName) -> x509.Certificate:
    """What somebody could sign who has stolen the authority's key and cares for no profile."""
    extensions = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.SubjectAlternativeName(names), True),
    ]
    issuer = authority.certificate.subject
    return sign(x509.Name([]), new_key().public_key(), extensions, issuer, authority.key, NOW, NOW + 3600)


def verdict(authority: Authority, *names: x509.GeneralName, now: float = NOW) -> str:
    return openssl_verdict([leaf_with(authority, *names), authority.certificate], [ROOT.certificate], now)


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


def dns(text: str) -> x509.GeneralName:
    return x509.DNSName(text)


def ip(text: str) -> x509.GeneralName:
    import ipaddress

    return x509.IPAddress(ipaddress.ip_address(text))


@pytest.mark.parametrize(("authority", "name"), [
    (SVID, uri(f"spiffe://{DOMAIN}/ns/shop/sa/web")),
    (HTTPS, dns("issuer.bartizan-system.svc")),
    (HTTPS, dns("issuer.bartizan-system.svc.cluster.local")),
])
def test_an_intermediate_does_its_own_work(authority, name):
    assert verdict(authority, name) == ""


@pytest.mark.parametrize(("authority", "names"), [
    (SVID, [dns("issuer.bartizan-system.svc")]),
    (SVID, [uri(f"spiffe://{DOMAIN}/ns/shop/sa/web"), dns("bank.example")]),
    (SVID, [uri("spiffe://other.org/ns/shop/sa/web")]),
    (SVID, [uri(f"spiffe://sub.{DOMAIN}/ns/shop/sa/web")]),
    (SVID, [ip("10.0.0.1")]),
    (SVID, [ip("fd00::1")]),
    (HTTPS, [uri(f"spiffe://{DOMAIN}/ns/shop/sa/web")]),
    (HTTPS, [dns("issuer.bartizan-system.svc"), uri(f"spiffe://{DOMAIN}/ns/shop/sa/web")]),
    (HTTPS, [dns("bank.example")]),
    (HTTPS, [dns("notsvc")]),
    (HTTPS, [ip("10.0.0.1")]),
    (HTTPS, [ip("fd00::1")]),
])
def test_an_intermediate_cannot_do_other_work(authority, names):
    assert "subtree violation" in verdict(authority, *names)


def test_an_intermediate_signs_no_authority():
    below = create_svid_intermediate(SVID, DOMAIN, NOW)
    leaf = leaf_with(below, uri(f"spiffe://{DOMAIN}/ns/shop/sa/web"))
    chain = [leaf, below.certificate, SVID.certificate]
    assert "path length" in openssl_verdict(chain, [ROOT.certificate], NOW)


@pytest.mark.parametrize("domain", ["demo", "a_b.example", "d" * 200])
def test_unusual_trust_domains_work(domain):
    root = create_root(domain, NOW)
    authority = create_svid_intermediate(root, domain, NOW)
    leaf = leaf_with(authority, uri(f"spiffe://{domain}/ns/a/sa/b"))
    assert openssl_verdict([leaf, authority.certificate], [root.certificate], NOW) == ""
    assert trust_domain_of(authority.certificate) == domain


@pytest.mark.parametrize("domain", ["", "Example.org", "a b", "spiffe://a", "a/b", "-a"])
def test_a_bad_trust_domain_is_refused(domain):
    with pytest.raises(ConfigError, match="trustDomain"):
        create_root(domain, NOW)


def test_no_trust_domain_is_read_from_other_certificates():
    for certificate in (HTTPS.certificate, leaf_with(SVID, uri(f"spiffe://{DOMAIN}/ns/a/sa/b"))):
        with pytest.raises(ValueError, match="names no trust domain"):
            trust_domain_of(certificate)


def test_lifetimes_and_keys():
    assert ROOT.not_after == NOW + ROOT_S
    assert ROOT.certificate.not_valid_before_utc.timestamp() == NOW - BACKDATE_S
    assert SVID.not_after == HTTPS.not_after == NOW + INTERMEDIATE_S
    assert (ROOT.key.curve.name, SVID.key.curve.name, HTTPS.key.curve.name) == ("secp384r1", "secp256r1", "secp256r1")
    late = create_svid_intermediate(ROOT, DOMAIN, NOW + ROOT_S - DAY_S)
    assert late.not_after == ROOT.not_after


def test_serials_are_128_random_bits():
    serials = [leaf_with(SVID, uri(f"spiffe://{DOMAIN}/ns/a/sa/b")).serial_number for _ in range(40)]
    assert len(set(serials)) == 40
    assert 120 <= max(serial.bit_length() for serial in serials) <= 128


def test_a_key_is_not_shown():
    assert "key" not in repr(ROOT)
