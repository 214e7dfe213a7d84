"""NetworkPolicies that say what EgressPolicies approve, as far as addresses can say it: YAML to read, to change and to apply.

One for each workload that an EgressPolicy means: what leaves to the ranges and ports that are approved, to name servers, to the control
plane, and to pods of the cluster, of which mTLS and routes judge. Names stand in comments, since a NetworkPolicy has none.

Trust: names come from objects of the cluster; each is quoted, or has no character that could end a comment.
"""

from collections.abc import Iterable, Iterator
from json import dumps

from injector.cluster import NAME_OF_NAMESPACE, Cluster
from injector.cluster.objects import Json, Object, Pod, at
from injector.compile.egress import Asker
from injector.compile.mesh import mesh_settings
from injector.documents import ApprovedHost, ApprovedRange, EgressPolicySpec
from injector.manifests.injector import STREAM_PORT
from injector.manifests.issuer import PORT as ISSUER_PORT
from injector.settings import SYSTEM
from sidecar.model.address import SPECIAL_RANGES, canonical, server_address

OF_ONE_POD = frozenset({        # labels by which only one version, or one pod, of a workload is chosen
    "pod-template-hash", "controller-revision-hash", "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index",
    "controller-uid", "batch.kubernetes.io/controller-uid", "job-name", "batch.kubernetes.io/job-name",
})
NAME_SERVERS = "kube-system"


def network_policies(cluster: Cluster, only: tuple[str, str] | None = None) -> str:
    """Empty if no EgressPolicy means a workload that is there.

    Args:
        only: namespace and service account.
    """
    texts: dict[tuple[str, str], str] = {}
    for _, pod in sorted(cluster.pods.items()):
        owner = cluster.workload_of(pod) or pod
        if (pod.namespace, owner.name) in texts or pod.has_ended or (only is not None and only != (pod.namespace, pod.service_account)):
            continue
        asker = Asker.of(pod, pod.namespace, cluster)
        found = {name: one for name, one in cluster.egress_policies.items() if any(map(asker.is_meant_by, one.subjects))}
        if found:
            texts[pod.namespace, owner.name] = "".join(f"{line}\n" for line in _policy(pod, owner, found, cluster))
    return "---\n".join(texts[key] for key in sorted(texts))


def _policy(pod: Pod, owner: Object, found: dict[str, EgressPolicySpec], cluster: Cluster) -> Iterator[str]:
    labels = _labels(pod, owner)
    yield f"# {pod.namespace}/{owner.name}, by EgressPolicy {', '.join(found)}"
    if not labels:
        yield "# It has no label by which a NetworkPolicy could select it: give its pods one."
        return
    hosts = [(one, host) for one in found.values() for host in one.hosts]
    ranges = [(one, item) for one in found.values() for item in one.ranges]
    yield from (
        "apiVersion: networking.k8s.io/v1", "kind: NetworkPolicy", "metadata:", f"  name: {dumps(f'egress-{owner.name}'[:253])}",
        f"  namespace: {dumps(pod.namespace)}", "spec:", f"  podSelector: {{matchLabels: {dumps(dict(labels))}}}",
        "  policyTypes: [Egress]", "  egress:",
    )
    for spec, item in ranges:
        if item.gateway or spec.gateway:
            yield f"    # {item.cidr} leaves by an egress gateway alone: list it in a NetworkPolicy of the gateway."
        else:
            yield from _range(item)
    yield from _names(hosts)
    yield "    # Pods of the cluster, of whom mTLS and routes judge; name those that it calls, if a CNI is to hold it to them."
    yield from ("    - to:", "        - namespaceSelector: {}")
    yield "    # The control plane: certificates and snapshots. Its own NetworkPolicies say who may enter."
    yield from ("    - to:", f"        - namespaceSelector: {{matchLabels: {{{NAME_OF_NAMESPACE}: {SYSTEM}}}}}",
                f"      ports: [{_port(ISSUER_PORT)}, {_port(STREAM_PORT)}]")
    yield from _name_servers(mesh_settings(cluster.mesh_policies, pod.namespace, pod.labels).resolvers)


def _labels(pod: Pod, owner: Object) -> Json:
    return at(owner.data, "spec", "selector", "matchLabels") or {name: text for name, text in pod.labels.items() if name not in OF_ONE_POD}


def _range(item: ApprovedRange) -> Iterator[str]:
    yield from ("    - to:", f"        - ipBlock: {{cidr: {dumps(item.cidr)}}}")
    yield f"      ports: [{', '.join(map(_port, item.ports)) or '{protocol: TCP}'}]"


def _names(hosts: Iterable[tuple[EgressPolicySpec, ApprovedHost]]) -> Iterator[str]:
    direct = []
    for spec, host in hosts:
        is_led = host.gateway or spec.gateway
        yield f"    # {host.host}, ports {', '.join(map(str, host.ports))}{': by an egress gateway alone' if is_led else ''}"
        if not is_led:
            direct.append(host)
    if direct:
        ports = sorted({port for host in direct for port in host.ports})
        special = [f"{one}" for one in SPECIAL_RANGES if one.version == 4]
        yield from (
            "    # A NetworkPolicy has no names, and a name's addresses are judged by what stands here: as it is, none of those above is",
            "    # reached. List their addresses; or lead them through an egress gateway; or list the public addresses, and leave names to",
            "    # the sidecar, which goes on judging them:",
            "    # - to:",
            f"    #     - ipBlock: {{cidr: 0.0.0.0/0, except: [{', '.join(special)}]}}",
            f"    #   ports: [{', '.join(map(_port, ports))}]",
        )


def _name_servers(resolvers: Iterable[str]) -> Iterator[str]:
    yield "    # Name servers, whom the sidecar's DNS guard asks."
    servers = [server_address(text) for text in resolvers]
    yield from ("    - to:", f"        - namespaceSelector: {{matchLabels: {{{NAME_OF_NAMESPACE}: {NAME_SERVERS}}}}}")
    for address in sorted({one.host for one in servers}):
        yield f"        - ipBlock: {{cidr: {dumps(f'{address}/{canonical(address).max_prefixlen}')}}}"
    numbers = sorted({53, *(one.port for one in servers)})
    yield f"      ports: [{', '.join(f'{{port: {number}, protocol: {protocol}}}' for number in numbers for protocol in ('UDP', 'TCP'))}]"


def _port(number: int) -> str:
    return f"{{port: {number}, protocol: TCP}}"
