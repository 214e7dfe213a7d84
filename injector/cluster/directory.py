"""A directory of manifests as the cluster: for the demo, for development, for machines that are no pods.

Watched by looking: each look compares names, times and sizes and reads only what changed. A file that cannot be read, or holds one
object that cannot, keeps what it held before, and is reported once: what is to be withdrawn must be readable. At the start there is no
before, and nothing begins. What Kubernetes' endpoint controller does is done here: a
Service with a selector and without EndpointSlices gets those of its pods.

Trust: whoever may write the directory is the cluster's administrator.
"""

import os
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import trio

from injector.validate import Invalid
from injector.yaml_text import YamlError, read_all
from sidecar.model.errors import ConfigError

from . import EMPTY, Cluster, Ref, ref_of
from .checked import checked
from .default_classes import with_classes
from .objects import Json, Object, Pod, addresses, at, objects, selects, text

LOOK_EVERY_S = 0.2
SUFFIXES = (".yaml", ".yml", ".json")
MAX_FILE_BYTES = 8 << 20

Stamp = tuple[int, int, int]


class Directory:
    """
    Args:
        path: searched through all its folders; hidden files are somebody's unfinished ones and stay out.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamps: dict[Path, Stamp] = {}
        self._objects: dict[Path, list[dict[str, Any]]] = {}
        self._broken: list[str] = []        # by the latest look
        self._held: dict[Ref, Json] = {}    # what the latest state was made of
        self._state = EMPTY

    def read(self) -> Cluster:
        """The state now. ConfigError if the directory or anything in it cannot be read: what is left out may be what restricts."""
        self._look()
        if self._broken:
            raise ConfigError("directory", f"{'; '.join(self._broken)}; correct it, since there is no earlier version to go on with")
        return self._cluster()

    async def begin(self) -> Cluster:
        """As `read`."""
        return self.read()

    async def changes(self) -> AsyncIterator[Cluster]:
        """A new state after each change, for ever."""
        while True:
            await trio.sleep(LOOK_EVERY_S)
            try:
                has_changed = self._look()
                for broken in self._broken:
                    print(f"bartizan: {broken}", file=sys.stderr, flush=True)
            except ConfigError as exc:
                print(f"bartizan: kept what was read before: {exc}", file=sys.stderr, flush=True)
                continue
            if has_changed:
                yield self._cluster()

    def _cluster(self) -> Cluster:
        found = with_classes(item for path in sorted(self._objects) for item in self._objects[path])
        now: dict[Ref, Json] = {ref_of(Object(item)): item for item in (*found, *derived_slices(found))}
        changed: dict[Ref, Json | None] = {ref: item for ref, item in now.items() if self._held.get(ref) != item}
        changed |= dict.fromkeys(self._held.keys() - now.keys())
        self._held, self._state = now, self._state.having(changed)
        return self._state

    def _look(self) -> bool:
        """Read what changed; whether anything did."""
        self._broken = []
        stamps = dict(self._scan())
        if stamps == self._stamps:
            return False
        for path, stamp in stamps.items():
            if self._stamps.get(path) == stamp:
                continue
            try:
                self._objects[path] = read_file(path)
            except FileNotFoundError:
                continue    # gone since the look; the next one sees it
            except ConfigError as exc:
                kept = "the previous version of this file counts" if path in self._objects else "nothing of this file counts yet"
                self._broken.append(f"{exc}: {kept}")
        for path in self._stamps.keys() - stamps.keys():
            self._objects.pop(path, None)
        self._stamps = stamps
        self._broken += self._twice()
        return True

    def _twice(self) -> Iterator[str]:
        """Policies of which there are two of one name: what is taken out of one lives on in the other."""
        found: dict[tuple[str, str], Path] = {}
        for path in sorted(self._objects):
            for one in map(Object, self._objects[path]):
                if one.kind in ("EgressPolicy", "MeshPolicy"):
                    if (one.kind, one.name) in found:
                        yield f"{one.kind} {one.name} stands in {found[one.kind, one.name]} and in {path}, which counts; remove one"
                    found[one.kind, one.name] = path

    def _scan(self) -> Iterator[tuple[Path, Stamp]]:
        def fail(exc: OSError) -> None:
            raise ConfigError("directory", f"cannot read {exc.filename}: {exc.strerror}") from exc

        for folder, folders, names in os.walk(self._path, onerror=fail):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                if name.endswith(SUFFIXES) and not name.startswith("."):
                    path = Path(folder, name)
                    try:
                        stat = path.stat()
                    except FileNotFoundError:
                        continue
                    yield path, (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def read_file(path: Path) -> list[dict[str, Any]]:
    """The objects of one file: Lists opened, namespaces filled in, every field of the right type. ConfigError names the file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise ConfigError(str(path), f"cannot be read: {exc.strerror}") from exc
    try:
        documents = [document.data for document in read_all(data.decode(), MAX_FILE_BYTES) if document.data is not None]
        return [checked(item) for document in documents for item in _opened(document)]
    except (YamlError, UnicodeDecodeError, ConfigError, Invalid) as exc:
        raise ConfigError(str(path), str(exc)) from exc


def _opened(document: object) -> list[dict[str, Any]]:
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise ConfigError("", "a document is no Kubernetes object: it has no kind")
    return objects(document.get("items"), "items") if document["kind"] == "List" else [document]


# -- what the endpoint controller does


def derived_slices(found: Iterable[Json]) -> list[dict[str, Any]]:
    """EndpointSlices for Services that select pods and have none, in the form of the API."""
    views = [Object(item) for item in found]
    have = {
        (view.namespace, text(view.labels.get("kubernetes.io/service-name"), "metadata.labels"))
        for view in views if view.kind == "EndpointSlice"
    }
    pods = [Pod(view.data) for view in views if view.kind == "Pod"]
    slices: list[dict[str, Any]] = []
    for service in views:
        selector = at(service.data, "spec", "selector")
        if service.kind == "Service" and selector and (service.namespace, service.name) not in have:
            chosen = [pod for pod in pods if pod.namespace == service.namespace and selects(selector, pod.labels)]
            for pod in chosen:
                slices += _slices_of(service, pod)
    return slices


def _slices_of(service: Object, pod: Pod) -> Iterator[dict[str, Any]]:
    """One slice a pod and address family: a named target port may be another number in each pod."""
    ports = [
        {"name": port.get("name", ""), "protocol": port.get("protocol", "TCP"), "appProtocol": port.get("appProtocol"),
         "port": pod.port(port.get("targetPort", port.get("port")))}
        for port in objects(service.spec.get("ports"), "spec.ports")
    ]
    for address in addresses(list(pod.addresses), "status.podIPs"):
        yield {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{service.name}-{pod.name}-{'v6' if ':' in address else 'v4'}", "namespace": service.namespace,
                "labels": {"kubernetes.io/service-name": service.name},
            },
            "addressType": "IPv6" if ":" in address else "IPv4",
            "ports": [port for port in ports if port["port"] is not None],
            "endpoints": [{
                "addresses": [address],
                "conditions": {"ready": pod.is_ready, "serving": pod.is_ready, "terminating": False},
                "targetRef": {"kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
            }],
        }
