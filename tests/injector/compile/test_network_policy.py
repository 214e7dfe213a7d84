"""What is read of a NetworkPolicy; what it means for pods: `test_network_book.py`."""

from typing import Any

import pytest

from injector.cluster.objects import Object
from injector.compile.network_policy import Policy, read_network_policy, told
from injector.documents.network_policy import NetworkPolicySpec
from injector.documents.selector import Selector

WEB = Selector({"app": "web"})
SELECTS_WEB = {"matchLabels": {"app": "web"}}


def read(spec: Any) -> Policy:
    return read_network_policy(Object({"kind": "NetworkPolicy", "metadata": {"name": "one", "namespace": "shop"}, "spec": spec}))


def test_what_is_valid_is_as_it_stands() -> None:
    found = read({"podSelector": SELECTS_WEB, "policyTypes": ["Egress"], "egress": [{}]})
    assert (found.name, found.namespace, found.problems) == ("shop/one", "shop", ())
    assert (found.spec.pod_selector, found.spec.policy_types, len(found.spec.rules("Egress"))) == (WEB, ("Egress",), 1)


@pytest.mark.parametrize(("spec", "closed"), [
    ({"podSelector": SELECTS_WEB, "ingress": [{"fron": []}]}, NetworkPolicySpec(WEB, ("Ingress",))),
    ({"podSelector": SELECTS_WEB, "egress": [{"to": [{}]}]}, NetworkPolicySpec(WEB, ("Ingress", "Egress"))),
    ({"podSelector": SELECTS_WEB, "policyTypes": ["Egress"], "ingress": 1}, NetworkPolicySpec(WEB, ("Egress",))),
    ({"podSelector": SELECTS_WEB, "policyTypes": ["Egres"], "ingress": []}, NetworkPolicySpec(WEB, ("Ingress", "Egress"))),
    ({"podSelector": {**SELECTS_WEB, "matchExpressions": 1}, "policyTypes": ["Ingress"]}, NetworkPolicySpec(WEB, ("Ingress",))),
    ({"podSelector": [], "policyTypes": ["Ingress"], "ingress": 1}, NetworkPolicySpec(Selector(), ("Ingress",))),
    ({"podSelector": {"matchLabels": 1}}, NetworkPolicySpec(Selector(), ("Ingress",))),
    ("nonsense", NetworkPolicySpec(Selector(), ("Ingress", "Egress"))),
])
def test_what_is_broken_lists_nothing_and_selects_whom_it_may_mean(spec: Any, closed: NetworkPolicySpec) -> None:
    found = read(spec)
    assert found.spec == closed
    assert [one.endswith("isolated and it lists nothing") for one in told(found)] == [True] * len(found.problems)
    assert found.problems
