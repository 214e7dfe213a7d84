"""May this workload reach that external host, or that address? And which endpoint is meant by a destination in the mesh?

Pure. The name that is judged here is the very value that is then resolved, dialled, verified against and logged; the address
that the application dialled says nothing about a host.

Trust: `host` comes out of `protocol/framing.py` or `protocol/client_hello.py`: lower case, no trailing dot, LDH.
Only here and in `policy/authorize.py` is a Permit made.
"""

import ipaddress
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from msgspec import structs

from sidecar.model.address import SPECIAL_RANGES, Address, IpAddress, IpNetwork, canonical, is_special, mesh_range
from sidecar.model.decision import Denied, Permit
from sidecar.model.egress import Alias, EgressHost, EgressRange, Origination, Outbound
from sidecar.model.message import RequestHead
from sidecar.model.path import decode_path, judge_rule_path
from sidecar.model.reason import Reason
from sidecar.model.service import CallRule, Endpoint, Service

from .host_table import HostTable
from .network import Network
from .route_table import RouteTable

Kind = Literal["plain", "tls", "tcp"]
_SPOKEN: dict[Kind, str] = {"plain": "plain HTTP", "tls": "TLS", "tcp": "TCP"}
OBSERVED = "(observed)"     # the rule of what nobody has approved


@dataclass(frozen=True, slots=True)
class ToService:
    """A destination in the mesh.

    Args:
        endpoints: the candidates; a single one if the application dialled a pod itself.
        rules: how calls to the Service are carried out; None: as they come.
    """

    permit: Permit
    service: Service
    endpoints: tuple[Endpoint, ...]
    rules: RouteTable[CallRule] | None = field(default=None, compare=False)

    @property
    def only(self) -> Endpoint | None:
        """The pod that the application dialled itself."""
        return None if self.endpoints is self.service.endpoints else self.endpoints[0]

    def rule(self, request: RequestHead | None) -> CallRule | None:
        """How this request, or TCP connection (None), is to be carried out."""
        found = self.rules.find(self.service.port, request) if self.rules else None
        return found.rule if found is not None else None


class ToHost(NamedTuple):
    permit: Permit
    approval: EgressHost


