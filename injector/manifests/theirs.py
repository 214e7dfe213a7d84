"""What `injector/hardening.py` asks of a meshed pod and of its other containers at the level `standard`, in CEL.

Each demand is a `Validation` over the variables that `backstop.py` defines: `spec`, `others` (containers that are not ours), `uid`
(the sidecar's). The level `strict` is the webhook's alone, since it depends on a MeshPolicy.

Trust: as there. tests/e2e/kubernetes/test_backstop.py holds the two to one verdict, pod by pod.
"""

from typing import Any, NamedTuple

from injector.containers import AUDIENCE, CONTAINERS, TOKEN_VOLUME, VOLUMES, application_mount
from injector.hardening import DROPPED, FORBIDDEN_CAPABILITIES, FORBIDDEN_HOST_PATHS, SAFE_SYSCTLS

from .cel import cel, either


class Validation(NamedTuple):
    """
    Args:
        demand: true where all is well.
        message: in CEL.
    """

    demand: str
    message: str

    def unless(self, condition: str) -> "Validation":
        return Validation(f"{condition} || ({self.demand})", self.message)

    @property
    def manifest(self) -> dict[str, Any]:
        return {"expression": self.demand, "messageExpression": self.message, "reason": "Forbidden"}


def _capabilities(names: list[str]) -> str:
    return cel(sorted([*names, *(f"CAP_{name}" for name in names)]))


_FORBIDDEN = sorted(FORBIDDEN_CAPABILITIES.union(DROPPED["standard"]))
# As runtimes make capitals, which know two more letters that become one of ASCII's.
_IN_CAPITALS = "name.replace('\u0131', 'I').replace('\u017f', 'S').upperAscii()"
_SECURITY = "one.?securityContext"
_OF_POD = "variables.spec.?securityContext"

# What no other container may be, where `one` is the container.
_REFUSED = {
    "has a name that is ours; rename it": f"one.name in {cel(list(CONTAINERS))}",
    "would enter a container of the mesh; set another targetContainerName":
        f"one.?targetContainerName.orValue('') in {cel(list(CONTAINERS))}",
    "is privileged; remove securityContext.privileged": f"{_SECURITY}.?privileged.orValue(false)",
    "is a process of the node; remove securityContext.windowsOptions.hostProcess":
        f"{_SECURITY}.?windowsOptions.?hostProcess.orValue({_OF_POD}.?windowsOptions.?hostProcess.orValue(false))",
    "asks for a capability with which it could undo the interception or pass it by; remove it from securityContext.capabilities.add":
        f"{_SECURITY}.?capabilities.?add.orValue([]).exists(name, {_IN_CAPITALS} in {_capabilities(_FORBIDDEN)})",
    f"does not drop {' and '.join(DROPPED['standard'])}; write them into securityContext.capabilities.drop": either(
        f"!{_SECURITY}.?capabilities.?drop.orValue([]).exists(name, {_IN_CAPITALS} in {cel(['ALL', dropped])})"
        for dropped in DROPPED["standard"]),
    "wants /proc unmasked; remove securityContext.procMount": f"{_SECURITY}.?procMount.orValue('') == 'Unmasked'",
    "runs as the sidecar's UID, which the packet rules exempt; set another runAsUser":
        f"{_SECURITY}.?runAsUser.orValue({_OF_POD}.?runAsUser.orValue(-1)) == variables.uid",
    "mounts what is the sidecar's alone; remove the mount": either([
        f"one.?volumeMounts.orValue([]).exists(mount, mount.name in {cel(list(VOLUMES))} && mount != {cel(application_mount())})",
        f"one.?volumeDevices.orValue([]).exists(device, device.name in {cel(list(VOLUMES))})",
    ]),
}


def containers_demands(variable: str) -> list[Validation]:
    """Of each container in the list of that name."""
    return [
        Validation(f"!variables.{variable}.exists(one, {refused})",
                   f"'container ' + variables.{variable}.filter(one, {refused})[0].name + {cel(' ' + words)}")
        for words, refused in _REFUSED.items()
    ]


_VOLUMES = "variables.spec.?volumes.orValue([])"
# Both names of /run; parts that mean nothing are taken out before it is compared.
_PATHS = sorted({*FORBIDDEN_HOST_PATHS, *(f"/var{path}" for path in FORBIDDEN_HOST_PATHS if path.startswith("/run/"))})
_SHORT = "'/' + volume.hostPath.path.split('/').filter(part, part != '' && part != '.').join('/') + '/'"
_HOLDS_TOKEN = (
    "volume.?projected.?sources.orValue([]).exists(source, "
    f"source.?serviceAccountToken.?audience.orValue('') == {cel(AUDIENCE)})"
)


def _is_forbidden(path: str) -> str:
    ends = cel([f"{one}/" for one in _PATHS])
    return f"{path}.contains('/../') || {ends}.exists(end, {path}.startsWith(end) || end.startsWith({path}) || {path} == '//')"


def pod_demands() -> list[Validation]:
    """Of the pod, whatever its containers are."""
    sysctls = f"{_OF_POD}.?sysctls.orValue([])"
    unsafe = f"one.name.replace('/', '.').startsWith('net.') && !(one.name.replace('/', '.') in {cel(sorted(SAFE_SYSCTLS))})"
    path = "volume.?hostPath.?path.orValue('') != ''"
    return [
        *(Validation(f"!variables.spec.?{field}.orValue(false)", cel(f"the pod sets {field}; remove it, or keep the pod out of the mesh"))
          for field in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace")),
        Validation("variables.spec.?os.?name.orValue('') != 'windows' && "
                   "variables.spec.?nodeSelector[?'kubernetes.io/os'].orValue('') != 'windows'",
                   cel("the pod is for Windows, which has no packet rules of ours; keep it out of meshed namespaces")),
        Validation(f"!{sysctls}.exists(one, {unsafe})",
                   cel("the pod sets a sysctl that changes the network under the packet rules; remove it")),
        Validation(f"!{_VOLUMES}.exists(volume, {path} && [{_SHORT}].exists(short, {_is_forbidden('short')}))",
                   cel("a volume mounts a folder of the node where other pods' secrets are; mount something narrower")),
        Validation(f"!{_VOLUMES}.exists(volume, volume.name != {cel(TOKEN_VOLUME)} && {_HOLDS_TOKEN})",
                   cel(f"a volume holds a token for the audience {AUDIENCE}, which is good for the sidecar's certificate; use another")),
    ]


def absence_demands() -> list[Validation]:
    """Of a pod that stays out of the mesh: nothing of ours."""
    every = "(variables.inner + variables.outer)"
    return [
        Validation(f"!{every}.exists(one, one.name in {cel(list(CONTAINERS))})",
                   cel("a container has a name of the mesh, which the pod is to stay out of; remove it")),
        Validation(f"!{_VOLUMES}.exists(volume, {_HOLDS_TOKEN})",
                   cel(f"a volume holds a token for the audience {AUDIENCE}; a pod that stays out of the mesh has no use for it")),
    ]
