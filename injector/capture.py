"""Is every address of every meshed pod captured? The kubelet asks readiness at a pod's first address only; the others are tried here.

Nothing listens on the health port: a connection to it succeeds exactly if the packet rules lead it to the sidecar. Refused twice in
a row means that the rule is gone for that address; the pod's snapshot says so, and its sidecar turns not ready and closes what
leaves. Only that evidence counts: where the injector is away, or cannot reach the pod, nothing changes.
"""

from collections.abc import Iterable

import trio

from sidecar.model import ports
from sidecar.model.address import Address
from sidecar.model.errors import ConnectFailed
from sidecar.net.dial import Dialer
from sidecar.net.watched import Watched

from .cluster import Cluster

LOOK_EVERY_S = 1.0
TRY_WITHIN_S = 1.0
AT_ONCE = 32


class CaptureWatch:
    """
    Args:
        uncaptured: addresses at which a meshed pod can be reached past its sidecar.
    """

    def __init__(self, cluster: Watched[Cluster]) -> None:
        self.uncaptured: Watched[frozenset[str]] = Watched(frozenset())
        self._cluster = cluster
        self._suspects: set[str] = set()
        self._dialer = Dialer()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._look(other_addresses(self._cluster.current))
            await trio.sleep(LOOK_EVERY_S)

    async def _look(self, addresses: Iterable[str]) -> None:
        limit = trio.CapacityLimiter(AT_ONCE)
        refused: set[str] = set()
        unknown: set[str] = set()

        async def ask(address: str) -> None:
            async with limit:
                with trio.move_on_after(TRY_WITHIN_S) as patience:
                    try:
                        (await self._dialer.connect(Address(address, ports.HEALTH))).close()
                    except ConnectFailed as exc:
                        (refused if exc.is_refused else unknown).add(address)
                if patience.cancelled_caught:
                    unknown.add(address)

        async with trio.open_nursery() as nursery:
            for address in addresses:
                nursery.start_soon(ask, address)
        self.uncaptured.set(frozenset(refused & self._suspects | unknown & self.uncaptured.current))
        self._suspects = refused


def other_addresses(cluster: Cluster) -> list[str]:
    """Of the running pods with a sidecar, those that the kubelet does not ask."""
    return [address for pod in cluster.pods.values() if pod.addresses[1:] and pod.has_sidecar for address in pod.addresses[1:]]
