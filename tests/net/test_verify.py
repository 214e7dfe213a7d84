"""Certificates as values, and host names as RFC 9525 has them. The handshakes around them: test_tls_context.py."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtensionOID, NameOID

from sidecar.model.errors import NotVerified, TlsRejected
from sidecar.net.tls_context import https_server, origination
from sidecar.net.verify import peer_of, read_svid, verify_host
from tests.helpers import pki
from tests.helpers.tls import shake_hands, tls_pair

ROOT = pki.authority("root")
ID = pki.uri(pki.WEB)
X400_NAME = bytes.fromhex("3004a3020500")     # SubjectAltName: [3] x400Address, which `cryptography` does not know


def raw(*extensions: x509.ExtensionType) -> x509.Certificate:
    """A certificate with these extensions and no others."""
    key, now = ROOT.key, datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(ROOT.certificate.subject).public_key(key.public_key())
        .serial_number(7).not_valid_before(now).not_valid_after(now + datetime.timedelta(hours=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256())


def usage(*, signature: bool = True, crl: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(signature, False, False, False, False, False, crl, False, False)


NAME, LEAF = x509.SubjectAlternativeName([ID]), x509.BasicConstraints(False, None)


def test_what_an_svid_says() -> None:
    holder = pki.issue(ROOT, ID, pod_uid="5b1f3a4e")
    peer = read_svid(holder.certificate, pki.DOMAIN)
    assert peer.identity == pki.WEB
    assert peer.pod_uid == "5b1f3a4e"
    assert peer.serial == holder.certificate.serial_number
    assert peer.fingerprint == holder.certificate.fingerprint(hashes.SHA256()).hex()
    assert peer.not_after == holder.certificate.not_valid_after_utc.timestamp()
    assert read_svid(pki.issue(ROOT, ID, subject="web").certificate, pki.DOMAIN).pod_uid == ""


@pytest.mark.parametrize(("certificate", "word"), [
    (raw(LEAF, usage()), "subjectAltName"),
    (raw(NAME, usage()), "basicConstraints"),
    (raw(NAME, LEAF), "keyUsage"),
    (raw(NAME, LEAF, usage(signature=False)), "key usage"),
    (raw(NAME, LEAF, usage(crl=True)), "key usage"),
    (raw(NAME, x509.BasicConstraints(True, None), usage()), "is a CA"),
    (raw(x509.SubjectAlternativeName([]), LEAF, usage()), "0 names"),
    (raw(x509.SubjectAlternativeName([ID, ID]), LEAF, usage()), "2 names"),
    (raw(x509.SubjectAlternativeName([x509.DNSName(pki.WEB)]), LEAF, usage()), "exactly one URI"),
    (raw(x509.SubjectAlternativeName([pki.uri(pki.WEB + "\0")]), LEAF, usage()), "not a SPIFFE ID"),
    (raw(x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, X400_NAME), LEAF, usage()), "cannot be read"),
    (raw(x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x03\x86\x01\xff"), LEAF, usage()), "cannot be read"),
    (raw(x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x80"), LEAF, usage()), "cannot be read"),
])
def test_no_svid(certificate: x509.Certificate, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        read_svid(certificate, pki.DOMAIN)


def test_another_trust_domain() -> None:
    certificate = pki.issue(ROOT, ID).certificate
    for domain in ("example.net", "example.org.", "Example.org", "org", ""):
        with pytest.raises(ValueError, match="not of the trust domain"):
            read_svid(certificate, domain)


def test_two_pod_uids_are_none() -> None:
    subject = x509.Name([x509.NameAttribute(NameOID.USER_ID, "u-1"), x509.NameAttribute(NameOID.USER_ID, "u-2")])
    certificate = pki.issue(ROOT, ID).certificate
    builder = x509.CertificateBuilder(
        ROOT.certificate.subject, subject, ROOT.key.public_key(), 7, certificate.not_valid_before_utc, certificate.not_valid_after_utc
    )
    for extension in (NAME, LEAF, usage()):
        builder = builder.add_extension(extension, critical=False)
    assert read_svid(builder.sign(ROOT.key, hashes.SHA256()), pki.DOMAIN).pod_uid == ""


async def test_no_certificate_is_no_peer() -> None:
    server = https_server(pki.server_credentials(pki.issue(ROOT, pki.host("localhost"))))
    client = origination(min_version="1.3", roots=pki.pem([ROOT.certificate]), chain=None, key=None)
    ours, theirs = tls_pair(client, server)
    async with ours, theirs:
        assert await shake_hands(ours, theirs) == (None, None)
        with pytest.raises(TlsRejected, match="no certificate"):
            peer_of(theirs.connection, pki.DOMAIN, TlsRejected)


# -- host names


async def verify(names: list[x509.GeneralName], host: str, *, subject: str = "", server_name: str | None = None) -> str:
    """"" if the certificate is for `host`, otherwise what is said about it."""
    server = https_server(pki.server_credentials(pki.issue(ROOT, *names, subject=subject)))
    client = origination(min_version="1.3", roots=pki.pem([ROOT.certificate]), chain=None, key=None)
    ours, theirs = tls_pair(client, server, server_name=server_name)
    async with ours, theirs:
        assert await shake_hands(ours, theirs) == (None, None)
        try:
            verify_host(ours.connection, host)
        except NotVerified as exc:
            return str(exc)
        return ""


@pytest.mark.parametrize(("names", "host", "is_for"), [
    (["api.example.com"], "api.example.com", True),
    (["API.Example.com"], "api.example.com", True),
    (["a.example.com", "b.example.com"], "b.example.com", True),
    (["api.example.com"], "example.com", False),
    (["example.com"], "api.example.com", False),
    (["api.example.com"], "api.example.com.evil.net", False),
    (["api.example.com"], "xapi.example.com", False),
    (["*.example.com"], "api.example.com", True),
    (["*.example.com"], "a.b.example.com", False),
    (["*.example.com"], "example.com", False),
    (["*.example.com"], "*.example.com", False),
    (["*"], "localhost", False),
    (["*.com"], "example.com", False),
    (["a*.example.com"], "api.example.com", False),
    (["*i.example.com"], "api.example.com", False),
    (["api.*.com"], "api.example.com", False),
    (["*.*.com"], "api.example.com", False),
    (["192.0.2.1"], "192.0.2.1", True),
    (["192.0.2.1"], "192.0.2.2", False),
    (["2001:db8::1"], "2001:db8::1", True),
    (["2001:db8::1"], "2001:db8::2", False),
    (["192.0.2.1"], "api.example.com", False),
    (["api.example.com"], "192.0.2.1", False),
    (["xn--bcher-kva.example"], "xn--bcher-kva.example", True),
    ([pki.ORDERS], "orders", False),
])
async def test_host_names(names: list[str], host: str, is_for: bool) -> None:
    said = await verify([pki.uri(name) if "://" in name else pki.host(name) for name in names], host)
    assert (said == "") is is_for
    assert is_for or host in said


async def test_an_address_is_proved_by_an_address_only() -> None:
    assert await verify([x509.DNSName("192.0.2.1")], "192.0.2.1") != ""
    assert await verify([x509.DNSName("*.0.2.1")], "192.0.2.1") != ""


async def test_a_common_name_proves_nothing() -> None:
    assert await verify([], "api.example.com", subject="api.example.com") != ""
    assert await verify([pki.host("b.example.com")], "api.example.com", subject="api.example.com") != ""


async def test_a_nul_hides_nothing() -> None:
    assert await verify([x509.DNSName("api.example.com\0.evil.net")], "api.example.com") != ""


async def test_a_server_name_that_was_set_explicitly_turns_nothing_off() -> None:
    assert await verify([pki.host("evil.net")], "api.example.com", server_name="api.example.com") != ""
    assert await verify([pki.host("evil.net")], "api.example.com", server_name="evil.net") != ""
    assert await verify([pki.host("api.example.com")], "api.example.com", server_name="evil.net") == ""


@pytest.mark.parametrize("host", [
    "", ".", "a..b", "_a.example.com", "api.example.com.", "1.2.3", "a" * 300, "[2001:db8::1]", "a b", "b\u00fccher",
])
async def test_strange_names_are_refused_and_break_nothing(host: str) -> None:
    said = await verify([pki.host("*.example.com"), pki.host("api.example.com")], host)
    assert said != "" or host in ("api.example.com.", "_a.example.com")


@pytest.mark.parametrize("value", [X400_NAME, b"\x30\x03\x82\x01\xff"])
async def test_names_that_cannot_be_read_are_refused(value: bytes) -> None:
    strange = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, value)
    server = https_server(pki.server_credentials(pki.issue(ROOT, subject="x", extensions=[strange])))
    client = origination(min_version="1.3", roots=pki.pem([ROOT.certificate]), chain=None, key=None)
    ours, theirs = tls_pair(client, server)
    async with ours, theirs:
        assert await shake_hands(ours, theirs) == (None, None)
        with pytest.raises(NotVerified):
            verify_host(ours.connection, "api.example.com")
        with pytest.raises(NotVerified):
            peer_of(ours.connection, pki.DOMAIN, NotVerified)
