"""Egress gateways: which pod is one, whom it leads out and where to, and what its callers then need no longer know.

A pod is a gateway by what the security team says: an EgressPolicy names a Service, and that Service selects the pod and leads to the
sidecar's port 15008. The pod is injected like any other; no label or annotation of its own takes anything off it, and none makes it a
gateway. Whoever may make pods in the gateway's namespace speaks for it, so that belongs to the platform team.

Trust: what is granted to an identity here is what the compiler grants each of its pods, and nothing of the gateway's own pod widens it.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from msgspec.structs import replace

from injector.cluster import Cluster
from injector.cluster.objects import Pod
from sidecar.model import identity, ports
from sidecar.model.egress import EgressHost, EgressRange, GatewayCaller, GatewayRef
from sidecar.model.service import Service

from .declared import declared
from .egress import Asker, compile_egress, size_bytes
from .last_good import LastGood
from .services import ports_leading_to

T = TypeVar("T", EgressHost, EgressRange)
MOST_NAMESPACE_BYTES = 1024 * 1024


def without_material(hosts: Iterable[EgressHost]) -> tuple[EgressHost, ...]:
    """The hosts as a caller needs them: what the gateway originates with, the gateway has."""
    return tuple(
        replace(host, tls=replace(host.tls, roots=None, client_certificate=None)) if host.gateway and host.tls else host for host in hosts
    )


def no_way_there(asked: Iterable[EgressHost | EgressRange], services: Iterable[Service]) -> list[str]:
    """Gateways whose Service leads to no gateway, in words."""
    named = {one.gateway for one in asked if one.gateway is not None}
    return [
        f"the egress gateway {service.name} leads from port {service.port} to port {endpoint.port} of its pods, where no gateway is; "
        f"set targetPort: {ports.GATEWAY} in the Service"
        for service in services if GatewayRef(service.name, service.port) in named
        for endpoint in service.endpoints[:1] if endpoint.port != ports.GATEWAY
    ]


def is_gateway(pod: Pod, cluster: Cluster) -> bool:
    """Whether what the pod's sidecar says of callers counts: a policy names its Service."""
    own = {ref.service for ref in _led_to(pod, cluster)}
    named = (
        gateway for policy in cluster.egress_policies.values()
        for gateway in (policy.gateway, *(host.gateway for host in policy.hosts), *(item.gateway for item in policy.ranges))
    )
    return any(f"{gateway.service}.{gateway.namespace}" in own for gateway in named if gateway is not None)


def is_gateway_port(pod: Pod, cluster: Cluster) -> bool:
    """Whether any Service leads to the pod's gateway."""
    return bool(_led_to(pod, cluster))


def _led_to(pod: Pod, cluster: Cluster) -> set[GatewayRef]:
    """What leads to the pod as a gateway; nothing if it is none."""
    return {
        GatewayRef(f"{service.name}.{service.namespace}", port["port"])
        for service, port, number in ports_leading_to(pod, cluster) if number == ports.GATEWAY
    }


def callers_of(pod: Pod, cluster: Cluster, trust_domain: str, last_good: LastGood) -> tuple[tuple[GatewayCaller, ...], list[str]]:
    """(whom the pod leads out, what is wrong with that); nobody if it is no gateway."""
    own = _led_to(pod, cluster)
    if not own:
        return (), []
    found: dict[str, tuple[dict[str, EgressHost], dict[EgressRange, None]]] = {}
    problems = []
    for caller in _callers(cluster):
        asker = Asker.of(caller, caller.namespace, cluster)
        hosts, ranges, _ = compile_egress(declared(caller, cluster, last_good).egress.values(), asker, cluster)
        who = identity.workload_id(trust_domain, caller.namespace, caller.service_account)
        for host in (_here(host) for host in hosts if host.gateway in own):
            known = found.setdefault(who, ({}, {}))[0]
            merged = known[host.host] = _merged(known.get(host.host, host), host)
            if _but_ports(merged) != _but_ports(host):
                problems.append(f"{caller.namespace}/{caller.name} asks for {host.host} otherwise than another pod of {who}, which counts")
        for item in (_here(item) for item in ranges if item.gateway in own):
            found.setdefault(who, ({}, {}))[1][item] = None
    callers = [GatewayCaller(who, tuple(hosts.values()), tuple(ranges)) for who, (hosts, ranges) in sorted(found.items())]
    return _within_bounds(callers, problems), problems


def _within_bounds(callers: Iterable[GatewayCaller], problems: list[str]) -> tuple[GatewayCaller, ...]:
    """Those that fit into what their namespace may take of the gateway's snapshot: whoever may make pods in one ends nobody else's way."""
    taken: dict[str, int] = {}
    kept = []
    for caller in callers:
        _, namespace, _ = identity.parts(identity.parse(caller.identity))
        before = taken.get(namespace, 0)
        size = size_bytes((*caller.hosts, *caller.ranges), MOST_NAMESPACE_BYTES - before)
        if before + size <= MOST_NAMESPACE_BYTES:
            taken[namespace] = before + size
            kept.append(caller)
        else:
            problems.append(
                f"{caller.identity} is not led out: what the workloads of namespace {namespace} may reach by this gateway has more than "
                f"{MOST_NAMESPACE_BYTES:,} bytes, with certificates and roots; have them ask for less"
            )
    return tuple(kept)


def _callers(cluster: Cluster) -> Iterator[Pod]:
    for _, pod in sorted(cluster.pods.items(), key=lambda item: item[0]):
        if pod.has_sidecar and pod.addresses:
            yield pod


def _here(approval: T) -> T:
    """As the gateway has it: straight out. Bytes by the hour are counted by the caller's own sidecar."""
    return replace(approval, gateway=None, bytes_per_hour=None)


def _merged(known: EgressHost, other: EgressHost) -> EgressHost:
    """Of two pods of one identity, which may be an earlier and a later version: the ports of both, if all else is the same."""
    if _but_ports(known) != _but_ports(other):
        return known
    return replace(known, **{
        field: tuple(dict.fromkeys((*getattr(known, field), *getattr(other, field)))) for field in ("plain_ports", "tls_ports", "tcp_ports")
    })


def _but_ports(host: EgressHost) -> EgressHost:
    return replace(host, plain_ports=(), tls_ports=(), tcp_ports=())
