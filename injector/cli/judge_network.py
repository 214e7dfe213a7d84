"""What is wrong with a NetworkPolicy, and what of it a sidecar alone does not enforce.

By the very functions of the compiler. Of policies in namespaces that are known not to be in the mesh only what is not valid.
"""

import ipaddress
from collections.abc import Iterable, Iterator

from injector import documents
from injector.cluster import Cluster
from injector.cluster.objects import TEMPLATES, Object, at, objects, selects
from injector.compile.egress import is_within
from injector.compile.mesh import mesh_settings
from injector.compile.network_book import NetworkBook
from injector.compile.network_policy import DIRECTIONS, Policy, read_network_policy, told
from injector.compile.services import tcp_ports
from injector.documents.network_policy import Peer, PolicyPort, PolicyType
from injector.findings import Finding
from injector.semantics.network_policy import block_network
from sidecar.model.address import IpNetwork

from .found import Level
from .terminal import listed

MOST_NAMES = 5      # in one finding

Told = tuple[Finding, Level, str, str]      # with the path of the field, and the text


def network_findings(one: Object, cluster: Cluster) -> Iterator[Told]:
    """
    Args:
        one: a NetworkPolicy, with its namespace.
    """
    policy = read_network_policy(one)
    for (path, _), text in zip(policy.problems, told(policy), strict=True):
        yield Finding.INVALID, "Error", path, text
    if policy.problems or not is_ours(one.namespace, cluster):
        return
    yield from _sections(policy)
    own = [maker for maker in makers(cluster) if maker.namespace == one.namespace]
    chosen = [maker for maker in own if _is_selected(policy, maker)]
    if own and not chosen:
        yield Finding.SELECTS_NOBODY, "Warning", "spec.podSelector", "it selects no pod, and no workload that would make one"
    yield from _beyond(policy, cluster)
    for kind in DIRECTIONS:
        yield from _peers(policy, kind, cluster)
    for kind in DIRECTIONS if chosen else ():
        yield from _names(policy, kind, chosen if kind == "Ingress" else list(makers(cluster)))
        yield from _service_ports(policy, kind, chosen, cluster)
    yield from _blocks(policy, cluster)
    there = NetworkBook("").policies(cluster, policy.namespace)
    sets = [[other for other in there if _is_selected(other, maker)] for maker in chosen] or [[policy]]
    if policy.spec.isolates("Egress") and not all(map(_lists_dns, sets)):
        yield (Finding.DNS_BY_GUARD, "Info", "spec.egress",
               "it isolates what leaves and lists no name server: names resolve by the sidecar's DNS guard, whose own questions a CNI that "
               "enforces the policy would stop; list UDP and TCP port 53")


def cni_finding(policies: Iterable[Object], cluster: Cluster) -> Iterator[Told]:
    """One for all of them."""
    names = [f"{one.namespace}/{one.name}" for one in policies if is_ours(one.namespace, cluster)]
    if names:
        yield (Finding.CNI_BESIDES, "Info", "",
               f"{listed(names, MOST_NAMES)}: the sidecars of meshed pods enforce it for TCP; let a CNI that knows NetworkPolicies enforce "
               "it, too, for pods without a sidecar, for other protocols, and for whoever gets round one")


def is_ours(namespace: str, cluster: Cluster) -> bool:
    """Where nobody tells, whoever asks means a meshed one."""
    return namespace not in cluster.namespaces or cluster.namespace_labels(namespace).get(documents.INJECTION) == "enabled"


def makers(cluster: Cluster) -> Iterator[Object]:
    """All pods, and the workloads that make them; who is made by another is that one's business."""
    for one in (*cluster.workloads.values(), *cluster.pods.values()):
        if one.owner is None or one.owner[0] not in TEMPLATES:
            yield one


def _is_selected(policy: Policy, maker: Object) -> bool:
    selector = policy.spec.pod_selector
    return maker.namespace == policy.namespace and (selector is None or selector.selects(maker.pod.labels))


