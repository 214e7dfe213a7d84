from datetime import UTC, datetime
from typing import Any

import pytest

from injector.documents import (
    ApprovedHost,
    ApprovedRange,
    Egress,
    EgressPolicySpec,
    GatewayService,
    MeshPolicySpec,
    Mtls,
    PolicyWaiver,
    PortMtls,
    SecretRef,
    TokenIssuer,
)
from injector.semantics.policies import egress_policy_problems, mesh_policy_problems

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


PIN = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
CHAIN, NAME, EXPIRY = (PolicyWaiver(check, DATE, "the partner moves") for check in ("chain", "name", "expiry"))


@pytest.mark.parametrize(("fields", "path"), [
    ({}, None),
    ({"ports": ()}, "ports"), ({"protocols": ()}, "protocols"),
    ({"min_version": "1.3", "subject_alt_names": ("a.example.com",), "key_pins": (PIN,), "client_certificate": SecretRef("a")}, None),
    ({"ca_bundle": "x"}, "caBundle"),
    ({"subject_alt_names": ("*.example.com",)}, "subjectAltNames[0]"), ({"subject_alt_names": ("10.0.0.1",)}, "subjectAltNames[0]"),
    ({"key_pins": (PIN, PIN.replace("FU=", "FV="))}, "keyPins[1]"),      # a second spelling of the same bytes
    ({"client_certificate": SecretRef("a b")}, "clientCertificate.secret"),
    ({"special_addresses": ("10.0.0.1/8",)}, "specialAddresses[0]"),
    ({"paths": ("/a", "/a/../b")}, "paths[1]"), ({"paths": ("a",)}, "paths[0]"), ({"paths": ("/a%2Fb",)}, "paths[0]"),
    ({"methods": ("GET",), "protocols": ("http", "tcp")}, "protocols"), ({"paths": ("/a",), "protocols": ("tcp",)}, "protocols"),
    ({"bytes_per_hour": "0MiB"}, "bytesPerHour"), ({"bytes_per_hour": 0}, "bytesPerHour"), ({"bytes_per_hour": 1}, None),
    ({"allow_plaintext": True}, None), ({"allow_plaintext": True, "min_version": "1.3"}, "allowPlaintext"),
    ({"allow_plaintext": True, "key_pins": (PIN,)}, "allowPlaintext"),
    ({"allow_plaintext": True, "subject_alt_names": ("a.example.com",)}, "allowPlaintext"),
    ({"allow_plaintext": True, "client_certificate": SecretRef("a")}, "allowPlaintext"),
    ({"waivers": (EXPIRY,)}, None), ({"waivers": (CHAIN,), "key_pins": (PIN,)}, None), ({"waivers": (CHAIN,)}, "waivers[0]"),
    ({"waivers": (EXPIRY, NAME)}, "waivers[1]"), ({"waivers": (NAME,), "subject_alt_names": ("a.example.com",)}, None),
    ({"waivers": (PolicyWaiver("expiry", DATE, "  "),)}, "waivers[0].reason"), ({"waivers": (EXPIRY, EXPIRY)}, "waivers[1].check"),
    ({"gateway": GatewayService("egress", "gateway", 8443)}, None), ({"gateway": GatewayService("Egress", "gateway")}, "gateway.namespace"),
    ({"gateway": GatewayService("egress", "gate.way")}, "gateway.service"),
])
def test_approved_hosts(fields: dict[str, Any], path: str | None) -> None:
    spec = EgressPolicySpec((), (ApprovedHost("a.example.com", **fields),))
    assert [where for where, _ in egress_policy_problems(spec)] == ([f"hosts[0].{path}"] if path else [])


@pytest.mark.parametrize(("spec", "path"), [
    (EgressPolicySpec((), ranges=(ApprovedRange("10.0.0.0/8", bytes_per_hour="1MiB"),)), None),
    (EgressPolicySpec((), ranges=(ApprovedRange("10.0.0.1/8"),)), "ranges[0].cidr"),
    (EgressPolicySpec((), ranges=(ApprovedRange("10.0.0.0/8", bytes_per_hour=0),)), "ranges[0].bytesPerHour"),
    (EgressPolicySpec((), ranges=(ApprovedRange("10.0.0.0/8", gateway=GatewayService("a", "B")),)), "ranges[0].gateway.service"),
    (EgressPolicySpec((), gateway=GatewayService("a", "B")), "gateway.service"),
])
def test_approved_ranges_and_gateways(spec: EgressPolicySpec, path: str | None) -> None:
    assert [where for where, _ in egress_policy_problems(spec)] == ([path] if path else [])


@pytest.mark.parametrize(("spec", "path"), [
    (MeshPolicySpec(egress=Egress("enforce")), None), (MeshPolicySpec(egress=Egress("observe", DATE)), None),
    (MeshPolicySpec(egress=Egress("observe")), "egress"), (MeshPolicySpec(egress=Egress("enforce", DATE)), "egress.until"),
])
def test_what_a_mesh_policy_says_of_leaving(spec: MeshPolicySpec, path: str | None) -> None:
    assert [where for where, _ in mesh_policy_problems(spec)] == ([path] if path else [])
