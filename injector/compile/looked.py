"""What somebody looked up in the cluster, so that what was made of it may be kept for as long as all of that is the same."""

from collections.abc import Hashable, Mapping

from injector.cluster import Cluster, Key
from injector.cluster.objects import Json, Object
from injector.documents import MeshPolicySpec


class Looked:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._seen: dict[tuple[str, Hashable], object] = {}
        self._policies: Mapping[str, MeshPolicySpec] | None = None

    def service(self, key: Key) -> Object | None:
        found = self._seen["services", key] = self._cluster.services.get(key)
        return found

    def secret(self, key: Key) -> Object | None:
        found = self._seen["secrets", key] = self._cluster.secrets.get(key)
        return found

    def namespace_labels(self, namespace: str) -> Json:
        self._seen["namespaces", namespace] = self._cluster.namespaces.get(namespace)
        return self._cluster.namespace_labels(namespace)

    def mesh_policies(self) -> Mapping[str, MeshPolicySpec]:
        self._policies = self._cluster.mesh_policies
        return self._policies

    def holds_in(self, cluster: Cluster) -> bool:
        """Whether each look would find the very same."""
        are_policies_same = self._policies is None or self._policies == cluster.mesh_policies
        return are_policies_same and all(getattr(cluster, table).get(key) is found for (table, key), found in self._seen.items())
