"""Passive outlier ejection: an endpoint that fails again and again is left out for a while, longer each time.

What is observed are the attempts themselves, nothing is probed. Whoever comes back is taken like any other until it fails anew;
one success and its past is forgotten. Never more than a share of the endpoints is out, and never the last one: where everybody
fails, the cause is elsewhere. Pure; `now` is any clock that never goes back.
"""


import msgspec

from sidecar.model.service import Ejection

MOST_TIMES = 10     # `for_s`, at the longest


class Health(msgspec.Struct, frozen=True):
    """What is remembered of one endpoint.

    Args:
        failures: in a row, since it was last out.
        times: how often it was put out since it last succeeded.
        out_until: it is left out before this time.
    """

    failures: int = 0
    times: int = 0
    out_until: float = float("-inf")

    def is_out(self, now: float) -> bool:
        return now < self.out_until


WELL = Health()


def most_out(rule: Ejection, total: int) -> int:
    """How many of `total` endpoints may be out at a time."""
    return max(0, min(int(total * rule.most_percent / 100), total - 1))


def observed(health: Health, rule: Ejection, *, is_success: bool, now: float, can_be_ejected: bool) -> Health:
    """What to remember of an endpoint after one more attempt.

    Args:
        can_be_ejected: fewer are out than may be.
    """
    if health.is_out(now):
        return health       # the attempt began before; it says nothing of what is to come
    if is_success:
        return WELL
    failures = health.failures + 1
    if failures < rule.failures or not can_be_ejected:
        return Health(failures, health.times, health.out_until)
    return Health(0, health.times + 1, now + rule.for_s * min(2**health.times, MOST_TIMES))
