"""Why a pod that runs in a namespace of the mesh has no sidecar, and what gives it one: for Events, `check`, `analyze`, `describe`."""

from dataclasses import dataclass

from .cluster import Cluster
from .cluster.objects import Pod
from .compile.mesh import mesh_settings
from .decide import Refuse, Skip, decide
from .documents import INJECTION
from .settings import Settings

ROLLED = ("Deployment", "StatefulSet", "DaemonSet")


@dataclass(frozen=True, slots=True)
class Bare:
    """
    Args:
        cure: a command; empty: none is needed, or another change comes first.
        is_meant: somebody wants it so, and may.
    """

    reason: str
    cure: str = ""
    is_meant: bool = False


def bare(pod: Pod, cluster: Cluster, settings: Settings) -> Bare | None:
    """None where it has one, has ended, or its namespace is not of the mesh."""
    labels = cluster.namespace_labels(pod.namespace)
    if pod.has_sidecar or pod.has_ended or labels.get(INJECTION) != "enabled":
        return None
    mesh = mesh_settings(cluster.mesh_policies, pod.namespace, pod.labels)
    match decide(pod, pod.namespace, labels, mesh=mesh, settings=settings):
        case Skip(reason):
            return Bare(reason, is_meant=True)
        case Refuse(reasons):
            return Bare(f"it was there before its namespace was in the mesh, and would be refused today: {'; '.join(reasons)}")
    return Bare("it was there before its namespace was in the mesh", restart(pod, cluster))


def why_bare(pod: Pod, cluster: Cluster, settings: Settings) -> str | None:
    """The cause and the cure in one text."""
    found = bare(pod, cluster, settings)
    return None if found is None else f"{found.reason}; {found.cure}" if found.cure else found.reason


def restart(pod: Pod, cluster: Cluster) -> str:
    """The command that makes a pod anew."""
    owner = cluster.workload_of(pod)
    if owner is not None and owner.kind in ROLLED:
        return f"kubectl -n {pod.namespace} rollout restart {owner.kind.lower()}/{owner.name}"
    if pod.owner is not None:
        return f"kubectl -n {pod.namespace} delete pod {pod.name}"
    return f"kubectl -n {pod.namespace} get pod {pod.name} -o yaml | kubectl replace --force -f -"
