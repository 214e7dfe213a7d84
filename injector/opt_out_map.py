"""The leader's task: what `opt_outs.py` writes down for the ValidatingAdmissionPolicy, kept as a ConfigMap.

Applied when it is another, and again now and then, so that what somebody else changes there does not last.
"""

from collections.abc import Callable
from typing import Any

import trio

from certs.kubernetes import Api, ApiError
from sidecar.net.watched import Watched

from .cluster import Cluster
from .opt_outs import config_map
from .settings import injector_of
from .trust import TrustWatch

AGAIN_S = 60.0
RETRY_S = 2.0
PACE_S = 0.2        # between two looks at a cluster that changes all the time


class OptOutMap:
    """
    Args:
        report: one line when it cannot be written, once for each cause.
    """

    def __init__(self, api: Api, cluster: Watched[Cluster], trust: TrustWatch, revision: str, report: Callable[[str], None]) -> None:
        self._api = api
        self._cluster = cluster
        self._trust = trust
        self._revision = revision
        self._report = report
        self._failure = ""

    async def run(self) -> None:
        """For ever."""
        while True:
            path, made = self._made()
            wait_s = AGAIN_S
            try:
                await self._api.apply(path, made, dict, manager=injector_of(self._revision))
                self._failure = ""
            except ApiError as exc:
                wait_s = max(RETRY_S, exc.retry_after_s)
                if str(exc) != self._failure:
                    self._failure = str(exc)
                    self._report(f"what MeshPolicies allow of new pods cannot be written down, and it is tried again: {exc}")
            with trio.move_on_after(wait_s):
                await self._wait_other(made)

    def _made(self) -> tuple[str, dict[str, Any]]:
        return config_map(self._cluster.current.mesh_policies, self._trust.current.roots, self._revision)

    async def _wait_other(self, made: dict[str, Any]) -> None:
        while self._made()[1] == made:
            cluster, anchors = self._cluster.current, self._trust.anchors.current
            async with trio.open_nursery() as either:
                either.start_soon(_then_cancel, self._cluster, cluster, either.cancel_scope)
                either.start_soon(_then_cancel, self._trust.anchors, anchors, either.cancel_scope)
            await trio.sleep(PACE_S)


async def _then_cancel(watched: Watched[Any], seen: object, scope: trio.CancelScope) -> None:
    await watched.wait_change(seen)
    scope.cancel()
