"""The leader's task: each Ingress, GatewayClass, Gateway and HTTPRoute is told in its status what became of it.

Written where it differs from what stands there, so that what somebody else changes does not last, and only on condition that the object is
still the one that was judged. What is not in force is told by an Event besides, which has room for the words. Nothing waits for any of it.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import quote

import trio

from certs.kubernetes import CONFLICT, NOT_FOUND, Api, ApiError
from sidecar.net.clock import WallClock
from sidecar.net.watched import Watched

from .cluster import EMPTY, Cluster, Ref
from .cluster.kinds import KINDS
from .cluster.objects import Object
from .compile.edge_status import Told, changed
from .events import About, Events

PACE_S = 0.5            # between two looks at a cluster that changes all the time
RETRY_FIRST_S = 1.0
RETRY_MOST_S = 60.0
AT_ONCE = 4             # writes

PLURALS = {kind.name: (kind.prefix, kind.plural) for kind in KINDS}


class EdgeStatus:
    """
    Args:
        told_of: what each object of a cluster is told.
        report: one line when one cannot be written, once for each cause.
    """

    def __init__(
        self, api: Api, cluster: Watched[Cluster], told_of: Callable[[Cluster], Mapping[Ref, Told]], events: Events, wall: WallClock,
        report: Callable[[str], None],
    ) -> None:
        self._api = api
        self._cluster = cluster
        self._told_of = told_of
        self._events = events
        self._wall = wall
        self._report = report
        self._failure: int | None = None    # of the last look; the status of the first answer that was none
        self._written: dict[Ref, object] = {}               # the resourceVersion that it was written over
        self._said: dict[Ref, tuple[str, ...]] = {}         # by Events

    async def run(self) -> None:
        """For ever."""
        pause_s = RETRY_FIRST_S
        self._written.clear()       # others may have led meanwhile
        while True:
            cluster = self._cluster.current
            if await self._look(cluster):
                pause_s = RETRY_FIRST_S
                await self._cluster.wait_change(cluster)
                await trio.sleep(PACE_S)
            else:
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_MOST_S)

    async def _look(self, cluster: Cluster) -> bool:
        """Whether everything that had to be written was."""
        told = self._told_of(cluster)
        self._written = {ref: version for ref, version in self._written.items() if ref in told}
        self._said = {ref: said for ref, said in self._said.items() if ref in told}
        now = datetime.fromtimestamp(int(self._wall()), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        writes: list[tuple[Ref, Object, dict[str, Any]]] = []
        for ref, one in told.items():
            item = cluster.of_kind(ref[0])[ref[1:]]
            self._tell(ref, item, one)
            status = changed(item, one.status, now)
            # Written, and not yet seen as written; or the API server left out what it does not know.
            if status is not None and self._written.get(ref, EMPTY) != item.metadata.get("resourceVersion"):
                writes.append((ref, item, status))
        failed: list[ApiError] = []
        limit = trio.Semaphore(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for write in writes:
                await limit.acquire()
                nursery.start_soon(partial(self._write, *write, limit=limit, failed=failed))
        if failed and self._failure != failed[0].status:
            more = f" (and so with {len(failed) - 1} more)" if failed[1:] else ""
            self._report(f"what became of an object cannot be written into its status, and it is tried again: {failed[0]}{more}")
        self._failure = failed[0].status if failed else None
        return not failed

    async def _write(self, ref: Ref, item: Object, status: dict[str, Any], *, limit: trio.Semaphore, failed: list[ApiError]) -> None:
        version = item.metadata.get("resourceVersion")
        try:
            await self._api.patch(path_of(ref), {"metadata": {"resourceVersion": version}, "status": status}, dict)
            self._written[ref] = version
        except ApiError as exc:
            if exc.status not in (CONFLICT, NOT_FOUND):     # else a change is on its way to us
                failed.append(exc)
        finally:
            limit.release()

    def _tell(self, ref: Ref, item: Object, told: Told) -> None:
        before = self._said.get(ref, ())
        if told.problems == before:
            return
        self._said[ref] = told.problems
        if told.problems:
            self._events.tell(About.of(item), told.reason, "; ".join(told.problems))
        elif before:
            self._events.tell(About.of(item), "RulesInForce", "everything that it says is in force again", is_warning=False)


def path_of(ref: Ref) -> str:
    """Of the status of the object."""
    kind, namespace, name = ref
    prefix, plural = PLURALS[kind]
    where = f"namespaces/{quote(namespace, safe='')}/{plural}" if namespace else plural
    return f"{prefix}/{where}/{quote(name, safe='')}/status"
