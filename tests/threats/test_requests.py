"""What of a requester's choosing ends up in a certificate? C1, C2, C4, C5: wrong requests to a real issuer, over HTTPS.

A wish in a request is no attack that could be refused, since nobody reads wishes: there the certificate is recounted, field by field.
"""

import datetime
import json
import re
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from trio.testing import MockClock, memory_stream_pair

from certs import files
from certs.ca import BACKDATE_S
from certs.issuer import BURST, MAX_BODY_BYTES
from certs.log import Log
from certs.profile import MAX_SVID_S, issue_https, issue_svid
from sidecar.model.call import Answer, Call
from sidecar.model.errors import DownstreamTimedOut
from sidecar.model.identity import workload_id
from sidecar.net.deadline import Deadline
from sidecar.net.service import REQUEST_S, serve_calls
from tests.certs.support import DOMAIN, POD_UID, csr_of, new_key, token
from tests.helpers import der
from tests.helpers.issuer import NAME, Issuer, answers, asking, bearing, fresh, now, of_pod, pem, post

OTHER_POD = "0d9c6a57-52c5-4cc4-8a0d-6f3f0f3b7c11"


@pytest.fixture
async def issuer(tmp_path: Path, nursery: trio.Nursery) -> Issuer:
    made = Issuer(tmp_path)
    await made.start(nursery)
    return made


# -- C1: wishes


def uris(*texts: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(text) for text in texts])


KEY_USAGE = x509.KeyUsage(True, True, True, True, True, True, True, False, False)
WISHES: dict[str, tuple[x509.ExtensionType, ...]] = {
    "namespace": (uris(f"spiffe://{DOMAIN}/ns/bank/sa/web"),),
    "account": (uris(f"spiffe://{DOMAIN}/ns/shop/sa/admin"),),
    "trust-domain": (uris("spiffe://evil.example/ns/shop/sa/web"),),
    "own-and-other": (uris(f"spiffe://{DOMAIN}/ns/shop/sa/web", f"spiffe://{DOMAIN}/ns/bank/sa/vault"),),
    "dns": (x509.SubjectAlternativeName([x509.DNSName(NAME)]),),
    "wildcard": (x509.SubjectAlternativeName([x509.DNSName("*")]),),
    "ip": (x509.SubjectAlternativeName([x509.IPAddress(ip_address("10.0.0.1"))]),),
    "mail": (x509.SubjectAlternativeName([x509.RFC822Name("root@example.org")]),),
    "ca": (x509.BasicConstraints(ca=True, path_length=None),),
    "key-usage": (KEY_USAGE,),
    "purposes": (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),),
    "critical": (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"),),
    "constraints": (x509.NameConstraints([x509.DNSName("")], None),),
    "key-id": (x509.SubjectKeyIdentifier(b"\0" * 20),),
    "all": (uris(f"spiffe://{DOMAIN}/ns/bank/sa/vault"), x509.BasicConstraints(ca=True, path_length=3), KEY_USAGE),
}


def recount(chain: list[x509.Certificate], public_key: ec.EllipticCurvePublicKey, issuer: Issuer) -> None:
    """Every field is the attestation's or the issuer's, the key alone is the requester's."""
    leaf, authority = chain[0], issuer.authorities.svid.certificate
    leaf.verify_directly_issued_by(authority)
    assert leaf.version is x509.Version.v3
    assert leaf.public_key() == public_key
    assert leaf.issuer == authority.subject
    assert [(one.oid, one.value) for one in leaf.subject] == [(NameOID.USER_ID, POD_UID)]
    assert isinstance(leaf.signature_hash_algorithm, hashes.SHA256)
    assert 2 ** 64 < leaf.serial_number < 2 ** 128
    lasts = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    assert lasts == datetime.timedelta(seconds=MAX_SVID_S + BACKDATE_S)
    assert abs(leaf.not_valid_after_utc.timestamp() - MAX_SVID_S - now()) < 60
    found = {extension.oid: (extension.critical, extension.value) for extension in leaf.extensions}
    assert found == {
        ExtensionOID.BASIC_CONSTRAINTS: (True, x509.BasicConstraints(False, None)),
        ExtensionOID.KEY_USAGE: (True, x509.KeyUsage(True, False, False, False, False, False, False, False, False)),
        ExtensionOID.EXTENDED_KEY_USAGE: (
            False, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])),
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME: (False, uris(f"spiffe://{DOMAIN}/ns/shop/sa/web")),
        ExtensionOID.SUBJECT_KEY_IDENTIFIER: (False, x509.SubjectKeyIdentifier.from_public_key(public_key)),
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER: (
            False, x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())),  # type: ignore[arg-type]
    }


