"""What the types of NetworkPolicies cannot say."""

import pytest

from sidecar.model.errors import ConfigError
from sidecar.model.network import Block, Isolation, NetworkRule, PortRange, check_isolation


@pytest.mark.parametrize(("rule", "where"), [
    (NetworkRule("shop/p", blocks=(Block("10.0.0.0/8", ("10.1.0.0/16",)),), ports=(PortRange(80, 80),)), ""),
    (NetworkRule("shop/p", pods={"10.0.0.1": ""}), ""),
    (NetworkRule("shop/p", blocks=(Block("10.0.0.1/8"),)), "inbound.rules[0].blocks[0].cidr"),
    (NetworkRule("shop/p", blocks=(Block("10.0.0.0/8", ("x",)),)), "inbound.rules[0].blocks[0].excepted[0]"),
    (NetworkRule("shop/p", pods={"::0001": ""}), "inbound.rules[0].pods"),
    (NetworkRule("shop/p", pods={"web": ""}), "inbound.rules[0].pods"),
    (NetworkRule("shop/p", ports=(PortRange(81, 80),)), "inbound.rules[0].ports[0]"),
])
def test_isolation(rule: NetworkRule, where: str) -> None:
    isolation = Isolation(("shop/p",), (rule,))
    if not where:
        check_isolation("inbound", isolation)
        return
    with pytest.raises(ConfigError) as refused:
        check_isolation("inbound", isolation)
    assert refused.value.where == where
