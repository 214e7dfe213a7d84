"""Who asks for a certificate? C3: tokens that prove nothing, shown to a real issuer over HTTPS, in all the ways of carrying them."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.certs.support import EC_KEY, ISSUER, RSA_KEY, b64, csr_of, jwk_of, new_key, signed, token
from tests.helpers.der import ORDER
from tests.helpers.issuer import Issuer, asking, bearing, fresh, now, of_pod, post

THIEF, RSA_THIEF = new_key(), rsa.generate_private_key(65537, 2048)
BAD_SIGNATURE, NO_KEY, NOT_FOR, NO_BASE64 = "signature is wrong", "names no key", "is not what its key is for", "no base64url"
NO_JSON, THREE_PARTS, REPEATS, CLAIMS = "no JSON", "three parts", "a member repeats", "not those of a token bound to a pod"
NAMES, ACCOUNTS = "no Kubernetes name", "name different accounts"


@pytest.fixture
async def issuer(tmp_path: Any, nursery: trio.Nursery) -> Issuer:
    made = Issuer(tmp_path)
    await made.start(nursery)
    return made


def by_hand(header: object, payload: object, sign: Callable[[bytes], bytes]) -> str:
    text = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(payload).encode())}"
    return f"{text}.{b64(sign(text.encode()))}"


def hs256(secret: bytes, kid: str = "r") -> str:
    """What a verifier would take that asked the token which algorithm to use, and used its public key as the secret."""
    return by_hand({"alg": "HS256", "kid": kid}, fresh(), lambda text: hmac.new(secret, text, hashlib.sha256).digest())


def unsigned(alg: object) -> str:
    return by_hand({"alg": alg, "kid": "e"}, fresh(), lambda _: b"")


def ps256(key: rsa.RSAPrivateKey = RSA_KEY) -> str:
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    return by_hand({"alg": "PS256", "kid": "r"}, fresh(), lambda text: key.sign(text, pss, hashes.SHA256()))


def es256(change: Callable[[int, int], bytes]) -> str:
    """A good token whose signature is written, or counted, another way."""
    def sign(text: bytes) -> bytes:
        return change(*decode_dss_signature(EC_KEY.sign(text, ec.ECDSA(hashes.SHA256()))))

    return by_hand({"alg": "ES256", "kid": "e"}, fresh(), sign)


def bound(namespace: str = "shop", account: str = "web", **pod: object) -> dict[str, object]:
    """Claims that agree with each other, whatever they name."""
    return fresh(sub=f"system:serviceaccount:{namespace}:{account}", **{"kubernetes.io": {
        "namespace": namespace, "pod": {"name": "web-0", "uid": "5b1f3a4e", **pod}, "serviceaccount": {"name": account, "uid": "a"},
    }})


def without(part: str) -> dict[str, object]:
    claims = bound()
    kubernetes = claims["kubernetes.io"]
    assert isinstance(kubernetes, dict)
    return claims | {"kubernetes.io": {name: value for name, value in kubernetes.items() if name != part}}


def of_text(change: Callable[[str], str], header: str = '{"alg":"ES256","kid":"e"}') -> str:
    """A token whose claims are this very text."""
    return signed(header.encode(), change(json.dumps(fresh())).encode())


def respelt(part: int, change: Callable[[str], str]) -> str:
    """A good token, one part of which is spelt differently and says the same to a reader that is not strict; signed as it is spelt."""
    parts = token(fresh()).split(".")
    parts[part] = change(parts[part])
    if part < 2:
        text = f"{parts[0]}.{parts[1]}".encode("latin-1", "replace")
        r, s = decode_dss_signature(EC_KEY.sign(text, ec.ECDSA(hashes.SHA256())))
        parts[2] = b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    return ".".join(parts)


def left_over(text: str) -> str:
    """The last character with a bit set that no byte holds (a 64-byte signature leaves four)."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) | 1]


def spki(key: Any, encoding: Encoding) -> bytes:
    data: bytes = key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    return data


