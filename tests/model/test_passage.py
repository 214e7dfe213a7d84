from ipaddress import ip_network

import pytest

from sidecar.model import ports
from sidecar.model.errors import ConfigError
from sidecar.model.passage import NOTHING, OPTIONS, Passage, network_problem, port_problem

WHOLE = Passage(
    datagrams=((ip_network("10.0.0.0/8"), 123), (ip_network("fd00::/8"), 443)), inbound_ports=(9100, 9101), outbound_ports=(5432,),
    outbound_networks=(ip_network("203.0.113.0/24"), ip_network("2001:db8:1::/48")),
)


def test_it_is_read_as_it_is_written() -> None:
    assert Passage.of(["intercept", "--exempt-uid", "50001", *WHOLE.arguments]) == WHOLE
    assert {word for word in WHOLE.arguments if word.startswith("--")} == set(OPTIONS)
    assert Passage.of(NOTHING.arguments) == NOTHING


def test_in_words() -> None:
    assert list(WHOLE.words) == [
        "UDP to 10.0.0.0/8 port 123", "UDP to fd00::/8 port 443", "TCP into port 9100", "TCP into port 9101", "TCP to port 5432",
        "TCP to 203.0.113.0/24", "TCP to 2001:db8:1::/48",
    ]


@pytest.mark.parametrize("port", [*sorted(ports.OWN), 53, ports.CANARY_PORT])
@pytest.mark.parametrize(("option", "prefix"), [
    ("--exclude-inbound", ""), ("--exclude-outbound-port", ""), ("--allow-udp", "10.0.0.0/8:"),
])
def test_what_the_sidecar_lives_by_never_passes(port: int, option: str, prefix: str) -> None:
    assert port_problem(port)
    with pytest.raises(ConfigError, match=f"{option}: {port} is "):
        Passage.of([option, f"{prefix}{port}"])


@pytest.mark.parametrize("network", ["0.0.0.0/0", "192.0.0.0/16", "192.0.2.1/32", "::/0", "2001:db8:ba:271::/64"])
def test_no_excluded_range_holds_a_canary(network: str) -> None:
    with pytest.raises(ConfigError, match="name narrower ranges"):
        Passage.of(["--exclude-outbound", network])
    assert network_problem(ip_network(network))
    assert network_problem(ip_network("198.51.100.0/24")) is None


@pytest.mark.parametrize("arguments", [
    ("--exclude-inbound", "0"), ("--exclude-inbound", "65536"), ("--exclude-inbound", "-j"), ("--exclude-inbound", "80 -j ACCEPT"),
    ("--exclude-inbound", "\u0661\u0662"), ("--exclude-outbound-port", ""), ("--exclude-outbound", "10.0.0.1/8"),
    ("--exclude-outbound", "10.0.0.0/8 -j"), ("--exclude-outbound", "eth0"), ("--allow-udp", "10.0.0.0/8"), ("--allow-udp", "10.0.0.0/8:"),
    ("--allow-udp", "fd00::/8"), ("--allow-udp", ":123"),
])
def test_nothing_else_gets_into_a_rule(arguments: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match=arguments[0]):
        Passage.of(arguments)
