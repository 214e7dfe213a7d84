"""How it stands with each pod: which snapshot it should have and which it has, by its own word; its certificate; its rules.

Each replica tells what it knows; a sidecar's latest word stands at one of them, and `merged` takes that.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from sidecar.model.snapshot import Snapshot, digest, parse_snapshot
from sidecar.model.value import Value

from .acknowledged import Acknowledged, Word
from .cluster import Cluster
from .cluster.objects import Pod
from .compile.in_force import rules_of
from .compile.last_good import LastGood
from .documents import INJECTION, REVISION

SILENT_S = 90.0     # three questions: a sidecar that says nothing for so long has lost its control plane
SnapshotOf = Callable[[str], bytes | None]
State = Literal["SYNCED", "STALE", "NEVER", "NO SIDECAR"]
NEVER = Word("", "", 0.0, 0.0)


class Rules(Value, frozen=True):
    """How many of its annotations' rules are in force, are in force in a former version, and are not."""

    in_force: int = 0
    kept: int = 0
    refused: int = 0


class PodStatus(Value, frozen=True):
    """
    Args:
        sidecar: the image of its sidecar, or of an ingress gateway; empty: it has none.
        native: whether that is a native sidecar, which starts before the application and ends after it.
        revision: of the control plane that its namespace names; empty: the default one.
        should: digest of the snapshot that it is meant to have.
        has: digest of the one that it has by its own word; empty: none.
        heard_at: when it said so, Unix seconds; 0: never.
        refused: why it did not take the newest.
        not_after: when its certificate ends, Unix seconds; 0: not known.
        permissive_until: Unix seconds; 0: its mTLS is strict.
        problems: what of its documents is not in force.
    """

    namespace: str
    name: str
    uid: str
    sidecar: str = ""
    native: bool = True
    revision: str = ""
    should: str = ""
    has: str = ""
    heard_at: float = 0.0
    refused: str = ""
    not_after: float = 0.0
    permissive_until: float = 0.0
    rules: Rules = Rules()
    problems: tuple[str, ...] = ()

    def state(self, now: float) -> State:
        if not self.sidecar:
            return "NO SIDECAR"
        if not self.heard_at or not self.has:
            return "NEVER"
        return "SYNCED" if self.has == self.should and now - self.heard_at < SILENT_S else "STALE"


class Status(Value, frozen=True):
    """
    Args:
        version: of the injector.
        now: its clock, Unix seconds.
        certificate_ends: the first of its own HTTPS chain to end, Unix seconds.
    """

    version: str
    now: float
    pods: tuple[PodStatus, ...]
    certificate_ends: float = 0.0


def concerned(cluster: Cluster, namespace: str) -> Iterator[Pod]:
    """Pods of the mesh, and those that should be in it, by name.

    Args:
        namespace: empty: all of them.
    """
    for (of, _), pod in sorted(cluster.pods.items()):
        is_meshed = cluster.namespace_labels(of).get(INJECTION) == "enabled"
        if namespace in ("", of) and not pod.has_ended and (pod.is_meshed or is_meshed):
            yield pod


def pod_status(pod: Pod, cluster: Cluster, acknowledged: Acknowledged, last_good: LastGood, snapshot_of: SnapshotOf) -> PodStatus:
    """Without the compiler's problems, which whoever compiles knows."""
    word = acknowledged.of(pod.uid) or NEVER
    text = snapshot_of(pod.uid) if pod.is_meshed else None
    counted = Counter(rule.standing for rule in rules_of(pod, cluster, last_good))
    own = pod.proxy or {}
    return PodStatus(
        namespace=pod.namespace, name=pod.name, uid=pod.uid,
        sidecar=str(own.get("image") or "?") if pod.is_meshed else "",
        native=pod.is_ingress_gateway or own.get("restartPolicy") == "Always",
        revision=str(cluster.namespace_labels(pod.namespace).get(REVISION, "")),
        should=digest(text) if text is not None else "",
        has=word.seen, heard_at=word.at, refused=word.refused, not_after=word.not_after,
        permissive_until=_permissive_until(parse_snapshot(text)) if text is not None else 0.0,
        rules=Rules(counted["in force"], counted["kept"], counted["refused"]),
    )


def _permissive_until(snapshot: Snapshot) -> float:
    """The last of the dates until which any port takes plaintext."""
    modes = [snapshot.inbound.mode_at(port) for port in (0, *snapshot.inbound.port_modes)]
    return max((mode.permissive_until or 0.0 for mode in modes if mode.mode == "permissive"), default=0.0)


def merged(answers: Iterable[Status]) -> Status:
    """Of each pod the latest word. ValueError if nobody has answered."""
    found: dict[str, PodStatus] = {}
    all_answers = list(answers)
    for answer in all_answers:
        for pod in answer.pods:
            known = found.get(pod.uid)
            if known is None or known.heard_at < pod.heard_at:
                found[pod.uid] = pod
    first = max(all_answers, key=lambda one: one.now)
    pods = tuple(sorted(found.values(), key=lambda pod: (pod.namespace, pod.name)))
    return Status(first.version, first.now, pods, min(answer.certificate_ends for answer in all_answers))


def owner_name(pod: Pod, cluster: Cluster) -> str:
    """`Deployment orders`; empty: nobody made it but who created it."""
    owner = cluster.workload_of(pod)
    return f"{owner.kind} {owner.name}" if owner is not None else ""
