"""What the cluster holds, as one immutable value that whoever reads it may keep: the one interface between sources and readers.

A source makes a `Cluster` of plain objects and a new one after each change: `directory.py` from manifests. Admission and the
compiler read it and nothing else.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from injector.documents import EgressPolicySpec, MeshPolicySpec
from injector.validate import Invalid, Problem, read_egress_policy, read_mesh_policy

from .objects import TEMPLATES, Json, Object, Pod, text

Key = tuple[str, str]       # namespace, name
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Cluster:
    """
    Args:
        slices: EndpointSlices by the (namespace, name) of their Service.
        workloads: Deployments and the like, by (kind, namespace, name).
        pods_by_address: those with a sidecar.
        problems: objects that could not be read and are left out.
    """

    namespaces: Mapping[str, Object]
    pods: Mapping[Key, Pod]
    services: Mapping[Key, Object]
    slices: Mapping[Key, tuple[Object, ...]]
    secrets: Mapping[Key, Object]
    workloads: Mapping[tuple[str, str, str], Object]
    egress_policies: Mapping[str, EgressPolicySpec]
    mesh_policies: Mapping[str, MeshPolicySpec]
    pods_by_uid: Mapping[str, Pod]
    pods_by_address: Mapping[str, Pod]
    problems: tuple[Problem, ...] = ()

    @classmethod
    def of(cls, objects: Iterable[Json]) -> "Cluster":
        by_kind: dict[str, list[Object]] = {}
        for data in objects:
            found = Object(data)
            by_kind.setdefault(found.kind, []).append(found)
        slices: dict[Key, list[Object]] = {}
        for found in by_kind.get("EndpointSlice", ()):
            service = text(found.labels.get("kubernetes.io/service-name"), "metadata.labels")
            slices.setdefault((found.namespace, service), []).append(found)
        problems: list[Problem] = []
        pods = {(found.namespace, found.name): Pod(found.data) for found in by_kind.get("Pod", ())}
        return cls(
            namespaces={found.name: found for found in by_kind.get("Namespace", ())},
            pods=pods,
            services=_by_key(by_kind.get("Service", ())),
            slices={key: tuple(found) for key, found in slices.items()},
            secrets=_by_key(by_kind.get("Secret", ())),
            workloads={(kind, found.namespace, found.name): found for kind in TEMPLATES for found in by_kind.get(kind, ())},
            egress_policies=_policies(by_kind.get("EgressPolicy", ()), read_egress_policy, problems),
            mesh_policies=_policies(by_kind.get("MeshPolicy", ()), read_mesh_policy, problems),
            pods_by_uid={pod.uid: pod for pod in pods.values() if pod.uid},
            pods_by_address={address: pod for pod in pods.values() if pod.has_sidecar for address in pod.addresses},
            problems=tuple(problems),
        )

    def namespace_labels(self, namespace: str) -> Json:
        found = self.namespaces.get(namespace)
        return found.labels if found else {}

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


def _by_key(found: Iterable[Object]) -> dict[Key, Object]:
    return {(one.namespace, one.name): one for one in found}


def _policies(found: Iterable[Object], read: Callable[[Json], T], problems: list[Problem]) -> dict[str, T]:
    """Those that are valid, in the order of their names."""
    policies = {}
    for policy in sorted(found, key=lambda one: one.name):
        try:
            policies[policy.name] = read(policy.data)
        except Invalid as exc:
            problems += exc.problems
    return policies
