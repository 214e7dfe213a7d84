"""Who holds which trust: what each sidecar said of itself with its latest question, over all the pods that are there.

A rotation of the root waits until every one of them holds what it needs; a pod that was never heard of counts as one that holds
nothing, and so does each process of a gateway's. Memory only: after a restart every sidecar asks anew.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sidecar.model.identity import workload_id
from sidecar.model.trust import DenyList, Holder
from sidecar.model.worker import ALONE, Worker

from .by_worker import ByWorker
from .cluster import Cluster
from .cluster.objects import Pod


@dataclass(frozen=True, slots=True)
class Said:
    trust: int
    signer: str


NOTHING = Said(0, "")


class Holders:
    def __init__(self) -> None:
        self._said = ByWorker[Said]()

    def note(self, pod_uid: str, said: Said, worker: Worker = ALONE) -> None:
        """The latest word of a pod, which its certificate named."""
        self._said.note(pod_uid, said, worker)

    def forget_gone(self, cluster: Cluster) -> None:
        self._said.forget_gone(cluster)

    def of(self, cluster: Cluster, trust_domain: str, deny: DenyList, now: float) -> list[Holder]:
        """Those of each live pod of the mesh, in the order of their names. Who was revoked is not waited for: nobody listens to it.

        Args:
            now: Unix seconds.
        """
        def is_revoked(pod: Pod) -> bool:
            return bool(deny.why(workload_id(trust_domain, pod.namespace, pod.service_account), pod.uid, 0, ""))

        return [holder for pod in live_pods(cluster.pods.values(), now) if not is_revoked(pod) for holder in self._of(pod)]

    def _of(self, pod: Pod) -> Iterator[Holder]:
        """The first process has the pod's own name: a replica that has heard of none awaits that one, and another one knows of all."""
        for number, said in enumerate(self._said.of(pod.uid), start=1):
            known = said or NOTHING
            yield Holder(f"{pod.namespace}/{pod.name}" + (f" (worker {number})" if number > 1 else ""), known.trust, known.signer)


def live_pods(pods: Iterable[Pod], now: float) -> list[Pod]:
    """Those that may hold connections of the mesh: a pod that is being deleted counts until its time to end is over, since a lost
    node would else hold everybody up for ever.
    """
    found = [pod for pod in pods if pod.is_meshed and pod.addresses and now < pod.ends_at]
    return sorted(found, key=lambda pod: (pod.namespace, pod.name))
