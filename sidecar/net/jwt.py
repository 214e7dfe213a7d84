"""Signed tokens: JSON Web Tokens, and the published keys that verify them. Bytes in, verified claims out.

The issuer of certificates verifies service accounts' tokens by it; the sidecar verifies what routes ask of callers.

Trust: a token is a stranger's until its signature is verified with a key of ours; the token chooses among our keys, by name, and
nothing else: each type of key has its algorithms, none of them symmetric, and a key that a token brings along is never looked at.
Attacked by tests/net/test_jwt.py.
Spec: RFC 7515, 7517, 7518 s3.3 to s3.5, 8037 (Ed25519), 7519 s4.1, 8725. We are stricter: no duplicate member, base64url in its one
spelling, `exp` demanded.
"""

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sidecar.model.errors import ConfigError
from sidecar.model.message import RequestHead
from sidecar.model.route import Jwt, TokenIssuer

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
Keys = Mapping[str, tuple[PublicKey, str]]      # by `kid`: with the one algorithm that it is for, or ""

MAX_TOKEN_BYTES = 16 << 10
RSA_BITS = range(2048, 8193)    # below: forged; above: a signature check that takes long enough to be an attack
LEEWAY_S = 60                   # clocks differ
MOST_REMEMBERED = 1024
REMEMBERED_BYTES = 4096         # a longer token is verified each time: claims take a multiple of it in memory

_RSA_HASHES: dict[str, hashes.HashAlgorithm] = {"RS256": hashes.SHA256(), "RS384": hashes.SHA384(), "RS512": hashes.SHA512()}
_CURVES = {
    "ES256": ("P-256", ec.SECP256R1, ec.ECDSA(hashes.SHA256()), 32),
    "ES384": ("P-384", ec.SECP384R1, ec.ECDSA(hashes.SHA384()), 48),
}


def verify_jws(token: str, keys: Keys) -> dict[str, object]:
    """The claims of a compact JWS that one of `keys` signed, or ValueError saying why not."""
    if len(token) > MAX_TOKEN_BYTES:
        raise ValueError(f"it is longer than {MAX_TOKEN_BYTES} bytes")
    match token.split("."):
        case [header_text, claims_text, signature_text]:
            pass
        case _:
            raise ValueError("it is no compact JWS of three parts")
    header, claims, signature = json_object(_base64url(header_text)), _base64url(claims_text), _base64url(signature_text)
    if "crit" in header or "b64" in header:     # RFC 7797 s6: never the one without the other
        raise ValueError("its header demands an extension (`crit`, `b64`); none is known here")
    kid = header.get("kid", next(iter(keys)) if len(keys) == 1 else None)
    found = keys.get(kid) if isinstance(kid, str) else None
    if found is None:
        raise ValueError("its `kid` names no key of the JWKS; if the issuer's signing keys were rotated, renew the JWKS")
    key, only = found
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or (only and algorithm != only):
        raise ValueError(f"its `alg` {str(algorithm)[:40]!r} is not what its key is for")
    try:
        _verify(key, algorithm, f"{header_text}.{claims_text}".encode("ascii"), signature)
    except InvalidSignature as exc:
        raise ValueError("its signature is wrong") from exc
    return json_object(claims)


def _verify(key: PublicKey, algorithm: str, signed: bytes, signature: bytes) -> None:
    match key, algorithm:
        case rsa.RSAPublicKey(), "RS256" | "RS384" | "RS512":
            key.verify(signature, signed, padding.PKCS1v15(), _RSA_HASHES[algorithm])
        case rsa.RSAPublicKey(), "PS256":
            key.verify(signature, signed, padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size), hashes.SHA256())
        case ec.EllipticCurvePublicKey(), "ES256" | "ES384" if isinstance(key.curve, _CURVES[algorithm][1]):
            _, _, scheme, size = _CURVES[algorithm]
            if len(signature) != 2 * size:
                raise InvalidSignature
            r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
            key.verify(encode_dss_signature(r, s), signed, scheme)
        case ed25519.Ed25519PublicKey(), "EdDSA":
            key.verify(signature, signed)
        case _:
            raise ValueError(f"its `alg` {algorithm[:40]!r} is not what its key is for")


def parse_jwks(data: bytes) -> dict[str, tuple[PublicKey, str]]:
    """The keys of a JWKS document by `kid`; those of other types or uses are passed over, as RFC 7517 s5 has it.

    Raises:
        ConfigError: no JWKS, a broken key, two of one name, or none that is usable.
    """
    keys: dict[str, tuple[PublicKey, str]] = {}
    try:
        listed = json_object(data).get("keys")
        if not isinstance(listed, list):
            raise ValueError("it has no list `keys`")
        for jwk in listed:
            if not isinstance(jwk, dict) or (key := _parse_key(jwk)) is None:
                continue
            kid = jwk.get("kid", "")    # a single key needs no name
            if kid in keys:
                raise ValueError(f"two keys are named {kid!r}")
            keys[kid] = key, jwk.get("alg", "")
    except ValueError as exc:
        raise ConfigError("jwks", str(exc)) from exc
    if not keys:
        raise ConfigError("jwks", "it holds no RSA, P-256, P-384 or Ed25519 key for signatures")
    return keys


