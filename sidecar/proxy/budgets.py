"""The byte budgets of this sidecar's approvals, one for each rule: all that goes towards its hosts counts, whoever sends it.

What is passed on by HTTP, the head as HTTP/1.1 writes it and the body, is counted before it is sent: not a byte more than the limit
leaves. What is tunnelled is counted as it goes: each connection may exceed the limit by one piece, 1 MiB at most (`net/splice.py`), before
it is cut. What exceeds a budget is counted, too, so that small bytes do not slip through behind large ones.

Each pod counts for itself. A change of rules keeps what was spent.
"""

import sys
from collections.abc import Callable

import trio

from sidecar.model.decision import Denied
from sidecar.model.egress import EgressHost, EgressRange
from sidecar.model.errors import Unavailable
from sidecar.model.reason import Reason
from sidecar.policy.budget import HOUR_S, Budget
from sidecar.telemetry.metrics import Metrics

Spend = Callable[[int], None]

ENOUGH = 256        # budgets; with more, those that have spent nothing for an hour are forgotten


class Budgets:
    """
    Args:
        share: of how many processes that the limits are for together this is one.
    """

    def __init__(self, metrics: Metrics, share: int = 1) -> None:
        self._metrics = metrics
        self._share = share
        self._by_rule: dict[str, Budget] = {}
        self._told_at: dict[str, float] = {}

    def why_exhausted(self, approval: EgressHost | EgressRange) -> Denied | None:
        """Asked before anything is dialled. None: something is left."""
        if (limit := self._limit(approval)) is None:
            return None
        rule = approval.rule
        budget = self._by_rule.get(rule)
        if budget is None or budget.spent(trio.current_time()) < limit:
            return None
        return Denied(Reason.BUDGET_EXHAUSTED, rule, self._tell(rule, limit))

    def demand(self, approval: EgressHost | EgressRange) -> None:
        """Unavailable if nothing is left."""
        if (denied := self.why_exhausted(approval)) is not None:
            raise Unavailable(denied.reason, denied.detail)

    def spender(self, approval: EgressHost | EgressRange) -> Spend | None:
        """To be called with how many bytes go; raises Unavailable where they are too many. None: there is no limit."""
        rule, limit = approval.rule, self._limit(approval)
        if limit is None:
            return None

        def spend(count: int) -> None:
            now, budget = trio.current_time(), self._budget(rule)
            budget.spend(count, now)
            if budget.spent(now) > limit:
                raise Unavailable(Reason.BUDGET_EXHAUSTED, self._tell(rule, limit))

        return spend

    def _limit(self, approval: EgressHost | EgressRange) -> int | None:
        return approval.bytes_per_hour // self._share if approval.bytes_per_hour is not None else None

    def _budget(self, rule: str) -> Budget:
        if rule not in self._by_rule:
            if len(self._by_rule) >= ENOUGH:
                now = trio.current_time()
                self._by_rule = {name: budget for name, budget in self._by_rule.items() if budget.spent(now)}
            self._by_rule[rule] = Budget()
        return self._by_rule[rule]

    def _tell(self, rule: str, limit: int) -> str:
        """In words; in log and metric once an hour for each rule."""
        words = f"the approved {limit:,} bytes an hour are sent"
        now = trio.current_time()
        if now - self._told_at.get(rule, -HOUR_S) >= HOUR_S:
            self._told_at = {name: at for name, at in self._told_at.items() if now - at < HOUR_S} | {rule: now}
            self._metrics.count("bartizan_egress_budget_exhausted_total", (("rule", rule),))
            print(f"bartizan: egress budget exhausted: rule {rule}: {words}", file=sys.stderr, flush=True)
        return words
