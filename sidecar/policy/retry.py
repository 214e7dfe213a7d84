"""Whether a failed attempt is worth another, how long to wait before it, and how many a caller may make at all.

Retries help while failures are rare and make matters worse once they are not: so a budget ties them to the requests that there
are. What was perhaps acted upon is sent again only if its method may be. Pure; `now` is any clock that never goes back.
"""

import random  # noqa: TID251 -- the type of the generator that is passed in

from sidecar.model.errors import ConnectFailed, NotVerified, Reset, TimedOut, UpstreamError, WrongIdentity
from sidecar.model.service import Retries

WINDOW_S = 10
RESERVE_PER_S = 3       # so that a caller with few requests can retry at all
MOST_BACKOFF = 10       # times the first one


class Budget:
    """Of the requests of the last ten seconds, counted by whole seconds, a percentage may be sent again, and thirty besides."""

    __slots__ = ("_requests", "_retries", "_second", "percent")

    def __init__(self, percent: float) -> None:
        self.percent = percent
        self._requests = [0] * WINDOW_S
        self._retries = [0] * WINDOW_S
        self._second = 0

    def deposit(self, now: float) -> None:
        """A request came, whose first attempt this is."""
        self._requests[self._slot(now)] += 1

    def spend(self, now: float) -> bool:
        """Whether one more retry is in the budget; then it is spent."""
        slot = self._slot(now)
        if sum(self._retries) + 1 > sum(self._requests) * self.percent / 100 + WINDOW_S * RESERVE_PER_S:
            return False
        self._retries[slot] += 1
        return True

    def _slot(self, now: float) -> int:
        second = int(now)
        for passed in range(max(self._second, second - WINDOW_S) + 1, second + 1):
            self._requests[passed % WINDOW_S] = self._retries[passed % WINDOW_S] = 0
        self._second = second
        return second % WINDOW_S


def is_worth(retries: Retries, method: bytes, failure: UpstreamError | int, *, has_body: bool = False) -> bool:
    """Whether another attempt may be made after `failure`.

    Args:
        failure: what went wrong, or the status of the answer.
        has_body: bytes of the request's body were taken from the client. What was perhaps acted upon is not sent with them again.
    """
    on, did_nothing = _kind(failure)
    return on in retries.on and (did_nothing or (not has_body and method.decode("latin-1") in retries.methods))


def _kind(failure: UpstreamError | int) -> tuple[str, bool]:
    """(its name in a rule, whether the application surely did nothing: then any method may be sent again)"""
    match failure:
        case int():
            return str(failure), False
        case ConnectFailed() | NotVerified() | WrongIdentity() | TimedOut(is_before_request=True):
            return "connect-failure", True
        case Reset(is_unprocessed=True):
            return "refused-stream", True
        case Reset():
            return "reset", False
        case TimedOut():
            return "timeout", False
        case _:
            return "", False    # no endpoint, or an answer that is none: another attempt gets the same


def pause(retries: Retries, attempt: int, rng: random.Random) -> float:
    """Seconds before the next attempt, by chance up to a bound that doubles: callers that failed together come back apart.

    Args:
        attempt: how many have failed; 1 before the first retry.
    """
    return rng.uniform(0, retries.backoff_s * min(2 ** (attempt - 1), MOST_BACKOFF))