class OutboundTable:
    """What leaves, looked up; built once for each snapshot.

    Attributes:
        service_names: `orders.shop`, of the mesh, as far as they are known here.
        has_aliases: ExternalName Services.
        wanted: addresses and names of which the snapshot says whether there is such a Service.
        leaving: where NetworkPolicies isolate the pod for what leaves; None: they do not.
    """

    def __init__(self, outbound: Outbound) -> None:
        self._services: dict[Address, ToService] = {}
        self._by_name: dict[tuple[str, int], ToService] = {}
        for service in outbound.services:
            table = RouteTable(service.rules) if service.rules else None
            whole = ToService(Permit(f"service/{service.name}"), service, service.endpoints, table)
            self._by_name[service.name, service.port] = whole
            for endpoint in (*service.endpoints, *service.draining):
                self._services.setdefault(Address(endpoint.address, endpoint.port), replace(whole, endpoints=(endpoint,)))
        for service in outbound.services:
            for address in service.addresses:
                self._services[Address(address, service.port)] = self._by_name[service.name, service.port]
        self._aliases = {alias.name: alias for alias in outbound.aliases}
        self.has_aliases = bool(self._aliases)
        self._cluster_domain = outbound.cluster_domain
        self.leaving = Network(outbound.isolation) if outbound.isolation is not None else None
        self._hosts = HostTable(outbound.hosts)
        self._observe_until = (outbound.observe_until or 0.0) if outbound.mode == "observe" else 0.0
        self._ranges: list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, EgressRange]] = [
            (ipaddress.ip_network(item.cidr), item) for item in outbound.ranges
        ]
        self.service_names = frozenset(service.name for service in outbound.services)
        self._mesh = {canonical(address.host) for address in self._services}
        self.wanted = frozenset(outbound.wanted)
        self._mesh_ranges = frozenset(map(ipaddress.ip_network, outbound.mesh_ranges))
        self._cluster = [ipaddress.ip_network(text) for text in outbound.cluster_ranges]

    def service(self, to: Address) -> ToService | None:
        """What in the mesh the application dialled."""
        return self._services.get(to)

    def may_be_mesh(self, to: Address) -> bool:
        """Whether there may be a Service there, or a pod behind one, of which the snapshot does not say anything yet."""
        if not self.is_told_of_needs or to.host in self.wanted:
            return False
        return mesh_range(canonical(to.host)) in self._mesh_ranges

    @property
    def is_told_of_needs(self) -> bool:
        """Whether who made the snapshot knows of more Services, and tells of those that are wanted."""
        return bool(self._mesh_ranges)

    def service_named(self, name: str, port: int) -> ToService | None:
        """What a rule names: `orders-v2.shop` and its port."""
        return self._by_name.get((name, port))

    def has_endpoint(self, service: Service, endpoint: Endpoint) -> bool:
        """Whether `endpoint`, of which an earlier snapshot told, is one of the Service's still, if only to end what it has begun."""
        known = self.service_named(service.name, service.port)
        return known is not None and (endpoint in known.endpoints or endpoint in known.service.draining)

    def host(self, host: str, port: int, kind: Kind, now: float) -> ToHost | Denied:
        """The approval for `host`, reached at `port` by plain HTTP, by the application's own TLS, or by its synthetic address.

        Args:
            now: Unix seconds. Until the end of an observation what nobody has approved is let through, as the application speaks.
        """
        approval = self._hosts.find(host)
        if approval is not None and approval.unreadable:
            return Denied(Reason.ENTRY_UNREADABLE, approval.rule, approval.unreadable)
        if approval is not None and port in _ports_of(approval, kind):
            return ToHost(Permit(approval.rule), approval)
        is_led = approval is not None and approval.gateway is not None      # then nothing goes round the gateway
        if self.observes(now) and kind != "tcp" and not is_led:
            return ToHost(Permit(OBSERVED), EgressHost(host, OBSERVED, (port,), (port,), tls=None))
        if approval is None:
            return Denied(Reason.HOST_NOT_APPROVED, detail=f"{host} is not approved for this workload")
        detail = f"{host} is approved, but not {_SPOKEN[kind]} to port {port}; {_in_words(approval)}"
        return Denied(Reason.HOST_NOT_APPROVED, approval.rule, detail)

    def named(self, host: str) -> EgressHost | None:
        return self._hosts.find(host)

    def alias(self, host: str, namespace: str) -> Alias | None:
        """The ExternalName Service that is meant by a name that nobody has approved as it is.

        Args:
            namespace: in which a name without one is looked for.
        """
        if not self._aliases:
            return None
        short = host.removesuffix("." + self._cluster_domain).removesuffix(".svc")
        found = self._aliases.get(short if "." in short else f"{short}.{namespace}")
        return found if found is not None and self.named(host) is None else None

    def observes(self, now: float) -> bool:
        """Whether what nobody has approved is let through, and written down."""
        return now < self._observe_until

    def range(self, to: Address) -> Permit | None:
        """Leave to relay TCP to an address: by an approved range or, where they approve, by a block of a NetworkPolicy."""
        item = self.approved_range(to)
        if item is not None:
            return Permit(item.rule)
        if self.leaving is not None and self.leaving.approves:
            ip = canonical(to.host)
            for policy, network in self.leaving.blocks(ip, to.port):
                if self._is_meant(ip, network):
                    return Permit(f"networkpolicy/{policy}")
        return None

    def observed_address(self, to: Address, now: float) -> Permit | None:
        """Leave, while an observation lasts, to relay TCP that says no name to the very address that was dialled; to none that is
        special or the cluster's, since no approval could mean it by accident.
        """
        return Permit(OBSERVED) if self.observes(now) and self._is_outside(canonical(to.host)) else None

    def approved_range(self, to: Address) -> EgressRange | None:
        """A special address, or one of the cluster, must be meant: 0.0.0.0/0 is not the metadata."""
        ip = canonical(to.host)
        for network, item in self._ranges:
            if self._is_meant(ip, network) and (not item.ports or to.port in item.ports):
                return item
        return None

    def _is_meant(self, ip: IpAddress, network: IpNetwork) -> bool:
        """Whether a range that was written down holds `ip`, and lies within each special range, and of the cluster's, that does."""
        guarded = [special for special in (*SPECIAL_RANGES, *self._cluster) if ip in special]
        return ip in network and all(network.subnet_of(special) for special in guarded)  # type: ignore[arg-type]

    def is_mesh(self, ip: IpAddress) -> bool:
        """Whether a Service, or a pod behind one, has this address."""
        return ip in self._mesh

    def may_resolve_to(self, approval: EgressHost, ip: IpAddress) -> bool:
        """Whether an approved name may lead to `ip`: nothing special, nothing of the cluster, unless the approval means it."""
        if self._is_outside(ip):
            return True
        named = (ipaddress.ip_network(text) for text in approval.special_addresses)
        return any(self._is_meant(ip, network) for network in named)

    def _is_outside(self, ip: IpAddress) -> bool:
        return not is_special(ip) and not any(ip in net for net in self._cluster)


