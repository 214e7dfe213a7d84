"""Certificates as values. The handshakes around them: test_tls_context.py."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtensionOID, NameOID

from sidecar.model.errors import NotVerified, TlsRejected
from sidecar.net.tls_context import https_server, origination
from sidecar.net.verify import Peers, mesh_peer_of, peer_of, read_svid
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


async def test_names_that_cannot_be_read_are_nobodys() -> None:
    strange = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, X400_NAME)
    server = https_server(pki.server_credentials(pki.issue(ROOT, subject="x", extensions=[strange])))
    client = origination(min_version="1.3", roots=pki.pem([ROOT.certificate]), chain=None, key=None)
    ours, theirs = tls_pair(client, server)
    async with ours, theirs:
        assert await shake_hands(ours, theirs) == (None, None)
        with pytest.raises(NotVerified):
            peer_of(ours.connection, pki.DOMAIN, NotVerified)


async def test_who_was_met_before_is_found_by_the_very_chain() -> None:
    """Others of the same identity are read for themselves; of the first ones nothing is kept where there are too many."""
    intermediate = pki.authority("intermediate", ROOT)
    server = pki.mesh_server(pki.issue(ROOT, pki.uri(pki.ORDERS)), ROOT)
    peers = Peers(pki.DOMAIN, most=2)
    found = []
    holders = [pki.issue(ROOT, ID, pod_uid="u-1"), pki.issue(ROOT, ID, pod_uid="u-2"), pki.issue(intermediate, ID, pod_uid="u-3")]
    for holder in (holders[0], holders[0], holders[1], holders[2], holders[0]):
        ours, theirs = tls_pair(pki.mesh_client(holder, ROOT), server)
        async with ours, theirs:
            assert await shake_hands(ours, theirs) == (None, None)
            found.append(mesh_peer_of(theirs.connection, peers, TlsRejected))
            assert found[-1] == peer_of(theirs.connection, pki.DOMAIN, TlsRejected)
    assert found[1] is found[0]
    assert [peer.pod_uid for peer in found] == ["u-1", "u-1", "u-2", "u-3", "u-1"]
    assert [len(peer.signers) for peer in found] == [1, 1, 1, 2, 1]
    assert found[4] is not found[0]


async def test_who_is_nobody_is_nobody_the_second_time() -> None:
    server = pki.mesh_server(pki.issue(ROOT, pki.uri(pki.ORDERS)), ROOT)
    strangers = pki.issue(ROOT, pki.uri("spiffe://example.net/ns/shop/sa/web")), pki.issue(ROOT, ID, holder="application")
    peers = Peers(pki.DOMAIN)
    for holder in strangers * 2:
        ours, theirs = tls_pair(pki.mesh_client(holder, ROOT), server)
        async with ours, theirs:
            assert await shake_hands(ours, theirs) == (None, None)
            with pytest.raises(TlsRejected):
                mesh_peer_of(theirs.connection, peers, TlsRejected)
