"""NetworkPolicies as one pod's sidecar enforces them, for TCP: what the API's selectors mean at this moment, as addresses and ports.

A direction in which no policy selects the pod has no Isolation: everything may pass, as far as this goes. Where there is one, what no
rule lists is refused; rules add up. It is necessary and never sufficient: mTLS, routes and approvals judge besides.
Spec: networking.k8s.io/v1 NetworkPolicy.
"""

import ipaddress
from typing import Annotated

import msgspec

from .address import canonical
from .errors import ConfigError
from .value import Name, Port, Value


class Block(Value, frozen=True):
    """An `ipBlock`: the addresses of a CIDR without those of some within it."""

    cidr: str
    excepted: tuple[str, ...] = ()


class PortRange(Value, frozen=True):
    """
    Args:
        last: included.
    """

    first: Port
    last: Port


class NetworkRule(Value, frozen=True):
    """One item of a policy's `ingress` or `egress`; the other end must be listed, and the port.

    Args:
        policy: `shop/allow-frontend`, for log, metric and report.
        is_for_all: it names no other end, which means every one.
        pods: those that its selectors choose: the SPIFFE ID that each must prove, by address; empty text: it has no sidecar.
        ports: of the pod that is connected to; None: every port. None of them where the item lists other protocols only.
    """

    policy: Name
    is_for_all: bool = False
    blocks: tuple[Block, ...] = ()
    pods: dict[str, str] = {}  # noqa: RUF012 -- msgspec copies it for each value
    ports: tuple[PortRange, ...] | None = None


class Isolation(Value, frozen=True):
    """
    Args:
        policies: those that select the pod for this direction; refusals name them.
        approves: of what leaves: that a block lists an address and port is an approval, too, since no EgressPolicy selects the pod.
    """

    policies: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)]
    rules: tuple[NetworkRule, ...] = ()
    approves: bool = False


def check_isolation(where: str, isolation: Isolation) -> None:
    """What types cannot say. Raises ConfigError."""
    for i, rule in enumerate(isolation.rules):
        for j, block in enumerate(rule.blocks):
            _check_block(f"{where}.rules[{i}].blocks[{j}]", block)
        for text in rule.pods:
            try:
                known = str(canonical(text))
            except ValueError as exc:
                raise ConfigError(f"{where}.rules[{i}].pods", f"{text!r} is no IP address") from exc
            if known != text:
                raise ConfigError(f"{where}.rules[{i}].pods", f"{text!r} is not in canonical form; write {known}")
        for j, one in enumerate(rule.ports or ()):
            if one.first > one.last:
                raise ConfigError(f"{where}.rules[{i}].ports[{j}]", f"{one.last} is before {one.first}")


def _check_block(where: str, block: Block) -> None:
    for part, text in (("cidr", block.cidr), *((f"excepted[{i}]", text) for i, text in enumerate(block.excepted))):
        try:
            ipaddress.ip_network(text)
        except ValueError as exc:
            raise ConfigError(f"{where}.{part}", str(exc)) from exc
