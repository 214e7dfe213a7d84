"""A JWKS (RFC 7517) cut down to what verifies tokens: public keys, and of these the members that say what they are.

Trust: the text is a policy's, or what a host answered. What leaves holds no secret: a set with one is refused whole, since it is
public no more than its keys are. Attacked by tests/injector/test_key_set.py.
"""

from typing import Any

import msgspec

from sidecar.model.errors import ConfigError
from sidecar.net.jwt import parse_jwks

from .json_text import read_json

MAX_BYTES = 65536
_MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_ABOUT = ("kid", "alg", "use")
_SECRET = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def public_keys(text: bytes) -> str:
    """The JWKS again, with what verifies signatures only. Raises ConfigError."""
    data = read_json(text, MAX_BYTES)
    keys = data.get("keys") if isinstance(data, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ConfigError("", 'no JWKS: expected {"keys": [...]}')
    if any(_SECRET & key.keys() for key in keys):
        raise ConfigError("", "the JWKS holds a private or symmetric key; publish the public ones only")
    kept = msgspec.json.encode({"keys": [found for key in keys if (found := _public(key))]})
    parse_jwks(kept)        # as the sidecar will
    return kept.decode()


def _public(key: dict[str, Any]) -> dict[str, str] | None:
    """None for a key of another kind or use."""
    members = _MEMBERS.get(str(key.get("kty")))
    if members is None or key.get("use", "sig") != "sig" or not all(isinstance(key.get(name), str) for name in members):
        return None
    return {name: value for name in ("kty", *members, *_ABOUT) if isinstance(value := key.get(name), str)}
