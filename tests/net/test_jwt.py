"""Any string: claims that a key of ours signed, or ValueError."""

import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.errors import ConfigError
from sidecar.model.message import NO_BODY, RequestHead
from sidecar.model.route import Jwt, TokenIssuer
from sidecar.net.jwt import (
    MAX_TOKEN_BYTES,
    MOST_REMEMBERED,
    REMEMBERED_BYTES,
    Tokens,
    bearer_token,
    check_claims,
    parse_jwks,
    verify_jws,
)
from tests.certs.support import EC_KEY, JWKS, RSA_KEY, b64, jwk_of, new_key, signed, token

KEYS = parse_jwks(JWKS)
CLAIMS = {"sub": "x", "n": [1, {"a": None}]}


@pytest.mark.parametrize(("alg", "kid", "key"), [("RS256", "r", RSA_KEY), ("ES256", "e", EC_KEY)])
def test_both_algorithms(alg, kid, key):
    assert verify_jws(token(CLAIMS, alg=alg, kid=kid, key=key), KEYS) == CLAIMS


def hs256_with_the_public_key() -> str:
    head = f"{b64(json.dumps({'alg': 'HS256', 'kid': 'r'}).encode())}.{b64(b'{}')}"
    public = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return f"{head}.{b64(hmac.digest(public, head.encode(), hashlib.sha256))}"


def unsigned(alg: str, kid: str = "e") -> str:
    return f"{b64(json.dumps({'alg': alg, 'kid': kid}).encode())}.{b64(b'{}')}."


GOOD = token(CLAIMS)
HEAD, BODY, SIGNATURE = GOOD.split(".")


@pytest.mark.parametrize(("text", "why"), [
    (token(CLAIMS, key=new_key()), "signature is wrong"),
    (token(CLAIMS, alg="RS256", kid="r", key=rsa.generate_private_key(65537, 2048)), "signature is wrong"),
    (token(CLAIMS, alg="RS256"), "`alg` 'RS256'"),
    (token(CLAIMS, alg="ES256", kid="r", key=RSA_KEY), "`alg` 'ES256'"),
    (token(CLAIMS, alg="PS256", kid="r", key=RSA_KEY), "`alg` 'PS256'"),
    (token(CLAIMS, alg="es256"), "`alg` 'es256'"),
    (hs256_with_the_public_key(), "`alg` 'HS256'"),
    (unsigned("none"), "`alg` 'none'"),
    (unsigned("ES256"), "signature is wrong"),
    (token(CLAIMS, kid="unknown"), "`kid`"),
    (token(CLAIMS, kid="../e"), "`kid`"),
    (token(CLAIMS, kid=None), "`kid`"),
    (token(CLAIMS, kid=["e"]), "`kid`"),
    (signed(b'{"alg":"ES256"}', b"{}"), "`kid`"),
    (token(CLAIMS, kid="mine", jwk=jwk_of(new_key(), "mine")), "`kid`"),
    (token(CLAIMS, crit=["b64"], b64=False), "`crit`"),
    (signed(b'{"alg":"ES256","kid":"x","kid":"e"}', b"{}"), "repeats"),
    (signed(b'{"alg":"ES256","kid":"e"}', b'{"sub":"a","sub":"b"}'), "repeats"),
    (signed(b'{"alg":"ES256","kid":"e"}', b'{"a":{"b":1,"b":2}}'), "repeats"),
    (signed(b'{"alg":"ES256","kid":"e"}', b'{"exp":NaN}'), "NaN"),
    (signed(b'{"alg":"ES256","kid":"e"}', b'"text"'), "no JSON object"),
    (signed(b'[]', b"{}"), "no JSON object"),
    (signed(b'{"alg":"ES256","kid":"e"}', b'{"a":' + b"[" * 9000 + b"]" * 9000 + b"}"), "longer than"),
    (signed(b'{"alg":"ES256","kid":"e"}', b'{"a":' + b"[" * 6000), "nested too deep"),
    (f"{HEAD}.{BODY}", "three parts"),
    (f"{GOOD}.{BODY}", "three parts"),
    (f"{HEAD}.{BODY}.{SIGNATURE}=", "base64url"),
    (f"{HEAD}.{BODY} .{SIGNATURE}", "base64url"),
    (f"{HEAD}.{BODY}.{SIGNATURE[:-2]}", "signature is wrong"),
    (f"{HEAD}.\u00e9{BODY}.{SIGNATURE}", "base64url"),
    ("", "three parts"),
    ("..", "no JSON"),
    (GOOD + "x" * MAX_TOKEN_BYTES, "longer than"),
])
def test_refused(text, why):
    with pytest.raises(ValueError, match=why):
        verify_jws(text, KEYS)


