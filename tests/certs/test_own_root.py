"""What was made elsewhere is taken if leaves below it verify, and refused with cause and cure if not; nothing is written then."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs import files, own_root
from certs.ca import HTTPS_DOMAINS, Authority, fingerprint
from certs.own_root import Pair
from certs.profile import issue_https, issue_svid
from certs.request import key_hash
from certs.trust import Follower
from sidecar.model.errors import ConfigError
from sidecar.model.identity import workload_id

from .support import DOMAIN, NOW, new_key, openssl_verdict

DAY = timedelta(days=1)
WHEN = datetime.fromtimestamp(NOW, UTC)
RSA = rsa.generate_private_key(65537, 2048)
RSA_ISSUING = rsa.generate_private_key(65537, 2048)
TRUST_DOMAIN_NAME = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{DOMAIN}")])
OURS_ALONE = x509.NameConstraints([x509.UniformResourceIdentifier(DOMAIN)], [x509.DNSName("")])
IN_CLUSTER = x509.NameConstraints([x509.DNSName("svc")], None)


def ca(
    name, issuer=None, *extensions, key=None, pathlen=None, is_ca=True, signs=True, begins=-DAY, ends=300 * DAY, key_id=None,
    algorithm=hashes.SHA256(),  # noqa: B008 -- a constant
):
    """A CA as others make it: (certificate, key); the root's key identifier is of its maker's choosing."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    certificate, signer = issuer or (None, key)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder(certificate.subject if certificate else subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(WHEN + begins).not_valid_after(WHEN + ends)
        .add_extension(x509.SubjectKeyIdentifier(key_id or name.encode()), critical=False)
    )
    if certificate is not None:
        known = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known), critical=False)
    if is_ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(is_ca, pathlen if is_ca else None), critical=True)
    usage = x509.KeyUsage(not signs, False, False, False, False, signs, signs, False, False)
    for extension in (usage, *extensions):
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.NameConstraints | x509.KeyUsage))
    return builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else algorithm), key


