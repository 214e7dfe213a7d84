"""The snapshot: everything one workload's sidecar needs to know about the mesh, in one immutable value.

The compiler (`injector/compile`) writes it, the stream carries it as JSON, the sidecar takes it whole or not at all. It holds
no Kubernetes object and no YAML.
"""

import hashlib
from typing import Literal

import msgspec

from . import identity
from .address import canonical
from .edge import Edge, check_edge
from .egress import GatewayCaller, Outbound, check_destinations, check_outbound
from .errors import ConfigError
from .network import Isolation, check_isolation
from .route import Route, TokenIssuer
from .rule_check import check_matches, check_route
from .service import Protocol
from .trust import Trust, check_trust
from .value import Name, Value, from_json

# -- who this is


class Workload(Value, frozen=True):
    """The pod that the snapshot is for."""

    identity: str                       # its SPIFFE ID
    namespace: Name
    pod: str = ""                       # name, for logs
    addresses: tuple[str, ...] = ()     # its own
    uncaptured: tuple[str, ...] = ()    # those at which the injector could pass the sidecar by: a packet rule is lost
    zone: str = ""                      # of its node, where known


# -- what enters


Mode = Literal["strict", "permissive"]


class PortMode(Value, frozen=True):
    """
    Args:
        mode: `strict` takes mesh mTLS only.
        permissive_until: Unix seconds; from then on `permissive` means `strict`.
    """

    mode: Mode = "strict"
    permissive_until: float | None = None


class Inbound(Value, frozen=True):
    """What may enter the pod.

    Args:
        mode, permissive_until: as in PortMode, of the ports that `port_modes` does not list.
        routes: None means the workload declared none; then `without_routes` decides.
        without_routes: `mesh` lets any verified mesh identity in, `nothing` nobody.
        ports: protocol by application port. A port that is not listed speaks HTTP; of peers without an identity it also takes bytes
            that are no HTTP.
        issuers: of the tokens that routes ask for.
        port_modes: by application port; ask `mode_at`.
        isolation: by NetworkPolicies; None: there is none.
        edges: SPIFFE IDs of ingress gateways, whose word about the client that they speak for counts.
    """

    mode: Mode = "strict"
    permissive_until: float | None = None
    routes: tuple[Route, ...] | None = None
    without_routes: Literal["mesh", "nothing"] = "mesh"
    ports: dict[int, Protocol] = {}  # noqa: RUF012 -- msgspec copies it for each value
    issuers: tuple[TokenIssuer, ...] = ()
    port_modes: dict[int, PortMode] = {}  # noqa: RUF012 -- msgspec copies it for each value
    isolation: Isolation | None = None
    edges: tuple[str, ...] = ()

    def mode_at(self, port: int) -> PortMode:
        """The mode of an application's port."""
        return self.port_modes.get(port) or PortMode(self.mode, self.permissive_until)


class Snapshot(Value, frozen=True):
    """
    Args:
        trust: whom the mesh trusts, and whom no longer.
        accept_http10: of the application and of callers; else HTTP/1.0 is refused.
        gateway: of an egress gateway, whom it leads out.
        edge: of an ingress gateway, what it serves.
    """

    workload: Workload
    version: Literal[1] = 1
    trust: Trust | None = None
    accept_http10: bool = False
    inbound: Inbound = Inbound()
    outbound: Outbound = Outbound()
    gateway: tuple[GatewayCaller, ...] = ()
    edge: Edge | None = None


def _check(snapshot: Snapshot) -> None:
    """What types cannot say."""

    def address(where: str, text: str) -> None:
        try:
            if str(canonical(text)) != text:
                raise ConfigError(where, f"{text!r} is not in canonical form; write {canonical(text)}")
        except ValueError as exc:
            raise ConfigError(where, f"{text!r} is no IP address") from exc

    def spiffe(where: str, text: str) -> None:
        try:
            identity.parse(text)
        except ValueError as exc:
            raise ConfigError(where, str(exc)) from exc

    spiffe("workload.identity", snapshot.workload.identity)
    if snapshot.trust is not None:
        check_trust("trust", snapshot.trust)
    for i, text in enumerate(snapshot.workload.addresses):
        address(f"workload.addresses[{i}]", text)
    inbound = snapshot.inbound
    modes = {"inbound": PortMode(inbound.mode, inbound.permissive_until)}
    modes |= {f"inbound.portModes.{port}": mode for port, mode in inbound.port_modes.items()}
    for where, mode in modes.items():
        if mode.mode == "permissive" and mode.permissive_until is None:
            raise ConfigError(f"{where}.permissiveUntil", "permissive needs the date at which it ends")
    names: set[str] = set()
    for i, route in enumerate(snapshot.inbound.routes or ()):
        check_route(f"inbound.routes[{i}]", route)
        if route.name in names:
            raise ConfigError(f"inbound.routes[{i}].name", f"{route.name!r} is the name of an earlier route")
        names.add(route.name)
    for i, service in enumerate(snapshot.outbound.services):
        for j, text in enumerate(service.addresses):
            address(f"outbound.services[{i}].addresses[{j}]", text)
        for part, endpoints in (("endpoints", service.endpoints), ("draining", service.draining)):
            for j, endpoint in enumerate(endpoints):
                address(f"outbound.services[{i}].{part}[{j}].address", endpoint.address)
                spiffe(f"outbound.services[{i}].{part}[{j}].identity", endpoint.identity)
        for j, rule in enumerate(service.rules):
            check_matches(f"outbound.services[{i}].rules[{j}]", rule.hosts, rule.matches)
    check_outbound("outbound", snapshot.outbound)
    for i, text in enumerate(inbound.edges):
        spiffe(f"inbound.edges[{i}]", text)
    for where, isolation in (("inbound", inbound.isolation), ("outbound", snapshot.outbound.isolation)):
        if isolation is not None:
            check_isolation(f"{where}.isolation", isolation)
    if snapshot.edge is not None:
        check_edge("edge", snapshot.edge)
    for i, caller in enumerate(snapshot.gateway):
        spiffe(f"gateway[{i}].identity", caller.identity)
        check_destinations(f"gateway[{i}]", caller.hosts, caller.ranges)


def parse_snapshot(data: bytes) -> Snapshot:
    """The snapshot that the JSON text `data` holds: complete and valid, or ConfigError."""
    snapshot = from_json(data, Snapshot)
    _check(snapshot)
    return snapshot


def render_snapshot(snapshot: Snapshot) -> bytes:
    """The one JSON text of a snapshot: equal snapshots give equal bytes."""
    # Keys become text first: msgspec sorts no others, and `ports` has numbers.
    return msgspec.json.encode(msgspec.to_builtins(snapshot, str_keys=True), order="deterministic")


def digest(data: bytes) -> str:
    """The version that both ends of the stream speak of: the hash of the text."""
    return hashlib.sha256(data).hexdigest()[:32]