@pytest.mark.parametrize("wish", [pytest.param(wish, id=f"C1-{name}") for name, wish in WISHES.items()])
async def test_a_wish_is_not_read(wish: tuple[x509.ExtensionType, ...], issuer: Issuer) -> None:
    key = new_key()
    answer = await issuer.ask(csr_of(key, *wish))
    recount(answer.chain, key.public_key(), issuer)


def with_subject(subject: bytes, attributes: bytes = b"") -> Callable[[ec.EllipticCurvePrivateKey], str]:
    return lambda key: pem(der.request(der.info_of(key), der.ecdsa(key), subject=subject, attributes=attributes))


def challenge(size: int) -> bytes:
    return der.seq(der.oid("challengePassword"), der.tlv(0x31, der.tlv(0x0C, b"x" * size)))


def of_application(key: ec.EllipticCurvePrivateKey) -> bytes:
    attributes = [(NameOID.USER_ID, OTHER_POD), (NameOID.ORGANIZATIONAL_UNIT_NAME, "application"), (NameOID.COMMON_NAME, "root")]
    subject = x509.Name([x509.NameAttribute(kind, text) for kind, text in attributes])
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize("make", [
    pytest.param(of_application, id="C1-subject-of-another-pod"),
    pytest.param(with_subject(der.name(b"a\0.example.org")), id="C1-nul-in-name"),
    pytest.param(with_subject(der.name(b"\xff\xfe\xc0\xaf")), id="C1-name-no-utf8"),
    pytest.param(with_subject(der.name(b"x" * 5000)), id="C1-long-name"),
    pytest.param(with_subject(der.seq(), challenge(8)), id="C1-challenge-password"),
    pytest.param(with_subject(der.seq(), challenge(8) * 2), id="C1-attribute-twice"),
])
async def test_a_name_is_not_read(make: Callable[[ec.EllipticCurvePrivateKey], str | bytes], issuer: Issuer) -> None:
    """Or refused, where the request cannot be read for it; but never copied."""
    key = new_key()
    answer = await issuer.ask(make(key))
    if answer.status == 400:
        assert b"no PKCS #10 request" in answer.body
    else:
        recount(answer.chain, key.public_key(), issuer)
    await issuer.canary()


# -- C2: keys, and the proof that they are held


def on_curve(curve: ec.EllipticCurve) -> bytes:
    return csr_of(ec.generate_private_key(curve))


def point_of(key: ec.EllipticCurvePrivateKey) -> tuple[bytes, bytes, int]:
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big"), numbers.y & 1


def written(how: Callable[[bytes, bytes, int], bytes]) -> str:
    """A good key and a good signature, but the key is not written as everybody writes it."""
    key = new_key()
    return pem(der.request(how(*point_of(key)), der.ecdsa(key)))


def forged(key_info: bytes) -> str:
    """Signed by somebody else, who has no better key to offer."""
    return pem(der.request(key_info, der.ecdsa(new_key())))


def rsa_request(bits: int, exponent: int = 65537) -> bytes:
    return csr_of(rsa.generate_private_key(exponent, bits))


def flipped() -> str:
    key = new_key()
    good = der.request(der.info_of(key), der.ecdsa(key))
    return pem(good[:-1] + bytes([good[-1] ^ 1]))


def signed_with(algorithm: hashes.HashAlgorithm, oid: str) -> str:
    key = new_key()
    return pem(der.request(der.info_of(key), der.ecdsa(key, algorithm), algorithm=der.seq(der.oid(oid))))


