from typing import Any

from injector.manifests.network import network

from .support import PLANS, one


def ports(rules: list[dict[str, Any]]) -> set[int]:
    return {port["port"] for rule in rules for port in rule["ports"]}


def test_only_what_is_served_is_open() -> None:
    made = network(PLANS["default"])
    assert ports(one(made, "NetworkPolicy", "bartizan-issuer")["spec"]["ingress"]) == {8443}
    assert ports(one(made, "NetworkPolicy", "bartizan-injector")["spec"]["ingress"]) == {9443, 9444}


def test_the_control_plane_is_let_out_to_what_it_asks() -> None:
    made = network(PLANS["default"])
    assert ports(one(made, "NetworkPolicy", "bartizan-issuer")["spec"]["egress"]) == {53, 443, 6443, 9444}
    assert ports(one(made, "NetworkPolicy", "bartizan-injector")["spec"]["egress"]) == {53, 443, 6443, 8443, 15021}
    assert 8443 in ports(one(network(PLANS["full"]), "NetworkPolicy", "bartizan-issuer")["spec"]["egress"])


def test_there_may_be_none() -> None:
    assert network(PLANS["bare"]) == []
