"""The snapshot: everything one workload's sidecar needs to know about the mesh, in one immutable value.

The compiler (`injector/compile`) writes it, the stream carries it as JSON, the sidecar takes it whole or not at all. It holds
no Kubernetes object and no YAML.
"""

import hashlib
import ipaddress
from typing import Annotated, Literal

import msgspec

from . import identity
from .address import canonical, server_address
from .errors import ConfigError
from .route import Route
from .rule_check import check_matches, check_route
from .service import Protocol, Service
from .trust import Trust, check_trust
from .value import Name, Port, Value, from_json

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


class TokenIssuer(Value, frozen=True):
    """Whose bearer tokens routes may ask for, and the keys that verify them: the text of a JWKS (RFC 7517)."""

    issuer: Name
    keys: str


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
    """

    mode: Mode = "strict"
    permissive_until: float | None = None
    routes: tuple[Route, ...] | None = None
    without_routes: Literal["mesh", "nothing"] = "mesh"
    ports: dict[int, Protocol] = {}  # noqa: RUF012 -- msgspec copies it for each value
    issuers: tuple[TokenIssuer, ...] = ()
    port_modes: dict[int, PortMode] = {}  # noqa: RUF012 -- msgspec copies it for each value

    def mode_at(self, port: int) -> PortMode:
        """The mode of an application's port."""
        return self.port_modes.get(port) or PortMode(self.mode, self.permissive_until)


# -- what leaves


class ClientCertificate(Value, frozen=True):
    """The certificate to present to an external host; PEM. Both None: the Secret is missing, and the host answers 503."""

    name: Name
    chain: str | None = None
    key: str | None = None


class Origination(Value, frozen=True):
    """How the sidecar speaks TLS to an external host.

    Args:
        port: where the host listens for TLS.
        roots: PEM bundle to verify with; None: the system's roots.
        client_certificate: present means mutual TLS.
    """

    port: Port = 443
    min_version: Literal["1.2", "1.3"] = "1.2"
    roots: str | None = None
    client_certificate: ClientCertificate | None = None


class EgressHost(Value, frozen=True):
    """An approved external host.

    Args:
        host: lower-case DNS name; `*.example.com` stands for one label or more before example.com, never for none.
        plain_ports: where the application speaks plain HTTP and the sidecar originates TLS.
        tls_ports: where the application's own TLS passes through after its SNI was judged.
        special_addresses: CIDRs of special ranges that the name may resolve to.
        rule: which approval it rests on, for log and metric.
    """

    host: Annotated[str, msgspec.Meta(
        pattern=r"^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(?!\n)$", max_length=253
    )]
    rule: Name
    plain_ports: tuple[Port, ...] = (80,)
    tls_ports: tuple[Port, ...] = (443,)
    tls: Origination = Origination()
    special_addresses: tuple[str, ...] = ()


class EgressRange(Value, frozen=True):
    """An approved range of external addresses, TCP, passed through as it is. No ports: every port."""

    cidr: str
    rule: Name
    ports: tuple[Port, ...] = ()


class Outbound(Value, frozen=True):
    """What may leave the pod.

    Args:
        resolvers: name servers, `10.96.0.10` or `10.96.0.10:5353`; the pod's own resolv.conf never counts.
        cluster_domain: names below it are asked of the resolvers whether or not egress approves them.
        cluster_ranges: pod and Service ranges; special for every external name.
    """

    services: tuple[Service, ...] = ()
    hosts: tuple[EgressHost, ...] = ()
    ranges: tuple[EgressRange, ...] = ()
    resolvers: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    cluster_ranges: tuple[str, ...] = ()


class Snapshot(Value, frozen=True):
    """
    Args:
        trust: whom the mesh trusts, and whom no longer.
        accept_http10: of the application and of callers; else HTTP/1.0 is refused.
    """

    workload: Workload
    version: Literal[1] = 1
    trust: Trust | None = None
    accept_http10: bool = False
    inbound: Inbound = Inbound()
    outbound: Outbound = Outbound()


def _check(snapshot: Snapshot) -> None:
    """What types cannot say."""

    def address(where: str, text: str) -> None:
        try:
            if str(canonical(text)) != text:
                raise ConfigError(where, f"{text!r} is not in canonical form; write {canonical(text)}")
        except ValueError as exc:
            raise ConfigError(where, f"{text!r} is no IP address") from exc

    def network(where: str, text: str) -> None:
        try:
            ipaddress.ip_network(text)
        except ValueError as exc:
            raise ConfigError(where, str(exc)) from exc

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
        for j, endpoint in enumerate(service.endpoints):
            address(f"outbound.services[{i}].endpoints[{j}].address", endpoint.address)
            spiffe(f"outbound.services[{i}].endpoints[{j}].identity", endpoint.identity)
        for j, rule in enumerate(service.rules):
            check_matches(f"outbound.services[{i}].rules[{j}]", rule.hosts, rule.matches)
    for i, host in enumerate(snapshot.outbound.hosts):
        for j, text in enumerate(host.special_addresses):
            network(f"outbound.hosts[{i}].specialAddresses[{j}]", text)
    for i, item in enumerate(snapshot.outbound.ranges):
        network(f"outbound.ranges[{i}].cidr", item.cidr)
    for i, text in enumerate(snapshot.outbound.resolvers):
        try:
            server_address(text)
        except ValueError as exc:
            raise ConfigError(f"outbound.resolvers[{i}]", f"{text!r} is no address with an optional port: {exc}") from exc
    for i, text in enumerate(snapshot.outbound.cluster_ranges):
        network(f"outbound.clusterRanges[{i}]", text)


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
