from typing import Any

import msgspec
import pytest

from injector.documents.network_policy import NetworkPolicySpec
from injector.semantics.network_policy import block_network, network_policy_problems


def problems(**spec: Any) -> list[str]:
    return [f"{path}: {text}" for path, text in network_policy_problems(msgspec.convert(spec, NetworkPolicySpec))]


def block(cidr: str, *excepted: str) -> dict[str, Any]:
    return {"egress": [{"to": [{"ipBlock": {"cidr": cidr, "except": list(excepted)}}]}]}


@pytest.mark.parametrize("spec", [
    {}, block("10.0.0.0/8", "10.1.0.0/16"), block("10.1.2.3/8"), block("2001:db8::/32", "2001:db8:1::/48"),
    block("0.0.0.0/0"), block("::/0"),
    {"ingress": [{}]}, {"ingress": [{"from": [{"podSelector": {}}, {"namespaceSelector": {}, "podSelector": {}}]}]},
    {"ingress": [{"ports": [{}, {"port": 1}, {"port": 80, "endPort": 80}, {"port": "http"}, {"port": "a-1"}, {"protocol": "SCTP"}]}]},
])
def test_what_an_api_server_takes(spec: dict[str, Any]) -> None:
    assert problems(**spec) == []


@pytest.mark.parametrize(("spec", "where"), [
    (block("10.0.0.0"), "egress[0].to[0].ipBlock.cidr"), (block("10.0.0.0/33"), "egress[0].to[0].ipBlock.cidr"),
    (block("10.0.0.0/255.0.0.0"), "egress[0].to[0].ipBlock.cidr"), (block("all/0"), "egress[0].to[0].ipBlock.cidr"),
    (block("::ffff:0:0/96"), "egress[0].to[0].ipBlock.cidr"),
    (block("10.0.0.0/8", "10.0.0.0/8"), "egress[0].to[0].ipBlock.except[0]"),
    (block("10.0.0.0/8", "::/64"), "egress[0].to[0].ipBlock.except[0]"),
    (block("10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0"), "egress[0].to[0].ipBlock.except[1]"),
    ({"ingress": [{}, {"from": [{}]}]}, "ingress[1].from[0]"),
    ({"ingress": [{"from": [{"namespaceSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}]}, "ingress[0].from[0]"),
    ({"ingress": [{"from": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": []}]}}]}]},
     "ingress[0].from[0].podSelector.matchExpressions[0].values"),
    ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
     "podSelector.matchExpressions[0].values"),
    ({"ingress": [{"ports": [{"port": "80"}]}]}, "ingress[0].ports[0].port"),
    ({"ingress": [{"ports": [{"port": "a--b"}]}]}, "ingress[0].ports[0].port"),
    ({"ingress": [{"ports": [{"port": "sixteen-letters-"}]}]}, "ingress[0].ports[0].port"),
    ({"ingress": [{"ports": [{"port": "http", "endPort": 90}]}]}, "ingress[0].ports[0].endPort"),
    ({"ingress": [{"ports": [{"port": 9, "endPort": 8}]}]}, "ingress[0].ports[0].endPort"),
])
def test_what_it_refuses(spec: dict[str, Any], where: str) -> None:
    found = problems(**spec)
    assert len(found) == 1
    assert found[0].startswith(f"{where}: ")


def test_bits_behind_the_prefix_count_for_nothing() -> None:
    assert str(block_network("203.0.113.77/24")) == "203.0.113.0/24"
    assert str(block_network("0::/0")) == "::/0"