def save(folder: Path, name: str, *made, certificates=None, password=None, mode=0o600) -> Pair:
    """As tls.crt and tls.key."""
    certificates = certificates or [certificate for certificate, _ in made]
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    pair.certificate.write_bytes(files.pem_of(*certificates))
    how = BestAvailableEncryption(password) if password else NoEncryption()
    pair.key.write_bytes(made[0][1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    pair.key.chmod(mode)
    return pair


def judge(made: files.Authorities) -> None:
    """Leaves of both kinds verify, with what is served above them."""
    for authority, leaf in (
        (made.svid, issue_svid(made.svid, new_key().public_key(), workload_id(DOMAIN, "shop", "web"), "uid", 3600, NOW)),
        (made.https, issue_https(made.https, new_key().public_key(), ["issuer.bartizan-system.svc"], 3600, NOW)),
    ):
        assert openssl_verdict([leaf, *authority.chain], made.roots, NOW) == ""


class TestWithItsKey:
    def make(self, folder, made, **saved):
        pair = save(folder, "root", made, **saved)
        return own_root.with_key(folder / "ca", pair.certificate, pair.key, DOMAIN, HTTPS_DOMAINS, NOW)

    @pytest.mark.parametrize(("key", "algorithm"), [
        (ec.generate_private_key(ec.SECP256R1()), hashes.SHA256),
        (ec.generate_private_key(ec.SECP384R1()), hashes.SHA384),
        (RSA, hashes.SHA256),
        (rsa.generate_private_key(65537, 4096), hashes.SHA384),
    ], ids=["P-256", "P-384", "RSA 2048", "RSA 4096"])
    def test_our_intermediates_stand_below_it(self, tmp_path, key, algorithm):
        root = ca("root", key=key)
        made, notes = self.make(tmp_path, root)
        judge(made)
        assert made.roots == (root[0],)
        assert isinstance(made.svid.certificate.signature_hash_algorithm, algorithm)
        assert "can be anybody in the mesh" in notes[0]
        judge(files.renew(tmp_path / "ca", NOW))

    @pytest.mark.parametrize(("made", "why"), [
        (ca("root", is_ca=False), "is no CA; give"),
        (ca("root", is_ca=None), "is no CA; give"),
        (ca("root", signs=False), "keyCertSign"),
        (ca("root", pathlen=0), r"allows 0 CAs below it \(pathlen\)"),
        (ca("root", ends=timedelta(0)), "ended at"),
        (ca("root", begins=DAY), "begins at"),
        (ca("root", key=rsa.generate_private_key(65537, 1024)), "weak key"),
        (ca("root", key=ec.generate_private_key(ec.SECP521R1())), "weak key, or one of another kind"),
        (ca("root", key=ed25519.Ed25519PrivateKey.generate()), "weak key, or one of another kind"),
        (ca("middle", ca("root")), "is no root: CN=root has issued it"),
        (ca("root", None, x509.NameConstraints([x509.DNSName("corp.example")], None)), "on trial.*name constraints"),
        (ca("root", None, x509.NameConstraints(None, [x509.UniformResourceIdentifier(DOMAIN)])), "on trial.*name constraints"),
        (ca("root", None, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])), None),     # which OpenSSL heeds below roots only
    ])
    def test_refused(self, tmp_path, made, why):
        if why is None:
            judge(self.make(tmp_path, made)[0])
            return
        with pytest.raises(ConfigError, match=why):
            self.make(tmp_path, made)
        assert not (tmp_path / "ca").exists()

    @pytest.mark.parametrize(("saved", "why"), [
        ({"password": b"x"}, "needs a password; .*openssl pkey"),
        ({"mode": 0o644}, "open to others"),
        ({"certificates": [ca("other")[0]]}, "is not the key of"),
        ({"certificates": [ca("a")[0], ca("b")[0]]}, "holds 2 certificates; give the root alone"),
    ])
    def test_files_that_do_not_fit(self, tmp_path, saved, why):
        with pytest.raises(ConfigError, match=why):
            self.make(tmp_path, ca("root"), **saved)
        assert not (tmp_path / "ca").exists()

    @pytest.mark.parametrize(("domain", "names", "where"), [("Example", ["svc"], "trustDomain"), (DOMAIN, ["sv\u00e7"], "httpsDomain")])
    def test_names_that_are_none(self, tmp_path, domain, names, where):
        pair = save(tmp_path, "root", ca("root"))
        with pytest.raises(ConfigError, match=where):
            own_root.with_key(tmp_path / "ca", pair.certificate, pair.key, domain, names, NOW)

    def test_files_that_are_none(self, tmp_path):
        pair = save(tmp_path, "root", ca("root"))
        for certificate, key, why in (
            (pair.key, pair.key, "no certificate"), (pair.certificate, pair.certificate, "open to others|no private key"),
            (tmp_path / "none", pair.key, "No such file"), (pair.certificate, tmp_path / "none", "No such file"),
        ):
            with pytest.raises(ConfigError, match=why):
                own_root.with_key(tmp_path / "ca", certificate, key, DOMAIN, HTTPS_DOMAINS, NOW)


ROOT = ca("root", key=RSA)
MIDDLE = ca("middle", ROOT, pathlen=1)
SVID = ca("svids", ROOT, TRUST_DOMAIN_NAME, OURS_ALONE, pathlen=0)
HTTPS = ca("https", ROOT, IN_CLUSTER, pathlen=0)


