"""What the cluster holds, as one immutable value that whoever reads it may keep: the one interface between sources and readers.

A source makes a `Cluster` of plain objects, and the next one of that and what changed: `directory.py` from manifests, `api.py` from
the Kubernetes API. What a change costs is what changed, and a copy of the tables. Admission and the compiler read it and nothing else.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from injector.documents import EgressPolicySpec, MeshPolicySpec
from injector.validate import Invalid, Problem, read_egress_policy, read_mesh_policy
from sidecar.model.address import canonical, mesh_range

from .objects import TEMPLATES, Json, Object, Pod, addresses, text

Key = tuple[str, str]       # namespace, name
Ref = tuple[str, str, str]  # kind, namespace, name
T = TypeVar("T")

EVERYWHERE = ""             # among namespaces: what belongs to none, and may concern all
NAME_OF_NAMESPACE = "kubernetes.io/metadata.name"       # a label that the API server puts on every namespace, and a directory does not


class Source(Protocol):
    """Where objects come from."""

    async def begin(self) -> "Cluster":
        """The first complete state. ConfigError if there is none to begin with."""
        ...

    def changes(self) -> AsyncIterator["Cluster"]:
        """A new state after each change, for ever."""
        ...


@dataclass(frozen=True, eq=False)
class Cluster:
    """
    Args:
        slices: EndpointSlices by the (namespace, name) of their Service.
        workloads: Deployments and the like, by (kind, namespace, name).
        by_kind: objects of further kinds; ask `of_kind`.
        versions: by namespace, what is another with each change there. A Namespace belongs to itself.
        pods_at: pods with a sidecar, by address; two of them for a moment, where one has just gone.
        unreadable: what is wrong with objects that could not be read and are left out.
        slices_by_name: the name of the Service of each EndpointSlice.
        services_in: by namespace, in the order of their names.
        services_at: by cluster IP.
        mesh_ranges: those that hold addresses of the mesh (`model/address.py::mesh_range`), and how many.
    """

    namespaces: Mapping[str, Object]
    pods: Mapping[Key, Pod]
    services: Mapping[Key, Object]
    slices: Mapping[Key, tuple[Object, ...]]
    secrets: Mapping[Key, Object]
    workloads: Mapping[Ref, Object]
    egress_policies: Mapping[str, EgressPolicySpec]
    mesh_policies: Mapping[str, MeshPolicySpec]
    versions: Mapping[str, object]
    pods_by_uid: Mapping[str, Pod]
    pods_at: Mapping[str, tuple[Pod, ...]]
    unreadable: Mapping[Ref, tuple[Problem, ...]]
    slices_by_name: Mapping[Key, str]
    services_in: Mapping[str, tuple[Object, ...]]
    services_at: Mapping[str, Key]
    mesh_ranges: Mapping[str, int]
    by_kind: Mapping[str, dict[Key, Object]]

    @classmethod
    def of(cls, objects: Iterable[Json]) -> "Cluster":
        """Of two of one kind and name the later one counts."""
        return EMPTY.having({ref_of(Object(data)): data for data in objects})

    def having(self, changed: Mapping[Ref, Json | None]) -> "Cluster":
        """The next state, in which these objects are as given; None: there is none any more."""
        return _Next(self).having(changed)

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(problem for ref in sorted(self.unreadable) for problem in self.unreadable[ref])

    def touched_since(self, earlier: "Cluster") -> frozenset[str]:
        """Namespaces in which anything changed, EVERYWHERE among them."""
        if earlier is self:
            return frozenset()
        names = self.versions.keys() | earlier.versions.keys()
        return frozenset(name for name in names if earlier.versions.get(name) is not self.versions.get(name))

    def has_lost(self, earlier: "Cluster") -> bool:
        """Whether a pod or a workload of `earlier` is no more."""
        return any(
            not before.keys() <= now.keys()
            for before, now in ((earlier.pods_by_uid, self.pods_by_uid), (earlier.pods, self.pods), (earlier.workloads, self.workloads))
        )

    def of_kind(self, kind: str) -> Mapping[Key, Object]:
        """Those of a kind that has no table of its own, by namespace and name."""
        return self.by_kind.get(kind, {})

    def pod_at(self, address: str) -> Pod | None:
        """The pod with a sidecar that has this address."""
        found = self.pods_at.get(address)
        return found[-1] if found else None

    def namespace_labels(self, namespace: str) -> Json:
        found = self.namespaces.get(namespace)
        return {**(found.labels if found else {}), NAME_OF_NAMESPACE: namespace}

    def workload_of(self, pod: Pod) -> Object | None:
        """What the pod was made from: its controller, or the controller's own, as Deployment behind ReplicaSet."""
        found: Object | None = None
        owner = pod.owner
        while owner is not None and owner[0] in TEMPLATES:
            next_found = self.workloads.get((owner[0], pod.namespace, owner[1]))
            if next_found is None or next_found is found:
                break
            found, owner = next_found, next_found.owner
        return found


EMPTY = Cluster(*({} for _ in Cluster.__dataclass_fields__))


def cluster_ips(service: Object) -> list[str]:
    """Canonical; none of a headless Service."""
    return addresses(service.spec.get("clusterIPs") or [service.spec.get("clusterIP")], "spec.clusterIPs")


def ref_of(found: Object) -> Ref:
    return found.kind, found.namespace, found.name


