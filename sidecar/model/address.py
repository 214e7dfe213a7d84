"""Addresses as the kernel gives them, in one spelling, and the ranges that no external name may lead to.

IPv4 addresses mapped into IPv6 are unmapped at the door (`canonical`), so that no rule can be dodged by the other spelling.
"""

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_WITH_PORT = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]]+)):([0-9]{1,5})")


class Address(NamedTuple):
    """An IP address in canonical text (IPv4-mapped is IPv4, no zone) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@lru_cache(1024)     # 8 us without, for each connection's two ends
def canonical(text: str) -> IpAddress:
    """Parse an address; an IPv4-mapped or zoned IPv6 address becomes the plain one. ValueError if it is none."""
    ip = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    return mapped if mapped is not None else ip


def client_network(address: str) -> str:
    """What counts as one client: of IPv6 the /64, of which a household has one at least; an IPv4 address as it is, however written."""
    ip = canonical(address)
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))


def is_address(text: str) -> bool:
    try:
        canonical(text)
    except ValueError:
        return False
    return True


def server_address(text: str) -> Address:
    """`10.96.0.10`, `10.96.0.10:5353`, `fd00::a`, `[fd00::a]:5353`; port 53 where none is given. ValueError if it is none."""
    match = _WITH_PORT.fullmatch(text)
    host, port = (match[1] or match[2], int(match[3])) if match else (text, 53)
    if not 0 < port < 65536:
        raise ValueError(f"{port} is no port")
    return Address(str(canonical(host)), port)


# How long the prefixes are by which a sidecar knows where the mesh may be, by IP version.
MESH_PREFIX = {4: 24, 6: 112}


def mesh_range(ip: IpAddress) -> IpNetwork:
    """The range of that length that holds `ip`."""
    return ipaddress.ip_network((ip, MESH_PREFIX[ip.version]), strict=False)


# What an approved external name must not resolve to unless a policy says so: the node, the cluster, the cloud's metadata.
# Enumerated, not `is_global`: that also refuses documentation ranges, which are nobody's secret.
SPECIAL_RANGES: tuple[IpNetwork, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
        "224.0.0.0/4", "240.0.0.0/4",
        "192.0.0.0/24", "168.63.129.16/32",     # hold what one cloud each asks its metadata of
        "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16",     # hold IPv4 addresses, ::1 and :: besides
        "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)


def is_special(ip: IpAddress) -> bool:
    return any(ip in network for network in SPECIAL_RANGES)