def _parse_key(jwk: dict[str, object]) -> PublicKey | None:
    kid, algorithm = jwk.get("kid", ""), jwk.get("alg", "")
    if not isinstance(kid, str) or not isinstance(algorithm, str) or jwk.get("use", "sig") != "sig":
        return None
    match jwk:
        case {"kty": "RSA", "n": str(n), "e": str(e)} if algorithm in ("", "RS256", "RS384", "RS512", "PS256"):
            rsa_key = rsa.RSAPublicNumbers(_integer(e), _integer(n)).public_key()
            if rsa_key.key_size not in RSA_BITS or _integer(e) < 65537:
                raise ValueError(f"the RSA key {kid!r} has {rsa_key.key_size} bits and exponent {_integer(e)}; "
                                 "2048 to 8192 bits and at least 65537 are accepted")
            return rsa_key
        case {"kty": "EC", "crv": str(curve), "x": str(x), "y": str(y)}:
            for name, (named, kind, _, _) in _CURVES.items():
                if named == curve and algorithm in ("", name):
                    try:
                        return ec.EllipticCurvePublicNumbers(_integer(x), _integer(y), kind()).public_key()
                    except ValueError as exc:
                        raise ValueError(f"the key {kid!r} is no point of {curve}") from exc
        case {"kty": "OKP", "crv": "Ed25519", "x": str(x)} if algorithm in ("", "EdDSA"):
            try:
                return ed25519.Ed25519PublicKey.from_public_bytes(_base64url(x))
            except ValueError as exc:
                raise ValueError(f"the key {kid!r} is no Ed25519 key") from exc
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


def json_object(data: bytes) -> dict[str, object]:
    """The JSON object, no member of which repeats at any depth; or ValueError."""
    try:
        value = _JSON.decode(data.decode("utf-8"))
    except RecursionError as exc:
        raise ValueError("its JSON is nested too deep") from exc
    except (json.JSONDecodeError, UnicodeDecodeError) as exc:
        raise ValueError("a part of it is no JSON") from exc
    if not isinstance(value, dict):
        raise ValueError("a part of it is no JSON object")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a member repeats in its JSON")
    return value


def _constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant)


# -- what routes ask for


def check_claims(claims: Mapping[str, object], jwt: Jwt, now: float) -> None:
    """Raises: ValueError if the token, though genuine, is not one that `jwt` asks for, or not of this time (`now`: Unix seconds)."""
    if claims.get("iss") != jwt.issuer:
        raise ValueError("another issuer made it (`iss`)")
    audience = claims.get("aud")
    if not any(one in jwt.audiences for one in (audience if isinstance(audience, list) else [audience]) if isinstance(one, str)):
        raise ValueError("it is for another audience (`aud`)")
    end, start = _time(claims, "exp"), _time(claims, "nbf")
    if end is None:
        raise ValueError("it never ends (`exp`)")
    if now >= end + LEEWAY_S:
        raise ValueError("it has expired")
    if start is not None and now < start - LEEWAY_S:
        raise ValueError("it is not valid yet")


def _time(claims: Mapping[str, object], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:   # nor NaN
        raise ValueError(f"`{name}` is no time")
    return value


def bearer_token(request: RequestHead, name: str) -> str:
    """The one token in the field `name`, or ValueError. `Bearer` before it is demanded in Authorization, allowed elsewhere."""
    wanted = name.lower().encode()
    given = [value for field, value in request.headers if field.lower() == wanted]
    if not given:
        raise ValueError("there is none")
    if len(given) > 1:
        raise ValueError(f"{name} repeats")
    scheme, space, token = given[0].partition(b" ")
    if space and scheme.lower() == b"bearer":
        return token.strip(b" ").decode("latin-1")
    if wanted == b"authorization":
        raise ValueError(f"{name} holds no bearer token")
    return given[0].decode("latin-1")


class Tokens:
    """Verifies the tokens of requests, and remembers for which the signature was found good, until a new snapshot comes.

    Times and audience are looked at each time. The table is bounded: who fills it must own as many genuine tokens, and then the oldest
    are verified anew.
    """

    def __init__(self) -> None:
        self._issuers: tuple[TokenIssuer, ...] = ()
        self._keys: dict[str, Keys] = {}
        self._remembered: dict[tuple[str, bytes], dict[str, object]] = {}

    def claims(self, request: RequestHead, jwt: Jwt, issuers: tuple[TokenIssuer, ...], now: float) -> dict[str, object]:
        """What the request's token says, or ValueError with what is wrong with it.

        Args:
            issuers: of the snapshot in force.
        """
        token = bearer_token(request, jwt.header)
        if issuers is not self._issuers:
            self._issuers = issuers
            self._keys = {one.issuer: _keys_of(one) for one in issuers}
            self._remembered.clear()
        keys = self._keys.get(jwt.issuer)
        if not keys:
            raise ValueError(f"the mesh has no usable keys of {jwt.issuer}")
        if len(token) > MAX_TOKEN_BYTES:
            raise ValueError(f"it is longer than {MAX_TOKEN_BYTES} bytes")
        key = jwt.issuer, hashlib.sha256(token.encode()).digest()
        claims = self._remembered.get(key)
        is_new = claims is None
        if claims is None:
            claims = verify_jws(token, keys)
        check_claims(claims, jwt, now)
        if is_new and len(token) <= REMEMBERED_BYTES:
            if len(self._remembered) >= MOST_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[key] = claims
        return claims


def _keys_of(issuer: TokenIssuer) -> Keys:
    """None at all if the document is not usable: then this issuer's tokens are refused, and all else of the snapshot holds."""
    try:
        return parse_jwks(issuer.keys.encode())
    except (ConfigError, UnicodeEncodeError):
        return {}
