"""Any string: claims that a key of ours signed, or ValueError."""

import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from certs.jose import MAX_TOKEN_BYTES, parse_jwks, verify_jws
from sidecar.model.errors import ConfigError

from .support import EC_KEY, JWKS, RSA_KEY, b64, jwk_of, new_key, signed, token

KEYS = parse_jwks(JWKS)
CLAIMS = {"sub": "x", "n": [1, {"a": None}]}


@pytest.mark.parametrize(("alg", "kid", "key"), [("RS256", "r", RSA_KEY), ("ES256", "e", EC_KEY)])
def test_both_algorithms(alg, kid, key):
    assert verify_jws(token(CLAIMS, alg=alg, kid=kid, key=key), KEYS) == CLAIMS


def hs256_with_the_public_key() -> str:
    head = f"{b64(json.dumps({'alg': 'HS256', 'kid': 'r'}).encode())}.{b64(b'{}')}"
    public = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return f"{head}.{b64(hmac.digest(public, head.encode(), hashlib.sha256))}"


def unsigned(alg: str) -> str:
    return f"{b64(json.dumps({'alg': alg, 'kid': 'e'}).encode())}.{b64(b'{}')}."


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
    (unsigned("ES256"), "`alg`"),
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
    (f"{HEAD}.{BODY}.{SIGNATURE[:-2]}", "`alg`"),
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
    (b'{"keys":[]}', "no RSA or P-256 key"),
    (b'{"keys":[1,null,{"kid":"a"}]}', "no RSA or P-256 key"),
    (json.dumps({"keys": [jwk_of(EC_KEY, "e", use="enc")]}).encode(), "no RSA or P-256 key"),
    (json.dumps({"keys": [jwk_of(EC_KEY, "e", alg="ES512")]}).encode(), "no RSA or P-256 key"),
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
    others = [{"kty": "OKP", "kid": "o", "crv": "Ed25519", "x": "AA"}, {**jwk_of(EC_KEY, "p"), "crv": "P-384"}]
    keys = parse_jwks(json.dumps({"keys": [*others, jwk_of(EC_KEY, "e")]}).encode())
    assert list(keys) == ["e"]
    assert isinstance(keys["e"], ec.EllipticCurvePublicKey)