def holds(begun: EgressHost, now: EgressHost, kind: Kind) -> bool:
    """Whether what was begun under one approval may go on under another of the same host: by the same way, to the same addresses,
    verified alike, and with no narrower methods, paths or budget. Our client certificate may be renewed meanwhile, under its name.
    """
    is_there_still = range_holds(begun, now) and set(begun.special_addresses) <= set(now.special_addresses)
    is_asked_still = _is_within(begun.methods, now.methods) and _is_within(begun.paths, now.paths)
    return is_there_still and is_asked_still and (kind == "tls" or _verified(begun) == _verified(now))


def range_holds(begun: EgressHost | EgressRange, now: EgressHost | EgressRange) -> bool:
    """As `holds`, for all that an approved range says: the way, and a budget that is no smaller, nor another one."""
    if begun.gateway != now.gateway or now.bytes_per_hour is None:
        return begun.gateway == now.gateway
    return begun.bytes_per_hour is not None and begun.rule == now.rule and begun.bytes_per_hour <= now.bytes_per_hour


def _is_within(begun: tuple[str, ...], now: tuple[str, ...]) -> bool:
    """None stands for all."""
    return not now or bool(begun and set(begun) <= set(now))


def _verified(approval: EgressHost) -> tuple[Origination, str] | None:
    tls = approval.tls
    if tls is None:
        return None
    return structs.replace(tls, client_certificate=None), tls.client_certificate.name if tls.client_certificate is not None else ""


def _ports_of(approval: EgressHost, kind: Kind) -> tuple[int, ...]:
    if kind == "plain":
        return approval.plain_ports
    return approval.tls_ports if kind == "tls" else approval.tcp_ports


def _in_words(approval: EgressHost) -> str:
    kinds: tuple[Kind, ...] = ("plain", "tls", "tcp")
    ways = [f"{_SPOKEN[kind]} to {', '.join(map(str, ports))}" for kind in kinds if (ports := _ports_of(approval, kind))]
    return f"approved is {' and '.join(ways)}" if ways else "no way that was asked for is left by what the policy checks"


def why_not(approval: EgressHost, request: RequestHead) -> Denied | None:
    """What of the request the approval does not allow. A path stands for itself and what is below it, compared decoded."""
    if approval.methods and request.method.decode("ascii") not in approval.methods:
        return Denied(Reason.REQUEST_NOT_APPROVED, approval.rule, f"{request.method.decode('ascii')} is not among the methods approved")
    if approval.paths:
        path = decode_path(request.path)
        stems = (decode_path(judge_rule_path(text)).rstrip(b"/") for text in approval.paths)
        if not any(path == stem or path.startswith(stem + b"/") for stem in stems):
            return Denied(Reason.REQUEST_NOT_APPROVED, approval.rule, "the path is below none that is approved")
    return None
