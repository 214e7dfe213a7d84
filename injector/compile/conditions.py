"""How an object of the Gateway API is told what became of it. Pure.

Spec: metav1.Condition.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

MOST_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class Condition:
    """
    Args:
        reason: one word.
    """

    type: str
    holds: bool
    reason: str
    message: str = ""

    def as_json(self) -> dict[str, Any]:
        text = self.message if self.message.isprintable() else ascii(self.message)[1:-1]      # it quotes what users wrote
        return {"type": self.type, "status": str(self.holds), "reason": self.reason, "message": text[:MOST_MESSAGE]}


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something is not in force: a condition's reason, and the cause in words."""

    reason: str
    message: str


def condition(kind: str, causes: Iterable[Cause], otherwise: str = "", message: str = "") -> Condition:
    """It holds if there are no causes; the first gives the reason, all of them the message."""
    found = list(dict.fromkeys(causes))
    if not found:
        return Condition(kind, True, otherwise or kind, message)
    return Condition(kind, False, found[0].reason, "; ".join(one.message for one in found))