def test_slack_bits_are_no_second_spelling():
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = last[last.index(SIGNATURE[-1]) ^ 1]
    with pytest.raises(ValueError, match="one spelling"):
        verify_jws(f"{HEAD}.{BODY}.{SIGNATURE[:-1]}{twin}", KEYS)


@given(st.integers(0, len(GOOD) - 1), st.characters(min_codepoint=32, max_codepoint=0x2FF))
def test_a_changed_character(position, character):
    """A token with one character changed is refused, whatever the character."""
    changed = GOOD[:position] + character + GOOD[position + 1:]
    if changed != GOOD:
        with pytest.raises(ValueError):
            verify_jws(changed, KEYS)


@pytest.mark.parametrize(("document", "why"), [
    (b"", "no JSON"),
    (b"[]", "no JSON object"),
    (b"{}", "no list"),
    (b'{"keys":{}}', "no list"),
    (b'{"keys":[]}', "no RSA, P-256"),
    (b'{"keys":[1,null,{"kid":"a"}]}', "no RSA, P-256"),
    (json.dumps({"keys": [jwk_of(EC_KEY, "e", use="enc")]}).encode(), "no RSA, P-256"),
    (json.dumps({"keys": [jwk_of(EC_KEY, "e", alg="ES512")]}).encode(), "no RSA, P-256"),
    (json.dumps({"keys": [jwk_of(EC_KEY, "e"), jwk_of(RSA_KEY, "e")]}).encode(), "two keys are named"),
    (json.dumps({"keys": [jwk_of(rsa.generate_private_key(65537, 1024), "r")]}).encode(), "1024 bits"),
    (json.dumps({"keys": [jwk_of(rsa.generate_private_key(3, 2048), "r")]}).encode(), "exponent 3"),
    (json.dumps({"keys": [{**jwk_of(EC_KEY, "e"), "y": b64(bytes(32))}]}).encode(), "no point"),
    (json.dumps({"keys": [{**jwk_of(EC_KEY, "e"), "y": "!"}]}).encode(), "no point"),
    (b'\xff', "no JSON"),
])
def test_broken_key_sets(document, why):
    with pytest.raises(ConfigError, match=why):
        parse_jwks(document)


def test_keys_of_other_types_are_passed_over():
    others = [
        {"kty": "OKP", "kid": "o", "crv": "Ed448", "x": "AA"}, {**jwk_of(EC_KEY, "p"), "crv": "P-521"},
        {"kty": "oct", "kid": "s", "k": b64(b"secret")}, jwk_of(EC_KEY, "a", alg="ES384"), jwk_of(RSA_KEY, "h", alg="HS256"),
    ]
    keys = parse_jwks(json.dumps({"keys": [*others, jwk_of(EC_KEY, "e")]}).encode())
    assert list(keys) == ["e"]
    assert isinstance(keys["e"][0], ec.EllipticCurvePublicKey)


# -- every algorithm, and each key with its own alone

