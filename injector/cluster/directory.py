"""A directory of manifests as the cluster: for the demo, for development, for machines that are no pods.

Watched by looking: each look compares names, times and sizes and reads only what changed. A file that does not parse keeps what it
held before, and is reported once. What Kubernetes' endpoint controller does is done here: a Service with a selector and without
EndpointSlices gets those of its pods.

Trust: whoever may write the directory is the cluster's administrator.
"""

import os
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import trio
import yaml  # noqa: TID251 -- whole manifests of an administrator; what users write is read by yaml_text.py

from sidecar.model.errors import ConfigError

from . import Cluster
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

    def read(self) -> Cluster:
        """The state now. ConfigError if the directory cannot be read."""
        self._look()
        return self._cluster()

    async def changes(self) -> AsyncIterator[Cluster]:
        """A new state after each change, for ever."""
        while True:
            await trio.sleep(LOOK_EVERY_S)
            try:
                has_changed = self._look()
            except ConfigError as exc:
                print(f"bartizan: kept what was read before: {exc}", file=sys.stderr, flush=True)
                continue
            if has_changed:
                yield self._cluster()

    def _cluster(self) -> Cluster:
        found = [item for path in sorted(self._objects) for item in self._objects[path]]
        return Cluster.of([*found, *derived_slices(found)])

    def _look(self) -> bool:
        """Read what changed; whether anything did."""
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
                print(f"bartizan: kept the previous version of this file: {exc}", file=sys.stderr, flush=True)
        for path in self._stamps.keys() - stamps.keys():
            self._objects.pop(path, None)
        self._stamps = stamps
        return True

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
    """The objects of one file, Lists opened. ConfigError names the file and the line."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise ConfigError(str(path), f"cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(str(path), f"larger than {MAX_FILE_BYTES} bytes")
    try:
        documents = [item for item in yaml.load_all(data, yaml.CSafeLoader) if item is not None]
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        raise ConfigError(str(path), " ".join(str(exc).split())) from exc
    found: list[dict[str, Any]] = []
    for document in documents:
        if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
            raise ConfigError(str(path), "a document is no Kubernetes object: it has no kind")
        found += objects(document.get("items"), f"{path}: items") if document["kind"] == "List" else [document]
    return found


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
                "name": f"{service.name}-{pod.name}", "namespace": service.namespace,
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
