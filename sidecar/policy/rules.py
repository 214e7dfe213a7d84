"""A snapshot made ready for judging: its tables, built once, so that a change applies whole and a request costs look-ups only."""

from collections.abc import Mapping
from dataclasses import dataclass

from sidecar.model import identity
from sidecar.model.address import IpAddress
from sidecar.model.edge import EdgeRoute
from sidecar.model.egress import EgressHost, Outbound
from sidecar.model.route import Route
from sidecar.model.service import Endpoint
from sidecar.model.snapshot import Snapshot

from .egress import OutboundTable
from .route_table import RouteTable


@dataclass(frozen=True, eq=False)
class Rules:
    """
    Args:
        callers: of an egress gateway: by SPIFFE ID, where it leads whom.
        edge: of an ingress gateway.
    """

    snapshot: Snapshot
    digest: str
    routes: RouteTable[Route]
    outbound: OutboundTable
    trust_domain: str
    callers: Mapping[str, OutboundTable]
    edge: RouteTable[EdgeRoute]

    @classmethod
    def of(cls, snapshot: Snapshot, digest: str) -> "Rules":
        """
        Args:
            digest: of the snapshot's text, for status and log.
        Raises: ConfigError for an expression that RE2 or our budget refuses.
        """
        return cls(
            snapshot,
            digest,
            RouteTable(snapshot.inbound.routes or ()),
            OutboundTable(snapshot.outbound),
            identity.parts(identity.parse(snapshot.workload.identity))[0],
            {
                one.identity: OutboundTable(Outbound(
                    hosts=one.hosts, ranges=one.ranges, cluster_ranges=snapshot.outbound.cluster_ranges,
                )) for one in snapshot.gateway
            },
            RouteTable(snapshot.edge.routes if snapshot.edge is not None else ()),
        )

    def may_resolve_to(self, approval: EgressHost, ip: IpAddress) -> bool:
        """Whether an approved name may lead to `ip`."""
        return not self.is_closed_to_callers(ip) and self.outbound.may_resolve_to(approval, ip)

    def is_closed_to_callers(self, ip: IpAddress) -> bool:
        """Whether this is a gateway, which leads nobody back into the mesh, whatever an approval says."""
        return bool(self.callers) and (str(ip) in self.snapshot.workload.addresses or self.outbound.is_mesh(ip))

    def is_this_pod(self, endpoint: Endpoint) -> bool:
        return endpoint.address in self.snapshot.workload.addresses
