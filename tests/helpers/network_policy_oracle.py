"""What NetworkPolicies let pass, straight from the API's documentation: for one connection at a time, every policy is looked at anew.

Plain manifests, plain loops; it shares nothing with what it is held against. The quotations are of the API reference and of the
concept's page "Network Policies". Manifests are valid; there is one pod at an address.
"""

import ipaddress
from typing import Any

Json = dict[str, Any]


class Oracle:
    def __init__(self, manifests: list[Json]) -> None:
        self.manifests = manifests

    def may_reach(self, source: str, target: str, port: int) -> bool:
        """> For a connection from a source pod to a destination pod to be allowed, both the egress policy on the source pod and the
        ingress policy on the destination pod need to allow the connection. If either side does not allow the connection, it will not
        happen.

        Args:
            source, target: addresses; whether somebody in the cluster has them, the manifests say.
            port: of TCP.
        """
        return self.may_leave(source, target, port) and self.may_enter(target, source, port)

    def may_enter(self, target: str, source: str, port: int) -> bool:
        return self._allows("Ingress", "ingress", "from", subject=target, other=source, server=target, port=port)

    def may_leave(self, source: str, target: str, port: int) -> bool:
        return self._allows("Egress", "egress", "to", subject=source, other=target, server=target, port=port)

    def _allows(self, kind: str, section: str, end: str, *, subject: str, other: str, server: str, port: int) -> bool:
        pod = self.pod_at(subject)
        if pod is None or pod is self.pod_at(other):
            return True     # > A Pod cannot block access to itself
        is_isolated = False
        for policy in self.manifests:
            if policy["kind"] != "NetworkPolicy" or policy["metadata"]["namespace"] != pod["metadata"]["namespace"]:
                continue
            spec = policy["spec"]
            if not holds(spec.get("podSelector") or {}, labels(pod)) or kind not in types(spec):
                continue
            is_isolated = True
            for rule in spec.get(section) or []:
                # > The NetworkPolicies are additive, so order of evaluation does not affect the policy result.
                if self._is_peer(policy, rule.get(end), other) and self._is_port(rule.get("ports"), server, port):
                    return True
        return not is_isolated

    def _is_peer(self, policy: Json, peers: list[Json] | None, address: str) -> bool:
        """> If this field is empty or missing, this rule matches all sources"""
        if not peers:
            return True
        for peer in peers:      # > Items in this list are combined using a logical OR operation.
            if peer.get("ipBlock") is not None:
                block = peer["ipBlock"]
                if within(address, block["cidr"]) and not any(within(address, text) for text in block.get("except") or []):
                    return True
                continue
            pod = self.pod_at(address)
            if pod is None:
                continue
            namespace = pod["metadata"]["namespace"]
            of_namespaces, of_pods = peer.get("namespaceSelector"), peer.get("podSelector")
            if of_namespaces is None:
                # > This is a label selector which selects pods ... the podSelector selects the Pods in the policy's own Namespace.
                in_namespace = namespace == policy["metadata"]["namespace"]
            else:
                in_namespace = holds(of_namespaces, self.namespace_labels(namespace))
            if in_namespace and (of_pods is None or holds(of_pods, labels(pod))):
                return True
        return False

    def _is_port(self, ports: list[Json] | None, server: str, number: int) -> bool:
        """> If this field is empty or missing, this rule matches all ports (traffic not restricted by port)."""
        if not ports:
            return True
        for port in ports:
            if (port.get("protocol") or "TCP") != "TCP":      # > If not specified, this field defaults to TCP.
                continue
            wanted = port.get("port")
            if wanted is None:          # > If this field is not provided, this matches all port names and numbers.
                return True
            if isinstance(wanted, str):
                wanted = self._number(server, wanted)
                if wanted is not None and number == wanted:
                    return True
            elif wanted <= number <= (port.get("endPort") or wanted):
                return True
        return False

    def _number(self, server: str, name: str) -> int | None:
        pod = self.pod_at(server)
        for container in pod["spec"].get("containers", []) if pod is not None else []:
            for port in container.get("ports", []):
                if port.get("name") == name and port.get("protocol", "TCP") == "TCP":
                    return int(port["containerPort"])
        return None

    def pod_at(self, address: str) -> Json | None:
        """Who has it: nobody that has ended, and nobody in the node's network."""
        for one in self.manifests:
            if one["kind"] != "Pod" or one["status"]["phase"] in ("Succeeded", "Failed") or one["spec"].get("hostNetwork"):
                continue
            if address in [item["ip"] for item in one["status"]["podIPs"]]:
                return one
        return None

    def namespace_labels(self, name: str) -> dict[str, str]:
        """> The Kubernetes control plane sets an immutable label kubernetes.io/metadata.name on all namespaces"""
        found: dict[str, str] = {}
        for one in self.manifests:
            if one["kind"] == "Namespace" and one["metadata"]["name"] == name:
                found.update(labels(one))
        return {**found, "kubernetes.io/metadata.name": name}


def types(spec: Json) -> list[str]:
    """As `SetDefaults_NetworkPolicy`: policyTypes; else Ingress, and Egress if there are egress rules."""
    if spec.get("policyTypes"):
        return list(spec["policyTypes"])
    return ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def labels(one: Json) -> dict[str, str]:
    return one["metadata"].get("labels") or {}


def holds(selector: Json, of: dict[str, str]) -> bool:
    """> The result of matchLabels and matchExpressions are ANDed. An empty label selector matches all objects."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if of.get(key) != value:
            return False
    for one in selector.get("matchExpressions") or []:
        key, operator = one["key"], one["operator"]
        if operator == "In" and not (key in of and of[key] in one["values"]):
            return False
        if operator == "NotIn" and key in of and of[key] in one["values"]:
            return False
        if operator == "Exists" and key not in of:
            return False
        if operator == "DoesNotExist" and key in of:
            return False
    return True


def within(address: str, cidr: str) -> bool:
    """Bit by bit."""
    text, _, length = cidr.partition("/")
    one, other = ipaddress.ip_address(address), ipaddress.ip_address(text)
    shift = one.max_prefixlen - int(length)
    return one.version == other.version and int(one) >> shift == int(other) >> shift
