"""The Services of the cluster as a sidecar needs them: which address and port means which pods, and whom these must prove to be.

An endpoint is in the mesh only if its targetRef is a pod of the Service's own namespace, that pod holds the address, and it has
our sidecar. Everything else (ExternalName, Services without selector, externalIPs) is egress and stays out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from injector.cluster import Cluster
from injector.cluster.objects import Object, Pod, addresses, at, is_port, objects, text, texts
from injector.documents import PORTS
from injector.validate import read_ports
from sidecar.model import identity
from sidecar.model.service import Endpoint, Protocol, Service

# Protocols in which the server speaks first, or that are never HTTP: SMTP, submission, MySQL, Galera, PostgreSQL, Redis,
# Elasticsearch's transport, memcached, MongoDB. The same list as other meshes use, and MongoDB.
OPAQUE_PORTS = frozenset({25, 587, 3306, 4444, 5432, 6379, 9300, 11211, 27017})


def compile_services(cluster: Cluster, trust_domain: str) -> tuple[Service, ...]:
    """Every TCP port of every Service that selects pods, in a stable order."""
    found: list[Service] = []
    for key in sorted(cluster.services):
        service = cluster.services[key]
        if at(service.data, "spec", "selector") and service.spec.get("type") != "ExternalName":
            found += list(_ports(service, cluster, trust_domain))
    return tuple(found)


def _ports(service: Object, cluster: Cluster, trust_domain: str) -> Iterator[Service]:
    ips = service.spec.get("clusterIPs") or [service.spec.get("clusterIP")]
    for port in objects(service.spec.get("ports"), "spec.ports"):
        number = port.get("port")
        if port.get("protocol", "TCP") != "TCP" or not is_port(number):
            continue
        endpoints = tuple(_endpoints(service, text(port.get("name"), "spec.ports.name"), cluster, trust_domain))
        yield Service(
            name=f"{service.name}.{service.namespace}",
            port=number,
            addresses=tuple(addresses([ip for ip in ips if ip], "spec.clusterIPs")),
            protocol=_protocol(port, endpoints, cluster),
            endpoints=endpoints,
        )


def _protocol(port: Mapping[str, Any], endpoints: tuple[Endpoint, ...], cluster: Cluster) -> Protocol:
    """What the pods' annotation says, else the Service's appProtocol, else what the port usually is."""
    for endpoint in endpoints:
        declared = declared_ports(cluster.pods_by_address[endpoint.address], cluster).get(endpoint.port)
        if declared is not None:
            return declared
    said = port.get("appProtocol")
    if said in ("tcp", "http"):
        return "opaque" if said == "tcp" else "http"
    return "opaque" if OPAQUE_PORTS & {port.get("port"), *(endpoint.port for endpoint in endpoints)} else "http"


def declared_ports(pod: Pod, cluster: Cluster) -> Mapping[int, Protocol]:
    """What the pod's annotation bartizan.dev/ports says, as far as it can be read."""
    written = effective_annotations(pod, cluster).get(PORTS)
    return {int(number): protocol for number, protocol in read_ports(written).entries.items()} if isinstance(written, str) else {}


def effective_annotations(pod: Pod, cluster: Cluster) -> Mapping[str, Any]:
    """The pod's; those on the workload that owns it win, and are read live."""
    workload = cluster.workload_of(pod)
    return {**pod.annotations, **workload.annotations} if workload is not None else pod.annotations


def _endpoints(service: Object, port_name: str, cluster: Cluster, trust_domain: str) -> Iterator[Endpoint]:
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
            if target.get("kind") != "Pod" or target.get("namespace") != service.namespace or pod is None or not pod.has_sidecar:
                continue
            who = identity.workload_id(trust_domain, pod.namespace, pod.service_account)
            is_ready = conditions.get("ready") is not False     # null means true
            is_serving = conditions.get("serving", is_ready) is not False
            for address in addresses(texts(entry.get("addresses"), "endpoints.addresses"), "endpoints.addresses"):
                if address in pod.addresses:
                    candidates.append((is_ready, is_serving, Endpoint(address, number, who)))
    # Where none is ready, those that still serve while they terminate are better than nothing.
    chosen = [one for is_ready, _, one in candidates if is_ready] or [one for _, is_serving, one in candidates if is_serving]
    yield from sorted(dict.fromkeys(chosen), key=lambda one: (one.address, one.port))
