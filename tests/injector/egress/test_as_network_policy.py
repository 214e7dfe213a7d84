"""What is proposed says what is approved: read back by the compiler, and asked by the sidecar's own code."""

import ipaddress
from pathlib import Path
from typing import Any

import pytest

from injector.cluster import Cluster
from injector.cluster.directory import read_file
from injector.compile.network_book import NetworkBook
from injector.egress.as_network_policy import network_policies
from sidecar.policy.network import Network
from tests.injector.pods import egress_policy, mesh_policy

Json = dict[str, Any]


def pod(name: str, of: str, address: str, **labels: str) -> Json:
    return {
        "kind": "Pod", "metadata": {"name": name, "namespace": of, "uid": name, "labels": labels},
        "spec": {"serviceAccountName": "pay", "initContainers": [{"name": "bartizan-sidecar"}] if of == "shop" else []},
        "status": {"phase": "Running", "podIP": address},
    }


RANGES = [{"cidr": "203.0.113.0/24", "ports": [443, 8443]}, {"cidr": "2001:db8:7::/48"}]
POLICY = egress_policy(subjects=[{"namespace": "shop", "serviceAccounts": ["pay"]}], hosts=[{"host": "api.stripe.example"}], ranges=RANGES)
PODS = [
    pod("pay", "shop", "10.0.0.1", app="pay", **{"pod-template-hash": "x"}), pod("dns", "kube-system", "10.0.9.1"),
    pod("issuer", "bartizan-system", "10.0.8.1"), pod("other", "elsewhere", "10.0.7.1"),
]
MESH = mesh_policy(resolvers=["169.254.20.10:5353", "fd00::a"])


def proposed(tmp_path: Path, *objects: Json) -> tuple[str, Network]:
    text = network_policies(Cluster.of(objects))
    path = tmp_path / "proposed.yaml"
    path.write_text(text)
    made = read_file(path)
    cluster = Cluster.of([*objects, *made])
    isolated = NetworkBook("mesh").isolated(cluster, cluster.pods["shop", "pay"])
    assert isolated.problems == ()
    assert isolated.inbound is None
    assert isolated.outbound is not None
    assert not isolated.outbound.approves       # the EgressPolicy does
    return text, Network(isolated.outbound)


@pytest.mark.parametrize(("address", "port", "may"), [
    ("203.0.113.7", 443, True), ("203.0.113.7", 8443, True), ("203.0.113.7", 80, False), ("2001:db8:7::1", 5432, True),
    ("198.51.100.9", 443, False), ("2001:db8:8::1", 443, False),
    ("169.254.20.10", 5353, True), ("169.254.20.10", 80, False), ("fd00::a", 53, True),
    ("fd00::a", 443, False), ("10.0.9.1", 53, True), ("10.0.8.1", 8443, True), ("10.0.8.1", 9444, True), ("10.0.7.1", 80, True),
])
def test_what_it_lists(address: str, port: int, may: bool, tmp_path: Path) -> None:
    _, network = proposed(tmp_path, *PODS, POLICY, MESH)
    assert (network.why_let(ipaddress.ip_address(address), port, None) is not None) is may


def test_what_has_only_a_name_is_said(tmp_path: Path) -> None:
    text, _ = proposed(tmp_path, *PODS, POLICY, MESH)
    assert "# api.stripe.example, ports 80, 443\n" in text
    assert "as it is, none of those above is" in text
    taken_off = text
    for line in ("- to:", "    - ipBlock", "  ports:"):
        taken_off = taken_off.replace(f"    # {line}", f"    {line}")
    path = tmp_path / "opened.yaml"
    path.write_text(taken_off)
    cluster = Cluster.of([*PODS, POLICY, MESH, *read_file(path)])
    outbound = NetworkBook("mesh").isolated(cluster, cluster.pods["shop", "pay"]).outbound
    assert outbound is not None
    may = [Network(outbound).why_let(ipaddress.ip_address(text), 443, None) is not None for text in ("198.51.100.9", "192.168.1.1")]
    assert may == [True, False]


def test_what_leaves_by_a_gateway_is_the_gateways(tmp_path: Path) -> None:
    led = egress_policy(subjects=[{"namespace": "shop"}], hosts=[{"host": "a.example"}], ranges=RANGES,
                        gateway={"namespace": "elsewhere", "service": "gate"})
    text, network = proposed(tmp_path, *PODS, led)
    assert "# a.example, ports 80, 443: by an egress gateway alone\n" in text
    assert "# 203.0.113.0/24 leaves by an egress gateway alone" in text
    assert network.why_let(ipaddress.ip_address("203.0.113.7"), 443, None) is None


def test_whom_it_selects(tmp_path: Path) -> None:
    text, _ = proposed(tmp_path, *PODS, POLICY)
    assert 'podSelector: {matchLabels: {"app": "pay"}}' in text
    owned = {**pod("pay-x1", "shop", "10.0.0.2", app="pay", track="canary")}
    owned["metadata"]["ownerReferences"] = [{"kind": "Deployment", "name": "pay", "controller": True}]
    selector = {"matchLabels": {"app": "pay"}}
    deployment = {"kind": "Deployment", "metadata": {"name": "pay", "namespace": "shop"}, "spec": {"selector": selector}}
    text = network_policies(Cluster.of([owned, deployment, POLICY]))
    assert text.count("kind: NetworkPolicy") == 1
    assert 'podSelector: {matchLabels: {"app": "pay"}}' in text


def test_who_has_no_labels_is_not_selected() -> None:
    text = network_policies(Cluster.of([pod("pay", "shop", "10.0.0.1"), POLICY]))
    assert "no label by which a NetworkPolicy could select it" in text
    assert "kind:" not in text


def test_nobody_is_meant() -> None:
    assert network_policies(Cluster.of([pod("pay", "other", "10.0.0.1", app="pay"), POLICY])) == ""
    assert network_policies(Cluster.of([*PODS, POLICY]), ("shop", "web")) == ""
    assert network_policies(Cluster.of([*PODS, POLICY]), ("shop", "pay")) != ""
