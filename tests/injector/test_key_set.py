import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.key_set import public_keys
from sidecar.model.errors import ConfigError

RSA = {"kty": "RSA", "n": "_" * 341 + "w", "e": "AQAB", "kid": "r"}
EC = {"kty": "EC", "crv": "P-256", "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",     # the curve's generator
      "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU", "alg": "ES256", "use": "sig", "kid": "e"}
OKP = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}


def _text(*keys: Any) -> bytes:
    return json.dumps({"keys": keys, "more": 1}).encode()


def test_what_verifies_is_kept_and_nothing_else() -> None:
    chain = {**RSA, "x5c": ["MII"], "x5t": "a", "key_ops": ["verify"]}
    assert json.loads(public_keys(_text(chain, EC, OKP, {**RSA, "use": "enc"}, {"kty": "AKP", "pub": "x"}))) == {"keys": [RSA, EC, OKP]}


@pytest.mark.parametrize("secret", [{**RSA, "d": "AA"}, {**EC, "d": "AA"}, {"kty": "oct", "k": "AA"}, {**RSA, "p": "AA", "q": "AA"}])
def test_a_set_with_a_secret_is_refused_whole(secret: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="private or symmetric"):
        public_keys(_text(RSA, secret))


@pytest.mark.parametrize("text", [
    b"", b"{}", b"[]", b'{"keys": {}}', b'{"keys": [3]}', _text(), _text({"kty": "AKP"}), _text({"kty": "RSA", "n": "AA"}),
    _text({**RSA, "n": 3}), _text({**RSA, "n": "AQAB"}), _text(OKP, OKP), b'{"keys": [], "keys": []}', _text({**RSA, "kid": "x" * 70000}),
])
def test_what_is_no_set_of_keys(text: bytes) -> None:
    with pytest.raises(ConfigError):
        public_keys(text)


@given(st.binary() | st.lists(st.dictionaries(
    st.sampled_from(["kty", "n", "e", "crv", "x", "d", "use", "kid"]), st.sampled_from(["RSA", "OKP", "a", 1, None]), max_size=5,
)).map(lambda keys: json.dumps({"keys": keys}).encode()))
def test_any_bytes_are_public_keys_or_refused(data: bytes) -> None:
    try:
        text = public_keys(data)
    except ConfigError:
        return
    assert public_keys(text.encode()) == text
    assert not {"d", "k"} & {member for key in json.loads(text)["keys"] for member in key}
