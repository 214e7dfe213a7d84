"""What a pod declares: its annotations and those of the workload that owns it, which win and are read live; with the last good
version of whatever is broken.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from injector.cluster import Cluster
from injector.cluster.objects import Json, Pod
from injector.documents import (
    EGRESS,
    ENDPOINTS,
    PORTS,
    ROUTES,
    EgressRequest,
    EndpointsRule,
    HostRequest,
    RangeRequest,
    RouteRule,
)
from injector.documents.endpoints import combined
from injector.validate import Reading, read_egress, read_endpoints, read_ports, read_routes
from sidecar.model.service import Protocol

from .last_good import LastGood

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Declared:
    """
    Args:
        unreadable: hosts of egress entries that are broken and never were in force.
        routes: None: there is no such annotation, which is not the same as one without rules.
        problems: what of it is not in force, in words.
    """

    routes: Mapping[str, RouteRule] | None
    egress: Mapping[str, EgressRequest]
    ports: Mapping[int, Protocol]
    endpoints: EndpointsRule
    problems: tuple[str, ...]
    unreadable: frozenset[str] = frozenset()


def annotations_of(pod: Pod, cluster: Cluster) -> Json:
    """Those of the workload that owns the pod count before its own."""
    workload = cluster.workload_of(pod)
    return {**pod.annotations, **workload.annotations} if workload is not None else pod.annotations


def declared(pod: Pod, cluster: Cluster, last_good: LastGood) -> Declared:
    workload = cluster.workload_of(pod)
    annotations = annotations_of(pod, cluster)
    owner = f"{pod.namespace}/{workload.kind}/{workload.name}" if workload is not None else f"{pod.namespace}/Pod/{pod.name}"
    problems: list[str] = []
    unreadable: frozenset[str] = frozenset()

    def entries(annotation: str, read: Callable[[str], Reading[T]], convert: Callable[[object], T]) -> Mapping[str, T] | None:
        written = annotations.get(annotation)
        if not isinstance(written, str):
            last_good.forget(owner, annotation)
            return None
        found, broken, wrong = last_good.read(owner, annotation, written, read, convert)
        if annotation == EGRESS:
            nonlocal unreadable
            unreadable = broken
        problems.extend(map(str, wrong))
        return found

    routes = entries(ROUTES, read_routes, lambda data: msgspec.convert(data, RouteRule))
    egress = entries(EGRESS, read_egress, _egress_request) or {}
    ports = entries(PORTS, read_ports, lambda data: msgspec.convert(data, Protocol)) or {}
    endpoints = entries(ENDPOINTS, read_endpoints, lambda data: msgspec.convert(data, EndpointsRule)) or {}
    return Declared(
        routes, egress, {int(number): protocol for number, protocol in ports.items()}, combined(endpoints.values()), tuple(problems),
        unreadable,
    )


def _egress_request(data: object) -> EgressRequest:
    kind: type[EgressRequest] = HostRequest if isinstance(data, dict) and "host" in data else RangeRequest
    return msgspec.convert(data, kind)
