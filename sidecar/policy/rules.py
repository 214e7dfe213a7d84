"""A snapshot made ready for judging: its tables, built once, so that a change applies whole and a request costs look-ups only."""

from collections.abc import Mapping

import msgspec

from sidecar.model import identity
from sidecar.model.address import Address, IpAddress, canonical
from sidecar.model.decision import Denied
from sidecar.model.edge import Edge
from sidecar.model.egress import Alias, EgressHost, Outbound
from sidecar.model.reason import Reason
from sidecar.model.route import Route
from sidecar.model.service import Endpoint
from sidecar.model.snapshot import Snapshot

from .edge import EdgeTable
from .egress import OutboundTable, ToService
from .network import Network
from .route_table import RouteTable

MOST_SAID = 3       # endpoints in a refusal


class Rules(msgspec.Struct, frozen=True, eq=False):
    """
    Args:
        callers: of an egress gateway: by SPIFFE ID, where it leads whom.
        edge: of an ingress gateway.
        entering: where NetworkPolicies isolate the pod for what enters; None: they do not.
    """

    snapshot: Snapshot
    digest: str
    routes: RouteTable[Route]
    outbound: OutboundTable
    trust_domain: str
    callers: Mapping[str, OutboundTable]
    edge: EdgeTable
    entering: Network | None

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
            EdgeTable(snapshot.edge or Edge()),
            Network(snapshot.inbound.isolation) if snapshot.inbound.isolation is not None else None,
        )

    @property
    def leaving(self) -> Network | None:
        """As `entering`, for what leaves. It needs what egress needs, and holds whatever that says."""
        return self.outbound.leaving

    # -- NetworkPolicies

    def why_no_entry(self, source: str, port: int, identity: str | None) -> Denied | None:
        """Why NetworkPolicies keep somebody out; what this pod calls itself is no business of theirs.

        Args:
            source: the address; empty: this pod's own, in-process.
        """
        network = self.entering
        if network is None or not source or source in self.snapshot.workload.addresses:
            return None
        if network.why_let(canonical(source), port, identity) is not None:
            return None
        who = f"{source} as {identity}" if identity else f"{source} without an identity"
        return Denied(Reason.NETWORK_POLICY_IN, network.rule, f"{network.words}: none lists {who} at port {port}")

    def why_no_way(self, to: Address, identity: str | None = None) -> Denied | None:
        """Why NetworkPolicies let no connection go to an address.

        Args:
            identity: that whoever has the address is to prove; None: it is outside of the mesh.
        """
        network = self.leaving
        if network is None or to.host in self.snapshot.workload.addresses:
            return None
        if network.why_let(canonical(to.host), to.port, identity) is not None:
            return None
        return Denied(Reason.NETWORK_POLICY_OUT, network.rule, f"{network.words}: none lists {to}")

    def why_unlisted(self, to: Address) -> Denied | None:
        """As `why_no_way`, where nobody but NetworkPolicies approves anything, so that no name leads anywhere either."""
        return self.why_no_way(to) if self.leaving is not None and self.leaving.approves else None

    def may_call(self, endpoint: Endpoint) -> bool:
        """Whether NetworkPolicies let calls go to a pod of the mesh."""
        return self.leaving is None or self.why_no_way(Address(endpoint.address, endpoint.port), endpoint.identity) is None

    def why_nobody(self, to: ToService) -> Denied:
        """Why no endpoint could be chosen: there is none, or there are such as may not be called only."""
        ready = [endpoint for endpoint in to.endpoints if endpoint in to.service.endpoints]
        if self.leaving is None or not ready:
            return Denied(Reason.NO_ENDPOINT, to.permit.rule, to.service.name)
        at = ", ".join(str(Address(endpoint.address, endpoint.port)) for endpoint in ready[:MOST_SAID])
        more = f" and {len(ready) - MOST_SAID} more" if len(ready) > MOST_SAID else ""
        return Denied(
            Reason.NETWORK_POLICY_OUT, self.leaving.rule, f"{self.leaving.words}: none lists an endpoint of {to.service.name}: {at}{more}"
        )

    # -- egress

    def alias(self, host: str) -> Alias | None:
        """The ExternalName Service that the application means by a name."""
        return self.outbound.alias(host, self.snapshot.workload.namespace)

    def may_resolve_to(self, approval: EgressHost, ip: IpAddress) -> bool:
        """Whether an approved name may lead to `ip`."""
        return not self.is_closed_to_callers(ip) and self.outbound.may_resolve_to(approval, ip)

    def is_closed_to_callers(self, ip: IpAddress) -> bool:
        """Whether this is a gateway, which leads nobody back into the mesh, whatever an approval says."""
        return bool(self.callers) and (str(ip) in self.snapshot.workload.addresses or self.outbound.is_mesh(ip))

    def is_this_pod(self, endpoint: Endpoint) -> bool:
        return endpoint.address in self.snapshot.workload.addresses
