"""Any string: an Attestation whose words were signed, or Refused, nothing else."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.authenticate import LEEWAY_S, Attestation, JwksAttestor, JwksFileAttestor, Refused
from sidecar.model.errors import ConfigError

from .support import EC_KEY, ISSUER, JWKS, NOW, POD_UID, RSA_KEY, claims, jwk_of, new_key, token

ATTESTOR = JwksAttestor(JWKS, ISSUER, "bartizan")
WEB = Attestation("shop", "web", "web-0", POD_UID)


def bound(**changed: object) -> dict[str, object]:
    """The Kubernetes claim, with changes."""
    good = claims()["kubernetes.io"]
    assert isinstance(good, dict)
    return claims(**{"kubernetes.io": {name: value for name, value in (good | changed).items() if value is not None}})


@pytest.mark.parametrize("text", [
    token(claims()),
    token(claims(), alg="RS256", kid="r", key=RSA_KEY),
    token(claims(aud="bartizan")),
    token(claims(aud=["other", "bartizan"])),
    token(claims(exp=int(NOW) - LEEWAY_S + 1)),
    token(claims(nbf=int(NOW) + LEEWAY_S)),
    token(claims(more={"of": "the same"})),
])
async def test_attested(text):
    assert await ATTESTOR.attest(text, "", NOW) == WEB


@pytest.mark.parametrize(("text", "why"), [
    (token(claims(), key=new_key()), "signature"),
    (token(claims(iss="https://elsewhere")), "`iss`"),
    (token(claims(iss=ISSUER + "/")), "`iss`"),
    (token(claims(aud="https://kubernetes.default.svc")), "`aud`"),
    (token(claims(aud=[])), "`aud`"),
    (token(claims(aud="bartizan ")), "`aud`"),
    (token(claims(exp=int(NOW) - LEEWAY_S)), "expired"),
    (token(claims(nbf=int(NOW) + LEEWAY_S + 1)), "not valid yet"),
    (token(claims(exp=1e999)), "exp|finite|Infinity"),
    (token(claims(exp=str(int(NOW) + 3600))), "exp"),
    (token(claims(exp=True)), "exp"),
    *((token(claims(**{name: None})), name) for name in ("iss", "sub", "aud", "exp", "nbf", "kubernetes.io")),
    *((token(bound(**{name: None})), name) for name in ("namespace", "pod", "serviceaccount")),
    (token(bound(pod={"name": "web-0"})), "uid"),
    (token(bound(pod={"name": "web-0", "uid": ""})), "pod uid"),
    (token(bound(pod={"name": "web-0", "uid": "a\0b"})), "pod uid"),
    (token(bound(pod={"name": "web-0", "uid": "a\n"})), "pod uid"),
    (token(bound(namespace="bank")), "different accounts"),
    (token(bound(serviceaccount={"name": "vault", "uid": "a"})), "different accounts"),
    (token(claims(sub="system:serviceaccount:shop:vault")), "different accounts"),
    (token(claims(sub="system:node:one")), "different accounts"),
    (token(bound(namespace="shop/sa/vault") | {"sub": "system:serviceaccount:shop/sa/vault:web"}), "no Kubernetes name"),
    (token(bound(serviceaccount={"name": "../x", "uid": "a"}) | {"sub": "system:serviceaccount:shop:../x"}), "no Kubernetes"),
    (token(bound(namespace="Shop") | {"sub": "system:serviceaccount:Shop:web"}), "no Kubernetes name"),
    (token([]), "no JSON object"),
])
def test_refused(text, why):
    with pytest.raises(Refused, match=why) as caught:
        ATTESTOR.verify(text, NOW)
    assert text not in str(caught.value)


@given(st.text(max_size=300))
def test_any_string(text):
    with pytest.raises(Refused):
        ATTESTOR.verify(text, NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8,
)


@given(st.sampled_from(sorted(claims())), JSON)
def test_any_claim_in_a_signed_token(name, value):
    """Even a token of the cluster's own key, with any one claim replaced by any JSON, is attested as what it was or refused."""
    try:
        assert ATTESTOR.verify(token(claims() | {name: value}), NOW) == WEB
    except Refused:
        pass


async def test_a_rotated_key_set_counts_at_once(tmp_path, capsys):
    path, key = tmp_path / "jwks.json", new_key()
    path.write_bytes(JWKS)
    attestor = JwksFileAttestor(path, ISSUER, "bartizan")
    assert await attestor.attest(token(claims()), "", NOW) == WEB

    replace(path, json.dumps({"keys": [jwk_of(key, "new")]}).encode())
    assert await attestor.attest(token(claims(), kid="new", key=key), "", NOW) == WEB
    with pytest.raises(Refused, match="JWKS"):
        await attestor.attest(token(claims()), "", NOW)

    replace(path, b"{")
    assert await attestor.attest(token(claims(), kid="new", key=key), "", NOW) == WEB
    assert "the previous keys stay in force" in capsys.readouterr().err
    path.unlink()
    assert await attestor.attest(token(claims(), kid="new", key=key), "", NOW) == WEB
    assert "the previous keys stay in force" in capsys.readouterr().err


def replace(path, data):
    new = path.with_suffix(".new")
    new.write_bytes(data)
    os.replace(new, path)


def test_a_broken_key_set_does_not_start(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_bytes(b'{"keys":[]}')
    with pytest.raises(ConfigError, match="jwks"):
        JwksFileAttestor(path, ISSUER, "bartizan")
    path.write_bytes(json.dumps({"keys": [jwk_of(EC_KEY, "e")], "pad": "x" * (1 << 20)}).encode())
    with pytest.raises(ConfigError, match="longer than"):
        JwksFileAttestor(path, ISSUER, "bartizan")
