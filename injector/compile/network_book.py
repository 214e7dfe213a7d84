"""NetworkPolicies as one pod's sidecar is to enforce them: what their selectors and names mean at this moment.

What a policy says is read once for each version of it, and whom an item chooses is looked for once for each version of the cluster,
however many pods are told. Where a namespace has no policy nothing is looked for.

Pods that have ended, or have no address yet, are nobody. A pod in the node's network has the node's address, which says nothing of who
sends: no selector chooses it.

Spec: networking.k8s.io/v1 NetworkPolicy.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from injector.cluster import NAME_OF_NAMESPACE, Cluster, Key
from injector.cluster.objects import Object, Pod
from injector.documents.network_policy import Peer, PolicyPort, PolicyRule, PolicyType
from injector.documents.selector import Selector
from injector.semantics.network_policy import block_network
from sidecar.model import identity
from sidecar.model.address import canonical
from sidecar.model.network import Block, Isolation, NetworkRule, PortRange

from .egress import Asker
from .mesh import mesh_settings
from .network_policy import DIRECTIONS, KIND, Policy, read_network_policy, told

MOST_BYTES = 1024 * 1024        # of what is told of one direction


@dataclass(frozen=True, slots=True)
class Isolated:
    """What stands for one pod.

    Args:
        problems: what of the policies that select it cannot be in force, in words.
        reads: the namespaces besides its own that this depends on; None: all.
    """

    inbound: Isolation | None = None
    outbound: Isolation | None = None
    problems: tuple[str, ...] = ()
    reads: frozenset[str] | None = frozenset()


NOTHING = Isolated()


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Whom the selectors of an item choose.

    Args:
        pods: by address.
        identities: as in NetworkRule.
        reads: as in Isolated.
    """

    pods: Mapping[str, Pod]
    identities: dict[str, str]
    reads: frozenset[str] | None


class NetworkBook:
    """What the policies of a cluster mean, as far as somebody has asked."""

    def __init__(self, trust_domain: str) -> None:
        self._trust_domain = trust_domain
        self._read: dict[Key, tuple[Object, Policy]] = {}
        self._cluster: Cluster | None = None
        self._policies: dict[str, list[Policy]] = {}                    # by namespace, of this version, as all that follows
        self._pods: dict[str, list[Pod]] | None = None                  # by namespace
        self._chosen: dict[tuple[int, int], _Chosen] = {}

    def policies(self, cluster: Cluster, namespace: str) -> list[Policy]:
        """In the order of their names."""
        if cluster is not self._cluster:
            self._begin(cluster)
        return self._policies.get(namespace, [])

    def isolated(self, cluster: Cluster, pod: Pod) -> Isolated:
        """What stands for a pod that runs."""
        selecting = [policy for policy in self.policies(cluster, pod.namespace) if policy.selects(pod)]
        if not selecting or not _is_somebody(pod):
            return NOTHING
        problems = [f"{KIND} {policy.name}: {one}" for policy in selecting for one in told(policy)]
        reads: frozenset[str] | None = frozenset()
        made: dict[PolicyType, Isolation | None] = {}
        for direction in DIRECTIONS:
            isolating = [policy for policy in selecting if policy.spec.isolates(direction)]
            rules: list[NetworkRule] = []
            for policy in isolating:
                for number, rule in enumerate(policy.spec.rules(direction)):
                    found, more = self._rules(cluster, policy, direction, number, rule, pod)
                    rules += found
                    reads = None if reads is None or more is None else reads | more
            if _is_too_much(rules):
                rules = []
                problems.append(f"{KIND} {', '.join(one.name for one in isolating)}: what they list for {direction} has more than "
                                f"{MOST_BYTES:,} bytes, a line for each pod that they choose: nothing of it is listed; choose fewer pods")
            names = tuple(policy.name for policy in isolating)
            approves = direction == "Egress" and approvals_count(cluster, pod)
            made[direction] = Isolation(names, tuple(rules), approves) if names else None
        return Isolated(made["Ingress"], made["Egress"], tuple(problems), reads)

    def _begin(self, cluster: Cluster) -> None:
        read: dict[Key, tuple[Object, Policy]] = {}
        policies: dict[str, list[Policy]] = defaultdict(list)
        for key, found in sorted(cluster.of_kind(KIND).items()):
            known = self._read.get(key)
            read[key] = known if known is not None and known[0] is found else (found, read_network_policy(found))
            policies[key[0]].append(read[key][1])
        self._cluster, self._read, self._policies, self._pods, self._chosen = cluster, read, dict(policies), None, {}

    def _rules(
        self, cluster: Cluster, policy: Policy, direction: PolicyType, index: int, rule: PolicyRule, pod: Pod
    ) -> tuple[list[NetworkRule], frozenset[str] | None]:
        """(what one item of a policy lists, the namespaces that this depends on)"""
        peers, ports = rule.peers or (), [port for port in rule.ports or () if port.is_tcp]
        if rule.ports and not ports:
            return [], frozenset()
        key = id(policy), index if direction == "Ingress" else -1 - index
        if key not in self._chosen:
            pods = self._by_address(cluster, policy.namespace, peers)
            self._chosen[key] = _Chosen(pods, self._identities(pods), _reads(policy.namespace, peers))
        chosen = self._chosen[key]
        reads = chosen.reads
        blocks = tuple(_block(peer) for peer in peers if peer.ip_block is not None)
        named = [port.port for port in ports if isinstance(port.port, str)]
        numbers = [_range(port) for port in ports if not isinstance(port.port, str)]
        if direction == "Ingress":
            numbers += [PortRange(number, number) for name in named if (number := pod.port(name)) is not None]
        listed: list[NetworkRule] = []
        if (not ports or numbers) and (not peers or blocks or chosen.pods):
            listed.append(NetworkRule(policy.name, not peers, blocks, chosen.identities, _merged(numbers) if ports else None))
        if direction == "Egress" and named:
            everybody = {} if peers and not blocks else self._by_address(cluster, policy.namespace, [Peer(namespace_selector=Selector())])
            meant = {address: one for address, one in everybody.items() if not peers or _holds(blocks, address)} | dict(chosen.pods)
            for found, there in _by_numbers(named, meant).items():
                ranges = _merged(PortRange(one, one) for one in found)
                listed.append(NetworkRule(policy.name, pods=self._identities(there), ports=ranges))
            reads = reads if peers and not blocks else None     # a pod may come anywhere
        return listed, reads

    def _identities(self, pods: Mapping[str, Pod]) -> dict[str, str]:
        return {
            address: identity.workload_id(self._trust_domain, pod.namespace, pod.service_account) if pod.is_meshed else ""
            for address, pod in pods.items()
        }

    def _by_address(self, cluster: Cluster, own: str, peers: Iterable[Peer]) -> dict[str, Pod]:
        found: dict[str, Pod] = {}
        for peer in peers:
            for pod in self._of_peer(cluster, own, peer):
                for address in pod.addresses:
                    if address not in found or pod.is_meshed:     # of two for a moment, the one that has to prove who it is
                        found[address] = pod
        return dict(sorted(found.items()))

    def _of_peer(self, cluster: Cluster, own: str, peer: Peer) -> Iterator[Pod]:
        if peer.ip_block is not None:
            return
        pods, of_pods, of_namespaces = self._running(cluster), peer.pod_selector or Selector(), peer.namespace_selector
        for namespace in [own] if of_namespaces is None else sorted(pods):
            if of_namespaces is None or of_namespaces.selects(cluster.namespace_labels(namespace)):
                yield from (pod for pod in pods.get(namespace, ()) if of_pods.selects(pod.labels))

    def _running(self, cluster: Cluster) -> dict[str, list[Pod]]:
        if self._pods is None:
            self._pods = {}
            for key in sorted(cluster.pods):
                if _is_somebody(cluster.pods[key]):
                    self._pods.setdefault(key[0], []).append(cluster.pods[key])
        return self._pods


