"""What an ingress gateway serves: all that Ingresses, Gateways and HTTPRoutes say, joined.

Trust: any namespace may say anything of any host. Of two that claim the same the older one counts, and the other is told.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from injector.cluster import Cluster, Ref
from sidecar.model.edge import Edge, EdgeListener

from .inbound import Keys
from .said import Said


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """
    Args:
        problems: by object, what of it is not in force, in words.
        services: of the mesh that it leads to, as `web.shop`.
        hosts: outside of the mesh that authorizers are at, and their ports.
    """

    edge: Edge
    problems: Mapping[Ref, tuple[str, ...]]
    services: frozenset[str] = frozenset()
    hosts: frozenset[tuple[str, int]] = frozenset()


def compile_edge(cluster: Cluster, keys: Keys = MappingProxyType({})) -> Joined:
    """
    Args:
        keys: of token issuers, as far as they were fetched.
    """
    return join([])


def join(saids: Iterable[Said]) -> Joined:
    saids = sorted(saids, key=lambda said: said.age)
    routes = tuple(route for said in saids for route in said.routes)
    ports = sorted({port for said in saids for port, _ in said.listeners})
    return Joined(
        Edge(listeners=tuple(EdgeListener(port) for port in ports), routes=routes),
        {said.ref: said.problems for said in saids if said.problems},
        frozenset(backend.service for route in routes for backend in route.backends),
    )
