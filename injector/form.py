"""Where our containers stand in a pod: the native form, and the older one for clusters before 1.29, asked for by annotation.

Native: interception, sidecar, the user's init containers: all that is the user's is captured, and has a sidecar that runs. In the
older form an init container cannot stay, so the sidecar is the first of the ordinary containers. The interception is the first of the
init containers all the same: those of the user that follow have no network, which is better than one that nobody watches.
"""

from collections.abc import Iterator, Mapping

from .cluster.objects import INTERCEPTION, SIDECAR, Json, Pod
from .documents import NATIVE_SIDECAR

Places = Mapping[str, str]      # of our containers by name: the field of the pod's spec whose list they begin

NATIVE: Places = {INTERCEPTION: "initContainers", SIDECAR: "initContainers"}
OLDER: Places = {INTERCEPTION: "initContainers", SIDECAR: "containers"}


def places(annotations: Json) -> Places:
    """A word that is none is refused elsewhere."""
    return OLDER if annotations.get(NATIVE_SIDECAR) == "false" else NATIVE


def is_ours(field: str, container: Json, where: Places) -> bool:
    """Whether it bears a name of ours in the list where that belongs. It is still to be compared with a fresh rendering."""
    return where.get(str(container.get("name"))) == field


def costs(pod: Pod) -> Iterator[str]:
    """What a pod in the older form gives up, with the cure."""
    if places(pod.annotations) is NATIVE:
        return
    cure = f"remove {NATIVE_SIDECAR} where the cluster is 1.29 or newer"
    if others := [str(one.get("name")) for one in pod.init_containers if not is_ours("initContainers", one, OLDER)]:
        yield f"init containers ({', '.join(others)}) have no network: they run before the sidecar does; {cure}"
    yield f"the application may start before its sidecar, and end after it: connections at both ends of its life may fail; {cure}"
    if pod.spec.get("restartPolicy") in ("Never", "OnFailure"):
        yield f"a Job of this pod never completes by itself, since the sidecar goes on; {cure}"
