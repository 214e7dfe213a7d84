"""Snapshots for sidecars: GET /v1/snapshot?pod=UID&seen=DIGEST, over mTLS.

A question whose answer the sidecar has already seen stands until there is another, or for half a minute (304). Each pod gets its
own snapshot and no other: the certificate says which pod it was issued to, and that must be the one asked for.

Trust: the caller is a sidecar whose certificate chains to the mesh's roots; the query is a stranger's text.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs

import msgspec
import trio

from sidecar.model.call import Answer, Call
from sidecar.model.snapshot import Snapshot, digest, render_snapshot
from sidecar.net.watched import Watched

from .cluster import Cluster

NO_NEWS_S = 30.0


class Stream:
    """
    Args:
        uncaptured: see `injector/capture.py`.
        besides: what else `compile_pod` looks at; a change of it is news, too.
        compile_pod: the snapshot of the pod with this uid, and what is wrong with its documents; None: no such pod.
    """

    def __init__(
        self,
        cluster: Watched[Cluster],
        uncaptured: Watched[frozenset[str]],
        compile_pod: Callable[[Cluster, str], tuple[Snapshot, tuple[str, ...]] | None],
        besides: Sequence[Watched[Any]] = (),
    ) -> None:
        self._besides = besides
        self._cluster = cluster
        self._uncaptured = uncaptured
        self._compile = compile_pod
        self._told: dict[str, tuple[str, ...]] = {}

    async def answer(self, call: Call) -> Answer:
        if (call.method, call.path) != ("GET", "/v1/snapshot"):
            return _error(404, "the stream has GET /v1/snapshot only")
        query = parse_qs(call.query)
        pod, seen = query.get("pod", [""])[0], query.get("seen", [""])[0]
        if call.peer is None or not call.peer.pod_uid or call.peer.pod_uid != pod:
            return _error(403, "the certificate was not issued to the pod that is asked for")
        all_watched: tuple[Watched[Any], ...] = (self._cluster, self._uncaptured, *self._besides)
        with trio.move_on_after(NO_NEWS_S):
            while True:
                cluster, uncaptured = self._cluster.current, self._uncaptured.current
                looked_at = [(watched, watched.current) for watched in all_watched]
                text = self._text(cluster, uncaptured, pod)
                if text is None:
                    return _error(404, f"no running pod has the uid {pod}")
                if digest(text) != seen:
                    return Answer(200, text)
                async with trio.open_nursery() as either:
                    for watched, last in looked_at:
                        either.start_soon(_then_cancel, watched, last, either.cancel_scope)
        return Answer(304)

    def _text(self, cluster: Cluster, uncaptured: frozenset[str], pod: str) -> bytes | None:
        compiled = self._compile(cluster, pod)
        if compiled is None:
            self._told.pop(pod, None)
            return None
        snapshot, problems = compiled
        if self._told.get(pod, ()) != problems:
            self._told[pod] = problems
            for problem in problems:
                print(f"bartizan: {snapshot.workload.namespace}/{snapshot.workload.pod}: {problem}", file=sys.stderr, flush=True)
        lost = tuple(address for address in snapshot.workload.addresses if address in uncaptured)
        if lost:
            workload = msgspec.structs.replace(snapshot.workload, uncaptured=lost)
            snapshot = msgspec.structs.replace(snapshot, workload=workload)
        return render_snapshot(snapshot)


async def _then_cancel(watched: Watched[Any], seen: object, scope: trio.CancelScope) -> None:
    await watched.wait_change(seen)
    scope.cancel()


def _error(status: int, text: str) -> Answer:
    return Answer(status, msgspec.json.encode({"error": text}))
