"""Token buckets: who may make how many requests in which time. `now` is an argument; nothing waits here.

A bucket is one number, the time at which it will be full again: it is full from then on, and every token taken puts it off by the time
that one token takes to come back. So a full bucket is the same as none, and may be forgotten; no other is. Where a table is full of
others, newcomers share one bucket: nobody gets a fresh one by making us forget his own.
"""

from collections.abc import Hashable

from sidecar.model.route import RateLimit

MOST_BUCKETS = 4096
SWEEP_S = 1.0           # a sweep costs a look at each bucket: not for every newcomer
ROUNDING = 1e-3         # of a token: what adding up times may lose

_OVERFLOW = object()


class Buckets:
    """The buckets of one rule, by whatever `RateLimit.by` names.

    Args:
        share: of how many processes that the limit is for together this is one. Each has one token at least: where the limit is for
            fewer requests at a time than there are processes, more may come at a time, and not more in the long run.
    """

    def __init__(self, limit: RateLimit, most: int = MOST_BUCKETS, share: int = 1) -> None:
        self.limit = limit
        self._token_s = limit.per_s / limit.requests * share
        self._whole_s = max(limit.per_s / limit.requests * (limit.burst or limit.requests), self._token_s)
        self._most = most
        self._full_at: dict[Hashable, float] = {}
        self._sweep_at = 0.0

    def take(self, key: Hashable, now: float) -> float:
        """Take a token.

        Args:
            now: seconds of a clock that never goes back.
        Returns: 0.0, or the seconds until there is a token to take; nothing was taken then.
        """
        key = self._place(key, now)
        wait_s = self._wait_s(key, now)
        if not wait_s:
            self._full_at[key] = max(self._full_at.get(key, now), now) + self._token_s
        return wait_s

    def wait_s(self, key: Hashable, now: float) -> float:
        """What `take` would return; nothing is taken."""
        return self._wait_s(self._place(key, now), now)

    def _wait_s(self, key: Hashable, now: float) -> float:
        wait_s = max(self._full_at.get(key, now), now) + self._token_s - now - self._whole_s
        return wait_s if wait_s > self._token_s * ROUNDING else 0.0

    def are_full(self, now: float) -> bool:
        return all(full_at <= now for full_at in self._full_at.values())

    def _place(self, key: Hashable, now: float) -> Hashable:
        if key in self._full_at or len(self._full_at) < self._most:
            return key
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_S
            self._full_at = {known: full_at for known, full_at in self._full_at.items() if full_at > now}
        return key if len(self._full_at) < self._most else _OVERFLOW
