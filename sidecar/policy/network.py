"""Which NetworkPolicy lists the other end of a connection? Where a direction is isolated, one must.

Rules add up: whichever lists the other end and the port is enough. A pod with a sidecar is listed as the identity that it proves, at
its own address, and never as an address alone; a block lists every address that it holds, whoever has it. Pure; built once for each
snapshot, so that a look-up costs one dict and one mask for each length of prefix, however many pods and blocks there are.

Spec: networking.k8s.io/v1 NetworkPolicy.
"""

import ipaddress
from collections.abc import Iterator
from typing import NamedTuple

from sidecar.model.address import IpAddress, IpNetwork
from sidecar.model.network import Isolation, PortRange

MOST_NAMED = 3      # policies in the name of a rule


class _Item(NamedTuple):
    """What a rule says besides who: the policy that it is of, and the ports; None: every port."""

    policy: str
    ports: tuple[PortRange, ...] | None

    def has(self, port: int) -> bool:
        return self.ports is None or any(one.first <= port <= one.last for one in self.ports)


class _Listed(NamedTuple):
    item: _Item
    network: IpNetwork
    excepted: tuple[IpNetwork, ...]


class Network:
    """One direction of a pod that is isolated.

    Attributes:
        policies: that isolate it.
        approves: see `Isolation`.
        rule: the name of them all for log, metric and ledger.
    """

    def __init__(self, isolation: Isolation) -> None:
        self.policies: tuple[str, ...] = isolation.policies
        self.approves = isolation.approves
        more = len(self.policies) - MOST_NAMED
        self.rule = f"networkpolicy/{','.join(self.policies[:MOST_NAMED])}{f',+{more}' if more > 0 else ''}"
        self._for_all: list[_Item] = []
        self._pods: dict[str, list[tuple[str, _Item]]] = {}
        self._blocks: dict[tuple[int, int], dict[int, list[_Listed]]] = {}     # version and shift, then what stands in front of it
        for rule in isolation.rules:
            item = _Item(rule.policy, rule.ports)
            if rule.is_for_all:
                self._for_all.append(item)
            for address, identity in rule.pods.items():
                self._pods.setdefault(address, []).append((identity, item))
            for block in rule.blocks:
                network = ipaddress.ip_network(block.cidr)
                shift = network.max_prefixlen - network.prefixlen
                of_length = self._blocks.setdefault((network.version, shift), {})
                listed = _Listed(item, network, tuple(map(ipaddress.ip_network, block.excepted)))
                of_length.setdefault(int(network.network_address) >> shift, []).append(listed)

    def why_let(self, address: IpAddress, port: int, identity: str | None) -> str | None:
        """The policy that lists it; None: none does.

        Args:
            address: the other end's, canonical.
            port: of the pod that is connected to.
            identity: that it proved, or is to prove; None: it has none.
        """
        for item in self._for_all:
            if item.has(port):
                return item.policy
        for listed, item in self._pods.get(str(address), ()):
            if listed == (identity or "") and item.has(port):
                return item.policy
        return next((policy for policy, _ in self.blocks(address, port)), None)

    def blocks(self, address: IpAddress, port: int) -> Iterator[tuple[str, IpNetwork]]:
        """The blocks that list it, each with its policy."""
        number = int(address)
        for (version, shift), of_length in self._blocks.items():
            if version == address.version:
                for item, network, excepted in of_length.get(number >> shift, ()):
                    if item.has(port) and not any(address in one for one in excepted):
                        yield item.policy, network

    @property
    def words(self) -> str:
        """Who isolates the pod, for a refusal."""
        return f"isolated by NetworkPolicy {', '.join(self.policies)}"
