import random
from collections import Counter

from sidecar.model.address import Address
from sidecar.model.service import Endpoint
from sidecar.policy.balance import choose

ENDPOINTS = [Endpoint(f"10.1.0.{i}", 8080, "spiffe://example.org/ns/shop/sa/orders") for i in range(4)]


def test_none_and_one() -> None:
    rng = random.Random(1)
    assert choose([], {}, rng) is None
    assert choose(ENDPOINTS[:1], {}, rng) is ENDPOINTS[0]


def test_of_two_the_idler() -> None:
    busy = {Address("10.1.0.0", 8080): 2, Address("10.1.0.1", 8080): 1}
    rng = random.Random(1)
    assert {choose(ENDPOINTS[:2], busy, rng) for _ in range(20)} == {ENDPOINTS[1]}


def test_the_busiest_is_never_chosen_and_all_others_are() -> None:
    busy, rng = {Address("10.1.0.3", 8080): 1}, random.Random(1)
    assert {choose(ENDPOINTS, busy, rng) for _ in range(100)} == set(ENDPOINTS[:3])


def test_loads_stay_close() -> None:
    """Two choices keep the fullest within a few of the emptiest, where one choice would drift apart."""
    rng, load = random.Random(1), Counter[Address]()
    for _ in range(4000):
        chosen = choose(ENDPOINTS, load, rng)
        assert chosen is not None
        load[Address(chosen.address, chosen.port)] += 1
    assert max(load.values()) - min(load.values()) <= 4