class TestWithoutIt:
    def make(self, folder, svid=(SVID,), https=(HTTPS,), root=ROOT, **saved):
        pairs = [save(folder, "svid", *svid, **saved), save(folder, "https", *https)]
        return own_root.with_pairs(folder / "ca", save(folder, "root", root).certificate, *pairs, DOMAIN, NOW)

    def test_taken_as_they_are(self, tmp_path):
        made, notes = self.make(tmp_path)
        judge(made)
        assert (made.svid.chain, made.trust_domain, len(notes)) == ((SVID[0],), DOMAIN, 1)
        assert not (tmp_path / "ca" / files.ROOT).exists()

    def test_a_ca_between_is_served_with_each_leaf(self, tmp_path):
        svid = ca("svids", MIDDLE, TRUST_DOMAIN_NAME, OURS_ALONE, pathlen=0, key=RSA_ISSUING)
        made, _ = self.make(tmp_path, (svid, MIDDLE, ROOT))
        judge(made)
        assert made.svid.chain == (svid[0], MIDDLE[0])
        assert files.load(tmp_path / "ca").svid.chain == made.svid.chain
        standing = Follower(tmp_path / "ca", lambda: NOW).standing.current
        assert {key_hash(one.public_key()) for one in (*made.svid.chain, ROOT[0], HTTPS[0])} <= standing.own_keys
        assert standing.trust.signer == fingerprint(ROOT[0])

    def test_what_protects_less_is_told(self, tmp_path):
        made, notes = self.make(tmp_path, (ca("svids", ROOT, TRUST_DOMAIN_NAME),), (ca("https", ROOT),))
        judge(made)
        assert [word for word in ("for URIs", "DNS names too", "any DNS name") if not any(word in note for note in notes)] == []

    @pytest.mark.parametrize(("svid", "why"), [
        ([ca("svids", ca("root", key=new_key()), TRUST_DOMAIN_NAME)], "was not issued by CN=root"),
        ([ca("svids", MIDDLE, TRUST_DOMAIN_NAME)], "CN=svids was not issued by CN=root; put the issuing"),
        ([ROOT], "is the root itself"),
        ([ca("svids", ROOT, TRUST_DOMAIN_NAME, is_ca=False)], "CN=svids is no CA"),
        ([ca("svids", ROOT, TRUST_DOMAIN_NAME, signs=False)], "CN=svids may not sign"),
        ([ca("svids", ROOT, TRUST_DOMAIN_NAME, ends=-timedelta(hours=1))], "CN=svids ended"),
        ([ca("svids", ROOT, TRUST_DOMAIN_NAME, key=rsa.generate_private_key(65537, 1024))], "CN=svids has a weak key"),
        ([ca("svids", ROOT, TRUST_DOMAIN_NAME, key=ed25519.Ed25519PrivateKey.generate())], "weak key, or one of another kind"),
        ([ca("svids", ROOT, TRUST_DOMAIN_NAME, algorithm=hashes.SHA224())], "weak hash"),
        ([ca("svids", ca("middle", ROOT, pathlen=0, key=MIDDLE[1]), TRUST_DOMAIN_NAME), ca("middle", ROOT, pathlen=0, key=MIDDLE[1])],
         "CN=middle allows 0 CAs below it"),
        ([ca("svids", ROOT, TRUST_DOMAIN_NAME, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]))], "servers and clients both"),
        ([ca("svids", ROOT)], f"names no trust domain; have it made with the one URI name spiffe://{DOMAIN}"),
        ([ca("svids", ROOT, x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://other.org")]))], "other.org, not"),
        ([ca("svids", ROOT, TRUST_DOMAIN_NAME, x509.NameConstraints([x509.UniformResourceIdentifier("other.org")], None))], "on trial"),
        ([HTTPS], "are one key"),
    ])
    def test_refused(self, tmp_path, svid, why):
        with pytest.raises(ConfigError, match=why):
            self.make(tmp_path, svid)
        assert not (tmp_path / "ca").exists()

    def test_the_wrong_order_is_named(self, tmp_path):
        svid = ca("svids", MIDDLE, TRUST_DOMAIN_NAME, OURS_ALONE)
        with pytest.raises(ConfigError, match="in the wrong order"):
            self.make(tmp_path, [svid], certificates=[MIDDLE[0], svid[0]])

    def test_the_pair_for_https_that_may_not_sign_there(self, tmp_path):
        https = ca("https", ROOT, x509.NameConstraints([x509.DNSName("svc")], [x509.DNSName("svc")]))
        with pytest.raises(ConfigError, match=r"https\.crt.*on trial"):
            self.make(tmp_path, https=[https])

    def test_a_root_that_allows_too_few_below_it(self, tmp_path):
        root = ca("root", key=RSA, pathlen=1)
        middle = ca("middle", root, pathlen=1)
        with pytest.raises(ConfigError, match="CN=root allows 1 CAs below it"):
            self.make(tmp_path, [ca("svids", middle, TRUST_DOMAIN_NAME), middle], root=root)


def test_an_authority_ends_with_the_first_of_its_chain():
    short = ca("middle", ROOT, ends=DAY)
    assert Authority(SVID[0], SVID[1], (short[0],)).not_after == NOW + 86400
