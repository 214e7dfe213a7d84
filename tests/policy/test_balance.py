"""Who is eligible, and how each policy spreads over them."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.service import Endpoint
from sidecar.policy.balance import Candidate, Ring, eligible, least_request, round_robin, share

ID = "spiffe://example.org/ns/shop/sa/orders"


def some(count: int, zone: str = "") -> list[Candidate]:
    return [Candidate(Endpoint(f"10.1.0.{i}", 8080, ID, zone)) for i in range(count)]


# -- who is eligible


@pytest.mark.parametrize(("zones", "out", "zone", "expected"), [
    ("aabb", "", "", "0123"),
    ("aabb", "1", "", "023"),
    ("aabb", "0123", "", "0123"),       # better one that may fail than none
    ("aabb", "", "a", "01"),
    ("aabb", "0", "a", "1"),            # half of the zone is well
    ("aaabb", "01", "a", "234"),        # less than half
    ("aabb", "01", "a", "23"),
    ("aabb", "0123", "a", "01"),
    ("aabb", "", "c", "0123"),
    ("", "", "a", ""),
])
def test_who_is_eligible(zones: str, out: str, zone: str, expected: str) -> None:
    everyone = [Candidate(Endpoint(f"10.1.0.{i}", 8080, ID, of)) for i, of in enumerate(zones)]
    found = eligible(everyone, lambda candidate: candidate.endpoint.address[-1] in out, zone)
    assert "".join(candidate.endpoint.address[-1] for candidate in found) == expected


# -- slow start


@pytest.mark.parametrize(("slow_start_s", "now", "expected"), [
    (10.0, 100.0, 0.01), (10.0, 103.0, 0.3), (10.0, 109.0, 0.9), (10.0, 110.0, 1.0), (10.0, 200.0, 1.0), (0.0, 100.0, 1.0),
])
def test_a_share_grows_evenly(slow_start_s: float, now: float, expected: float) -> None:
    old, new = Candidate(Endpoint("10.1.0.1", 80, ID)), Candidate(Endpoint("10.1.0.2", 80, ID), since=100.0)
    assert share(new, slow_start_s, now) == pytest.approx(expected)
    assert share(old, slow_start_s, now) == 1.0


@pytest.mark.parametrize("part", [0.01, 0.5])
@pytest.mark.parametrize("policy", ["least request", "round robin", "hash"])
def test_a_new_endpoint_gets_its_share(policy: str, part: float) -> None:
    rng, candidates, position, drawn = random.Random(1), some(4), 0, Counter[str]()
    of = [part, 1.0, 1.0, 1.0]
    ring = Ring(candidate.endpoint for candidate in candidates)
    parts = dict(zip((candidate.endpoint for candidate in candidates), of, strict=True))
    for _ in range(8000):
        match policy:
            case "least request":
                chosen = least_request(candidates, of, rng).endpoint
            case "round robin":
                candidate, position = round_robin(candidates, of, position, rng)
                chosen = candidate.endpoint
            case _:
                found = ring.owner(rng.randbytes(8), parts.__getitem__)
                assert found is not None
                chosen = found
        drawn[chosen.address] += 1
    assert 0.6 * part < drawn["10.1.0.0"] / (sum(drawn.values()) / (3 + part)) < 1.6 * part


# -- least request


def test_one() -> None:
    (only,) = some(1)
    assert least_request([only], None, random.Random(1)) is only


def test_of_two_the_idler() -> None:
    one, other = some(2)
    one.in_flight, other.in_flight = 2, 1
    rng = random.Random(1)
    assert {least_request([one, other], None, rng) for _ in range(20)} == {other}


def test_the_busiest_is_never_chosen_and_all_others_are() -> None:
    candidates, rng = some(4), random.Random(1)
    candidates[3].in_flight = 1
    assert {least_request(candidates, None, rng) for _ in range(100)} == set(candidates[:3])


def test_loads_stay_close() -> None:
    """Two choices keep the fullest within a few of the emptiest, where one choice would drift apart."""
    candidates, rng = some(4), random.Random(1)
    for _ in range(4000):
        least_request(candidates, None, rng).in_flight += 1
    loads = [candidate.in_flight for candidate in candidates]
    assert max(loads) - min(loads) <= 4


# -- round robin


def test_one_after_the_other() -> None:
    candidates, rng, position = some(3), random.Random(1), 7
    turns = []
    for _ in range(6):
        candidate, position = round_robin(candidates, None, position, rng)
        turns.append(candidate.endpoint.address[-1])
    assert "".join(turns) == "120120"


def test_whoever_is_new_alone_has_its_turn() -> None:
    candidates, rng = some(2), random.Random(1)
    assert {round_robin(candidates, [0.01, 0.01], i, rng)[0] for i in range(50)} == set(candidates)


# -- consistent hash

KEYS = [b"%d" % i for i in range(2000)]


def owners(endpoints: list[Endpoint], keys: list[bytes] = KEYS) -> dict[bytes, Endpoint | None]:
    ring = Ring(endpoints)
    return {key: ring.owner(key, lambda _: 1.0) for key in keys}


def test_keys_spread() -> None:
    drawn = Counter(owners([candidate.endpoint for candidate in some(8)]).values())
    assert len(drawn) == 8
    assert 150 < min(drawn.values()) <= max(drawn.values()) < 350


@given(st.sets(st.integers(0, 30), min_size=1, max_size=8), st.integers(0, 30), st.lists(st.binary(max_size=20), max_size=30))
def test_endpoints_that_come_and_go_move_their_own_keys_only(known: set[int], one: int, keys: list[bytes]) -> None:
    """Between the rings with and without an endpoint, a key has another owner only if that endpoint owns it; order is nothing."""
    endpoints = [candidate.endpoint for candidate in some(31)]
    with_it = owners([endpoints[i] for i in known | {one}], keys)
    without = owners([endpoints[i] for i in sorted(known - {one}, reverse=True)], keys)
    assert {key for key in keys if with_it[key] != without[key]} == {key for key in keys if with_it[key] == endpoints[one]}


@given(st.sets(st.integers(0, 7)), st.binary(max_size=20))
def test_who_cannot_be_chosen_might_as_well_be_gone(out: set[int], key: bytes) -> None:
    """Leaving endpoints out of the choice gives the owner of the ring without them."""
    endpoints = [candidate.endpoint for candidate in some(8)]
    left = [endpoint for i, endpoint in enumerate(endpoints) if i not in out]
    chosen = Ring(endpoints).owner(key, lambda endpoint: float(endpoint in left))
    assert chosen == Ring(left).owner(key, lambda _: 1.0)
    assert (chosen is None) is (not left)


def test_a_key_that_has_moved_to_a_new_endpoint_stays() -> None:
    endpoints = [candidate.endpoint for candidate in some(4)]
    ring, new = Ring(endpoints), endpoints[0]
    moved: set[bytes] = set()
    for part in (0.01, 0.25, 0.5, 0.75, 1.0):
        parts = dict.fromkeys(endpoints, 1.0) | {new: part}
        now = {key for key in KEYS if ring.owner(key, parts.__getitem__) == new}
        assert moved <= now
        moved = now
    assert moved == {key for key, owner in owners(endpoints).items() if owner == new}


def test_where_all_are_new_somebody_is_chosen() -> None:
    endpoints = [candidate.endpoint for candidate in some(3)]
    ring = Ring(endpoints)
    assert {ring.owner(key, lambda _: 0.01) for key in KEYS} == set(endpoints)