def md5() -> str:
    key = rsa.generate_private_key(65537, 2048)
    sign = der.pkcs1(key, hashes.MD5())
    return pem(der.request(der.info_of(key), sign, algorithm=der.seq(der.oid("md5WithRSAEncryption"), b"\5\0")))


def rsa_by_ec(bits: int, exponent: int) -> str:
    numbers = rsa.generate_private_key(65537, bits).public_key().public_numbers()
    return forged(der.rsa_key(numbers.n, exponent))


def good_der(key: ec.EllipticCurvePrivateKey | None = None, **changed: Any) -> bytes:
    key = key or new_key()
    return der.request(der.info_of(key), der.ecdsa(key), **changed)


def good() -> str:
    return csr_of(new_key()).decode()


NO_P256, NOT_PROVED, NO_REQUEST, SPELLING = "not ECDSA P-256", "not signed with SHA-256 by the key", "no PKCS #10", "uncompressed"
REQUESTS: list[tuple[str, Callable[[], str | bytes], str]] = [
    ("C2-signature-flipped", flipped, NOT_PROVED),
    ("C2-signed-by-another", lambda: forged(der.info_of(new_key())), NOT_PROVED),
    ("C2-sha1", lambda: signed_with(hashes.SHA1(), "ecdsa-with-SHA1"), NOT_PROVED),
    ("C2-sha384", lambda: signed_with(hashes.SHA384(), "ecdsa-with-SHA384"), NOT_PROVED),
    ("C2-sha1-said-to-be-sha256", lambda: signed_with(hashes.SHA1(), "ecdsa-with-SHA256"), NOT_PROVED),
    ("C2-rsa-algorithm", lambda: signed_with(hashes.SHA256(), "sha256WithRSAEncryption"), NOT_PROVED),
    ("C2-empty-signature", lambda: pem(der.request(der.info_of(new_key()), lambda _: b"")), NOT_PROVED),
    ("C2-signature-of-zeros", lambda: pem(der.request(der.info_of(new_key()), lambda _: der.seq(der.integer(0), der.integer(0)))),
     NOT_PROVED),
    ("C2-md5", md5, NO_P256),
    ("C2-rsa-1024", lambda: rsa_request(1024), NO_P256),
    ("C2-rsa-2048", lambda: rsa_request(2048), NO_P256),
    ("C2-rsa-e-3", lambda: rsa_by_ec(2048, 3), f"{NO_P256}|{NO_REQUEST}"),
    ("C2-rsa-e-1", lambda: rsa_by_ec(2048, 1), f"{NO_P256}|{NO_REQUEST}"),
    ("C2-p192", lambda: forged(der.seq(der.seq(der.oid("ecPublicKey"), der.oid("prime192v1")), der.bits(b"\4" + b"\1" * 48))),
     f"{NO_P256}|{NO_REQUEST}"),
    ("C2-p224", lambda: on_curve(ec.SECP224R1()), NO_P256),
    ("C2-p384", lambda: on_curve(ec.SECP384R1()), NO_P256),
    ("C2-p521", lambda: on_curve(ec.SECP521R1()), NO_P256),
    ("C2-secp256k1", lambda: on_curve(ec.SECP256K1()), NO_P256),
    ("C2-ed25519", lambda: csr_of(ed25519.Ed25519PrivateKey.generate(), algorithm=None), NO_P256),
    ("C2-ed448", lambda: csr_of(ed448.Ed448PrivateKey.generate(), algorithm=None), NO_P256),
    ("C2-off-the-curve", lambda: written(lambda x, y, _: der.on_p256(b"\4" + x + y[:-1] + bytes([y[-1] ^ 1]))), NO_REQUEST),
    ("C2-infinity", lambda: written(lambda x, y, _: der.on_p256(b"\0")), NO_REQUEST),
    ("C2-all-zeros", lambda: written(lambda x, y, _: der.on_p256(b"\4" + b"\0" * 64)), NO_REQUEST),
    ("C2-compressed", lambda: written(lambda x, y, odd: der.on_p256(bytes([2 + odd]) + x)), SPELLING),
    ("C2-hybrid", lambda: written(lambda x, y, odd: der.on_p256(bytes([6 + odd]) + x + y)), SPELLING),
    ("C2-explicit-curve", lambda: written(lambda x, y, _: der.on_explicit_curve(b"\4" + x + y)), SPELLING),
    # -- the writing of the request
    ("C1-empty", lambda: "", NO_REQUEST),
    ("C1-truncated", lambda: pem(good_der()[:-10]), NO_REQUEST),
    ("C1-half-a-pem", lambda: good()[:100], NO_REQUEST),
    ("C1-bytes-behind-the-der", lambda: pem(good_der(behind=b"\0\0")), NO_REQUEST),
    ("C1-text-behind", lambda: good() + "and more\n", NO_REQUEST),
    ("C1-text-before", lambda: "Certificate Request:\n" + good(), NO_REQUEST),
    ("C1-two", lambda: good() + good(), NO_REQUEST),
    ("C1-request-and-key", lambda: good() + files.key_pem_of(new_key()).decode(), NO_REQUEST),
    ("C1-certificate", lambda: pem(good_der(), "CERTIFICATE"), NO_REQUEST),
    ("C1-base64-without-pem", lambda: "".join(pem(good_der()).split("\n")[1:-2]), NO_REQUEST),
    ("C1-der", lambda: good_der().decode("latin-1"), NO_REQUEST),
    ("C1-no-base64", lambda: good().replace("MI", "M!", 1), NO_REQUEST),
    ("C1-version-2", lambda: pem(good_der(version=der.integer(1))), NO_REQUEST),
    ("C1-version-no-number", lambda: pem(good_der(version=der.tlv(0x0C, b"0"))), NO_REQUEST),
    ("C1-subject-no-name", lambda: pem(good_der(subject=der.integer(7))), NO_REQUEST),
    ("C1-set-for-sequence", lambda: pem(b"\x31" + good_der()[1:]), NO_REQUEST),
    ("C1-long-form-length", lambda: pem(good_der().replace(b"\x30\x81", b"\x30\x82\0", 1)), NO_REQUEST),
    ("C1-indefinite-length", lambda: pem(b"\x30\x80" + good_der()[3:] + b"\0\0"), NO_REQUEST),
    ("C5-long-challenge", lambda: pem(good_der(attributes=challenge(12_200))), "longer than 16384 bytes"),
]


