"""What a judge answers: a Permit, without which nothing can be forwarded, or a Denied that says why.

Only `policy/authorize.py` and `policy/egress.py` make a Permit (a test greps for it).
"""

from dataclasses import dataclass

from .reason import Reason


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to forward one exchange.

    Args:
        rule: the name of the rule that allowed it, for log and metric.
    """

    rule: str


@dataclass(frozen=True, slots=True)
class Denied:
    """A refusal.

    Args:
        rule: the nearest rule, where one was involved; empty otherwise.
        detail: what to say beyond the reason's own words.
    """

    reason: Reason
    rule: str = ""
    detail: str = ""
