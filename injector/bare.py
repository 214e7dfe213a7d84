"""Why a pod that runs in a namespace of the mesh has no sidecar: what Events, `check` and `describe` say of it."""

from .cluster import Cluster
from .cluster.objects import Pod
from .compile.mesh import mesh_settings
from .decide import Refuse, Skip, decide
from .documents import INJECTION
from .settings import Settings


def why_bare(pod: Pod, cluster: Cluster, settings: Settings) -> str | None:
    """The cause and the cure; None where it has one, has ended, or is not meant to have one."""
    labels = cluster.namespace_labels(pod.namespace)
    if pod.has_sidecar or pod.has_ended or labels.get(INJECTION) != "enabled":
        return None
    mesh = mesh_settings(cluster.mesh_policies, pod.namespace, pod.labels)
    match decide(pod, pod.namespace, labels, mesh=mesh, settings=settings):
        case Skip(reason):
            return reason
        case Refuse(reasons):
            return f"it was there before its namespace was in the mesh, and would be refused today: {'; '.join(reasons)}"
    owner = cluster.workload_of(pod)
    cure = f"kubectl rollout restart {owner.kind.lower()}/{owner.name}" if owner is not None else "create it anew"
    return f"it was there before its namespace was in the mesh; {cure} in namespace {pod.namespace}"