GOOD = token(fresh())
TOKENS: list[tuple[str, Callable[[], str], str]] = [
    # -- whose, for whom, when
    ("audience", lambda: token(fresh(aud="https://kubernetes.default.svc")), "another audience"),
    ("audience-list", lambda: token(fresh(aud=["api", "vault"])), "another audience"),
    ("audience-empty", lambda: token(fresh(aud=[])), "another audience"),
    ("audience-part", lambda: token(fresh(aud="bartizan-evil")), "another audience"),
    ("audience-case", lambda: token(fresh(aud="BARTIZAN")), "another audience"),
    ("audience-number", lambda: token(fresh(aud=[1])), CLAIMS),
    ("audience-none", lambda: token(fresh(aud=None)), CLAIMS),
    ("issuer", lambda: token(fresh(iss="https://evil.example")), "another issuer"),
    ("issuer-slash", lambda: token(fresh(iss=ISSUER + "/")), "another issuer"),
    ("issuer-none", lambda: token(fresh(iss=None)), CLAIMS),
    ("expired", lambda: token(fresh(exp=now() - 120)), "has expired"),
    ("expires-never", lambda: token(fresh(exp=None)), CLAIMS),
    ("exp-negative", lambda: token(fresh(exp=-1)), "has expired"),
    ("exp-string", lambda: token(fresh(exp=str(now() + 600))), CLAIMS),
    ("exp-float", lambda: token(fresh(exp=now() + 600.5)), CLAIMS),
    ("exp-bool", lambda: token(fresh(exp=True)), CLAIMS),
    ("exp-infinite", lambda: of_text(lambda text: re.sub(r'"exp": \d+', '"exp": 1e400', text)), CLAIMS),
    ("exp-Infinity", lambda: of_text(lambda text: re.sub(r'"exp": \d+', '"exp": Infinity', text)), NO_JSON),
    ("exp-5000-digits", lambda: of_text(lambda text: re.sub(r'"exp": \d+', f'"exp": {"9" * 5000}', text)), "digits|no JSON"),
    ("not-yet", lambda: token(fresh(nbf=now() + 300)), "not valid yet"),
    ("nbf-none", lambda: token(fresh(nbf=None)), CLAIMS),
    ("issued-in-the-future", lambda: token(fresh(iat=now() + 300)), "issued in the future"),
    ("iat-string", lambda: token(fresh(iat="now")), CLAIMS),
    # -- signed by whom, and how
    ("alg-none", lambda: unsigned("none"), NOT_FOR),
    ("alg-None", lambda: unsigned("None"), NOT_FOR),
    ("alg-NONE", lambda: unsigned("NONE"), NOT_FOR),
    ("alg-empty", lambda: unsigned(""), NOT_FOR),
    ("alg-null", lambda: unsigned(None), NOT_FOR),
    ("alg-list", lambda: unsigned(["ES256"]), NOT_FOR),
    ("alg-case", lambda: token(fresh(), alg="es256"), NOT_FOR),
    ("alg-missing", lambda: signed(b'{"kid":"e"}', json.dumps(fresh()).encode()), NOT_FOR),
    ("hs256-pem", lambda: hs256(spki(RSA_KEY, Encoding.PEM)), NOT_FOR),
    ("hs256-der", lambda: hs256(spki(RSA_KEY, Encoding.DER)), NOT_FOR),
    ("hs256-ec", lambda: hs256(spki(EC_KEY, Encoding.PEM), "e"), NOT_FOR),
    ("hs256-empty", lambda: hs256(b""), NOT_FOR),
    ("rs256-another-key", lambda: token(fresh(), alg="RS256", kid="r", key=RSA_THIEF), BAD_SIGNATURE),
    ("rs512", lambda: token(fresh(), alg="RS512", kid="r", key=RSA_KEY), NOT_FOR),
    ("ps256", ps256, NOT_FOR),
    ("es256-another-key", lambda: token(fresh(), key=THIEF), BAD_SIGNATURE),
    ("es256-by-rsa-kid", lambda: token(fresh(), kid="r"), NOT_FOR),
    ("es384", lambda: token(fresh(), alg="ES384"), NOT_FOR),
    ("es256-zeros", lambda: es256(lambda r, s: bytes(64)), BAD_SIGNATURE),      # CVE-2022-21449
    ("es256-der", lambda: es256(encode_dss_signature), BAD_SIGNATURE),
    ("es256-order", lambda: es256(lambda r, s: ORDER.to_bytes(32, "big") * 2), BAD_SIGNATURE),
    ("es256-longer", lambda: es256(lambda r, s: r.to_bytes(33, "big") + s.to_bytes(33, "big")), BAD_SIGNATURE),
    ("es256-half", lambda: es256(lambda r, s: r.to_bytes(32, "big")), BAD_SIGNATURE),
    ("empty-signature", lambda: GOOD.rpartition(".")[0] + ".", BAD_SIGNATURE),
    ("signature-changed", lambda: GOOD[:-8] + ("AAAA" if GOOD[-8:-4] != "AAAA" else "BBBB") + GOOD[-4:], BAD_SIGNATURE),
    ("claims-of-another", lambda: ".".join([GOOD.split(".")[0], b64(json.dumps(bound("bank", "vault")).encode()), GOOD.split(".")[2]]),
     BAD_SIGNATURE),
    # -- which key: ours only, by its name
    ("kid-traversal", lambda: token(fresh(), kid="../../etc/passwd"), NO_KEY),
    ("kid-dev-null", lambda: token(fresh(), kid="/dev/null", key=THIEF), NO_KEY),
    ("kid-sql", lambda: token(fresh(), kid="e' OR '1'='1"), NO_KEY),
    ("kid-nul", lambda: token(fresh(), kid="e\0"), NO_KEY),
    ("kid-unknown", lambda: token(fresh(), kid="E"), NO_KEY),
    ("kid-missing", lambda: signed(b'{"alg":"ES256"}', json.dumps(fresh()).encode()), NO_KEY),
    ("kid-number", lambda: token(fresh(), kid=1), NO_KEY),
    ("kid-list", lambda: token(fresh(), kid=["e"]), NO_KEY),
    ("kid-object", lambda: token(fresh(), kid={"e": "e"}), NO_KEY),
    ("jwk", lambda: token(fresh(), key=THIEF, jwk=jwk_of(THIEF, "e")), BAD_SIGNATURE),
    ("jwk-own-kid", lambda: token(fresh(), kid="evil", key=THIEF, jwk=jwk_of(THIEF, "evil")), NO_KEY),
    ("jku", lambda: token(fresh(), kid="evil", key=THIEF, jku="https://evil.example/jwks.json"), NO_KEY),
    ("x5u", lambda: token(fresh(), key=THIEF, x5u="file:///tmp/evil.pem"), BAD_SIGNATURE),
    ("x5c", lambda: token(fresh(), key=THIEF, x5c=[base64.b64encode(spki(THIEF, Encoding.DER)).decode()]), BAD_SIGNATURE),
    ("crit", lambda: token(fresh(), crit=["exp"]), "demands an extension"),
    ("crit-empty", lambda: token(fresh(), crit=[]), "demands an extension"),
    ("b64-false", lambda: token(fresh(), b64=False, crit=["b64"]), "demands an extension"),
    ("b64-false-without-crit", lambda: token(fresh(), b64=False), "demands an extension"),
    # -- how it is written
    ("two-parts", lambda: GOOD.rpartition(".")[0], THREE_PARTS),
    ("four-parts", lambda: GOOD + ".AAAA", THREE_PARTS),
    ("five-parts", lambda: GOOD + ".AAAA.AAAA", THREE_PARTS),
    ("encrypted", lambda: token(fresh(), enc="A256GCM") + ".AA.AA", THREE_PARTS),
    ("dots", lambda: "..", NO_JSON),
    ("one-word", lambda: "secret", THREE_PARTS),
    ("padded-header", lambda: respelt(0, lambda text: text + "=" * (-len(text) % 4 or 4)), NO_BASE64),
    ("padded-claims", lambda: respelt(1, lambda text: text + "=" * (-len(text) % 4 or 4)), NO_BASE64),
    ("padded-signature", lambda: respelt(2, lambda text: text + "=="), NO_BASE64),
    ("bits-left-over", lambda: respelt(2, left_over), NO_BASE64),
    ("other-alphabet", lambda: respelt(2, lambda text: "+/" + text[2:]), NO_BASE64),
    ("space-inside", lambda: respelt(2, lambda text: text[:8] + " " + text[8:]), NO_BASE64),
    ("tab-inside", lambda: respelt(1, lambda text: text[:8] + "\t" + text[8:]), NO_BASE64),
    ("percent-encoded", lambda: respelt(2, lambda text: "%41" + text[1:]), NO_BASE64),
    ("duplicate-claim", lambda: of_text(lambda text: text[:-1] + ', "aud": ["bartizan"]}'), REPEATS),
    ("duplicate-inside", lambda: of_text(lambda text: text.replace('"namespace"', '"namespace": "bank", "namespace"', 1)), REPEATS),
    ("duplicate-kid", lambda: of_text(lambda text: text, '{"alg":"ES256","kid":"r","kid":"e"}'), REPEATS),
    ("claims-list", lambda: token([fresh()]), "no JSON object"),
    ("claims-null", lambda: token(None), "no JSON object"),
    ("claims-no-utf8", lambda: signed(b'{"alg":"ES256","kid":"e"}', b'{"sub":"\xff"}'), NO_JSON),
    ("claims-utf16", lambda: signed(b'{"alg":"ES256","kid":"e"}', json.dumps(fresh()).encode("utf-16")), NO_JSON),
    ("claims-deep", lambda: signed(b'{"alg":"ES256","kid":"e"}', b'{"a":' * 1800 + b"1" + b"}" * 1800), "nested too deep|not those"),
    ("header-deep", lambda: signed(b'{"a":' * 1500, b"{}"), "nested too deep|no JSON"),
    ("long", lambda: token(fresh(x="x" * 13_000)), "longer than"),
    # -- whom it names
    ("node-token", lambda: token(fresh(**{"kubernetes.io": {"node": {"name": "n", "uid": "u"}}, "sub": "system:node:n"})), CLAIMS),
    ("no-pod", lambda: token(without("pod")), CLAIMS),
    ("no-account", lambda: token(without("serviceaccount")), CLAIMS),
    ("no-namespace", lambda: token(without("namespace")), CLAIMS),
    ("no-kubernetes", lambda: token(fresh(**{"kubernetes.io": None})), CLAIMS),
    ("pod-null", lambda: token(bound() | {"kubernetes.io": {"namespace": "shop", "pod": None, "serviceaccount": {"name": "web"}}}), CLAIMS),
    ("other-subject", lambda: token(fresh(sub="system:serviceaccount:shop:admin")), ACCOUNTS),
    ("other-namespace", lambda: token(fresh(sub="system:serviceaccount:bank:web")), ACCOUNTS),
    ("user", lambda: token(fresh(sub="kubernetes-admin")), ACCOUNTS),
    ("namespace-slash", lambda: token(bound("shop/sa/admin")), NAMES),
    ("namespace-dots", lambda: token(bound("..")), NAMES),
    ("namespace-empty", lambda: token(bound("")), NAMES),
    ("namespace-upper", lambda: token(bound("Shop")), NAMES),
    ("namespace-percent", lambda: token(bound("shop%2fsa")), NAMES),
    ("namespace-line-feed", lambda: token(bound("shop\n")), NAMES),
    ("namespace-cyrillic", lambda: token(bound("\u0455hop")), NAMES),
    ("namespace-full-width", lambda: token(bound("\uff53hop")), NAMES),
    ("namespace-long", lambda: token(bound("a" * 64)), NAMES),
    ("account-traversal", lambda: token(bound(account="../x")), NAMES),
    ("account-slash", lambda: token(bound(account="web/../admin")), NAMES),
    ("account-nul", lambda: token(bound(account="web\0")), NAMES),
    ("account-soft-hyphen", lambda: token(bound(account="we\u00adb")), NAMES),
    ("account-joiner", lambda: token(bound(account="web\u200d")), NAMES),
    ("account-long", lambda: token(bound(account="a." * 130 + "a")), NAMES),
    ("pod-uid-empty", lambda: token(bound(uid="")), "pod uid"),
    ("pod-uid-slash", lambda: token(bound(uid="a/b")), "pod uid"),
    ("pod-uid-line-feed", lambda: token(bound(uid="a\n")), "pod uid"),
    ("pod-uid-number", lambda: token(bound(uid=1)), CLAIMS),
]


