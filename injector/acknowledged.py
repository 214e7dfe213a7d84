"""What each sidecar said of its snapshot with its latest question: which one it has, and why it would not take the newest.

The operator's `status` shows it. Each replica knows of those whose questions stand at it; memory only: after a restart every sidecar asks
anew within the half minute. Of a gateway's processes the worst word is told: a refusal, else that of the one that is silent for longest.
"""

from dataclasses import dataclass

from sidecar.model.worker import ALONE, Worker

from .by_worker import ByWorker
from .cluster import Cluster

MOST_WORDS = 1000       # of a sidecar's reason


@dataclass(frozen=True, slots=True)
class Word:
    """
    Args:
        seen: digest of the snapshot that the sidecar has taken; empty: none.
        refused: why it did not take the newest; empty: it took what it was given.
        at: when it said so, Unix seconds.
        not_after: when the certificate ends that it came with, Unix seconds.
    """

    seen: str
    refused: str
    at: float
    not_after: float


class Acknowledged:
    def __init__(self) -> None:
        self._words = ByWorker[Word]()

    def note(self, pod_uid: str, seen: str, refused: str, now: float, not_after: float = 0.0, worker: Worker = ALONE) -> None:
        """The latest word of a pod, which its certificate named."""
        self._words.note(pod_uid, Word(seen, refused[:MOST_WORDS], now, not_after), worker)

    def of(self, pod_uid: str) -> Word | None:
        """None: it was never heard of here."""
        words = [word for word in self._words.of(pod_uid) if word is not None]
        return max(words, key=lambda word: (bool(word.refused), -word.at), default=None)

    def forget_gone(self, cluster: Cluster) -> None:
        self._words.forget_gone(cluster)
