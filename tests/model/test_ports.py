from ipaddress import ip_address

from sidecar.model import ports


def test_the_ports_differ() -> None:
    assert {ports.INBOUND, ports.OUTBOUND, ports.DNS, ports.HEALTH, ports.METRICS, ports.GATEWAY} == ports.OWN
    assert len(ports.OWN) == 6


def test_the_canaries_are_nobodys_and_differ() -> None:
    for family in (4, 6):
        trio = [ip_address(canary[family]) for canary in (ports.NAT_CANARY, ports.FILTER_CANARY, ports.EXEMPT_CANARY)]
        assert len(set(trio)) == 3
        assert [ip.version for ip in trio] == [family] * 3
        assert [ip.is_multicast for ip in trio] == [False, True, True]
        assert not trio[0].is_global
