from datetime import UTC, datetime

import pytest

from injector.documents import MeshPolicySpec, Mtls, PortMtls, TokenIssuer
from injector.semantics.policies import mesh_policy_problems

JWKS = '{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'


@pytest.mark.parametrize(("text", "is_good"), [
    ("10.96.0.10", True), ("10.96.0.10:53", True), ("fd00::10", True), ("[fd00::10]:53", True),
    ("[fd00::10]", False), ("10.96.0.10:0", False),
    ("10.96.0.10:65536", False), ("10.96.0.10:", False), ("dns", False), ("FD00::10", False), ("fd00::10%eth0", False),
])
def test_resolvers(text: str, is_good: bool) -> None:
    assert (list(mesh_policy_problems(MeshPolicySpec(resolvers=(text,)))) == []) is is_good


def test_strict_needs_no_date() -> None:
    assert list(mesh_policy_problems(MeshPolicySpec(mtls=Mtls("strict")))) == []


DATE = datetime(2026, 12, 31, tzinfo=UTC)
STRICT, PERMISSIVE = PortMtls("strict"), PortMtls("permissive", DATE)


@pytest.mark.parametrize(("mtls", "path"), [
    (Mtls("permissive", DATE), None), (Mtls("permissive"), "mtls"), (Mtls("strict", DATE), "mtls.until"),
    (Mtls("strict", ports={"8080": PERMISSIVE, "1": STRICT, "65535": STRICT}), None),
    (Mtls("strict", ports={"8080": PortMtls("permissive")}), "mtls.ports.8080"),
    (Mtls("permissive", DATE, {"8080": PortMtls("strict", DATE)}), "mtls.ports.8080.until"),
    *((Mtls("strict", ports={port: PERMISSIVE}), f"mtls.ports.{port}") for port in
      ("0", "65536", "08080", "http", "", "-1", "٨٠", "8080\n")),
])
def test_modes(mtls: Mtls, path: str | None) -> None:
    assert [where for where, _ in mesh_policy_problems(MeshPolicySpec(mtls=mtls))] == ([path] if path else [])


@pytest.mark.parametrize(("issuer", "path"), [
    (TokenIssuer("https://a", jwks=JWKS), None),
    (TokenIssuer("https://a", jwks_uri="https://a.example/keys", special_addresses=("10.0.0.0/8",)), None),
    (TokenIssuer("https://a"), "tokenIssuers[0]"),
    (TokenIssuer("https://a", JWKS, "https://a.example/keys"), "tokenIssuers[0]"),
    (TokenIssuer("https://a", "{}"), "tokenIssuers[0].jwks"),
    (TokenIssuer("https://a", JWKS, special_addresses=("10.0.0.0/8",)), "tokenIssuers[0].jwks"),
    (TokenIssuer("https://a", jwks_uri="http://a.example/keys"), "tokenIssuers[0].jwksUri"),
    (TokenIssuer("https://a", jwks_uri="https://u@a.example/keys"), "tokenIssuers[0].jwksUri"),
    (TokenIssuer("https://a", jwks_uri="https://a.example/", ca_bundle="x"), "tokenIssuers[0].caBundle"),
    (TokenIssuer("https://a", jwks_uri="https://a.example/", special_addresses=("10.0.0.1/8",)), "tokenIssuers[0].specialAddresses[0]"),
])
def test_token_issuers(issuer: TokenIssuer, path: str | None) -> None:
    assert [where for where, _ in mesh_policy_problems(MeshPolicySpec(token_issuers=(issuer,)))] == ([path] if path else [])


def test_an_issuer_is_named_once() -> None:
    issuers = TokenIssuer("https://a", JWKS), TokenIssuer("https://a", JWKS)
    assert [where for where, _ in mesh_policy_problems(MeshPolicySpec(token_issuers=issuers))] == ["tokenIssuers[1].issuer"]
