"""Does a name that somebody wants looked up look like data on its way out? A tunnel needs long, random and ever new names.

Pure, but for the memory of which names were asked for; `now` is an argument. Only names below approved wildcards are judged: exact
ones carry nothing of the asker's. What stands in a `DnsLimits` is in `model/egress.py`.
"""

from collections import Counter
from math import log2

from sidecar.model.egress import DnsLimits

LONG_LABEL = 12     # shorter ones say too little about their letters
MOST_NAMES = 4096   # that are remembered as asked for
ROUNDING = 1e-3     # of a token: what adding up times may lose


def why_suspicious(below: str, limits: DnsLimits) -> str:
    """In words; empty: it looks like a name.

    Args:
        below: the labels of a name in front of its wildcard's own.
    """
    if len(below) > limits.name_bytes:
        return f"{len(below)} bytes below the wildcard, {limits.name_bytes} are allowed (nameBytes)"
    for label in below.split("."):
        if len(label) >= LONG_LABEL and (bits := entropy(label)) > limits.label_bits:
            return f"a label of {bits:.2f} bits a character, {limits.label_bits:g} are allowed (labelBits)"
    return ""


def entropy(text: str) -> float:
    """Shannon's, in bits a character."""
    return sum(count * log2(len(text) / count) for count in Counter(text).values()) / len(text)


class NewNames:
    """How fast names come that were not asked for before: a token bucket, which holds the time at which it will be full again."""

    def __init__(self) -> None:
        self._known: dict[str, None] = {}
        self._full_at = 0.0

    def take(self, name: str, limits: DnsLimits, now: float) -> bool:
        """Whether the name may be asked for: it was before, or the bucket had a token.

        Args:
            now: seconds of a clock that never goes back.
        """
        if name in self._known:
            return True
        full_at = max(self._full_at, now) + 1 / limits.per_s
        if full_at > now + (limits.burst + ROUNDING) / limits.per_s:
            return False
        self._full_at = full_at
        while len(self._known) >= MOST_NAMES:
            del self._known[next(iter(self._known))]
        self._known[name] = None
        return True