@pytest.mark.parametrize(("make", "why"), [pytest.param(make, why, id=name) for name, make, why in REQUESTS])
async def test_a_request_that_proves_nothing(make: Callable[[], str | bytes], why: str, issuer: Issuer) -> None:
    answer = await issuer.attack(post(asking(make()), bearing(token(fresh()))))
    assert answer.status == 400
    assert re.search(why, json.loads(answer.body)["error"])


@pytest.mark.parametrize("which", ["root", "svid", "https"])
async def test_c2_the_authoritys_own_key(which: str, issuer: Issuer) -> None:
    """Whoever stole one could prove that it is his; so could the issuer's operator, by mistake."""
    key = load_pem_private_key((issuer.directory / "ca" / f"{which}.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    csr = csr_of(key, algorithm=hashes.SHA256())
    answer = await issuer.attack(post(asking(csr), bearing(token(fresh()))))
    assert answer.status == 400
    # The root is P-384, which is reason enough.
    assert (NO_P256 if which == "root" else "the issuer's own") in json.loads(answer.body)["error"]


async def test_c2_the_key_of_the_issuers_https(issuer: Issuer) -> None:
    """The one that it serves with lives in its memory, so that a thief can only claim it."""
    async with await issuer.connect() as stream:
        certificate = stream.connection.get_peer_certificate(as_cryptography=True)
    assert certificate is not None
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    point = key.public_numbers()
    claimed = forged(der.on_p256(b"\4" + point.x.to_bytes(32, "big") + point.y.to_bytes(32, "big")))
    answer = await issuer.attack(post(asking(claimed), bearing(token(fresh()))))
    assert (answer.status, NOT_PROVED in answer.body.decode()) == (400, True)


@pytest.mark.parametrize("age_s", [0, MAX_SVID_S + 1], ids=["C2-live", "C2-ended"])
@pytest.mark.parametrize("holder", ["issuer", "another-pod"])
async def test_a_key_that_somebody_else_has_or_had(age_s: int, holder: str, tmp_path: Path, nursery: trio.Nursery) -> None:
    """As long as its certificate lives nobody else gets one for the key; after that it is like any other."""
    issuer, key, then = Issuer(tmp_path), new_key(), now() - age_s
    log = Log(tmp_path / "ca" / files.LOG)
    if holder == "issuer":
        log.record(issue_https(issuer.authorities.https, key.public_key(), [NAME], 300, then), f"dns:{NAME}", "", "issuer", then)
    else:
        identity = workload_id(DOMAIN, "bank", "vault")
        leaf = issue_svid(issuer.authorities.svid, key.public_key(), identity, OTHER_POD, 300, then)
        log.record(leaf, identity, OTHER_POD, "10.0.0.1", then)
    log.close()
    await issuer.start(nursery)
    if age_s:
        recount((await issuer.ask(csr_of(key))).chain, key.public_key(), issuer)
    else:
        answer = await issuer.attack(post(asking(csr_of(key)), bearing(token(fresh()))))
        assert (answer.status, "belongs to another workload" in answer.body.decode()) == (403, True)


async def test_c2_a_key_is_taken_from_nobody(issuer: Issuer) -> None:
    """Who has it may renew by it; who asks for it after him is refused."""
    key = new_key()
    assert [(await issuer.ask(csr_of(key))).status for _ in range(2)] == [200, 200]
    answer = await issuer.attack(post(asking(csr_of(key)), bearing(token(of_pod(OTHER_POD)))))
    assert answer.status == 403


# -- the body around it, and C4: wishes for a lifetime


def body(**changed: object) -> bytes:
    return json.dumps({"csr": good(), **changed}).encode()


BODIES: list[tuple[str, Callable[[], bytes], int, str]] = [
    *((f"C4-{name}-{value}", lambda name=name, value=value: body(**{name: value}), 400, f"unknown field `{name}`")  # type: ignore[misc]
      for name in ("ttl", "lifetimeS", "notAfter") for value in (0, -1, 315_360_000)),
    ("C1-asks-for-an-identity", lambda: body(identity=f"spiffe://{DOMAIN}/ns/bank/sa/vault"), 400, "unknown field `identity`"),
    ("C1-asks-for-names", lambda: body(names=[NAME]), 400, "unknown field `names`"),
    ("C1-empty-body", lambda: b"", 400, "the body is not"),
    ("C1-no-json", lambda: b"csr=" + good().encode(), 400, "the body is not"),
    ("C1-pem-alone", lambda: good().encode(), 400, "the body is not"),
    ("C1-list", lambda: b"[]", 400, "the body is not"),
    ("C1-null", lambda: b'{"csr": null}', 400, "the body is not"),
    ("C1-number", lambda: b'{"csr": 1}', 400, "the body is not"),
    ("C1-csr-list", lambda: body(csr=[good()]), 400, "the body is not"),
    ("C1-none", lambda: b"{}", 400, "missing required field `csr`"),
    ("C1-no-utf8", lambda: b'{"csr": "\xff\xfe"}', 400, "the body is not"),
    ("C1-half-a-surrogate", lambda: b'{"csr": "\\ud800"}', 400, "the body is not|no PKCS #10"),
    ("C1-key-twice", lambda: body()[:-1] + b"," + body()[1:], 400, "a member repeats"),
    ("C1-key-twice-in-disguise", lambda: body()[:-1] + b"," + body()[1:].replace(b'"csr"', b'"\\u0063sr"'), 400, "a member repeats"),
    ("C1-two-documents", lambda: body() + body(), 400, "the body is not"),
    ("C1-deep", lambda: b'{"csr":' * 3000 + b"1" + b"}" * 3000, 400, "the body is not"),
    ("C1-deep-list", lambda: b"[" * 20_000, 400, "the body is not"),
    ("C1-NaN", lambda: b'{"csr": NaN}', 400, "the body is not"),
    ("C5-a-byte-too-long", lambda: b" " * MAX_BODY_BYTES + b"{", 413, "too large"),
    ("C5-a-megabyte", lambda: asking("A" * (1 << 20)), 413, "too large"),
    ("C5-a-megabyte-of-password", lambda: asking(pem(good_der(attributes=challenge(1 << 20)))), 413, "too large"),
]


@pytest.mark.parametrize(("make", "status", "why"), [pytest.param(make, status, why, id=name) for name, make, status, why in BODIES])
async def test_a_body_that_asks_for_something_else(make: Callable[[], bytes], status: int, why: str, issuer: Issuer) -> None:
    answer = await issuer.attack(post(make(), bearing(token(fresh()))))
    assert answer.status == status
    assert re.search(why, answer.body.decode())


# -- C5: how often, how slowly


async def test_c5_a_body_without_a_length(issuer: Issuer) -> None:
    """RFC 9112 s6.3: it has none, and what follows is the next request, which is none."""
    request = post(body(), bearing(token(fresh())))
    answer = await issuer.attack(re.sub(rb"content-length: \d+\r\nconnection: close\r\n", b"", request))
    assert (answer.status, b"the body is not" in answer.body) == (400, True)


async def test_c5_a_body_in_pieces_is_bounded_as_any(issuer: Issuer) -> None:
    head = b"POST /v1/svid HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n" + bearing(token(fresh())) + b"\r\n\r\n"
    answer = await issuer.attack(head + b"1000\r\n" + b" " * 0x1000 + b"\r\n" + (b"1000\r\n" + b" " * 0x1000 + b"\r\n") * 8)
    assert answer.status == 413


async def test_c5_a_flood(issuer: Issuer) -> None:
    """One source's requests beyond its burst are turned away before a token is looked at, and cost no signature."""
    one = b"GET /v1/roots HTTP/1.1\r\nhost: a\r\n\r\n"
    before = issuer.log
    async with await issuer.connect() as stream:
        told, seen = b"", 0

        async def read() -> None:
            nonlocal told, seen
            while seen < 3 * BURST:
                told += await stream.receive_some()
                seen = told.count(b"HTTP/1.1 ")
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await stream.send_all(one * 3 * BURST)
            await trio.sleep_forever()
    statuses = [int(line.split(b" ")[0]) for line in told.split(b"HTTP/1.1 ")[1:]]
    assert statuses[:BURST] == [200] * BURST
    assert 429 in statuses
    assert b"retry-after: 1\r\n" in told
    assert issuer.log == before


async def test_c5_a_slow_body(autojump_clock: MockClock) -> None:
    """Whoever sends a byte now and then has as long as whoever sends none, and nobody is asked about him."""
    client, server = memory_stream_pair()
    asked: list[Call] = []

    async def handler(call: Call) -> Answer:
        asked.append(call)
        return Answer(200)

    async def drip() -> None:
        await client.send_all(post(b" " * 1000, bearing(token(fresh())))[:-999])
        while True:
            await trio.sleep(1)
            await client.send_all(b" ")

    with pytest.raises(DownstreamTimedOut), Deadline() as deadline:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            await serve_calls(server, handler, deadline, max_body_bytes=MAX_BODY_BYTES)
    assert (trio.current_time(), asked) == (REQUEST_S, [])


# -- C11: every door has its guard


@pytest.mark.parametrize("path", [
    "/", "/v1", "/v1/", "/v1/svid/", "/v1/SVID", "//v1/svid", "/v1/sign", "/v1/renew", "/1.0/sign", "/v2/svid",
])
async def test_c11_there_is_no_other_door(path: str, issuer: Issuer) -> None:
    answer = await issuer.attack(post(body(), bearing(token(fresh())), path=path))
    assert answer.status in (400, 404)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"])
async def test_c11_there_is_no_other_way_through_it(method: str, issuer: Issuer) -> None:
    request = post(body(), bearing(token(fresh()))).replace(b"POST", method.encode(), 1)
    assert (await issuer.attack(request)).status in (400, 405)


def test_the_eyes_of_these_tests() -> None:
    """Two answers behind each other are told apart."""
    told = list(answers(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabHTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"))
    assert [(one.status, one.body) for one in told] == [(200, b"ab"), (404, b"")]
