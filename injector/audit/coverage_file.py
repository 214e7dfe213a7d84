"""`coverage.json`: what evidence cannot cover, beside the evidence, for who audits it without the cluster.

A look at a pod costs a third of a millisecond, and there may be thousands. So only those are looked at of which anything changed, with
turns for others between them, and the file is written now and then.
"""

import sys
from pathlib import Path

import msgspec
import trio

from certs.files import write
from injector.cluster import Cluster
from injector.cluster.objects import Object, Pod
from sidecar.model.errors import ConfigError
from sidecar.net.watched import Watched

from .coverage import Coverage, OfPod, assembled, running

EVERY_S = 2.0
AT_ONCE = 16        # pods, before others have their turn

# What the look at a pod depends on: pod, owner, its namespace. The same values as before are the very same objects.
_Seen = tuple[Pod, Object | None, Object | None]


class CoverageFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = b""
        self._policies: object = None
        self._looks: dict[tuple[str, str], tuple[_Seen, OfPod]] = {}

    async def follow(self, cluster: Watched[Cluster]) -> None:
        """For ever."""
        while True:
            now = cluster.current
            self._keep(await self.look(now))
            await trio.sleep(EVERY_S)
            await cluster.wait_change(now)

    async def look(self, cluster: Cluster) -> Coverage:
        """As `coverage`, of what was seen before where that is still so."""
        if cluster.mesh_policies != self._policies:
            self._policies, self._looks = cluster.mesh_policies, {}
        looks: dict[tuple[str, str], tuple[_Seen, OfPod]] = {}
        new = 0
        for pod in running(cluster):
            key, seen = (pod.namespace, pod.name), (pod, cluster.workload_of(pod), cluster.namespaces.get(pod.namespace))
            before = self._looks.get(key)
            if before is not None and all(one is other for one, other in zip(before[0], seen, strict=True)):
                looks[key] = before
                continue
            looks[key] = seen, OfPod.look(pod, cluster)
            new += 1
            if new % AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        self._looks = looks
        return assembled((of for _, of in looks.values()), cluster)

    def _keep(self, found: Coverage) -> None:
        """Written if it is news; a disk that does not take it is told, and tried again at the next change."""
        data = msgspec.json.encode(found)
        if data == self._kept:
            return
        try:
            write(self._path, data, replace=True)
            self._kept = data
        except ConfigError as exc:
            print(f"bartizan: what evidence cannot cover is not written down: {exc}", file=sys.stderr, flush=True)
