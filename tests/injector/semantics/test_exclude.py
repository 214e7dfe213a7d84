import pytest

from injector.documents import DatagramRange, Exclusions
from injector.semantics.exclude import exclusions_problems, udp_problems


@pytest.mark.parametrize(("excluded", "paths"), [
    (Exclusions((9100,), (5432, 6379), ("203.0.113.0/24", "2001:db8:1::/48")), []),
    (Exclusions(inbound_ports=(80, 15006)), ["inboundPorts[1]"]),
    (Exclusions(inbound_ports=(15021,)), ["inboundPorts[0]"]),
    (Exclusions(outbound_ports=(53, 15001)), ["outboundPorts[0]", "outboundPorts[1]"]),
    (Exclusions(outbound_cidrs=("10.0.0.1/8", "0.0.0.0/0", "::/0", "x")), [f"outboundCidrs[{i}]" for i in range(4)]),
])
def test_what_can_be_excluded(excluded: Exclusions, paths: list[str]) -> None:
    assert [path for path, _ in exclusions_problems(excluded)] == paths


@pytest.mark.parametrize(("datagrams", "paths"), [
    (DatagramRange("0.0.0.0/0", (123, 443)), []),
    (DatagramRange("10.0.0.0/8", (53,)), ["ports[0]"]),
    (DatagramRange("10.0.0.0/8", (9, 443, 15053)), ["ports[0]", "ports[2]"]),
    (DatagramRange("10.0.0.1/8", (443,)), ["cidr"]),
])
def test_where_datagrams_may_go(datagrams: DatagramRange, paths: list[str]) -> None:
    assert [path for path, _ in udp_problems(datagrams)] == paths