P384_KEY = ec.generate_private_key(ec.SECP384R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
KEY_OF = {"RS": RSA_KEY, "PS": RSA_KEY, "ES256": EC_KEY, "ES384": P384_KEY, "ES512": EC_KEY, "Ed": ED_KEY}
ALL_KEYS = parse_jwks(json.dumps({"keys": [
    jwk_of(RSA_KEY, "r"), jwk_of(EC_KEY, "ES256"),
    {"kty": "EC", "crv": "P-384", "kid": "ES384", **{
        name: b64(getattr(P384_KEY.public_key().public_numbers(), name).to_bytes(48, "big")) for name in "xy"}},
    {"kty": "OKP", "crv": "Ed25519", "kid": "EdDSA", "x": b64(ED_KEY.public_key().public_bytes_raw())},
]}).encode())


def made(alg: str, kid: str, claims: object = CLAIMS, **header: object) -> str:
    """Signed as `alg` says, by the key of ours that can."""
    text = f"{b64(json.dumps({'alg': alg, 'kid': kid, **header}).encode())}.{b64(json.dumps(claims).encode())}"
    data = text.encode()
    if alg.startswith("RS"):
        signature = RSA_KEY.sign(data, padding.PKCS1v15(), HASHES[alg[2:]])
    elif alg.startswith("PS"):
        signature = RSA_KEY.sign(data, PSS, hashes.SHA256())
    elif alg.startswith("ES"):
        size = 48 if alg == "ES384" else 32
        r, s = decode_dss_signature(KEY_OF[alg].sign(data, ec.ECDSA(HASHES[alg[2:]])))
        signature = r.to_bytes(size, "big") + s.to_bytes(size, "big")
    else:
        signature = ED_KEY.sign(data)
    return f"{text}.{b64(signature)}"


@pytest.mark.parametrize(("alg", "kid"), [
    ("RS256", "r"), ("RS384", "r"), ("RS512", "r"), ("PS256", "r"), ("ES256", "ES256"), ("ES384", "ES384"), ("EdDSA", "EdDSA"),
])
def test_each_algorithm_with_its_key_and_no_other(alg: str, kid: str) -> None:
    assert verify_jws(made(alg, kid), ALL_KEYS) == CLAIMS
    for other in ALL_KEYS.keys() - {kid}:
        with pytest.raises(ValueError, match="`alg`"):
            verify_jws(made(alg, other), ALL_KEYS)
    head, _, _ = made(alg, kid).rpartition(".")
    with pytest.raises(ValueError, match="signature is wrong"):
        verify_jws(f"{head}.{b64(bytes(64))}", ALL_KEYS)


@pytest.mark.parametrize(("alg", "kid"), [("PS512", "r"), ("ES512", "ES256"), ("none", "r"), ("HS256", "r"), ("", "EdDSA")])
def test_other_algorithms(alg: str, kid: str) -> None:
    with pytest.raises(ValueError, match="`alg`"):
        verify_jws(made(alg, kid) if alg.startswith("ES") else unsigned(alg, kid), ALL_KEYS)


def test_a_single_key_needs_no_name() -> None:
    nameless = jwk_of(EC_KEY, "x")
    del nameless["kid"]
    for keys in (parse_jwks(json.dumps({"keys": [jwk]}).encode()) for jwk in (nameless, jwk_of(EC_KEY, "e"))):
        assert verify_jws(signed(b'{"alg":"ES256"}', b"{}"), keys) == {}
        with pytest.raises(ValueError, match="`kid`"):
            verify_jws(token(CLAIMS, kid="other"), keys)


# -- what routes ask for

NOW = 1_800_000_000.0
ISSUER = "https://issuer.example"
JWT = Jwt(ISSUER, ("shop", "stock"))
GOOD_CLAIMS: dict[str, object] = {"iss": ISSUER, "aud": "shop", "exp": NOW + 60, "sub": "ann"}


@pytest.mark.parametrize("changed", [
    {}, {"aud": ["x", "stock"]}, {"exp": NOW - 59}, {"exp": int(NOW) + 1}, {"exp": 10**400}, {"nbf": NOW + 60}, {"nbf": None},
    {"iat": "whenever"},
])
def test_good_claims(changed: dict[str, object]) -> None:
    check_claims({**GOOD_CLAIMS, **changed}, JWT, NOW)


@pytest.mark.parametrize(("changed", "why"), [
    ({"iss": "https://issuer.example/"}, "another issuer"),
    ({"iss": None}, "another issuer"),
    ({"iss": [ISSUER]}, "another issuer"),
    ({"aud": "web"}, "another audience"),
    ({"aud": "shop stock"}, "another audience"),
    ({"aud": []}, "another audience"),
    ({"aud": [["shop"]]}, "another audience"),
    ({"aud": {"shop": 1}}, "another audience"),
    ({"aud": None}, "another audience"),
    ({"exp": None}, "never ends"),
    ({"exp": NOW - 60}, "expired"),
    ({"exp": str(NOW + 60)}, "no time"),
    ({"exp": True}, "no time"),
    ({"exp": float("inf")}, "no time"),
    ({"nbf": NOW + 61}, "not valid yet"),
    ({"nbf": "0"}, "no time"),
])
def test_claims_of_another_issuer_audience_or_time(changed: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_claims({**GOOD_CLAIMS, **changed}, JWT, NOW)


def asking(*values: str, name: str = "Authorization") -> RequestHead:
    return RequestHead(b"GET", b"/", b"a", None, [(name.encode(), value.encode()) for value in values], NO_BODY, False)


@pytest.mark.parametrize(("name", "value"), [
    ("authorization", "Bearer a.b.c"), ("authorization", "bearer  a.b.c"), ("x-token", "a.b.c"), ("x-token", "Bearer a.b.c"),
])
def test_where_a_token_is_looked_for(name: str, value: str) -> None:
    assert bearer_token(asking(value, name=name.upper()), name) == "a.b.c"


@pytest.mark.parametrize(("values", "why"), [
    ((), "none"), (("a.b.c",), "no bearer"), (("Basic a.b.c",), "no bearer"), (("Bearer",), "no bearer"),
    (("Bearer a.b.c", "Bearer a.b.c"), "repeats"),
])
def test_no_token(values: tuple[str, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        bearer_token(asking(*values), "authorization")


ISSUERS = (TokenIssuer(ISSUER, JWKS.decode()), TokenIssuer("https://broken.example", "{}"))
GOOD_TOKEN = token(GOOD_CLAIMS)


def test_a_token_that_a_route_asks_for() -> None:
    tokens = Tokens()
    for _ in range(2):      # anew, and remembered
        assert tokens.claims(asking(f"Bearer {GOOD_TOKEN}"), JWT, ISSUERS, NOW) == GOOD_CLAIMS


def refusal(tokens: Tokens, text: str, jwt: Jwt = JWT, issuers: tuple[TokenIssuer, ...] = ISSUERS, now: float = NOW) -> str:
    with pytest.raises(ValueError) as caught:
        tokens.claims(asking(f"Bearer {text}"), jwt, issuers, now)
    return str(caught.value)


def test_what_is_remembered_is_the_signature_only() -> None:
    """Time, audience and issuer are asked each time."""
    tokens = Tokens()
    tokens.claims(asking(f"Bearer {GOOD_TOKEN}"), JWT, ISSUERS, NOW)
    assert "expired" in refusal(tokens, GOOD_TOKEN, now=NOW + 120)
    assert "audience" in refusal(tokens, GOOD_TOKEN, Jwt(ISSUER, ("other",)))
    assert "no usable keys" in refusal(tokens, GOOD_TOKEN, Jwt("https://other.example", ("shop",)))
    assert "no usable keys" in refusal(tokens, GOOD_TOKEN, Jwt("https://broken.example", ("shop",)))
    assert "signature" in refusal(tokens, GOOD_TOKEN[:-8] + "AAAAAAAA")


def test_a_new_snapshot_takes_a_key_back() -> None:
    tokens = Tokens()
    tokens.claims(asking(f"Bearer {GOOD_TOKEN}"), JWT, ISSUERS, NOW)
    rotated = json.dumps({"keys": [jwk_of(new_key(), "e")]})
    assert "signature" in refusal(tokens, GOOD_TOKEN, issuers=(TokenIssuer(ISSUER, rotated),))


def test_what_was_refused_is_not_remembered() -> None:
    tokens = Tokens()
    early = token({**GOOD_CLAIMS, "nbf": NOW + 3600, "exp": NOW + 7200})
    assert "not valid yet" in refusal(tokens, early)
    assert tokens.claims(asking(f"Bearer {early}"), JWT, ISSUERS, NOW + 3600)["sub"] == "ann"


@pytest.mark.parametrize("text", ["", "..", "a.b", "\u00ff.\u00ff.\u00ff", "x" * (MAX_TOKEN_BYTES + 1)])
def test_what_is_no_token(text: str) -> None:
    assert refusal(Tokens(), text)


def test_the_table_is_bounded() -> None:
    tokens = Tokens()
    for i in range(MOST_REMEMBERED + 2):
        tokens.claims(asking(f"Bearer {token({**GOOD_CLAIMS, 'n': i})}"), JWT, ISSUERS, NOW)
    assert len(tokens._remembered) == MOST_REMEMBERED
    tokens.claims(asking(f"Bearer {token({**GOOD_CLAIMS, 'long': 'x' * REMEMBERED_BYTES})}"), JWT, ISSUERS, NOW)
    assert len(tokens._remembered) == MOST_REMEMBERED
