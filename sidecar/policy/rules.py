"""A snapshot made ready for judging: its tables, built once, so that a change applies whole and a request costs look-ups only."""

from dataclasses import dataclass

from sidecar.model import identity
from sidecar.model.route import Route
from sidecar.model.service import Endpoint
from sidecar.model.snapshot import Snapshot

from .egress import OutboundTable
from .route_table import RouteTable


@dataclass(frozen=True, eq=False)
class Rules:
    snapshot: Snapshot
    digest: str
    routes: RouteTable[Route]
    outbound: OutboundTable
    trust_domain: str

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
        )

    def is_this_pod(self, endpoint: Endpoint) -> bool:
        return endpoint.address in self.snapshot.workload.addresses
