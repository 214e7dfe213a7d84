import ipaddress

import pytest

from sidecar.model.address import Address, canonical, client_network, is_address, is_special, server_address


@pytest.mark.parametrize(("text", "expected"), [
    ("10.0.0.1", "10.0.0.1"),
    ("::ffff:10.0.0.1", "10.0.0.1"),
    ("::FFFF:0A00:1", "10.0.0.1"),
    ("2001:DB8:0:0::1", "2001:db8::1"),
    ("fe80::1%eth0", "fe80::1"),
])
def test_one_spelling(text: str, expected: str) -> None:
    assert str(canonical(text)) == expected


@pytest.mark.parametrize("text", ["", "%eth0", "localhost", "127.1", "0177.0.0.1", "2130706433", "0x7f.0.0.1", "1.2.3.4 ", "[::1]"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        canonical(text)


def test_text_of_an_address() -> None:
    assert (str(Address("10.0.0.1", 80)), str(Address("::1", 80))) == ("10.0.0.1:80", "[::1]:80")


@pytest.mark.parametrize("text", [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255",
    "192.168.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254",     # where clouds serve instance metadata
    "::", "::1", "64:ff9b::a00:1", "64:ff9b:1::1", "fc00::1", "fe80::1", "fec0::1", "ff02::1",
    "2002:a00:1::", "::10.0.0.1",                                           # IPv4 inside IPv6
])
def test_special(text: str) -> None:
    assert is_special(canonical(text))


@pytest.mark.parametrize("text", [
    "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "169.253.255.255", "172.15.255.255",
    "172.32.0.0", "192.0.1.0", "192.167.255.255", "203.0.113.7", "223.255.255.255", "2606:4700::1111", "2001:db8::1",
])
def test_not_special(text: str) -> None:
    assert not is_special(ipaddress.ip_address(text))


@pytest.mark.parametrize(("text", "expected"), [
    ("10.96.0.10", Address("10.96.0.10", 53)),
    ("10.96.0.10:5353", Address("10.96.0.10", 5353)),
    ("fd00::a", Address("fd00::a", 53)),
    ("fd00::5353", Address("fd00::5353", 53)),
    ("[fd00::a]:5353", Address("fd00::a", 5353)),
    ("::ffff:10.96.0.10", Address("10.96.0.10", 53)),
])
def test_server_address(text: str, expected: Address) -> None:
    assert server_address(text) == expected


@pytest.mark.parametrize("text", ["", ":53", "dns.example.com", "10.96.0.10:", "10.96.0.10:0", "10.96.0.10:65536", "10.96.0.10:+53",
                                  "10.96.0.10:\u0665", "[fd00::a]", "[fd00::a:53", "[]:53", "10.96.0.10:53:53"])
def test_what_is_no_server_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|port"):
        server_address(text)


@pytest.mark.parametrize(("text", "expected"), [
    ("10.0.0.1", True), ("fd00::1", True), ("::ffff:10.0.0.1", True), ("fe80::1%eth0", True),
    ("[fd00::1]", False), ("10.0.0.1:80", False), ("10.1", False), ("example.com", False), ("", False),
])
def test_is_address(text: str, expected: bool) -> None:
    assert is_address(text) is expected


@pytest.mark.parametrize(("address", "network"), [
    ("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ("fe80::1%eth0", "fe80::/64"),
])
def test_who_counts_as_one_client(address: str, network: str) -> None:
    assert client_network(address) == network
