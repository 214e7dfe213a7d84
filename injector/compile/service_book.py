"""The Services that a workload's sidecar is told of: those of its own namespace, and those that it wanted to know of.

What one namespace holds is compiled once for all who are told of it, and anew when something there has changed. A gateway, which must
lead nobody back into the mesh, is told of all.
"""

from collections.abc import Collection, Iterator

from injector.cluster import Cluster
from injector.cluster.objects import Pod
from sidecar.model.service import Service

from .last_good import LastGood
from .services import Services, compile_services


class ServiceBook:
    def __init__(self, trust_domain: str, last_good: LastGood) -> None:
        self._trust_domain = trust_domain
        self._last_good = last_good
        self._known: dict[str, tuple[object, Services]] = {}

    def of(self, cluster: Cluster, namespace: str) -> Services:
        version = cluster.versions.get(namespace)
        known = self._known.get(namespace)
        if known is None or known[0] is not version:
            known = self._known[namespace] = version, compile_services(cluster, namespace, self._trust_domain, self._last_good)
        return known[1]

    def all(self, cluster: Cluster) -> tuple[Service, ...]:
        return tuple(service for namespace in sorted(cluster.services_in) for service in self.of(cluster, namespace).found)

    def told(self, cluster: Cluster, pod: Pod, wanted: Collection[str]) -> tuple[tuple[Service, ...], frozenset[str]]:
        """
        Args:
            wanted: addresses, and names as `orders.shop`.

        Returns:
            The Services, in a stable order, and the namespaces that they depend on.
        """
        found = {one for text in wanted for one in self._found(cluster, text) if one[0] != pod.namespace}
        namespaces = {pod.namespace, *(namespace for namespace, _ in found)}
        return tuple(
            service for namespace in sorted(namespaces) for service in self.of(cluster, namespace).found
            if namespace == pod.namespace or (namespace, service.name) in found
        ), frozenset(namespaces)

    def _found(self, cluster: Cluster, text: str) -> Iterator[tuple[str, str]]:
        """(namespace, `orders.shop`) of what has this address or name: a cluster IP, or a pod behind any Service."""
        name, _, namespace = text.partition(".")
        if (namespace, name) in cluster.services:
            yield namespace, text
        elif (key := cluster.services_at.get(text)) is not None:
            yield key[0], f"{key[1]}.{key[0]}"
        elif (pod := cluster.pod_at(text)) is not None:
            for service in self.of(cluster, pod.namespace).found:
                if any(one.address == text for one in (*service.endpoints, *service.draining)):
                    yield pod.namespace, service.name
