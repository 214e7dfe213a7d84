"""Which Service takes a request whose rule splits them, by weight."""

import random  # noqa: TID251 -- the type of the generator that is passed in
from collections.abc import Callable, Sequence

from sidecar.model.service import Backend


def split(backends: Sequence[Backend], is_known: Callable[[Backend], bool], rng: random.Random) -> Backend | None:
    """The backend for one request; None if all that has weight is unknown.

    Args:
        is_known: whether the snapshot has that Service; the others share what one that it has not would take.
    """
    candidates = [backend for backend in backends if backend.weight and is_known(backend)]
    if not candidates:
        return None
    return rng.choices(candidates, [backend.weight for backend in candidates])[0]
