"""What the types cannot say of a NetworkPolicy. An API server refuses these; a directory of manifests takes what is written."""

import ipaddress
import re
from collections.abc import Iterator

from injector.documents.network_policy import IpBlock, NetworkPolicySpec, Peer, PolicyPort, PolicyRule
from injector.documents.selector import Selector
from sidecar.model.address import IpNetwork

from .text import Complaint, below

_PORT_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9](?:[a-z0-9-]{0,13}[a-z0-9])?", re.ASCII)
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def network_policy_problems(spec: NetworkPolicySpec) -> Iterator[Complaint]:
    yield from below("podSelector", selector_problems(spec.pod_selector or Selector()))
    sections: tuple[tuple[str, str, tuple[PolicyRule, ...]], ...] = (
        ("ingress", "from", spec.ingress or ()), ("egress", "to", spec.egress or ()),
    )
    for name, end, rules in sections:
        for i, rule in enumerate(rules):
            for j, peer in enumerate(rule.peers or ()):
                yield from below(f"{name}[{i}].{end}[{j}]", _peer_problems(peer))
            for j, port in enumerate(rule.ports or ()):
                yield from below(f"{name}[{i}].ports[{j}]", _port_problems(port))


def selector_problems(selector: Selector) -> Iterator[Complaint]:
    for i, one in enumerate(selector.match_expressions or ()):
        if one.operator in ("In", "NotIn") and not one.values:
            yield f"matchExpressions[{i}].values", f"{one.operator} needs at least one value"
        elif one.operator in ("Exists", "DoesNotExist") and one.values:
            yield f"matchExpressions[{i}].values", f"{one.operator} takes no values"


def block_network(text: str) -> IpNetwork:
    """The range of a `cidr`; as in the API, bits behind the prefix count for nothing. ValueError if it is none."""
    address, slash, length = text.partition("/")
    if not slash or not (length.isascii() and length.isdigit()):
        raise ValueError(f"{text[:100]!r} is no range of addresses; write 203.0.113.0/24 or 2001:db8::/32")
    network = ipaddress.ip_network((address, int(length)), strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        raise ValueError(f"{text[:100]!r} holds IPv4 addresses in the spelling of IPv6; write them as IPv4")
    return network


def _peer_problems(peer: Peer) -> Iterator[Complaint]:
    if peer.ip_block is not None:
        if peer.pod_selector is not None or peer.namespace_selector is not None:
            yield "", "an ipBlock stands alone; write podSelector and namespaceSelector as another item"
        yield from below("ipBlock", _block_problems(peer.ip_block))
    elif peer.pod_selector is None and peer.namespace_selector is None:
        yield "", "an empty item names nobody; write podSelector, namespaceSelector or ipBlock, or leave the list out for everybody"
    for name, selector in (("podSelector", peer.pod_selector), ("namespaceSelector", peer.namespace_selector)):
        yield from below(name, selector_problems(selector or Selector()))


def _block_problems(block: IpBlock) -> Iterator[Complaint]:
    whole: IpNetwork | None = None
    for path, text in (("cidr", block.cidr), *((f"except[{i}]", text) for i, text in enumerate(block.excepted or ()))):
        try:
            network = block_network(text)
        except ValueError as exc:
            yield path, str(exc)
            continue
        if path == "cidr":
            whole = network
        elif whole is not None and not (
            network.version == whole.version and network != whole and network.subnet_of(whole)  # type: ignore[arg-type]
        ):
            yield path, f"{text} lies not within {block.cidr}, so it excepts nothing of it"


def _port_problems(port: PolicyPort) -> Iterator[Complaint]:
    if isinstance(port.port, str) and not _PORT_NAME.fullmatch(port.port):
        yield "port", f"{port.port[:100]!r} is no name of a port (up to 15 of a-z, 0-9 and -); a number stands without quotes"
    if port.end_port is not None:
        if not isinstance(port.port, int):
            yield "endPort", "a range begins with a number: write it into port"
        elif port.end_port < port.port:
            yield "endPort", f"{port.end_port} is before {port.port}"
