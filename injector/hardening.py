"""What the containers beside ours may be, at the two levels of a MeshPolicy; what is set for them; what `standard` leaves open.

The packet rules know the sidecar by its UID, which is no secret. So nobody else may have what undoes packet rules or sends past
them (both levels), nor become that UID (`strict`; in `standard` who could is told).

Trust: the pod is written by whoever may create pods in a meshed namespace. What passes cannot undo the interception from inside: no
capability over packets, no namespace of the node, no way to the sidecar's token, memory and, in `strict`, UID. Attacked by
tests/injector/test_hardening.py.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from .cluster.objects import INTERCEPTION, Pod, at, objects, text, texts
from .containers import AUDIENCE, CONTAINERS, TOKEN_VOLUME, VOLUMES, application_mount

Level = Literal["standard", "strict"]

# With any of these a container can change packet rules, send past them, or make itself able to.
FORBIDDEN_CAPABILITIES = frozenset({"ALL", "NET_ADMIN", "NET_RAW", "SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH", "BPF"})
# Runtimes give these by default, save the first: they are taken from who says nothing about them. The first two nobody may ask for.
DROPPED: Mapping[Level, tuple[str, ...]] = {
    "standard": ("NET_ADMIN", "NET_RAW"), "strict": ("NET_ADMIN", "NET_RAW", "SETUID", "SETGID"),
}
# Whoever can read or write these on the node can take another pod's token or its place, or have the node run something.
FORBIDDEN_HOST_PATHS = (
    "/var/lib/kubelet", "/proc", "/etc/kubernetes", "/etc/cni", "/opt/cni", "/run/netns", "/run/containerd", "/run/crio", "/run/podman",
    "/run/docker.sock", "/run/cri-dockerd.sock", "/run/k3s", "/var/lib/containerd", "/var/lib/containers", "/var/lib/docker",
)
# > Pod Security Standards, baseline, Sysctls: of those that concern the network.
SAFE_SYSCTLS = frozenset({
    "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
})
# > Pod Security Standards, baseline, SELinux.
CONFINED_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"     # before there was a field, and still read


def pod_reasons(pod: Pod) -> Iterator[str]:
    """What stands against a pod, whatever its containers are."""
    for field, why in (
        ("hostNetwork", "it has the node's network, which is not ours to intercept"),
        ("hostPID", "it could enter the sidecar through the node's processes"),
        ("hostIPC", "it shares memory with processes that no sidecar sees"),
        ("shareProcessNamespace", "its containers could enter the sidecar"),
    ):
        if pod.spec.get(field) not in (None, False):
            yield f"the pod sets {field}: {why}; remove it, or keep the pod out of meshed namespaces"
    if "windows" in (at(pod.spec, "os").get("name"), at(pod.spec, "nodeSelector").get("kubernetes.io/os")):
        yield "the pod is for Windows, which has no packet rules of ours; keep it out of meshed namespaces"
    for sysctl in objects(at(pod.spec, "securityContext").get("sysctls"), "securityContext.sysctls"):
        one = text(sysctl.get("name"), "sysctls.name").replace("/", ".")
        if one.startswith("net.") and one not in SAFE_SYSCTLS:
            yield f"the pod sets {one}, which changes the network under the packet rules; remove it from securityContext.sysctls"
    for volume in pod.volumes:
        path = text(at(volume, "hostPath").get("path"), "hostPath.path")
        if path and _is_forbidden(path):
            yield f"volume {volume.get('name')} mounts {path} of the node, where other pods' secrets are; mount something narrower"
        if volume.get("name") != TOKEN_VOLUME:
            yield from _token_reasons(volume)


def _token_reasons(volume: Mapping[str, Any]) -> Iterator[str]:
    for source in objects(at(volume, "projected").get("sources"), "projected.sources"):
        if at(source, "serviceAccountToken").get("audience") == AUDIENCE:
            yield (f"volume {volume.get('name')} holds a token for the audience {AUDIENCE}, which is good for the sidecar's certificate; "
                   "use another audience")


def belonging_reasons(pod: Pod) -> Iterator[str]:
    """What a pod outside of the mesh has of ours: by a name it would pass for a meshed one, with a token it could speak as one."""
    for container in (*pod.init_containers, *pod.containers, *pod.ephemeral_containers):
        if container.get("name") in CONTAINERS:
            yield f"container {container.get('name')} is of the mesh, which the pod is to stay out of; remove it"
    for volume in pod.volumes:
        yield from _token_reasons(volume)


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


def container_reasons(container: Mapping[str, Any], pod: Pod, level: Level, uid: int | None) -> Iterator[str]:
    """What stands against a container that is not ours.

    Args:
        pod: whose securityContext says what the container's leaves out.
        uid: the sidecar's; None where the exemption goes by mark.
    """
    name = container.get("name")
    security, inherited = at(container, "securityContext"), at(pod.spec, "securityContext")
    if name in CONTAINERS:
        yield f"container {name} has a name that is ours; rename it"
    if (target := container.get("targetContainerName")) in CONTAINERS:
        yield f"container {name} would enter {target}, which holds the pod's key; set another targetContainerName"
    if security.get("privileged") not in (None, False):
        yield f"container {name} is privileged and could undo the interception; remove securityContext.privileged"
    if _said("windowsOptions", security, inherited).get("hostProcess") not in (None, False):
        yield f"container {name} is a process of the node; remove securityContext.windowsOptions.hostProcess"
    forbidden = FORBIDDEN_CAPABILITIES.union(DROPPED[level])
    for capability in sorted(_added(security) & forbidden):
        yield (f"container {name} asks for {capability}, with which it could undo the interception or pass it by; "
               "remove it from securityContext.capabilities.add")
    if security.get("procMount") == "Unmasked":
        yield f"container {name} wants /proc unmasked; remove securityContext.procMount"
    if uid is not None and security.get("runAsUser", inherited.get("runAsUser")) == uid:
        yield f"container {name} runs as the sidecar's UID {uid}, which the packet rules exempt; set another runAsUser"
    for field in ("volumeMounts", "volumeDevices"):
        for mount in objects(container.get(field), field):
            if mount.get("name") in VOLUMES and mount != application_mount():
                yield f"container {name} mounts {mount['name']}, which is the sidecar's alone; remove the mount"
    if level == "strict":
        yield from _strict_reasons(container, pod, uid)


def _strict_reasons(container: Mapping[str, Any], pod: Pod, uid: int | None) -> Iterator[str]:
    name = container.get("name")
    security, inherited = at(container, "securityContext"), at(pod.spec, "securityContext")

    def unwanted(field: str, value: object, instead: str) -> str:
        return f"container {name} has {field} {str(value)[:60]}, and its MeshPolicy hardening strict; {instead}"

    if security.get("allowPrivilegeEscalation") is True:
        yield unwanted("allowPrivilegeEscalation", "true", "write false")
    profile = _said("seccompProfile", security, inherited).get("type")
    if profile not in (None, "RuntimeDefault"):
        yield unwanted("the seccompProfile", profile, "write RuntimeDefault")
    by_annotation = pod.annotations.get(f"{_APPARMOR}{name}") == "unconfined"
    if by_annotation or _said("appArmorProfile", security, inherited).get("type") == "Unconfined":
        yield unwanted("the appArmorProfile", "Unconfined", "remove it")
    kind = _said("seLinuxOptions", security, inherited).get("type") or ""
    if kind not in CONFINED_TYPES:
        yield unwanted("the SELinux type", kind, "remove seLinuxOptions.type")
    if uid is not None and security.get("runAsUser", inherited.get("runAsUser")) is None:
        yield (f"container {name} leaves its user to its image, which may name the sidecar's, and its MeshPolicy has hardening strict; "
               "set securityContext.runAsUser")


def additions(container: Mapping[str, Any], pod: Pod, level: Level) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(path in the securityContext, value) of what is set for a container because it says nothing about it."""
    security, inherited = at(container, "securityContext"), at(pod.spec, "securityContext")
    dropped = _dropped(security)
    if missing := [one for one in DROPPED[level] if not dropped & {one, "ALL"}]:
        yield ("capabilities", "drop"), [*texts(at(security, "capabilities").get("drop"), "capabilities.drop"), *missing]
    if level == "strict":
        if security.get("allowPrivilegeEscalation") is None:
            yield ("allowPrivilegeEscalation",), False
        if _said("seccompProfile", security, inherited).get("type") is None:
            yield ("seccompProfile",), {"type": "RuntimeDefault"}


