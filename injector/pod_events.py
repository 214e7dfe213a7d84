"""What the control plane has to say about pods, as Events about them and about the workloads that own them.

    RuleNotInForce, RulesInForce    what of a pod's documents the compiler leaves out; told by whichever replica its sidecar asks
    InjectionSkipped                a pod without a sidecar in a namespace of the mesh, and why; told by the leader, who looks at all
    EgressNewHost, ...              unusual egress; told by the replica that has the evidence
"""

from collections.abc import Sequence

from sidecar.net.watched import Watched

from .bare import why_bare
from .cluster import EMPTY, Cluster
from .cluster.objects import Pod
from .documents import INJECTION, REVISION
from .egress.alerts import PodName
from .egress.anomalies import Anomaly
from .events import About, Events
from .settings import Settings

ANOMALIES = {"new-host": "EgressNewHost", "volume": "EgressVolume", "period": "EgressPeriod"}


class PodEvents:
    """
    Args:
        settings: what admission judges with.
        revision: of this control plane, which tells of pods in its own namespaces only.
    """

    def __init__(self, events: Events, cluster: Watched[Cluster], settings: Settings, revision: str) -> None:
        self._events = events
        self._cluster = cluster
        self._settings = settings
        self._revision = revision

    def anomaly(self, anomaly: Anomaly, pod: PodName) -> None:
        about = About("v1", "Pod", pod.namespace, pod.name, pod.uid)
        self._events.tell(about, ANOMALIES[anomaly.kind], f"{anomaly.host[:300]}: {anomaly.detail}")

    def rules(self, uid: str, problems: Sequence[str]) -> None:
        """What is not in force has changed for the pod with this uid; nothing: all is in force again."""
        cluster = self._cluster.current
        pod = cluster.pods_by_uid.get(uid)
        if pod is None:
            return
        reason = "RuleNotInForce" if problems else "RulesInForce"
        message = _listed(problems) if problems else "every rule of its annotations is in force again"
        self._tell(cluster, pod, reason, message, is_warning=bool(problems))

    async def tell_skipped(self) -> None:
        """For ever: pods that ought to have a sidecar by their namespace, and have none, each once."""
        before, told = EMPTY, set[str]()
        while True:
            now = self._cluster.current
            touched = now.touched_since(before)
            told &= now.pods_by_uid.keys()
            for pod in [pod for (namespace, _), pod in now.pods.items() if namespace in touched]:
                if pod.uid not in told and (why := self._why_bare(pod, now)) is not None:
                    told.add(pod.uid)
                    opted_out = pod.labels.get(INJECTION) == "disabled"
                    self._tell(now, pod, "InjectionSkipped", f"no sidecar: {why}", is_warning=not opted_out)
            before = now
            await self._cluster.wait_change(now)

    def _why_bare(self, pod: Pod, cluster: Cluster) -> str | None:
        revision = cluster.namespace_labels(pod.namespace).get(REVISION, "")
        return why_bare(pod, cluster, self._settings) if revision == self._revision and pod.uid else None

    def _tell(self, cluster: Cluster, pod: Pod, reason: str, message: str, *, is_warning: bool) -> None:
        self._events.tell(About.of(pod), reason, message, is_warning=is_warning)
        workload = cluster.workload_of(pod)
        if workload is not None:    # counted there, however many pods it has
            self._events.tell(About.of(workload), reason, message, is_warning=is_warning)


def _listed(problems: Sequence[str]) -> str:
    more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
    text = problems[0] if problems[0].isprintable() else ascii(problems[0])[1:-1]      # it quotes the names that rules were given
    return f"{text[:900]}{more}"
