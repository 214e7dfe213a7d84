"""The Services of the cluster as a sidecar needs them: which address and port means which pods, and whom these must prove to be.

An endpoint is in the mesh only if its targetRef is a pod of the Service's own namespace, that pod holds the address, and it has
our sidecar. Everything else (ExternalName, Services without selector, externalIPs) is egress and stays out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from injector.cluster import Cluster, cluster_ips
from injector.cluster.objects import Object, Pod, addresses, at, is_port, objects, selects, text, texts
from injector.documents.ports import APP_PROTOCOLS, OPAQUE_PORTS
from sidecar.model import identity
from sidecar.model.service import Endpoint, Protocol, Service

from .balancing import balancing
from .declared import Declared, declared
from .last_good import LastGood
from .routes import ServicePorts, call_rules


@dataclass(frozen=True, slots=True)
class Services:
    """
    Args:
        ports: see `service_ports`.
        problems: by Service, `orders.shop`: what of its pods' declarations does not count for callers.
    """

    found: tuple[Service, ...]
    ports: ServicePorts = frozenset()
    problems: Mapping[str, list[str]] = field(default_factory=dict)


def compile_services(cluster: Cluster, namespace: str, trust_domain: str, last_good: LastGood) -> Services:
    """Every TCP port of every Service of the namespace that selects pods, in a stable order. All that it reads is of the namespace."""
    found: list[Service] = []
    problems: dict[str, list[str]] = {}
    known = service_ports(cluster, namespace)
    for service in _in_mesh(cluster, namespace):
        for port in tcp_ports(service):
            one = _service(service, port, cluster, trust_domain)
            behind = one.endpoints or one.draining
            pods = list(dict.fromkeys(pod for end in behind if (pod := cluster.pod_at(end.address)) is not None))
            said = [(pod, declared(pod, cluster, last_good)) for pod in pods]
            one = msgspec.structs.replace(one, protocol=_protocol(port, behind, [what for _, what in said]))
            if said:
                one = _as_declared(one, namespace, said[0][1], known)
                if any(_as_declared(one, namespace, other, known) != one for _, other in said[1:] if other != said[0][1]):
                    problem = f"Service {one.name}, port {one.port}: its pods declare different things for callers; those of "
                    problems.setdefault(one.name, []).append(f"{problem}{said[0][0].name} count")
            found.append(one)
    return Services(tuple(found), known, problems)


def _in_mesh(cluster: Cluster, namespace: str) -> Iterator[Object]:
    return filter(is_in_mesh, cluster.services_in.get(namespace, ()))


def is_in_mesh(service: Object) -> bool:
    return bool(at(service.data, "spec", "selector")) and service.spec.get("type") != "ExternalName"


def tcp_ports(service: Object) -> Iterator[dict[str, Any]]:
    for port in objects(service.spec.get("ports"), "spec.ports"):
        if port.get("protocol", "TCP") == "TCP" and is_port(port.get("port")):
            yield port


def service_ports(cluster: Cluster, namespace: str) -> ServicePorts:
    """What a split or a mirror of the namespace may lead to."""
    return {(f"{service.name}.{namespace}", port["port"]) for service in _in_mesh(cluster, namespace) for port in tcp_ports(service)}


def ports_of(cluster: Cluster, namespace: str, name: str) -> tuple[int, ...]:
    """The TCP ports of a Service of the mesh, in its own order; empty if it is none."""
    service = cluster.services.get((namespace, name))
    return tuple(port["port"] for port in tcp_ports(service)) if service is not None and is_in_mesh(service) else ()


def _service(service: Object, port: Mapping[str, Any], cluster: Cluster, trust_domain: str) -> Service:
    chosen, draining = _endpoints(service, text(port.get("name"), "spec.ports.name"), cluster, trust_domain)
    return Service(f"{service.name}.{service.namespace}", port["port"], tuple(cluster_ips(service)), endpoints=chosen, draining=draining)


def _protocol(port: Mapping[str, Any], endpoints: tuple[Endpoint, ...], said: list[Declared]) -> Protocol:
    """What the pods' annotation says, else the Service's appProtocol, else what the port usually is."""
    numbers = {endpoint.port for endpoint in endpoints}
    for one in said:
        for number in sorted(numbers & one.ports.keys()):
            return one.ports[number]
    if (protocol := _app_protocol(port)) is not None:
        return protocol
    return _usual({port["port"], *numbers})


def _usual(numbers: set[int]) -> Protocol:
    return "opaque" if OPAQUE_PORTS & numbers else "http"


def _app_protocol(port: Mapping[str, Any]) -> Protocol | None:
    return APP_PROTOCOLS.get(text(port.get("appProtocol"), "spec.ports.appProtocol"))


def _as_declared(service: Service, namespace: str, said: Declared, known: ServicePorts) -> Service:
    """The Service with what one of its pods says of callers."""
    rules = call_rules(said.routes or {}, (service.endpoints or service.draining)[0].port, namespace, known)
    return msgspec.structs.replace(service, rules=rules, balancing=balancing(said.endpoints))


def protocols_of(pod: Pod, cluster: Cluster) -> dict[int, Protocol]:
    """What its ports speak by the Services that select the pod: just what callers are told, or else neither would understand."""
    found: dict[int, Protocol] = {}
    for _, port, number in ports_leading_to(pod, cluster):
        found.setdefault(number, _app_protocol(port) or _usual({port["port"], number}))
    return found


def ports_leading_to(pod: Pod, cluster: Cluster) -> Iterator[tuple[Object, dict[str, Any], int]]:
    """(Service, its port, that of the pod), of each that selects the pod, whether it is ready or not."""
    labels = pod.labels
    for service in cluster.services_in.get(pod.namespace, ()):
        if selects(at(service.data, "spec", "selector"), labels) and is_in_mesh(service):
            for port in tcp_ports(service):
                number = pod.port(port.get("targetPort", port["port"]))
                if number is not None:
                    yield service, port, number


def zone_of(pod: Pod, cluster: Cluster) -> str:
    """The zone that an EndpointSlice gives for the pod; empty if none does. The node, which knows best, is not read here."""
    for service in cluster.services_in.get(pod.namespace, ()):
        for entry in _entries(cluster.slices.get((service.namespace, service.name), ())):
            if entry.get("zone") and at(entry, "targetRef").get("name") == pod.name:
                return text(entry.get("zone"), "endpoints.zone")
    return ""


def _entries(parts: tuple[Object, ...]) -> Iterator[dict[str, Any]]:
    for part in parts:
        yield from objects(part.data.get("endpoints"), "endpoints")


def _endpoints(
    service: Object, port_name: str, cluster: Cluster, trust_domain: str
) -> tuple[tuple[Endpoint, ...], tuple[Endpoint, ...]]:
    """Those that take what is new, and those that only end what they have begun: pods that are there and not ready."""
    candidates: list[tuple[bool, bool, Endpoint]] = []
    for part in cluster.slices.get((service.namespace, service.name), ()):
        number = next((
            port.get("port") for port in objects(part.data.get("ports"), "ports")
            if (port.get("name") or "") == port_name and port.get("protocol", "TCP") == "TCP"
        ), None)
        if not is_port(number):
            continue
        for entry in objects(part.data.get("endpoints"), "endpoints"):
            target, conditions = at(entry, "targetRef"), at(entry, "conditions")
            pod = cluster.pods.get((service.namespace, text(target.get("name"), "targetRef.name")))
            if target.get("kind") != "Pod" or target.get("namespace") != service.namespace or pod is None:
                continue
            if pod.has_ended or not pod.has_sidecar:
                continue
            who = identity.workload_id(trust_domain, pod.namespace, pod.service_account)
            is_ready = conditions.get("ready") is not False     # null means true
            is_serving = conditions.get("serving", is_ready) is not False
            for address in addresses(texts(entry.get("addresses"), "endpoints.addresses"), "endpoints.addresses"):
                if address in pod.addresses:
                    candidates.append((is_ready, is_serving, Endpoint(address, number, who, text(entry.get("zone"), "endpoints.zone"))))
    # Where none is ready, those that still serve while they terminate are better than nothing.
    chosen = [one for is_ready, _, one in candidates if is_ready] or [one for _, is_serving, one in candidates if is_serving]
    taking = {(one.address, one.port): one for one in sorted(chosen, key=lambda one: (one.address, one.port, one.zone))}
    others = sorted((one for _, _, one in candidates), key=lambda one: (one.address, one.port, one.zone))
    draining = {(one.address, one.port): one for one in others if (one.address, one.port) not in taking}
    return tuple(taking.values()), tuple(draining.values())
