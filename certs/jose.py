"""Signed tokens: the little of JOSE that a service account's token needs. Bytes in, verified claims out.

Trust: a token is a stranger's until its signature is verified with a key of ours; the token chooses among our keys, by name, and
nothing else: algorithms are two, each bound to a type of key, and a key that a token brings along is never looked at. Attacked by
tests/certs/test_jose.py.
Spec: RFC 7515, 7517, 7518 s3.3 (RS256), s3.4 (ES256). We are stricter: no duplicate member, base64url
in its one spelling.
"""

import base64
import binascii
import json
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sidecar.model.errors import ConfigError

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

MAX_TOKEN_BYTES = 16 << 10
RSA_BITS = range(2048, 8193)    # below: forged; above: a signature check that takes long enough to be an attack


def verify_jws(token: str, keys: Mapping[str, PublicKey]) -> dict[str, object]:
    """The claims of a compact JWS that one of `keys` signed, or ValueError saying why not."""
    if len(token) > MAX_TOKEN_BYTES:
        raise ValueError(f"it is longer than {MAX_TOKEN_BYTES} bytes")
    match token.split("."):
        case [header_text, claims_text, signature_text]:
            pass
        case _:
            raise ValueError("it is no compact JWS of three parts")
    header, claims, signature = _json_object(_base64url(header_text)), _base64url(claims_text), _base64url(signature_text)
    if "crit" in header:
        raise ValueError("its header demands an extension (`crit`); none is known here")
    kid = header.get("kid")
    key = keys.get(kid) if isinstance(kid, str) else None
    if key is None:
        raise ValueError("its `kid` names no key of the JWKS; if the cluster's signing keys were rotated, renew the JWKS file")
    _verify(key, header.get("alg"), f"{header_text}.{claims_text}".encode("ascii"), signature)
    return _json_object(claims)


def _verify(key: PublicKey, algorithm: object, signed: bytes, signature: bytes) -> None:
    try:
        match key, algorithm:
            case rsa.RSAPublicKey(), "RS256":
                key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
            case ec.EllipticCurvePublicKey(), "ES256" if len(signature) == 64:
                r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
                key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
            case _:
                raise ValueError(f"its `alg` {str(algorithm)[:40]!r} is not what its key is for; RS256 and ES256 are accepted")
    except InvalidSignature as exc:
        raise ValueError("its signature is wrong") from exc


def parse_jwks(data: bytes) -> dict[str, PublicKey]:
    """The keys of a JWKS document by `kid`; those of other types or uses are passed over, as RFC 7517 s5 has it.

    Raises:
        ConfigError: no JWKS, a broken key, two of one name, or none that is usable.
    """
    keys: dict[str, PublicKey] = {}
    try:
        listed = _json_object(data).get("keys")
        if not isinstance(listed, list):
            raise ValueError("it has no list `keys`")
        for jwk in listed:
            if (key := _parse_key(jwk)) is None:
                continue
            if jwk["kid"] in keys:
                raise ValueError(f"two keys are named {jwk['kid']!r}")
            keys[jwk["kid"]] = key
    except ValueError as exc:
        raise ConfigError("jwks", str(exc)) from exc
    if not keys:
        raise ConfigError("jwks", "it holds no RSA or P-256 key with a `kid` for signatures")
    return keys


def _parse_key(jwk: object) -> PublicKey | None:
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str) or jwk.get("use", "sig") != "sig":
        return None
    match jwk:
        case {"kty": "RSA", "n": str(n), "e": str(e)} if jwk.get("alg", "RS256") == "RS256":
            rsa_key = rsa.RSAPublicNumbers(_integer(e), _integer(n)).public_key()
            if rsa_key.key_size not in RSA_BITS or _integer(e) < 65537:
                raise ValueError(f"the RSA key {jwk['kid']!r} has {rsa_key.key_size} bits and exponent {_integer(e)}; "
                                 "2048 to 8192 bits and at least 65537 are accepted")
            return rsa_key
        case {"kty": "EC", "crv": "P-256", "x": str(x), "y": str(y)} if jwk.get("alg", "ES256") == "ES256":
            try:
                return ec.EllipticCurvePublicNumbers(_integer(x), _integer(y), ec.SECP256R1()).public_key()
            except ValueError as exc:
                raise ValueError(f"the key {jwk['kid']!r} is no point of P-256") from exc
    return None


def _integer(text: str) -> int:
    return int.from_bytes(_base64url(text))


def _base64url(text: str) -> bytes:
    """Base64url in its one spelling: no padding, no bits left over."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ValueError("a part of it is no base64url") from exc
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise ValueError("a part of it is no base64url in its one spelling")
    return data


def _json_object(data: bytes) -> dict[str, object]:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        value = dict(pairs)
        if len(value) != len(pairs):
            raise ValueError("a member repeats in its JSON")
        return value

    def constant(name: str) -> object:
        raise ValueError(f"{name} is no JSON")

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=constant)
    except RecursionError as exc:
        raise ValueError("its JSON is nested too deep") from exc
    except (json.JSONDecodeError, UnicodeDecodeError) as exc:
        raise ValueError("a part of it is no JSON") from exc
    if not isinstance(value, dict):
        raise ValueError("a part of it is no JSON object")
    return value
