"""Whether a pod gets our parts: yes, no because nobody asked, or refused because it could get round them (hardening.py).

Trust: the pod is written by whoever may create pods in a meshed namespace; that it stays outside of the mesh is for others to say.
Attacked by tests/injector/test_decide.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from .cluster.objects import Json, Pod
from .compile.mesh import MeshSettings
from .containers import proxy_uid
from .documents import INJECTION
from .form import is_ours, places
from .hardening import Level, belonging_reasons, container_reasons, pod_reasons
from .settings import Settings

MIRROR = "kubernetes.io/config.mirror"


@dataclass(frozen=True, slots=True)
class Inject:
    """The pod is to be patched."""


@dataclass(frozen=True, slots=True)
class Skip:
    """The pod stays outside of the mesh, as it should."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """The pod must not run as it is; each reason says what to change."""

    reasons: tuple[str, ...]


def decide(pod: Pod, namespace: str, namespace_labels: Json, *, mesh: MeshSettings, settings: Settings) -> Inject | Skip | Refuse:
    """
    Args:
        namespace: the request's; a pod's metadata may leave it out.
        mesh: what the MeshPolicies say of this pod.
    """
    wish = pod.labels.get(INJECTION)
    if MIRROR in pod.annotations:
        return Skip("it is a static pod of its node, which runs whatever the API server says; move it out of the node's manifests")
    if namespace_labels.get(INJECTION) != "enabled":
        if wish == "enabled":
            return Refuse((
                f"the pod asks for a sidecar, but its namespace is not in the mesh; "
                f"kubectl label namespace {namespace} {INJECTION}=enabled",
            ))
        return Skip(f"namespace {namespace} is not labelled {INJECTION}=enabled")
    if wish == "disabled":
        if reasons := tuple(belonging_reasons(pod)):
            return Refuse(reasons)
        if mesh.opt_out:
            return Skip(f"the pod is labelled {INJECTION}=disabled and its MeshPolicy allows that")
        return Refuse((f"the pod is labelled {INJECTION}=disabled, but no MeshPolicy with `optOut: true` selects it; "
                       "remove the label, or ask the platform team",))
    reasons = (*pod_reasons(pod), *_container_reasons(pod, mesh.hardening, exempt_uid(pod, namespace, settings)))
    return Refuse(reasons) if reasons else Inject()


def exempt_uid(pod: Pod, namespace: str, settings: Settings) -> int | None:
    """The UID by which the packet rules know the pod's sidecar; None where they know it by a mark."""
    return proxy_uid(pod, namespace) if settings.bypass == "uid" else None


def _container_reasons(pod: Pod, level: Level, uid: int | None) -> Iterator[str]:
    where = places(pod.annotations)
    for field, found in (
        ("initContainers", pod.init_containers), ("containers", pod.containers), ("ephemeralContainers", pod.ephemeral_containers),
    ):
        for container in found:
            if not is_ours(field, container, where):        # or patch.py compares it with a fresh rendering
                yield from container_reasons(container, pod, level, uid)
