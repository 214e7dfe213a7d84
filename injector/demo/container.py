"""What one container of a pod asks for, as a value, and the command lines that give it that. Pure: nothing is run here.

A container is a process that is first of its own PID namespace and has its own mount namespace, within its pod's network
namespace, under the UID, groups and capabilities that the JSON names. Its /run is its own: nothing is there but its volumes and
the image. Otherwise it sees the machine's file system, so a volume can be mounted below /run or over something that exists.

What the demo cannot honour is refused by name rather than left out, except seccomp and a read-only root file system.
"""

import base64
import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import DemoError
from .images import Images
from .network import NODE, Addresses, in_netns

Object = dict[str, Any]

RUNTIME_CAPABILITIES = (   # what container runtimes grant where a container says nothing
    "chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap",
    "net_bind_service", "net_raw", "sys_chroot", "mknod", "audit_write", "setfcap",
)
NOT_SUPPORTED = ("envFrom", "volumeDevices", "stdin", "tty")
STAGE = "/run/world/stage"
STARTED = b"started\n"   # what the set-up writes when the container's own command comes next


@dataclass(frozen=True, slots=True)
class Mount:
    source: str
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Launch:
    """One container, ready to be started."""

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    uid: int
    gid: int
    groups: tuple[int, ...]
    capabilities: tuple[str, ...]
    no_new_privileges: bool
    mounts: tuple[Mount, ...]
    directory: str


Lookup = Callable[[str, str, str], Object | None]   # kind, namespace, name -> the stored object


def plan(pod: Object, container: Object, images: Images, volumes: Mapping[str, str], addresses: Addresses,
         lookup: Lookup) -> Launch:
    """What `container` of `pod` asks for.

    Args:
        volumes: folder on this machine by name of the volume.
        addresses: the pod's.
    Raises: DemoError for what the demo cannot do.
    """
    name = container["name"]
    for field in NOT_SUPPORTED:
        if container.get(field):
            raise DemoError(f"container {name}: the demo cannot honour `{field}`")
    image = images.find(container.get("image", ""))
    own = environment(pod, container, addresses, lookup)
    entrypoint, args = container.get("command") or image.entrypoint, container.get("args") or ()
    argv = tuple(expand(word, own) for word in (*entrypoint, *args))
    if not argv:
        raise DemoError(f"container {name}: {container.get('image')!r} is no image of the demo's; say in `command` what to run")
    security = container.get("securityContext") or {}
    pod_security = pod["spec"].get("securityContext") or {}
    if security.get("privileged"):
        raise DemoError(f"container {name}: the demo runs nothing privileged")
    both = {**pod_security, **security}
    uid = both.get("runAsUser", 0)
    if uid == 0 and both.get("runAsNonRoot"):
        raise DemoError(f"container {name}: runAsNonRoot forbids UID 0; name another in runAsUser")
    extra = {*pod_security.get("supplementalGroups", ()), *([pod_security["fsGroup"]] if "fsGroup" in pod_security else [])}
    return Launch(
        argv=argv,
        env=tuple((dict(image.env) | own).items()),
        uid=uid,
        gid=both.get("runAsGroup", 0),
        groups=tuple(sorted(extra)),
        capabilities=capabilities(security.get("capabilities") or {}),
        # A container sees the machine's programs, set-user-ID ones among them: these stay without effect unless asked for.
        no_new_privileges=security.get("allowPrivilegeEscalation") is not True,
        mounts=_mounts(container, volumes),
        directory=container.get("workingDir", "/"),
    )


def capabilities(asked: Mapping[str, list[str]]) -> tuple[str, ...]:
    """The bounding set, as container runtimes compute it: ALL first, then what is added, then what is dropped. containerd drops
    nothing for a name that begins with CAP_.
    """
    add = [item.upper().removeprefix("CAP_") for item in asked.get("add") or ()]
    drop = [item.upper() for item in asked.get("drop") or ()]
    if "ALL" in add:
        raise DemoError("the demo does not add ALL capabilities; name those that are needed")
    base = () if "ALL" in drop else RUNTIME_CAPABILITIES
    added = [item.lower() for item in add]
    return tuple(item for item in dict.fromkeys((*base, *added)) if item.upper() not in drop)


_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expand(text: str, env: Mapping[str, str]) -> str:
    """`$(NAME)` becomes the variable's value, `$$` a dollar sign; a name that is not set stays as it stands.

    Spec: the field documentation of Container.args, Container.command and EnvVar.value.
    """
    return _REFERENCE.sub(lambda found: "$" if found[1] is None else env.get(found[1], found[0]), text)


def environment(pod: Object, container: Object, addresses: Addresses, lookup: Lookup) -> dict[str, str]:
    """The container's own variables; each may use those before it."""
    env: dict[str, str] = {}
    for item in container.get("env") or ():
        if "valueFrom" in item:
            value = _from_source(pod, container["name"], item, addresses, lookup)
            if value is not None:
                env[item["name"]] = value
        else:
            env[item["name"]] = expand(item.get("value", ""), env)
    return env