def body() -> bytes:
    return asking(csr_of(new_key()))


@pytest.mark.parametrize(("make", "why"), [pytest.param(make, why, id=f"C3-{name}") for name, make, why in TOKENS])
async def test_a_token_that_proves_nothing(make: Callable[[], str], why: str, issuer: Issuer) -> None:
    bearer = make()
    answer = await issuer.attack(post(body(), bearing(bearer)))
    assert answer.status == 401
    assert b"www-authenticate: Bearer" in answer.head
    said = json.loads(answer.body)["error"]
    assert re.search(why, said), said
    assert len(bearer) < 20 or bearer.encode() not in answer.body


CARRIED: list[tuple[str, Callable[[], list[bytes]], int, str]] = [
    ("none", list, 401, "there is none"),
    ("empty", lambda: [b"authorization:"], 401, "there is none"),
    ("scheme-alone", lambda: [b"authorization: Bearer"], 401, "there is none"),
    ("basic", lambda: [b"authorization: Basic " + base64.b64encode(b"web:" + GOOD.encode())], 401, "there is none"),
    ("no-scheme", lambda: [b"authorization: " + GOOD.encode()], 401, "there is none"),
    ("token-scheme", lambda: [b"authorization: Token " + GOOD.encode()], 401, "there is none"),
    ("two-fields-bad-first", lambda: [bearing(token(fresh(), key=THIEF)), bearing(GOOD)], 401, "more than one"),
    ("two-fields-good-first", lambda: [bearing(GOOD), bearing(token(fresh(), key=THIEF))], 401, "more than one"),
    ("two-fields-same", lambda: [bearing(GOOD)] * 2, 401, "more than one"),
    ("two-fields-other-scheme", lambda: [b"authorization: Basic eDp5", bearing(GOOD)], 401, "more than one|there is none"),
    ("two-in-one", lambda: [bearing(f"{GOOD}, Bearer {GOOD}")], 401, "more than one"),
    ("twice-bearer", lambda: [bearing(f"Bearer {GOOD}")], 401, "more than one|no base64url"),
    ("in-a-cookie", lambda: [b"cookie: token=" + GOOD.encode()], 401, "there is none"),
    ("forwarded-identity", lambda: [b"x-forwarded-client-cert: URI=spiffe://example.org/ns/shop/sa/web"], 401, "there is none"),
    ("remote-user", lambda: [b"x-remote-user: system:serviceaccount:shop:web"], 401, "there is none"),
    ("disguised", lambda: [b"authorization_: Bearer " + GOOD.encode()], 400, ""),
    ("line-feed", lambda: [bearing(GOOD[:50] + "\n" + GOOD[50:])], 400, ""),
    ("folded", lambda: [bearing(GOOD[:50] + "\r\n " + GOOD[50:])], 400, ""),
    ("nul", lambda: [bearing(GOOD + "\0")], 400, ""),
    ("long", lambda: [bearing(token(fresh(x="x" * 75_000)))], 400, ""),
    ("no-ascii", lambda: [bearing("\u00e9" * 30)], 401, "three parts"),
]


