"""What a judge answers: a Permit, without which nothing can be forwarded, or a Denied that says why.

Only `policy/authorize.py` and `policy/egress.py` make a Permit (a test greps for it).
"""

from dataclasses import dataclass, field

from .reason import Reason
from .route import Match, Route


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to forward one exchange.

    Args:
        rule: the name of the rule that allowed it, for log and metric.
        route: the inbound rule itself, which says what else is done with the exchange; None where there is none.
        match: the alternative of `route` that matched.
    """

    rule: str
    route: Route | None = field(default=None, compare=False)
    match: Match | None = field(default=None, compare=False)


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
