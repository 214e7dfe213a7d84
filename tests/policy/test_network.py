"""The table of a direction that NetworkPolicies isolate, against what its rules say."""

import ipaddress
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.address import IpAddress, canonical
from sidecar.model.network import Block, Isolation, NetworkRule, PortRange
from sidecar.policy.network import Network

FRONTEND, OTHER = "spiffe://example.org/ns/shop/sa/frontend", "spiffe://example.org/ns/shop/sa/other"


def network(*rules: NetworkRule, policies: tuple[str, ...] = ("shop/a",)) -> Network:
    return Network(Isolation(policies, rules))


def let(table: Network, address: str, port: int = 80, identity: str | None = None) -> str | None:
    return table.why_let(canonical(address), port, identity)


def rule(**of: Any) -> NetworkRule:
    return NetworkRule(of.pop("policy", "shop/a"), **of)


def test_where_no_rule_is_nobody_is_listed() -> None:
    assert let(network(), "203.0.113.9") is None
    assert let(network(rule()), "203.0.113.9") is None      # an item with empty selectors that choose nobody


@pytest.mark.parametrize(("ports", "port", "is_let"), [
    (None, 1, True), ((), 80, False), ((PortRange(80, 80),), 80, True), ((PortRange(80, 80),), 81, False),
    ((PortRange(8000, 8010),), 8000, True), ((PortRange(8000, 8010),), 8010, True), ((PortRange(8000, 8010),), 8011, False),
    ((PortRange(80, 80), PortRange(443, 443)), 443, True),
])
def test_ports(ports: tuple[PortRange, ...] | None, port: int, is_let: bool) -> None:
    for who in (rule(is_for_all=True, ports=ports), rule(blocks=(Block("0.0.0.0/0"),), ports=ports),
                rule(pods={"192.0.2.1": ""}, ports=ports)):
        assert (let(network(who), "192.0.2.1", port) is not None) is is_let


@pytest.mark.parametrize(("listed", "address", "identity", "is_let"), [
    (FRONTEND, "10.1.0.5", FRONTEND, True),
    (FRONTEND, "10.1.0.5", None, False),        # plaintext: a pod with a sidecar never counts by its address alone
    (FRONTEND, "10.1.0.5", OTHER, False),       # the address was another pod's before
    (FRONTEND, "10.1.0.6", FRONTEND, False),    # the service account of a pod that the selectors do not choose
    ("", "10.1.0.5", None, True),
    ("", "10.1.0.5", FRONTEND, False),          # listed is a pod without a sidecar; this is another, at its address
])
def test_a_pod_is_its_address_and_what_it_proves(listed: str, address: str, identity: str | None, is_let: bool) -> None:
    assert (let(network(rule(pods={"10.1.0.5": listed})), address, identity=identity) is not None) is is_let


@pytest.mark.parametrize(("cidr", "excepted", "address", "is_let"), [
    ("203.0.113.0/24", (), "203.0.113.255", True),
    ("203.0.113.0/24", (), "203.0.114.0", False),
    ("0.0.0.0/0", ("10.0.0.0/8",), "10.1.0.5", False),
    ("0.0.0.0/0", ("10.0.0.0/8",), "11.1.0.5", True),
    ("0.0.0.0/0", (), "2001:db8::1", False),
    ("::/0", (), "203.0.113.9", False),
    ("2001:db8::/32", ("2001:db8:1::/48",), "2001:db8::1", True),
    ("2001:db8::/32", ("2001:db8:1::/48",), "2001:db8:1::1", False),
    ("192.0.2.7/32", (), "192.0.2.7", True),
    ("192.0.2.7/32", (), "192.0.2.6", False),
])
def test_blocks(cidr: str, excepted: tuple[str, ...], address: str, is_let: bool) -> None:
    table = network(rule(blocks=(Block(cidr, excepted),)))
    assert (let(table, address) is not None) is is_let
    assert (let(table, address, identity=FRONTEND) is not None) is is_let      # whoever has the address