def _sections(policy: Policy) -> Iterator[Told]:
    """Rules of a direction that it does not isolate."""
    spec = policy.spec
    for kind in DIRECTIONS:
        section, written = kind.lower(), spec.ingress if kind == "Ingress" else spec.egress
        if written is not None and not spec.isolates(kind):
            why = "an empty list is none to the API server" if not spec.policy_types else f"policyTypes does not name {kind}"
            yield (Finding.NOT_ISOLATED, "Warning", f"spec.{section}",
                   f"`{section}` counts for nothing: {why}; write {kind} into policyTypes, or take it out")
        for i, rule in enumerate(spec.rules(kind)):
            if others := sorted({port.protocol or "TCP" for port in rule.ports or () if not port.is_tcp}):
                yield (Finding.UNSEEN, "Info", f"spec.{section}[{i}].ports",
                       f"{' and '.join(others)}: a sidecar judges TCP alone, so what this lists only a CNI enforces; "
                       "datagrams leave a meshed pod to the DNS guard, and as `udp` of a MeshPolicy approves them")


def _beyond(policy: Policy, cluster: Cluster) -> Iterator[Told]:
    """Pods that run, and that it selects in vain."""
    pods = [pod for _, pod in sorted(cluster.pods.items()) if policy.selects(pod) and not pod.has_ended]
    hosts = [pod.name for pod in pods if pod.spec.get("hostNetwork") is True]
    without = [pod.name for pod in pods if pod.addresses and not pod.is_meshed and pod.name not in hosts]
    if without:
        yield (Finding.UNMESHED, "Warning", "spec.podSelector",
               f"it selects {listed(without, MOST_NAMES)} without a sidecar: nobody of ours enforces it there, nor ports that it names")
    if hosts:
        yield (Finding.UNMESHED, "Warning", "spec.podSelector",
               f"it selects {listed(hosts, MOST_NAMES)} in the node's network: such a pod has the node's address, and no selector means it")


def _names(policy: Policy, kind: PolicyType, pods: list[Object]) -> Iterator[Told]:
    """Ports by a name that no pod has."""
    for i, rule in enumerate(policy.spec.rules(kind)):
        for j, port in enumerate(rule.ports or ()):
            if isinstance(port.port, str) and port.is_tcp and all(one.pod.port(port.port) is None for one in pods):
                whom = "that it selects" if kind == "Ingress" else "that is there"
                yield (Finding.NO_SUCH_PORT, "Warning", f"spec.{kind.lower()}[{i}].ports[{j}].port",
                       f'no pod {whom} has a TCP port called "{port.port}": it lists nothing')


def _peers(policy: Policy, kind: PolicyType, cluster: Cluster) -> Iterator[Told]:
    """Items that mean nobody who is there."""
    for i, rule in enumerate(policy.spec.rules(kind)):
        for j, peer in enumerate(rule.peers or ()):
            path = f"spec.{kind.lower()}[{i}].{_end(kind)}[{j}]"
            if peer.namespace_selector is not None and cluster.namespaces and not _namespaces(peer, policy, cluster):
                yield (Finding.SELECTS_NOBODY, "Warning", f"{path}.namespaceSelector",
                       f"no namespace that is known here ({listed(sorted(cluster.namespaces), MOST_NAMES)}) has its labels; by name one is "
                       "selected with the label kubernetes.io/metadata.name")
            elif peer.pod_selector is not None:
                yield from ((Finding.SELECTS_NOBODY, "Warning", f"{path}.podSelector", text) for text in _nobody(peer, policy, cluster))


def _nobody(peer: Peer, policy: Policy, cluster: Cluster) -> Iterator[str]:
    spaces = _namespaces(peer, policy, cluster)
    if _meant(peer, policy, cluster) or not any(maker.namespace in spaces for maker in makers(cluster)):
        return
    text = f"it means no pod of namespace {listed(sorted(spaces), MOST_NAMES)}, and no workload that would make one"
    if peer.namespace_selector is None and (elsewhere := _selected(peer, list(makers(cluster)))):
        text += (f"; of another namespace ({listed(sorted({one.namespace for one in elsewhere}), MOST_NAMES)} has one) only with a "
                 "namespaceSelector in the same item")
    yield text


def _meant(peer: Peer, policy: Policy, cluster: Cluster) -> list[Object]:
    """Pods, and workloads that make some, that an item with selectors means."""
    spaces = _namespaces(peer, policy, cluster)
    return _selected(peer, [maker for maker in makers(cluster) if maker.namespace in spaces])


def _namespaces(peer: Peer, policy: Policy, cluster: Cluster) -> set[str]:
    if peer.namespace_selector is None:
        return {policy.namespace}
    known = {*cluster.namespaces, *(maker.namespace for maker in makers(cluster))}
    return {name for name in known if peer.namespace_selector.selects(cluster.namespace_labels(name))}


