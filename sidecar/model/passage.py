"""What the packet rules let pass the sidecar by, because a MeshPolicy says so: UDP that it approves, TCP that it lets be excluded.

Nobody judges it, nobody writes it down. It never holds what the sidecar lives by: its own ports, DNS, and where it tests the rules.

Trust: the values come from a policy and from a pod's annotation. What leaves here can be written into a packet rule as it stands,
and takes neither the guard nor the test of the rules away.
"""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec

from . import ports
from .address import IpNetwork
from .errors import ConfigError

# Options of `bartizan intercept`.
ALLOW_UDP, EXCLUDE_INBOUND = "--allow-udp", "--exclude-inbound"
EXCLUDE_PORT, EXCLUDE_NETWORK = "--exclude-outbound-port", "--exclude-outbound"
OPTIONS: Mapping[str, tuple[str, str]] = {
    ALLOW_UDP: ("CIDR:PORT", "the application may send datagrams there"),
    EXCLUDE_INBOUND: ("PORT", "TCP to this port of the pod does not go to the sidecar"),
    EXCLUDE_PORT: ("PORT", "TCP to this port, wherever it is, does not go to the sidecar"),
    EXCLUDE_NETWORK: ("CIDR", "TCP to these addresses does not go to the sidecar"),
}


class Passage(msgspec.Struct, frozen=True):
    """
    Args:
        datagrams: where UDP may go.
        inbound_ports, outbound_ports, outbound_networks: of TCP.
    """

    datagrams: tuple[tuple[IpNetwork, int], ...] = ()
    inbound_ports: tuple[int, ...] = ()
    outbound_ports: tuple[int, ...] = ()
    outbound_networks: tuple[IpNetwork, ...] = ()

    @classmethod
    def of(cls, arguments: Sequence[str]) -> "Passage":
        """What the OPTIONS among the arguments of `bartizan intercept` say. Raises ConfigError."""
        given: dict[str, list[str]] = {option: [] for option in OPTIONS}
        for option, value in pairwise(arguments):
            if option in given:
                given[option].append(value)
        return cls(
            datagrams=tuple(_datagrams(text) for text in given[ALLOW_UDP]),
            inbound_ports=tuple(_port(EXCLUDE_INBOUND, text) for text in given[EXCLUDE_INBOUND]),
            outbound_ports=tuple(_port(EXCLUDE_PORT, text) for text in given[EXCLUDE_PORT]),
            outbound_networks=tuple(_excluded_network(text) for text in given[EXCLUDE_NETWORK]),
        )

    @property
    def arguments(self) -> list[str]:
        """What `of` reads."""
        return [
            *(word for network, port in self.datagrams for word in (ALLOW_UDP, f"{network}:{port}")),
            *(word for port in self.inbound_ports for word in (EXCLUDE_INBOUND, str(port))),
            *(word for port in self.outbound_ports for word in (EXCLUDE_PORT, str(port))),
            *(word for network in self.outbound_networks for word in (EXCLUDE_NETWORK, str(network))),
        ]

    @property
    def words(self) -> Iterator[str]:
        """Each part in words, for people."""
        yield from (f"UDP to {network} port {port}" for network, port in self.datagrams)
        yield from (f"TCP into port {port}" for port in self.inbound_ports)
        yield from (f"TCP to port {port}" for port in self.outbound_ports)
        yield from (f"TCP to {network}" for network in self.outbound_networks)


NOTHING = Passage()


def port_problem(port: int) -> str | None:
    """Why this port cannot be taken out of the interception; None if it can."""
    if port in ports.OWN:
        return f"{port} is the sidecar's own port; remove it"
    if port == ports.NAME_SERVER:
        return f"{port} is the DNS guard's, whoever is asked; name the server in `resolvers`, or remove the port"
    if port == ports.CANARY_PORT:
        return f"{port} is where the sidecar tests its packet rules; remove it"
    return None


def network_problem(network: IpNetwork) -> str | None:
    """Why these addresses cannot be excluded; None if they can."""
    for canary in ports.NAT_CANARY.values():
        if ipaddress.ip_address(canary) in network:
            return f"{network} holds {canary}, at which the sidecar tests its packet rules; name narrower ranges"
    return None


def _port(option: str, text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    if not 0 < port < 65536:
        raise ConfigError(option, f"{text[:100]!r} is no port; write a number from 1 to 65535")
    if problem := port_problem(port):
        raise ConfigError(option, problem)
    return port


def _network(option: str, text: str) -> IpNetwork:
    try:
        return ipaddress.ip_network(text)
    except ValueError as exc:
        raise ConfigError(option, f"{text[:100]!r} is no range of addresses; write 203.0.113.0/24 or 2001:db8::/32") from exc


def _datagrams(text: str) -> tuple[IpNetwork, int]:
    network, _, port = text.rpartition(":")
    return _network(ALLOW_UDP, network), _port(ALLOW_UDP, port)


def _excluded_network(text: str) -> IpNetwork:
    network = _network(EXCLUDE_NETWORK, text)
    if problem := network_problem(network):
        raise ConfigError(EXCLUDE_NETWORK, problem)
    return network