def test_what_one_block_excepts_another_may_list() -> None:
    table = network(rule(blocks=(Block("10.0.0.0/8", ("10.1.0.0/16",)),)), rule(policy="shop/b", blocks=(Block("10.1.0.5/32"),)))
    assert let(table, "10.1.0.5") == "shop/b"
    assert let(table, "10.1.0.6") is None
    assert let(table, "10.2.0.6") == "shop/a"


@pytest.mark.parametrize(("names", "name"), [
    (("shop/a",), "networkpolicy/shop/a"), (("shop/a", "shop/b"), "networkpolicy/shop/a,shop/b"),
    (tuple(f"shop/{i}" for i in range(5)), "networkpolicy/shop/0,shop/1,shop/2,+2"),
])
def test_refusals_name_who_isolates(names: tuple[str, ...], name: str) -> None:
    table = network(policies=names)
    assert table.rule == name
    assert all(one in table.words for one in names)


# -- against a plain loop

_ADDRESSES = st.one_of(
    st.integers(0, 63).map(lambda n: f"10.0.0.{n}"), st.integers(0, 15).map(lambda n: f"10.0.1.{n}"),
    st.integers(0, 15).map(lambda n: f"fd00::{n + 1:x}"),
)
_IDENTITIES = st.sampled_from(["", FRONTEND, OTHER])


@st.composite
def _networks(draw: st.DrawFn) -> str:
    ip = ipaddress.ip_address(draw(_ADDRESSES))
    return str(ipaddress.ip_network((ip, ip.max_prefixlen - draw(st.integers(0, 12))), strict=False))


_RULES = st.builds(
    NetworkRule, policy=st.sampled_from(["shop/a", "shop/b"]), is_for_all=st.integers(0, 9).map(lambda n: n == 0),
    blocks=st.lists(st.builds(Block, _networks(), st.lists(_networks(), max_size=2).map(tuple)), max_size=3).map(tuple),
    pods=st.dictionaries(_ADDRESSES, _IDENTITIES, max_size=8),
    ports=st.none() | st.lists(st.builds(lambda a, n: PortRange(a, a + n), st.integers(1, 8), st.integers(0, 3)), max_size=2).map(tuple),
)


def _plain(one: NetworkRule, ip: IpAddress, port: int, identity: str | None) -> bool:
    """What a rule lists, as its docstring says it."""
    if one.ports is not None and not any(port in range(each.first, each.last + 1) for each in one.ports):
        return False
    return one.is_for_all or (str(ip), identity or "") in one.pods.items() or any(
        ip in ipaddress.ip_network(block.cidr) and not any(ip in ipaddress.ip_network(text) for text in block.excepted)
        for block in one.blocks
    )


@given(st.lists(_RULES, max_size=5), _ADDRESSES, st.integers(1, 12), st.none() | _IDENTITIES)
def test_what_the_table_lets_through_is_what_the_rules_list(
    rules: list[NetworkRule], address: str, port: int, identity: str | None
) -> None:
    """Every end, address by address: the table names a policy if and only if a rule of that policy lists it."""
    policy = let(network(*rules), address, port, identity)
    by = {one.policy for one in rules if _plain(one, canonical(address), port, identity)}
    assert policy in by if by else policy is None


def test_a_look_up_does_not_walk_pods_and_blocks() -> None:
    """Counted, not timed: as many Python calls among thousands as among one."""
    few = network(rule(pods={"10.0.0.1": FRONTEND}), rule(blocks=(Block("192.0.2.0/24"),)))
    many = network(
        *(rule(pods={f"10.{i}.{k}.1": FRONTEND for k in range(100)}) for i in range(20)),
        *(rule(blocks=(Block(f"192.{i // 250}.{i % 250}.0/24"),)) for i in range(1000)),
    )
    assert _calls(few, "198.51.100.9") == _calls(many, "198.51.100.9")


def _calls(table: Network, address: str) -> int:
    count, ip = 0, canonical(address)

    def seen(*_: object) -> None:
        nonlocal count
        count += 1

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        assert table.why_let(ip, 80, None) is None
    finally:
        sys.setprofile(before)
    return count
