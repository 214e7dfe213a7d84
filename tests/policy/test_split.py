"""Shares by weight; weight 0 never; who is unknown is left out."""

import random
from collections import Counter

import pytest

from sidecar.model.service import Backend
from sidecar.policy.split import split

OLD, NEW, IDLE = Backend("old.shop", 80, 9), Backend("new.shop", 80, 1), Backend("idle.shop", 80, 0)


@pytest.mark.parametrize(("backends", "known", "expected"), [
    ((), (), set()),
    ((OLD, NEW, IDLE), (OLD, NEW, IDLE), {OLD, NEW}),
    ((OLD, NEW, IDLE), (NEW, IDLE), {NEW}),
    ((OLD, NEW), (), set()),
    ((IDLE,), (IDLE,), set()),
])
def test_who_can_be_drawn(backends: tuple[Backend, ...], known: tuple[Backend, ...], expected: set[Backend]) -> None:
    rng = random.Random(1)
    assert {split(backends, known.__contains__, rng) for _ in range(200)} == (expected or {None})


def test_shares_follow_the_weights() -> None:
    rng = random.Random(1)
    drawn = Counter(split((OLD, NEW), lambda _: True, rng) for _ in range(10_000))
    assert 850 < drawn[NEW] < 1150
