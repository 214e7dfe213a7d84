"""Manifests as if they ran: each workload that has no pod there has one, with a sidecar where the webhook would give it one, at an
address of nobody's.

A pod whose status stands there has the address that it says, or none if it has ended.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from injector.cluster import Cluster
from injector.cluster.checked import checked
from injector.cluster.directory import derived_slices, read_file
from injector.cluster.objects import SIDECAR, Object, Pod
from injector.compile.mesh import mesh_settings
from injector.decide import Inject, decide
from injector.documents import INJECTION
from injector.settings import Settings
from sidecar.model.errors import ConfigError

from .manifests import files_in

ADDRESSES = "2001:db8:0:1::"    # RFC 3849: for documentation


def read_manifests(places: Iterable[str]) -> Cluster:
    """Of files, and of folders with all that is in them. ConfigError names the file."""
    found: list[dict[str, Any]] = []
    for file in files_in(places):
        try:
            found += read_file(Path(file))
        except FileNotFoundError as exc:
            raise ConfigError(file, "there is no such file") from exc
    bare = Cluster.of(found)
    running = [checked(_running(pod, number, bare)) for number, pod in enumerate(_pods(found, bare), 1)]
    rest = [item for item in found if item.get("kind") != "Pod"]
    return Cluster.of([*rest, *running, *derived_slices([*rest, *running])])


def _pods(found: Iterable[dict[str, Any]], cluster: Cluster) -> Iterator[dict[str, Any]]:
    """Pods as they stand, and one for each workload that is not another's and has none."""
    have = {(one.kind, one.namespace, one.name) for one in map(cluster.workload_of, cluster.pods.values()) if one is not None}
    for item in found:
        one = Object(item)
        if one.kind == "Pod":
            yield item
        elif one.template is not None and (one.kind, one.namespace, one.name) not in have and not _is_owned(one, cluster):
            template = one.template
            owner = {"kind": one.kind, "name": one.name, "controller": True}
            metadata = {**template.metadata, "name": one.name, "namespace": one.namespace, "ownerReferences": [owner]}
            yield {**template.data, "apiVersion": "v1", "kind": "Pod", "metadata": metadata}


def _is_owned(one: Object, cluster: Cluster) -> bool:
    return one.owner is not None and (one.owner[0], one.namespace, one.owner[1]) in cluster.workloads


def _running(item: dict[str, Any], number: int, cluster: Cluster) -> dict[str, Any]:
    pod = Pod(item)
    is_told = pod.namespace in cluster.namespaces       # where nobody tells it, whoever asks means a meshed one
    labels = cluster.namespace_labels(pod.namespace) if is_told else {INJECTION: "enabled"}
    mesh = mesh_settings(cluster.mesh_policies, pod.namespace, pod.labels)
    spec = dict(pod.spec)
    if not pod.has_sidecar and isinstance(decide(pod, pod.namespace, labels, mesh=mesh, settings=Settings()), Inject):
        spec["initContainers"] = [*pod.init_containers, {"name": SIDECAR}]
    metadata = {**pod.metadata, "uid": pod.uid or f"{pod.namespace}-{pod.name}-{number}"}
    status = item["status"] if pod.addresses or pod.has_ended else {"phase": "Running", "podIP": f"{ADDRESSES}{number:x}"}
    return {**item, "metadata": metadata, "spec": spec, "status": status}