def approvals_count(cluster: Cluster, pod: Pod) -> bool:
    """Whether what NetworkPolicies list for the pod is approved thereby: no EgressPolicy means the pod, nor one that nobody can read
    and that might, and no MeshPolicy says otherwise.
    """
    if any(kind == "EgressPolicy" for kind, _, _ in cluster.unreadable):
        return False
    asker = Asker.of(pod, pod.namespace, cluster)
    if any(asker.is_meant_by(subject) for policy in cluster.egress_policies.values() for subject in policy.subjects):
        return False
    return mesh_settings(cluster.mesh_policies, pod.namespace, pod.labels).egress.network_policies == "approve"


def _is_somebody(pod: Pod) -> bool:
    return bool(pod.addresses) and pod.spec.get("hostNetwork") is not True


def _reads(own: str, peers: Iterable[Peer]) -> frozenset[str] | None:
    found: set[str] = set()
    for peer in peers:
        if peer.namespace_selector is not None:
            names = peer.namespace_selector.only(NAME_OF_NAMESPACE)
            if names is None:
                return None
            found |= names
        elif peer.ip_block is None:
            found.add(own)
    return frozenset(found)


def _block(peer: Peer) -> Block:
    assert peer.ip_block is not None
    return Block(str(block_network(peer.ip_block.cidr)), tuple(str(block_network(text)) for text in peer.ip_block.excepted or ()))


def _holds(blocks: Iterable[Block], address: str) -> bool:
    ip = canonical(address)
    return any(ip in block_network(one.cidr) and not any(ip in block_network(text) for text in one.excepted) for one in blocks)


def _range(port: PolicyPort) -> PortRange:
    if port.port is None:
        return PortRange(1, 65535)
    assert isinstance(port.port, int)
    return PortRange(port.port, port.end_port or port.port)


def _merged(ranges: Iterable[PortRange]) -> tuple[PortRange, ...]:
    """In order, each once."""
    return tuple(sorted(set(ranges), key=lambda one: (one.first, one.last)))


def _by_numbers(names: Iterable[str], pods: Mapping[str, Pod]) -> dict[tuple[int, ...], dict[str, Pod]]:
    """Pods by what these names are among their ports; who has none of them is left out."""
    found: dict[tuple[int, ...], dict[str, Pod]] = {}
    for address, pod in pods.items():
        numbers = tuple(sorted({number for name in names if (number := pod.port(name)) is not None}))
        if numbers:
            found.setdefault(numbers, {})[address] = pod
    return found


def _is_too_much(rules: list[NetworkRule]) -> bool:
    total = 0
    for rule in rules:
        total += len(msgspec.json.encode(rule))
        if total > MOST_BYTES:
            return True
    return False
