"""Whether a pod gets our parts: yes, no because nobody asked, or refused because it could get round them.

Trust: the pod is written by whoever may create pods in a meshed namespace. What passes here cannot undo the interception from
inside: no capability over packets, no namespace of the node, no identity of the sidecar, no way to its token or its memory.
Attacked by tests/injector/test_decide.py. What only a root process with SETUID could still do is left to the hardening level.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .cluster.objects import Json, Pod, at, objects, text, texts
from .containers import AUDIENCE, CONTAINERS, TOKEN_VOLUME, VOLUMES, application_mount, proxy_uid
from .documents import INJECTION
from .settings import Settings

# With any of these a container can change packet rules, send past them, or make itself able to.
FORBIDDEN_CAPABILITIES = frozenset({"ALL", "NET_ADMIN", "NET_RAW", "SYS_ADMIN", "SYS_MODULE", "BPF"})
# Whoever can read or write these on the node can take another pod's token, or its place.
FORBIDDEN_HOST_PATHS = ("/var/lib/kubelet", "/proc", "/run/containerd", "/run/crio", "/run/docker.sock")


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


def decide(pod: Pod, namespace: str, namespace_labels: Json, *, opt_out: bool, settings: Settings) -> Inject | Skip | Refuse:
    """
    Args:
        namespace: the request's; a pod's metadata may leave it out.
        opt_out: whether the MeshPolicy lets this pod's label `disabled` count.
    """
    wish = pod.labels.get(INJECTION)
    if "kubernetes.io/config.mirror" in pod.annotations:
        return Skip("a mirror pod is the kubelet's own; nobody can change it")
    if namespace_labels.get(INJECTION) != "enabled":
        if wish == "enabled":
            return Refuse((
                f"the pod asks for a sidecar, but its namespace is not in the mesh; "
                f"kubectl label namespace {namespace} {INJECTION}=enabled",
            ))
        return Skip(f"namespace {namespace} is not labelled {INJECTION}=enabled")
    if wish == "disabled":
        if opt_out:
            return Skip(f"the pod is labelled {INJECTION}=disabled and its MeshPolicy allows that")
        return Refuse((f"the pod is labelled {INJECTION}=disabled, but no MeshPolicy with `optOut: true` selects it; "
                       "remove the label, or ask the platform team",))
    uid = proxy_uid(pod, namespace) if settings.bypass == "uid" else None
    reasons = (*_pod_reasons(pod), *_container_reasons(pod, uid))
    return Refuse(reasons) if reasons else Inject()


def _pod_reasons(pod: Pod) -> Iterator[str]:
    for field, why in (
        ("hostNetwork", "it has the node's network, which is not ours to intercept"),
        ("hostPID", "it could enter the sidecar through the node's processes"),
        ("shareProcessNamespace", "its containers could enter the sidecar"),
    ):
        if pod.spec.get(field) is True:
            yield f"the pod sets {field}: {why}; remove it, or keep the pod out of meshed namespaces"
    for volume in pod.volumes:
        name = volume.get("name")
        path = text(at(volume, "hostPath").get("path"), "hostPath.path")
        if path and _is_forbidden(path):
            yield f"volume {name} mounts {path} of the node, where other pods' secrets are; mount something narrower"
        for source in objects(at(volume, "projected").get("sources"), "projected.sources"):
            if at(source, "serviceAccountToken").get("audience") == AUDIENCE and name != TOKEN_VOLUME:
                yield (f"volume {name} holds a token for the audience {AUDIENCE}, which is good for the sidecar's certificate; "
                       "use another audience")


def _is_forbidden(path: str) -> bool:
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts:
        return True
    if parts[:2] == ("var", "run"):
        parts = parts[1:]
    for forbidden in FORBIDDEN_HOST_PATHS:
        wanted = tuple(forbidden.split("/")[1:])
        if parts[:len(wanted)] == wanted or wanted[:len(parts)] == parts:
            return True
    return False


def _container_reasons(pod: Pod, uid: int | None) -> Iterator[str]:
    inherited = at(pod.spec, "securityContext").get("runAsUser")
    for container in (*pod.init_containers, *pod.containers, *pod.ephemeral_containers):
        if container in pod.init_containers and container.get("name") in CONTAINERS:
            continue        # patch.py compares it with a fresh rendering
        yield from container_reasons(container, inherited, uid)


def container_reasons(container: Mapping[str, Any], inherited_uid: object, uid: int | None) -> Iterator[str]:
    """What stands against a container that is not ours.

    Args:
        inherited_uid: the pod's runAsUser.
        uid: the sidecar's; None where the exemption goes by mark.
    """
    name = container.get("name")
    security = at(container, "securityContext")
    if name in CONTAINERS:
        yield f"container {name} has a name that is ours; rename it"
    if security.get("privileged") is True:
        yield f"container {name} is privileged and could undo the interception; remove securityContext.privileged"
    asked = texts(at(security, "capabilities").get("add"), "capabilities.add")
    for capability in sorted({capability_name(one) for one in asked} & FORBIDDEN_CAPABILITIES):
        yield (f"container {name} asks for {capability}, with which it could undo the interception; "
               "remove it from securityContext.capabilities.add")
    if security.get("procMount") == "Unmasked":
        yield f"container {name} wants /proc unmasked; remove securityContext.procMount"
    if uid is not None and security.get("runAsUser", inherited_uid) == uid:
        yield f"container {name} runs as the sidecar's UID {uid}, which the packet rules exempt; set another runAsUser"
    for mount in objects(container.get("volumeMounts"), "volumeMounts"):
        if mount.get("name") in VOLUMES and mount != application_mount():
            yield f"container {name} mounts {mount['name']}, which is the sidecar's alone; remove the mount"


def capability_name(capability: str) -> str:
    return capability.upper().removeprefix("CAP_")
