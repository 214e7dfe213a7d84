"""Cluster objects to the snapshot of one pod. Pure but for the memory of last good entries that it is handed."""

from collections.abc import Collection
from dataclasses import dataclass
from types import MappingProxyType

from msgspec.structs import replace

from injector.cluster import Cluster
from injector.documents import EGRESS, HostPorts, HostRequest
from injector.settings import GATEWAY, SYSTEM
from sidecar.model import identity
from sidecar.model.egress import Outbound
from sidecar.model.snapshot import Snapshot, Workload
from sidecar.model.trust import Trust

from .aliases import compile_aliases
from .declared import declared
from .edge import EdgeBook, compile_edge
from .edge_join import Joined
from .egress import Asker, compile_egress, size_bytes, unapproved, unreadable_hosts
from .gateway import callers_of, is_gateway_port, no_way_there, without_material
from .inbound import Keys, compile_inbound
from .last_good import LastGood
from .mesh import mesh_settings
from .network_book import NetworkBook
from .routes import missing_services
from .service_book import ServiceBook
from .services import zone_of

MOST_EGRESS_BYTES = 4096 * 1024     # of the sidecar's MAX_ANSWER_BYTES; the rest is for the Services of the mesh


@dataclass(frozen=True, slots=True)
class Compiled:
    """
    Args:
        problems: what in the workload's documents is not in force, in words.
        reads: the namespaces that it depends on, besides what belongs to none; None: all.
    """

    snapshot: Snapshot
    problems: tuple[str, ...]
    reads: frozenset[str] | None = None


def compile_workload(
    cluster: Cluster, pod_uid: str, trust_domain: str, last_good: LastGood, keys: Keys = MappingProxyType({}),
    book: ServiceBook | None = None, trust: Trust | None = None, wanted: Collection[str] | None = None,
    policies: NetworkBook | None = None, edges: EdgeBook | None = None,
) -> Compiled | None:
    """The snapshot of one pod; None if there is no such pod, or it has ended.

    Args:
        keys: of token issuers, as far as they were fetched.
        book: of Services, as far as they were compiled for others.
        trust: whom the mesh trusts now.
        wanted: Services of other namespaces to tell of, see `sidecar/model/needs.py`; None: all.
        policies: of the network, as far as they were read for others.
        edges: what is known of the edge, as far as it was read for other ingress gateways.
    """
    pod = cluster.pods_by_uid.get(pod_uid)
    if pod is None or not pod.addresses:
        return None
    said = declared(pod, cluster, last_good)
    mesh = mesh_settings(cluster.mesh_policies, pod.namespace, pod.labels)
    asker = Asker.of(pod, pod.namespace, cluster)
    joined = compile_edge(cluster, keys, edges) if pod.is_ingress_gateway else None
    asked = [*said.egress.values(), *_authorizers(joined)]
    hosts, ranges, no_way = compile_egress(asked, asker, cluster)
    hosts, is_too_much = without_material(hosts), False
    if size_bytes((*hosts, *ranges), MOST_EGRESS_BYTES) > MOST_EGRESS_BYTES:
        # The sidecar would refuse the snapshot and keep the one before, with approvals that may be withdrawn by now.
        hosts, ranges, is_too_much = (), (), True
        no_way = (*no_way, f"{EGRESS}: what is approved of it has more than {MOST_EGRESS_BYTES:,} bytes, with certificates and roots: "
                           "all of it is refused; ask for less")
    wrong = [problem for problem in said.problems if problem.startswith(EGRESS)]
    hosts = (*hosts, *unreadable_hosts(said.unreadable, wrong, asker, cluster))
    book = book or ServiceBook(trust_domain, last_good)
    led = [ref for ref in (*(host.gateway for host in hosts), *(item.gateway for item in ranges)) if ref is not None]
    reads: frozenset[str] | None = None
    if joined is not None:
        wanted = {*(wanted or ()), *joined.services}
    elif is_gateway_port(pod, cluster):
        wanted = None
    if wanted is None:
        services = book.all(cluster)
    else:
        services, reads = book.told(cluster, pod, (*wanted, *(ref.service for ref in led)))
        reads |= {ref.service.partition(".")[2] for ref in led}
    isolated = (policies or NetworkBook(trust_domain)).isolated(cluster, pod)
    reads = reads | isolated.reads if reads is not None and isolated.reads is not None and joined is None else None    # a gateway: all
    inbound, refusing = compile_inbound(pod, said, mesh, cluster, keys)
    callers, unlike = callers_of(pod, cluster, trust_domain, last_good)
    of_namespace = book.of(cluster, pod.namespace)
    own = {one.name for one in services for endpoint in one.endpoints if endpoint.address in pod.addresses}
    problems = [
        *said.problems,
        *map(str, unapproved(asked, asker, cluster.egress_policies)),
        *no_way,
        *no_way_there((*hosts, *ranges), services),
        *unlike,
        *refusing,
        *isolated.problems,
        *missing_services(said.routes or {}, pod.namespace, of_namespace.ports),
        *(problem for name in sorted(own) for problem in of_namespace.problems.get(name, ())),
    ]
    snapshot = Snapshot(
        workload=Workload(
            identity.workload_id(trust_domain, pod.namespace, pod.service_account), pod.namespace, pod.name, pod.addresses,
            zone=zone_of(pod, cluster),
        ),
        trust=trust,
        accept_http10=mesh.accept_http10,
        inbound=replace(inbound, isolation=isolated.inbound, edges=(identity.workload_id(trust_domain, SYSTEM, GATEWAY),)),
        outbound=Outbound(
            services=services,
            mesh_ranges=tuple(sorted(cluster.mesh_ranges)) if wanted is not None else (),
            wanted=tuple(sorted(wanted)) if wanted is not None else (),
            hosts=hosts,
            ranges=ranges,
            mode="enforce" if is_too_much else mesh.egress.mode,
            observe_until=mesh.egress.until.timestamp() if mesh.egress.until is not None else None,
            resolvers=mesh.resolvers,
            cluster_domain=mesh.cluster_domain,
            cluster_ranges=mesh.cluster_ranges,
            dns=mesh.dns,
            isolation=isolated.outbound,
            aliases=compile_aliases(cluster, pod.namespace, wanted, mesh.cluster_domain),
        ),
        gateway=callers,
        edge=joined.edge if joined is not None else None,
    )
    return Compiled(snapshot, tuple(problems), reads)


def _authorizers(joined: Joined | None) -> list[HostRequest]:
    """What a gateway asks to reach, as if it stood in its annotation: the hosts that are asked about clients."""
    ports: dict[str, set[int]] = {}
    for host, port in joined.hosts if joined is not None else ():
        ports.setdefault(host, set()).add(port)
    return [HostRequest(host, ports=HostPorts(tuple(sorted(ports[host])), (), ())) for host in sorted(ports)]
