"""A real API server takes our definitions, and refuses by itself what they forbid."""

import copy
from pathlib import Path
from typing import Any

import pytest

from certs.kubernetes import ApiError
from injector.cli.manifests import manifests_in, read_documents

from .cluster import Cluster

GROUP = "/apis/bartizan.dev/v1alpha1"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
PLURALS = {"EgressPolicy": "egresspolicies", "MeshPolicy": "meshpolicies"}
EXAMPLES = Path(__file__).parents[3] / "examples"


async def test_they_are_established_and_structural(policies: Cluster) -> None:
    for plural in PLURALS.values():
        found = await policies.admin.get(f"{CRDS}/{plural}.bartizan.dev", dict)
        states = {one["type"]: one["status"] for one in found["status"]["conditions"]}
        assert (states["Established"], states["NamesAccepted"]) == ("True", "True")
        assert "NonStructuralSchema" not in states


async def _create(cluster: Cluster, policy: dict[str, Any]) -> dict[str, Any]:
    """As kubectl does, for which an unknown field is an error. Nothing is kept."""
    path = f"{GROUP}/{PLURALS[policy['kind']]}?fieldValidation=Strict&dryRun=All"
    made: dict[str, Any] = await cluster.admin.create(path, policy, dict)
    return made


def _examples() -> list[dict[str, Any]]:
    found = [
        manifest.data for file in sorted(EXAMPLES.rglob("*.yaml")) for document in read_documents(str(file)) if "kind" in document.data
        for manifest in manifests_in(str(file), document)
    ]
    return [data for data in found if data["kind"] in PLURALS]


async def test_every_example_is_taken(policies: Cluster) -> None:
    examples = _examples()
    assert {one["kind"] for one in examples} == set(PLURALS)
    for policy in examples:
        made = await _create(policies, policy)
        assert made["spec"] == policy["spec"], policy["metadata"]


def _egress(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "bartizan.dev/v1alpha1", "kind": "EgressPolicy", "metadata": {"name": "x"},
            "spec": {"subjects": [{"namespace": "shop"}], **spec}}


def _host(**fields: Any) -> dict[str, Any]:
    return _egress(hosts=[{"host": "api.partner.example", **fields}])


def _mesh(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "bartizan.dev/v1alpha1", "kind": "MeshPolicy", "metadata": {"name": "x"}, "spec": spec}


GOOD = [
    _egress(), _host(), _host(bytesPerHour="64KiB"), _host(bytesPerHour=65536), _egress(subjects=[{"namespaceSelector": {}}]),
    _mesh(), _mesh(egress={"mode": "observe", "until": "2026-12-31T00:00:00Z"}), _mesh(dns={"labelBits": 3.5}),
    _mesh(mtls={"mode": "strict", "ports": {"8080": {"mode": "permissive", "until": "2026-12-31T00:00:00+01:00"}}}),
]
BAD = [
    (_host(prots=[80]), 'unknown field "spec.hosts[0].prots"'),
    (_host(ports=[70000]), "less than or equal to 65535"), (_host(ports=[0]), "greater than or equal to 1"),
    (_host(ports=["443"]), "must be of type integer"),
    (_host(protocols=["udp"]), 'supported values: "http", "tcp", "tls"'), (_host(minVersion="1.1"), 'supported values: "1.2", "1.3"'),
    (_host(keyPins=["sha256/x"]), "should match"), (_host(methods=["get"]), "should match"), (_host(bytesPerHour="1 MB"), "should match"),
    (_host(bytesPerHour=-1), "greater than or equal to 0"), (_host(allowPlaintext="yes"), "must be of type boolean"),
    (_host(waivers=[{"check": "expiry", "until": "soon", "reason": "x"}]), "must be of type date-time"),
    (_host(waivers=[{"check": "expiry", "until": "2026-12-31T00:00:00Z"}]), "reason: Required value"),
    (_host(waivers=[{"check": "all", "until": "2026-12-31T00:00:00Z", "reason": "x"}]), "Unsupported value"),
    (_host(clientCertificate={}), "secret: Required value"), (_host(gateway={"service": "x"}), "namespace: Required value"),
    (_egress(hosts=[{}]), "host: Required value"), (_egress(hosts=[{"host": "https://a.example"}]), "should match"),
    (_egress(hosts=[{"host": "a.*.example"}]), "should match"), (_egress(ranges=[{"ports": [1]}]), "cidr: Required value"),
    (_egress(subjects=[{"namespace": "a", "namespaceSelector": {}}]), "must validate one and only one schema (oneOf)"),
    (_egress(subjects=[{"serviceAccounts": ["a"]}]), "must validate one and only one schema (oneOf)"),
    ({**_egress(), "spec": {}}, "subjects: Required value"), ({**_egress(), "spec": None}, "spec: Required value"),
    (_mesh(egress={"mode": "observe"}), "observe needs `until`"),
    (_mesh(egress={"mode": "enforce", "until": "2026-12-31T00:00:00Z"}), "enforce has no end"),
    (_mesh(egress={"mode": "off"}), 'supported values: "enforce", "observe"'),
    (_mesh(mtls={"mode": "permissive"}), "permissive needs `until`"), (_mesh(hardening="lax"), "Unsupported value"),
    (_mesh(dns={"perS": 0}), "should be greater than 0"), (_mesh(dns={"nameBytes": 254}), "less than or equal to 253"),
    (_mesh(udp=[{"cidr": "192.0.2.0/24", "ports": []}]), "should have at least 1 items"), (_mesh(unknown=1), "unknown field"),
    (_mesh(tokenIssuers=[{"issuer": "a", "jwks": "{}", "jwksUri": "https://a.example"}]), "(oneOf)"),
]


@pytest.mark.parametrize("policy", GOOD)
async def test_what_it_takes(policies: Cluster, policy: dict[str, Any]) -> None:
    assert (await _create(policies, copy.deepcopy(policy)))["spec"] == policy["spec"]


@pytest.mark.parametrize(("policy", "why"), BAD)
async def test_what_it_refuses(policies: Cluster, policy: dict[str, Any], why: str) -> None:
    with pytest.raises(ApiError) as caught:
        await _create(policies, policy)
    assert why in str(caught.value)
