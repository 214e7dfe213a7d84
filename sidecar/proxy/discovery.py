"""Services that the snapshot does not tell of yet: asked for when the application first wants one, and waited for.

What is wanted is repeated with every question for a snapshot (`model/needs.py`). While the injector is away, a destination that was
never wanted before is unknown: what is not approved otherwise is refused, as ever, and so is an approved range's plaintext.

Trust: the application chooses addresses and names. It can take the places of its own earlier wishes, at a bounded rate, and no more.
"""

import trio

from sidecar.model.needs import MOST_WANTED
from sidecar.model.route import RateLimit
from sidecar.net.watched import Watched
from sidecar.policy.rate_limit import Buckets
from sidecar.policy.rules import Rules

WAIT_S = 2.0        # the injector answers within a tenth of it
PER_S, AT_ONCE = 5, 100


class Discovery:
    """
    Args:
        rules: in force.
    Attributes:
        wanted: for the next question, the oldest first.
    """

    def __init__(self, rules: Watched[Rules | None]) -> None:
        self._rules = rules
        self.wanted: Watched[tuple[str, ...]] = Watched(())
        self._pace = Buckets(RateLimit(PER_S, burst=AT_ONCE))
        self._in_vain: dict[str, Rules] = {}

    def begin(self, rules: Rules) -> None:
        """With what a kept snapshot was made for, before there was a question of ours."""
        if not self.wanted.current:
            self.wanted.set(rules.snapshot.outbound.wanted)

    async def look_for(self, text: str, rules: Rules) -> Rules:
        """The rules in force once they say whether there is this Service, or as they are if that takes too long.

        Args:
            text: an address, or a name as `orders.shop`.
            rules: that do not.
        """
        if text in rules.outbound.wanted or self._in_vain.get(text) is rules or not self._want(text):
            return rules
        with trio.move_on_after(WAIT_S) as patience:
            while text not in rules.outbound.wanted:
                rules = await self._rules.wait_change(rules) or rules
        if patience.cancelled_caught:
            if len(self._in_vain) >= MOST_WANTED:
                self._in_vain.clear()
            self._in_vain[text] = rules
        return rules

    def _want(self, text: str) -> bool:
        """Whether it is asked for."""
        wanted = self.wanted.current
        if text not in wanted:
            if self._pace.take("", trio.current_time()):
                return False
            self.wanted.set((*wanted, text)[-MOST_WANTED:])
        return True
