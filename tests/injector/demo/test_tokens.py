import base64
import json

import pytest

from certs.authenticate import Attestation, JwksAttestor, Refused
from injector.demo.tokens import TokenSigner

from .support import pod

ISSUER = "https://kubernetes.default.svc.cluster.local"
NOW = 1_800_000_000.0


def test_the_issuer_takes_them_for_the_api_servers() -> None:
    signer = TokenSigner(ISSUER)
    token = signer.token(pod(), "account-uid", "bartizan", 3600, NOW)
    attestor = JwksAttestor(json.dumps(signer.jwks()).encode(), ISSUER, "bartizan")
    found = attestor.verify(token, NOW + 1)
    assert found == Attestation("shop", "web", "web-x2x4z", "6f9619ff")


def test_a_token_of_another_key_or_audience_is_refused() -> None:
    signer = TokenSigner(ISSUER)
    attestor = JwksAttestor(json.dumps(TokenSigner(ISSUER).jwks()).encode(), ISSUER, "bartizan")
    with pytest.raises(Refused):
        attestor.verify(signer.token(pod(), "u", "bartizan", 3600, NOW), NOW)
    with pytest.raises(Refused):
        JwksAttestor(json.dumps(signer.jwks()).encode(), ISSUER, "bartizan").verify(signer.token(pod(), "u", "", 3600, NOW), NOW)


def test_the_claims_are_those_of_a_bound_token() -> None:
    payload = TokenSigner(ISSUER).token(pod(), "account-uid", "bartizan", 600, NOW).split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert claims.pop("jti")
    assert claims == {
        "aud": ["bartizan"], "exp": 1_800_000_600, "iat": 1_800_000_000, "nbf": 1_800_000_000, "iss": ISSUER,
        "sub": "system:serviceaccount:shop:web",
        "kubernetes.io": {"namespace": "shop", "pod": {"name": "web-x2x4z", "uid": "6f9619ff"},
                          "serviceaccount": {"name": "web", "uid": "account-uid"}},
    }
