"""The latest word of each process of a pod: of most pods there is one, of a gateway's there may be several."""

from typing import Generic, TypeVar

from sidecar.model.worker import ALONE, Worker

from .cluster import Cluster

T = TypeVar("T")


class ByWorker(Generic[T]):
    def __init__(self) -> None:
        self._words: dict[str, tuple[T | None, ...]] = {}     # by pod uid

    def note(self, pod_uid: str, word: T, worker: Worker = ALONE) -> None:
        """One that counts otherwise than those before it is of another gateway, which they belonged to."""
        known = self._words.get(pod_uid, ())
        words: list[T | None] = [*known] if len(known) == worker.of else [None] * worker.of
        words[worker.number - 1] = word
        self._words[pod_uid] = tuple(words)

    def of(self, pod_uid: str) -> tuple[T | None, ...]:
        """One for each process that the pod says it has; None: it was never heard of here."""
        return self._words.get(pod_uid, (None,))

    def forget_gone(self, cluster: Cluster) -> None:
        self._words = {uid: words for uid, words in self._words.items() if uid in cluster.pods_by_uid}
