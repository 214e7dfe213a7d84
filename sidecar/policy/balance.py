"""Which endpoint of a Service takes the next exchange: of two drawn at random the one with fewer exchanges in flight.

Two choices come close to the best assignment without a scan (Mitzenmacher, "The Power of Two Choices").
"""

import random  # noqa: TID251 -- the type of the generator that is passed in
from collections.abc import Mapping, Sequence

from sidecar.model.address import Address
from sidecar.model.service import Endpoint


def choose(endpoints: Sequence[Endpoint], in_flight: Mapping[Address, int], rng: random.Random) -> Endpoint | None:
    """None if there is no endpoint."""
    if len(endpoints) < 2:
        return endpoints[0] if endpoints else None
    one, other = rng.sample(endpoints, 2)
    load = in_flight.get(Address(one.address, one.port), 0), in_flight.get(Address(other.address, other.port), 0)
    return one if load[0] <= load[1] else other
