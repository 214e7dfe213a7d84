"""What each sidecar said of its snapshot with its latest question: which one it has, and why it would not take the newest.

The operator's `status` shows it. Each replica knows of those whose questions stand at it; memory only: after a restart every sidecar asks
anew within the half minute.
"""

from dataclasses import dataclass

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
        self._words: dict[str, Word] = {}       # by pod uid

    def note(self, pod_uid: str, seen: str, refused: str, now: float, not_after: float = 0.0) -> None:
        """The latest word of a pod, which its certificate named."""
        self._words[pod_uid] = Word(seen, refused[:MOST_WORDS], now, not_after)

    def of(self, pod_uid: str) -> Word | None:
        """None: it was never heard of here."""
        return self._words.get(pod_uid)

    def forget_gone(self, cluster: Cluster) -> None:
        self._words = {uid: word for uid, word in self._words.items() if uid in cluster.pods_by_uid}