def _selected(peer: Peer, makers: list[Object]) -> list[Object]:
    return [maker for maker in makers if peer.pod_selector is None or peer.pod_selector.selects(maker.pod.labels)]


def _service_ports(policy: Policy, kind: PolicyType, chosen: list[Object], cluster: Cluster) -> Iterator[Told]:
    """Numbers that are a Service's, where the pods behind it listen elsewhere."""
    for i, rule in enumerate(policy.spec.rules(kind)):
        peers = [peer for peer in rule.peers or () if peer.ip_block is None]
        pods = chosen if kind == "Ingress" else [one for peer in peers for one in _meant(peer, policy, cluster)]
        for j, port in enumerate(rule.ports or ()):
            if isinstance(port.port, int) and port.is_tcp and port.end_port is None:
                own = [(service, target) for service, target in _behind(port.port, pods, cluster)
                       if not any(_covers(other, target, pods) for other in rule.ports or ())]
                for service, target in own[:1]:
                    yield (Finding.NO_SUCH_PORT, "Warning", f"spec.{kind.lower()}[{i}].ports[{j}].port",
                           f"{port.port} is a port of Service {service.namespace}/{service.name}, whose pods listen at {target}: "
                           "write the pods' port, which is what is judged")


def _behind(port: int, pods: list[Object], cluster: Cluster) -> Iterator[tuple[Object, int]]:
    """Services with that port that lead to one of the pods, and the pod's port; none if the pods themselves have that port, too."""
    if any(port == there.get("containerPort") for one in pods for container in one.pod.containers
           for there in objects(container.get("ports"), "ports")):
        return
    for service in cluster.services.values():
        selector = at(service.data, "spec", "selector")
        for one in pods if selector else ():
            if one.namespace == service.namespace and selects(selector, one.pod.labels):
                for there in tcp_ports(service):
                    target = one.pod.port(there.get("targetPort", port)) if there["port"] == port else None
                    if target not in (None, port):
                        yield service, target


def _covers(port: PolicyPort, number: int, pods: list[Object]) -> bool:
    if not port.is_tcp or port.port is None:
        return port.is_tcp
    if isinstance(port.port, str):
        return any(one.pod.port(port.port) == number for one in pods)
    return port.port <= number <= (port.end_port or port.port)


def _end(kind: PolicyType) -> str:
    return "from" if kind == "Ingress" else "to"


def _blocks(policy: Policy, cluster: Cluster) -> Iterator[Told]:
    ranges = mesh_settings(cluster.mesh_policies, policy.namespace, {}).cluster_ranges
    own = [ipaddress.ip_network(text) for text in ranges]
    for kind in DIRECTIONS:
        for i, rule in enumerate(policy.spec.rules(kind)):
            for j, peer in enumerate(rule.peers or ()):
                if (text := _of_cluster(peer, own, cluster)) is not None:
                    yield Finding.BLOCK_OF_CLUSTER, "Warning", f"spec.{kind.lower()}[{i}].{_end(kind)}[{j}].ipBlock.cidr", text


def _of_cluster(peer: Peer, own: list[IpNetwork], cluster: Cluster) -> str | None:
    if peer.ip_block is None:
        return None
    network = block_network(peer.ip_block.cidr)
    if (service := cluster.services_at.get(str(network.network_address))) is not None and network.num_addresses == 1:
        return (f"{peer.ip_block.cidr} is the address of Service {'/'.join(service)}: what is judged is the pod that is chosen behind it; "
                "write a podSelector")
    if any(is_within(network, one) for one in own):
        return (f"{peer.ip_block.cidr} holds addresses of the cluster alone, which are another pod's tomorrow; "
                "write podSelector and namespaceSelector")
    return None


def _lists_dns(policies: Iterable[Policy]) -> bool:
    """Whether any of those that isolate a pod lists port 53 of UDP."""
    return any(
        not rule.ports or any(_is_dns(port) for port in rule.ports)
        for one in policies if one.spec.isolates("Egress") for rule in one.spec.rules("Egress")
    )


def _is_dns(port: PolicyPort) -> bool:
    first = port.port
    return port.protocol == "UDP" and (first is None or (isinstance(first, int) and first <= 53 <= (port.end_port or first)))
