"""Who holds which trust: what each sidecar said of itself with its latest question, over all the pods that are there.

A rotation of the root waits until every one of them holds what it needs; a pod that was never heard of counts as one that holds
nothing. Memory only: after a restart every sidecar asks anew.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sidecar.model.identity import workload_id
from sidecar.model.trust import DenyList, Holder

from .cluster import Cluster
from .cluster.objects import Pod


@dataclass(frozen=True, slots=True)
class Said:
    trust: int
    signer: str


NOTHING = Said(0, "")


class Holders:
    def __init__(self) -> None:
        self._said: dict[str, Said] = {}    # by pod uid

    def note(self, pod_uid: str, said: Said) -> None:
        """The latest word of a pod, which its certificate named."""
        self._said[pod_uid] = said

    def forget_gone(self, cluster: Cluster) -> None:
        self._said = {uid: said for uid, said in self._said.items() if uid in cluster.pods_by_uid}

    def of(self, cluster: Cluster, trust_domain: str, deny: DenyList, now: float) -> list[Holder]:
        """One for each live pod of the mesh, in the order of their names. Who was revoked is not waited for: nobody listens to it.

        Args:
            now: Unix seconds.
        """
        def is_revoked(pod: Pod) -> bool:
            return bool(deny.why(workload_id(trust_domain, pod.namespace, pod.service_account), pod.uid, 0, ""))

        return [self._holder(pod) for pod in live_pods(cluster.pods.values(), now) if not is_revoked(pod)]

    def _holder(self, pod: Pod) -> Holder:
        said = self._said.get(pod.uid, NOTHING)
        return Holder(f"{pod.namespace}/{pod.name}", said.trust, said.signer)


def live_pods(pods: Iterable[Pod], now: float) -> list[Pod]:
    """Those that may hold connections of the mesh: a pod that is being deleted counts until its time to end is over, since a lost
    node would else hold everybody up for ever.
    """
    found = [pod for pod in pods if pod.is_meshed and pod.addresses and now < pod.ends_at]
    return sorted(found, key=lambda pod: (pod.namespace, pod.name))