def left_open(pod: Pod) -> Iterator[str]:
    """Ways past the sidecar that a patched pod keeps, in words with the cure. With hardening `strict` no container has any."""
    for container in (*pod.init_containers, *pod.containers, *pod.ephemeral_containers):
        yield from left_open_by(container, pod)
    for volume in pod.volumes:
        if path := at(volume, "hostPath").get("path"):
            yield f"volume {volume.get('name')} mounts {path} of the node: through a socket in it data passes the sidecar by"


def left_open_by(container: Mapping[str, Any], pod: Pod) -> Iterator[str]:
    """The same of one container."""
    name = container.get("name")
    by_mark = any("--exempt-mark" in texts(one.get("args"), "args") for one in pod.init_containers if one.get("name") == INTERCEPTION)
    if name not in CONTAINERS and not by_mark and (ways := ", ".join(_ways_to_another_user(container, pod))):
        yield f"container {name} could take the sidecar's UID and pass it by ({ways}); set them, or hardening: strict"


def _ways_to_another_user(container: Mapping[str, Any], pod: Pod) -> Iterator[str]:
    """Fields that would have to be set otherwise: an image's own user, set-user-ID files of an image, root with SETUID."""
    security, inherited = at(container, "securityContext"), at(pod.spec, "securityContext")
    user = security.get("runAsUser", inherited.get("runAsUser"))
    if user is None:
        yield "no runAsUser"
    if security.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation not false"
    if user in (None, 0) and ("SETUID" in _added(security) or not _dropped(security) & {"SETUID", "ALL"}):
        yield "SETUID not dropped"


def _said(field: str, security: Mapping[str, Any], inherited: Mapping[str, Any]) -> dict[str, Any]:
    """The container's word, or where it is silent the pod's."""
    return at(security, field) or at(inherited, field)


def _added(security: Mapping[str, Any]) -> set[str]:
    return {one.upper().removeprefix("CAP_") for one in texts(at(security, "capabilities").get("add"), "capabilities.add")}


def _dropped(security: Mapping[str, Any]) -> set[str]:
    """containerd puts CAP_ before whatever is written: for CAP_NET_RAW it takes nothing away."""
    return {one.upper() for one in texts(at(security, "capabilities").get("drop"), "capabilities.drop")}