def _from_source(pod: Object, container: str, item: Object, addresses: Addresses, lookup: Lookup) -> str | None:
    ((kind, source),) = item["valueFrom"].items()
    if kind == "fieldRef":
        return field(pod, source["fieldPath"], addresses)
    if kind not in ("secretKeyRef", "configMapKeyRef"):
        raise DemoError(f"container {container}: the demo cannot take variable {item['name']} from `{kind}`")
    stored = lookup("Secret" if kind == "secretKeyRef" else "ConfigMap", pod["metadata"]["namespace"], source["name"])
    data = contents(stored) if stored else {}
    if source["key"] in data:
        return data[source["key"]].decode()
    if source.get("optional"):
        return None
    raise DemoError(f"container {container}: variable {item['name']} needs key {source['key']!r} of {source['name']!r}")


def contents(stored: Object) -> dict[str, bytes]:
    """The data of a Secret or a ConfigMap."""
    encoded, plain = ("data", "stringData") if stored["kind"] == "Secret" else ("binaryData", "data")
    return ({key: base64.b64decode(value) for key, value in stored.get(encoded, {}).items()}
            | {key: value.encode() for key, value in stored.get(plain, {}).items()})


_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


def field(pod: Object, path: str, addresses: Addresses) -> str:
    """A value of the pod by the path that a fieldRef names."""
    metadata, spec = pod["metadata"], pod["spec"]
    values = {
        "metadata.name": metadata["name"], "metadata.namespace": metadata["namespace"], "metadata.uid": metadata["uid"],
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"), "spec.nodeName": "demo",
        "status.podIP": addresses.ipv4, "status.podIPs": ",".join(addresses.both()), "status.hostIP": NODE[0],
    }
    if path in values:
        return str(values[path])
    if found := _SUBSCRIPT.fullmatch(path):
        return str((metadata.get(found[1]) or {}).get(found[2], ""))
    raise DemoError(f"pod {metadata['name']}: the demo knows no field {path!r}")


def _mounts(container: Object, volumes: Mapping[str, str]) -> tuple[Mount, ...]:
    found = []
    for item in container.get("volumeMounts") or ():
        if item["name"] not in volumes:
            raise DemoError(f"container {container['name']}: no volume is called {item['name']!r}")
        source = os.path.join(volumes[item["name"]], item.get("subPath", "")).rstrip("/")
        found.append(Mount(source, item["mountPath"], bool(item.get("readOnly"))))
    return tuple(sorted(found, key=lambda mount: mount.target.count("/")))   # a mount may lie within another


def start_argv(launch: Launch, netns: str, has_uids: bool, system_mounts: tuple[Mount, ...] = ()) -> list[str]:
    """The command that becomes the parent of the container's first process.

    Args:
        system_mounts: what the kubelet adds of its own: resolv.conf and hosts.
    """
    return in_netns(netns, ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                            "sh", "-ec", _set_up((*launch.mounts, *system_mounts), launch.directory), "sh",
                            *_own_credentials(launch, has_uids), *_clean_environment(launch), *launch.argv])


def enter_prefix(launch: Launch, pid: int, has_uids: bool) -> list[str]:
    """What to put before a command to run it in the running container.

    Args:
        pid: of the container's first process, in the caller's PID namespace.
    """
    return ["nsenter", f"--target={pid}", "--mount", "--net", "--pid", f"--wdns={launch.directory}",
            *_own_credentials(launch, has_uids), *_clean_environment(launch)]


def _own_credentials(launch: Launch, has_uids: bool) -> list[str]:
    argv = ["setpriv", f"--bounding-set={','.join(['-all', *('+' + item for item in launch.capabilities)])}", "--inh-caps=-all"]
    if has_uids:
        argv += [f"--reuid={launch.uid}", f"--regid={launch.gid}",
                 f"--groups={','.join(map(str, launch.groups))}" if launch.groups else "--clear-groups"]
    return [*argv, *(["--no-new-privs"] if launch.no_new_privileges else [])]


def _clean_environment(launch: Launch) -> list[str]:
    return ["env", "-i", *(f"{name}={value}" for name, value in launch.env)]


def _set_up(mounts: tuple[Mount, ...], directory: str) -> str:
    """A shell script for the fresh mount namespace: the new /run is prepared aside, then laid over the old one.

    Descriptor 0 is a pipe to the starter until the container's command takes over.
    """
    quote = shlex.quote
    lines = [f"mount -t tmpfs -o mode=755 run {STAGE}", f"mkdir {STAGE}/image", f"mount --rbind /run/image {STAGE}/image"]
    for mount in mounts:
        real = os.path.realpath(mount.target)   # /var/run leads to /run
        target = quote(STAGE + real.removeprefix("/run") if real.startswith("/run/") else real)
        if real.startswith("/run/"):
            lines.append(f"if [ -d {quote(mount.source)} ]; then mkdir -p {target}; "
                         f"else mkdir -p {quote(os.path.dirname(STAGE + real.removeprefix('/run')))}; touch {target}; fi")
        lines.append(f"mount --rbind {quote(mount.source)} {target}")
        if mount.read_only:
            lines.append(f"mount -o remount,bind,ro {target}")
    lines += [f"mount --rbind {STAGE} /run", f"cd {quote(directory)}",
              "echo started >&0", 'exec "$@" </dev/null']
    return "\n".join(lines)