@pytest.mark.parametrize(("fields", "status", "why"), [
    pytest.param(make, status, why, id=f"C3-{name}") for name, make, status, why in CARRIED
])
async def test_a_token_that_is_carried_wrongly(fields: Callable[[], list[bytes]], status: int, why: str, issuer: Issuer) -> None:
    answer = await issuer.attack(post(body(), *fields()))
    assert answer.status == status
    assert re.search(why, answer.body.decode())
    assert GOOD.encode() not in answer.body


@pytest.mark.parametrize("field", [b"authorization: bearer ", b"AUTHORIZATION: BEARER ", b"Authorization:   Bearer "])
async def test_a_scheme_has_no_case(field: bytes, issuer: Issuer) -> None:
    """RFC 9110 s11.1."""
    assert (await issuer.say(post(body(), field + token(fresh()).encode()))).status == 200


async def test_in_the_query_a_token_is_none(issuer: Issuer) -> None:
    """There it would stand in the logs of whoever passes it on (RFC 6750 s2.3)."""
    answer = await issuer.attack(post(body(), path=f"/v1/svid?access_token={GOOD}"))
    assert (answer.status, GOOD.encode() in answer.body) == (401, False)


RIGHT: dict[str, Callable[[], str]] = {
    "es256": lambda: token(fresh()),
    "rs256": lambda: token(fresh(), alg="RS256", kid="r", key=RSA_KEY),
    "audience-string": lambda: token(fresh(aud="bartizan")),
    "audience-list": lambda: token(fresh(aud=["api", "bartizan"])),
    "no-iat": lambda: token(fresh(iat=None)),
    "within-leeway": lambda: token(fresh(exp=now() - 30)),
    "unknown-claim": lambda: token(fresh(typ="JWT")),
    "short-uid": lambda: token(of_pod("u", jti="1")),
    "dotted-account": lambda: token(bound(account="a.b-c")),
    "header-that-nobody-follows": lambda: token(fresh(), typ="JWT", jku="https://evil.example"),
}


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in RIGHT.items()])
async def test_what_is_right_is_taken(make: Callable[[], str], issuer: Issuer) -> None:
    assert (await issuer.ask(bearer=make())).status == 200
