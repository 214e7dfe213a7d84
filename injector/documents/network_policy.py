"""The spec of a NetworkPolicy, in the API's own form. A field that we do not know could narrow what the others say, so it is refused.

Spec: networking.k8s.io/v1 NetworkPolicySpec.
"""

from typing import Literal

import msgspec

from sidecar.model.value import Port, Value

from .selector import Selector

PolicyType = Literal["Ingress", "Egress"]


class IpBlock(Value, frozen=True):
    cidr: str
    excepted: tuple[str, ...] | None = msgspec.field(default=None, name="except")


class Peer(Value, frozen=True):
    """
    Args:
        pod_selector: pods; of the policy's own namespace where no namespaces are selected.
        namespace_selector: alone: all pods of these namespaces.
        ip_block: stands alone.
    """

    pod_selector: Selector | None = None
    namespace_selector: Selector | None = None
    ip_block: IpBlock | None = None


class PolicyPort(Value, frozen=True):
    """
    Args:
        protocol: None: TCP.
        port: a number, or the name of a port of the pod that is connected to; None: every port of the protocol.
        end_port: the last of a range that begins with `port`.
    """

    protocol: Literal["TCP", "UDP", "SCTP"] | None = None
    port: Port | str | None = None
    end_port: Port | None = None

    @property
    def is_tcp(self) -> bool:
        return self.protocol in (None, "TCP")


class IngressRule(Value, frozen=True):
    """What is absent or empty means everybody, and every port."""

    peers: tuple[Peer, ...] | None = msgspec.field(default=None, name="from")
    ports: tuple[PolicyPort, ...] | None = None


class EgressRule(Value, frozen=True):
    """As IngressRule."""

    peers: tuple[Peer, ...] | None = msgspec.field(default=None, name="to")
    ports: tuple[PolicyPort, ...] | None = None


PolicyRule = IngressRule | EgressRule


class NetworkPolicySpec(Value, frozen=True):
    """
    Args:
        policy_types: the directions in which it isolates; ask `isolates`.
    """

    pod_selector: Selector | None = None
    policy_types: tuple[PolicyType, ...] | None = None
    ingress: tuple[IngressRule, ...] | None = None
    egress: tuple[EgressRule, ...] | None = None

    def isolates(self, direction: PolicyType) -> bool:
        """> policies that contain an egress section are assumed to affect egress, and all policies (whether or not they contain an
        ingress section) are assumed to affect ingress

        The API server's default counts an empty section as none.
        """
        if self.policy_types:
            return direction in self.policy_types
        return direction == "Ingress" or bool(self.egress)

    def rules(self, direction: PolicyType) -> tuple[PolicyRule, ...]:
        return (self.ingress if direction == "Ingress" else self.egress) or ()
