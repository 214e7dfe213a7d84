"""Which endpoint of a Service takes the next request or connection.

First who is eligible at all: endpoints that are not ejected, those of the caller's zone before others. Among them one of

    least request     of two drawn at random the one with fewer in flight: close to the best assignment without a scan
                      (Mitzenmacher, "The Power of Two Choices")
    round robin       one after the other
    consistent hash   who owns the key on a ring of hashes: endpoints that come and go move their own keys only
                      (Karger et al., "Consistent Hashing and Random Trees")

decides. A new endpoint's share grows evenly until it has been known for the time of its slow start. Pure.
"""

import random  # noqa: TID251 -- the type of the generator that is passed in
from bisect import bisect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeVar

from sidecar.model.address import Address
from sidecar.model.service import Endpoint

LEAST_SHARE = 0.01      # of a new endpoint: it must be asked at all
POINTS = 128            # of each endpoint on the ring: shares differ by a tenth or so


@dataclass(slots=True, eq=False)
class Candidate:
    """What balancing knows of an endpoint.

    Args:
        since: when it was first seen; -inf: it was always there.
        in_flight: requests or connections.
    """

    endpoint: Endpoint
    since: float = float("-inf")
    in_flight: int = 0


C = TypeVar("C", bound=Candidate)


def eligible(everyone: Sequence[C], is_out: Callable[[C], bool], zone: str) -> list[C]:
    """Those that are not out, or everyone if all are; of these the ones in `zone` as long as half of that zone is not out.

    Args:
        zone: of the caller; empty: none is preferred.
    """
    healthy = [candidate for candidate in everyone if not is_out(candidate)] or list(everyone)
    if not zone:
        return healthy
    near = [candidate for candidate in healthy if candidate.endpoint.zone == zone]
    of_zone = sum(candidate.endpoint.zone == zone for candidate in everyone)
    return near if near and 2 * len(near) >= of_zone else healthy


def share(candidate: Candidate, slow_start_s: float, now: float) -> float:
    """What it gets of what a full member gets: 1, or less while it is new."""
    if now - candidate.since >= slow_start_s:
        return 1.0
    return max(LEAST_SHARE, (now - candidate.since) / slow_start_s)


def least_request(candidates: Sequence[C], of: Sequence[float] | None, rng: random.Random) -> C:
    """
    Args:
        candidates: one at least.
        of: the share of each; None: all are full.
    """
    count = len(candidates)
    if count == 1:
        return candidates[0]
    if of is not None:
        one, other = rng.choices(candidates, of, k=2)
    else:
        first, second = int(rng.random() * count), int(rng.random() * (count - 1))
        one, other = candidates[first], candidates[second + (second >= first)]
    return one if one.in_flight <= other.in_flight else other


def round_robin(candidates: Sequence[C], of: Sequence[float] | None, position: int, rng: random.Random) -> tuple[C, int]:
    """(whose turn it is, the next position). One whose share is not full yet misses some of its turns."""
    for turn in range(position, position + len(candidates)):
        index = turn % len(candidates)
        if of is None or rng.random() < of[index]:
            return candidates[index], turn + 1
    return candidates[position % len(candidates)], position + 1


class Ring:
    """Endpoints at the hashes of their addresses; a key belongs to the first one at or behind its own hash."""

    __slots__ = ("_owners", "_points")

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        ring = sorted((point, at, endpoint) for endpoint in endpoints for at, point in _points_of(endpoint))
        self._points = [point for point, _, _ in ring]
        self._owners = [endpoint for _, _, endpoint in ring]

    def owner(self, key: bytes, share: Callable[[Endpoint], float]) -> Endpoint | None:
        """
        Args:
            share: 1 for a full member, 0 for one that cannot be chosen, between them for a new one: so much of its keys has it.
        """
        digest = blake2b(key, digest_size=16).digest()
        begin, luck = bisect(self._points, int.from_bytes(digest[:8])), int.from_bytes(digest[8:]) / 2**64
        last = None
        for i in range(len(self._points)):
            endpoint = self._owners[(begin + i) % len(self._points)]
            part = share(endpoint)
            if part >= 1.0 or part > luck:
                return endpoint
            if part and last is None:
                last = endpoint
        return last


def _points_of(endpoint: Endpoint) -> Iterable[tuple[Address, int]]:
    at = Address(endpoint.address, endpoint.port)
    for i in range(POINTS // 8):
        digest = blake2b(f"{at} {i}".encode(), digest_size=64).digest()
        for begin in range(0, 64, 8):
            yield at, int.from_bytes(digest[begin:begin + 8])