class _Next:
    """The tables of the next state while they are made."""

    def __init__(self, before: Cluster) -> None:
        self._before = before
        self._namespaces = dict(before.namespaces)
        self._pods = dict(before.pods)
        self._services = dict(before.services)
        self._slices = dict(before.slices)
        self._secrets = dict(before.secrets)
        self._workloads = dict(before.workloads)
        self._egress_policies = dict(before.egress_policies)
        self._mesh_policies = dict(before.mesh_policies)
        self._versions = dict(before.versions)
        self._by_uid = dict(before.pods_by_uid)
        self._pods_at = dict(before.pods_at)
        self._unreadable = dict(before.unreadable)
        self._slices_by_name = dict(before.slices_by_name)
        self._services_in = dict(before.services_in)
        self._services_at = dict(before.services_at)
        self._mesh_ranges = dict(before.mesh_ranges)
        self._by_kind = dict(before.by_kind)

    def having(self, changed: Mapping[Ref, Json | None]) -> Cluster:
        for ref, data in changed.items():
            self._put(ref, Object(data) if data is not None else None)
        for namespace in {namespace for kind, namespace, _ in changed if kind == "Service"}:
            found = (service for (there, _), service in self._services.items() if there == namespace)
            self._services_in[namespace] = tuple(sorted(found, key=lambda one: one.name))
        if self._mesh_ranges.keys() != self._before.mesh_ranges.keys():
            self._versions[EVERYWHERE] = object()      # every sidecar knows them
        for namespace in {name if kind == "Namespace" else namespace for kind, namespace, name in changed}:
            self._versions[namespace] = object()
        return Cluster(
            self._namespaces, self._pods, self._services, self._slices, self._secrets, self._workloads,
            dict(sorted(self._egress_policies.items())), dict(sorted(self._mesh_policies.items())), self._versions, self._by_uid,
            self._pods_at, self._unreadable, self._slices_by_name, self._services_in, self._services_at, self._mesh_ranges, self._by_kind,
        )

    def _put(self, ref: Ref, found: Object | None) -> None:
        kind, namespace, name = ref
        if kind == "Namespace":
            _set(self._namespaces, name, found)
        elif kind == "Pod":
            self._put_pod((namespace, name), Pod(found.data) if found is not None else None)
        elif kind == "Service":
            self._put_service((namespace, name), found)
        elif kind == "EndpointSlice":
            self._put_slice((namespace, name), found)
        elif kind == "Secret":
            _set(self._secrets, (namespace, name), found)
        elif kind in TEMPLATES:
            _set(self._workloads, ref, found)
        elif kind == "EgressPolicy":
            self._put_policy(self._egress_policies, ref, found, read_egress_policy)
        elif kind == "MeshPolicy":
            self._put_policy(self._mesh_policies, ref, found, read_mesh_policy)
        else:
            of_kind = self._by_kind.get(kind, {})
            if of_kind is self._before.by_kind.get(kind):
                of_kind = dict(of_kind)     # once, and only of kinds of which something has changed
            _set(of_kind, (namespace, name), found)
            _set(self._by_kind, kind, of_kind or None)

    def _put_pod(self, key: Key, pod: Pod | None) -> None:
        old = self._pods.get(key)
        if old is not None:
            if self._by_uid.get(old.uid) is old:
                del self._by_uid[old.uid]
            for address in old.addresses if old.has_sidecar else ():
                rest = tuple(one for one in self._pods_at.get(address, ()) if one is not old)
                _set(self._pods_at, address, rest or None)
                self._count(address, -1)
        _set(self._pods, key, pod)
        if pod is not None:
            if pod.uid:
                self._by_uid[pod.uid] = pod
            for address in pod.addresses if pod.has_sidecar else ():
                self._pods_at[address] = (*self._pods_at.get(address, ()), pod)
                self._count(address, 1)

    def _put_service(self, key: Key, found: Object | None) -> None:
        for address in cluster_ips(self._services[key]) if key in self._services else ():
            if self._services_at.get(address) == key:
                del self._services_at[address]
            self._count(address, -1)
        _set(self._services, key, found)
        for address in cluster_ips(found) if found is not None else ():
            self._services_at[address] = key
            self._count(address, 1)

    def _count(self, address: str, change: int) -> None:
        within = str(mesh_range(canonical(address)))
        _set(self._mesh_ranges, within, self._mesh_ranges.get(within, 0) + change or None)

    def _put_slice(self, key: Key, found: Object | None) -> None:
        namespace, name = key
        if (former := self._slices_by_name.pop(key, None)) is not None:
            rest = tuple(one for one in self._slices[namespace, former] if one.name != name)
            _set(self._slices, (namespace, former), rest or None)
        if found is not None:
            service = text(found.labels.get("kubernetes.io/service-name"), "metadata.labels")
            self._slices_by_name[key] = service
            self._slices[namespace, service] = (*self._slices.get((namespace, service), ()), found)

    def _put_policy(self, table: dict[str, T], ref: Ref, found: Object | None, read: Callable[[Json], T]) -> None:
        self._unreadable.pop(ref, None)
        table.pop(ref[2], None)
        if found is not None:
            try:
                table[ref[2]] = read(found.data)
            except Invalid as exc:
                self._unreadable[ref] = exc.problems


K = TypeVar("K")
V = TypeVar("V")


def _set(table: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
