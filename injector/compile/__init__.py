"""Cluster objects to the snapshot of one pod. Pure but for the memory of last good entries that it is handed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from injector.cluster import Cluster
from injector.cluster.objects import Pod, objects
from injector.documents import EGRESS, PORTS, ROUTES, EgressRequest, HostRequest, RangeRequest, RouteRule
from injector.validate import Reading, read_egress, read_ports, read_routes
from sidecar.model import identity
from sidecar.model.route import Caller, Route
from sidecar.model.service import Protocol
from sidecar.model.snapshot import Inbound, Outbound, Snapshot, Workload

from .egress import Asker, compile_egress, unapproved
from .last_good import LastGood
from .mesh import MeshSettings, mesh_settings
from .services import OPAQUE_PORTS, compile_services, effective_annotations

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Compiled:
    """
    Args:
        problems: what in the workload's documents is not in force, in words.
    """

    snapshot: Snapshot
    problems: tuple[str, ...]


def compile_workload(cluster: Cluster, pod_uid: str, trust_domain: str, last_good: LastGood) -> Compiled | None:
    """The snapshot of one pod; None if there is no such pod, or it has ended."""
    pod = cluster.pods_by_uid.get(pod_uid)
    if pod is None or not pod.addresses:
        return None
    problems: list[str] = []
    annotations = effective_annotations(pod, cluster)
    workload = cluster.workload_of(pod)
    owner = f"{pod.namespace}/{workload.kind}/{workload.name}" if workload else f"{pod.namespace}/Pod/{pod.name}"

    def entries(annotation: str, read: Callable[[str], Reading[T]], convert: Callable[[object], T]) -> Mapping[str, T] | None:
        written = annotations.get(annotation)
        if not isinstance(written, str):
            last_good.forget(owner, annotation)
            return None
        reading = read(written)
        problems.extend(map(str, reading.problems))
        return last_good.merge(owner, annotation, reading, convert)

    routes = entries(ROUTES, read_routes, lambda data: msgspec.convert(data, RouteRule))
    requests = entries(EGRESS, read_egress, _egress_request) or {}
    ports = entries(PORTS, read_ports, lambda data: msgspec.convert(data, Protocol)) or {}
    mesh = mesh_settings(cluster.mesh_policies, pod.namespace, pod.labels)
    asker = Asker.of(pod, pod.namespace, cluster)
    problems += map(str, unapproved(requests.values(), asker, cluster.egress_policies))
    hosts, ranges = compile_egress(requests.values(), asker, cluster.egress_policies, cluster.secrets)
    snapshot = Snapshot(
        workload=Workload(
            identity.workload_id(trust_domain, pod.namespace, pod.service_account), pod.namespace, pod.name, pod.addresses,
        ),
        inbound=_inbound(pod, routes, ports, mesh),
        outbound=Outbound(
            services=compile_services(cluster, trust_domain),
            hosts=hosts,
            ranges=ranges,
            resolvers=mesh.resolvers,
            cluster_domain=mesh.cluster_domain,
            cluster_ranges=mesh.cluster_ranges,
        ),
    )
    return Compiled(snapshot, tuple(problems))


def _egress_request(data: object) -> EgressRequest:
    kind: type[EgressRequest] = HostRequest if isinstance(data, dict) and "host" in data else RangeRequest
    return msgspec.convert(data, kind)


def _inbound(
    pod: Pod, routes: Mapping[str, RouteRule] | None, ports: Mapping[str, Protocol], mesh: MeshSettings
) -> Inbound:
    known = {
        number for container in pod.containers for port in objects(container.get("ports"), "ports")
        if isinstance(number := port.get("containerPort"), int)
    }
    declared: dict[int, Protocol] = dict.fromkeys(sorted(known & OPAQUE_PORTS), "opaque")
    declared.update({int(number): protocol for number, protocol in ports.items()})
    return Inbound(
        mode=mesh.mtls.mode,
        permissive_until=mesh.mtls.until.timestamp() if mesh.mtls.until else None,
        routes=None if routes is None else tuple(
            Route(rule.name, tuple(Caller(one.service_account, one.namespace or pod.namespace) for one in rule.allow),
                  rule.port, rule.matches)
            for rule in routes.values()
        ),
        without_routes=mesh.without_routes,
        ports=declared,
    )
