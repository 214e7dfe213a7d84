"""Faults on purpose: which requests are delayed, and which are answered with an error. `rng` is an argument."""

import random  # noqa: TID251 -- the type of the generator that is passed in
from typing import NamedTuple

from sidecar.model.route import Fault


class Drawn(NamedTuple):
    """
    Args:
        abort_status: None: the request goes on.
    """

    delay_s: float
    abort_status: int | None


def draw(fault: Fault, rng: random.Random) -> Drawn:
    """Delay and error are drawn apart: a request may meet both."""
    is_delayed = rng.random() * 100 < fault.delay_percent
    is_aborted = rng.random() * 100 < fault.abort_percent
    return Drawn(fault.delay_s if is_delayed else 0.0, fault.abort_status if is_aborted else None)
