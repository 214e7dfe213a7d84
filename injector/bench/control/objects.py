"""A cluster of a given size, as plain objects: teams with a namespace each, that have Services, and workloads with pods behind them.

Each pod has a sidecar, three kinds of annotations, and its owners. Each team asks for two hosts, of which one is approved for everybody.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from injector.cluster.objects import INTERCEPTION, SIDECAR
from injector.documents import API_VERSION, EGRESS, ENDPOINTS, INJECTION, ROUTES

Object = dict[str, Any]
PORT = 8080
EVERYBODYS, HOST = "everybody", "api.partner.example"   # a policy that concerns all, and what it approves
WANTED = 2      # Services of other namespaces that each workload calls


@dataclass(frozen=True, slots=True)
class Size:
    """
    Args:
        services: in each namespace.
        pods: behind each Service.
        policies: that approve egress, beside the one for everybody.
    """

    namespaces: int
    services: int
    pods: int
    policies: int

    @property
    def half(self) -> "Size":
        """As many in each namespace, and half as many namespaces."""
        return Size(self.namespaces // 2, self.services, self.pods, self.policies // 2)


def namespace(number: int) -> str:
    return f"team-{number:03}"


def app(number: int) -> str:
    return f"app-{number:02}"


def objects(size: Size, beyond: Size | None = None) -> Iterator[Object]:
    """In an order in which they can be created.

    Args:
        beyond: what is there already.
    """
    known = beyond or Size(0, 0, 0, 0)
    if beyond is None:
        yield {"apiVersion": API_VERSION, "kind": "MeshPolicy", "metadata": {"name": "default"},
               "spec": {"resolvers": ["10.96.0.10"], "clusterRanges": ["10.244.0.0/14", "10.96.0.0/12"]}}
        yield everybodys_policy("/v1")
    for number in range(known.namespaces, size.namespaces):
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace(number), "labels": {INJECTION: "enabled"}}}
        for service in range(size.services):
            yield from _application(number, service, size)
    for number in range(known.policies, size.policies):
        yield _policy(f"partners-{number:03}", {"namespace": namespace(number % size.namespaces)},
                      {"host": f"host-{number:03}.partners.example"})


def everybodys_policy(path: str) -> Object:
    return _policy(EVERYBODYS, {"namespaceSelector": {"matchLabels": {INJECTION: "enabled"}}},
                   {"host": HOST, "protocols": ["http"], "paths": [path]})


def slice_of(namespace: str, service: str, addresses: Mapping[str, str], *, is_ready: bool = True) -> Object:
    """
    Args:
        addresses: by name, of the pods.
        is_ready: whether the last of them is.
    """
    last = list(addresses)[-1]
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"namespace": namespace, "name": f"{service}-x7k2p", "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": "http", "protocol": "TCP", "port": PORT}],
        "endpoints": [{
            "addresses": [address], "conditions": {"ready": is_ready or pod != last}, "zone": f"zone-{address[-1]}",
            "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod},
        } for pod, address in addresses.items()],
    }


def addresses_of(number: int, service: int, size: Size) -> dict[str, str]:
    """Of the pods of one Service, by their names."""
    first = (number * size.services + service) * size.pods
    return {f"{app(service)}-5d8f-{i}": f"10.{244 + n // 62500}.{n // 250 % 250}.{n % 250 + 1}"
            for i, n in enumerate(range(first, first + size.pods))}


def wanted_of(number: int, service: int, size: Size) -> tuple[str, ...]:
    """Services of other namespaces, none twice, that the workload calls."""
    others = {f"{app(service)}.{namespace((number + 1 + 7 * i) % size.namespaces)}" for i in range(WANTED)}
    return tuple(sorted(others - {f"{app(service)}.{namespace(number)}"}))


def routes(service: str, name: str = "read") -> str:
    """As a team writes them; one of them tells callers how long to wait."""
    return (f"- name: {name}\n  matches: [{{path: {{type: PathPrefix, value: /{service}}}, method: GET}}]\n"
            f"  allow: [{{serviceAccount: {app(0)}}}, {{serviceAccount: {app(1)}}}]\n  timeouts: {{request: 3s}}\n"
            f"- name: write\n  matches: [{{path: {{type: PathPrefix, value: /{service}}}, method: POST}}]\n"
            f"  allow: [{{serviceAccount: {app(0)}}}]\n  rateLimit: {{requests: 100, per: 1s, by: identity}}\n")


def annotations(service: str) -> dict[str, str]:
    return {
        ROUTES: routes(service),
        EGRESS: f"- host: {HOST}\n",
        ENDPOINTS: "balancing: {policy: ConsistentHash, hashOn: {header: x-user}}\n",
    }


def _application(number: int, service: int, size: Size) -> Iterator[Object]:
    name, where = app(service), namespace(number)
    replicas = f"{name}-5d8f"

    def metadata(name: str, **more: Any) -> Object:
        return {"namespace": where, "name": name, "labels": {"app": app(service)}, **more}

    def owned(kind: str, name: str) -> list[Object]:
        return [{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": f"{kind}-{name}", "controller": True}]

    workload = {"selector": {"matchLabels": {"app": name}}, "template": {
        "metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": metadata(name),
           "spec": {"selector": {"app": name}, "clusterIP": _cluster_ip(number * size.services + service),
                    "ports": [{"name": "http", "port": 80, "targetPort": PORT}]}}
    yield {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(name), "spec": workload}
    yield {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata(replicas, ownerReferences=owned("Deployment", name)),
           "spec": workload}
    found = addresses_of(number, service, size)
    for pod, address in found.items():
        yield {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": metadata(pod, ownerReferences=owned("ReplicaSet", replicas), annotations=annotations(name)),
            "spec": {
                "serviceAccountName": name, "nodeName": "one",
                "initContainers": [{"name": part, "image": "bartizan", "restartPolicy": "Always"} for part in (INTERCEPTION, SIDECAR)],
                "containers": [{"name": "app", "image": "app:1", "ports": [{"containerPort": PORT}]}],
            },
            "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
                       "conditions": [{"type": "Ready", "status": "True"}]},
        }
    yield slice_of(where, name, found)


def _cluster_ip(number: int) -> str:
    return f"10.96.{number // 250 + 1}.{number % 250 + 1}"


def _policy(name: str, subject: Object, host: Object) -> Object:
    return {"apiVersion": API_VERSION, "kind": "EgressPolicy", "metadata": {"name": name},
            "spec": {"subjects": [subject], "hosts": [host]}}
