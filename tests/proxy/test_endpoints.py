"""What is remembered of endpoints, and what happens to it when snapshots, failures and limits come."""

import random
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.egress import Outbound
from sidecar.model.errors import Unavailable
from sidecar.model.reason import Reason
from sidecar.model.service import Balancing, CallRule, Ejection, Endpoint, Limits, Retries, Service
from sidecar.model.snapshot import Snapshot, Workload
from sidecar.policy.rules import Rules
from sidecar.proxy.endpoints import Endpoints, Group
from sidecar.telemetry.metrics import Metrics
from tests.helpers.network import leaving
from tests.helpers.pki import ORDERS, WEB

A, B, C, D = (Endpoint(f"10.1.0.{i}", 8080, ORDERS, zone) for i, zone in enumerate(("a", "a", "b", "b"), 1))
LABELS = (("service", "orders.shop:80"),)
ONE_FAILS = Balancing("RoundRobin", ejection=Ejection(failures=1, for_s=30))


def service(*endpoints: Endpoint, balancing: Balancing = Balancing(), **more: Any) -> Service:  # noqa: B008 -- frozen
    return Service("orders.shop", 80, ("10.96.7.1",), endpoints=endpoints, balancing=balancing, **more)


def rules(*services: Service, zone: str = "") -> Rules:
    return Rules.of(Snapshot(Workload(WEB, "shop", zone=zone), outbound=Outbound(services=services)), "digest")


class World:
    """One Service as snapshots change it, and what is counted."""

    def __init__(self, first: Service, zone: str = "") -> None:
        self.metrics = Metrics()
        self.endpoints = Endpoints(random.Random(1), self.metrics)
        self.now = 1000.0
        self.become(first, zone)

    def become(self, now: Service, zone: str = "") -> None:
        self.rules = rules(now, zone=zone)

    @property
    def group(self) -> Group:
        return self.endpoints.group(self.rules, self.rules.snapshot.outbound.services[0], self.now)

    def picked(self, times: int = 60, **how: Any) -> Counter[Endpoint]:
        found = [self.group.pick(self.now, **how) for _ in range(times)]
        return Counter(member.endpoint for member in found if member is not None)

    def fails(self, endpoint: Endpoint) -> None:
        self.sees(endpoint, False)

    def sees(self, endpoint: Endpoint, is_success: bool) -> None:
        member = self.group.pick(self.now, only=endpoint)
        assert member is not None
        self.group.observe(member, lambda: self.now, is_success)


# -- who is picked


@pytest.mark.parametrize("policy", ["LeastRequest", "RoundRobin", "ConsistentHash"])
def test_each_policy_uses_every_endpoint(policy: Any) -> None:
    world = World(service(A, B, C, balancing=Balancing(policy)))
    assert set(world.picked(200)) == {A, B, C}


def test_none() -> None:
    world = World(service())
    assert world.group.pick(0.0) is None
    assert world.group.pick(0.0, only=A) is None
    assert world.group.pick(0.0, avoid=[A]) is None


def test_round_robin_is_even() -> None:
    assert set(World(service(A, B, C, balancing=Balancing("RoundRobin"))).picked(60).values()) == {20}


def test_second_attempts_take_nobodys_turn() -> None:
    world = World(service(A, B, balancing=Balancing("RoundRobin")))
    firsts: Counter[Endpoint] = Counter()
    for _ in range(10):
        first = world.picked(1)
        world.picked(1, avoid=list(first))
        firsts += first
    assert firsts == {A: 5, B: 5}


def test_round_robin_begins_anywhere() -> None:
    one = service(A, B, C, D, balancing=Balancing("RoundRobin"))
    firsts = {Endpoints(random.Random(seed), Metrics()).group(rules(one), one, 0.0).pick(0.0).endpoint  # type: ignore[union-attr]
              for seed in range(30)}
    assert firsts == {A, B, C, D}


def test_least_request_sees_what_is_in_flight() -> None:
    world = World(service(A, B))
    busy = world.group.pick(0.0, only=A)
    assert busy is not None
    leave = world.group.enter(busy)
    assert set(world.picked()) == {B}
    leave()
    assert set(world.picked()) == {A, B}


def test_a_key_has_one_owner() -> None:
    world = World(service(A, B, C, balancing=Balancing("ConsistentHash")))
    owners = {key: set(world.picked(5, key=b"%d" % key)) for key in range(50)}
    assert {len(of) for of in owners.values()} == {1}
    world.become(service(A, B, balancing=Balancing("ConsistentHash")))
    for key, before in owners.items():
        assert before == {C} or set(world.picked(1, key=b"%d" % key)) == before


def test_the_endpoint_that_was_dialled_itself() -> None:
    world = World(service(A, B, C))
    assert set(world.picked(only=B)) == set(world.picked(only=B, avoid=[B])) == {B}


def test_those_of_the_zone_come_first() -> None:
    world = World(service(A, B, C, D, balancing=Balancing(ejection=Ejection(failures=1, most_percent=75))), zone="a")
    assert set(world.picked()) == {A, B}
    world.fails(A)
    assert set(world.picked()) == {B}
    world.fails(B)
    assert set(world.picked()) == {C, D}
    world.become(world.group.service, zone="b")
    assert set(world.picked()) == {C, D}
    world.become(world.group.service, zone="")
    assert set(world.picked()) == {C, D}


def test_no_zone_comes_first_where_that_is_not_wished() -> None:
    world = World(service(A, C, balancing=Balancing(zone_preference=False)), zone="a")
    assert set(world.picked()) == {A, C}


def test_who_was_tried_is_avoided_while_there_is_another() -> None:
    world = World(service(A, B, C, balancing=Balancing(ejection=Ejection(failures=1))), zone="a")
    assert set(world.picked(avoid=[A])) == {B}
    assert set(world.picked(avoid=[A, B])) == {C}       # even out of the zone
    assert set(world.picked(avoid=[A, B, C])) == {A, B}
    world.fails(C)
    assert set(world.picked(avoid=[A, B])) == {A, B}    # rather than one that is out


@pytest.mark.parametrize("policy", ["LeastRequest", "RoundRobin", "ConsistentHash"])
def test_a_new_endpoint_starts_slowly(policy: Any) -> None:
    slow = Balancing(policy, slow_start_s=100)
    world = World(service(A, B, balancing=slow))
    assert set(world.picked(100)) == {A, B}
    world.become(service(A, B, C, balancing=slow))
    assert world.picked(1000)[C] < 50
    world.now += 50
    assert 50 < world.picked(1000)[C] < 300
    world.now += 50
    assert world.picked(1000)[C] > 200


def test_an_endpoint_is_new_since_its_snapshot_came_not_since_it_was_called() -> None:
    """Though nobody had called the Service before."""
    slow = Balancing(slow_start_s=100)
    world = World(service(A, balancing=slow))
    world.endpoints.follow(world.rules, world.now)
    world.become(service(A, B, balancing=slow))
    world.endpoints.follow(world.rules, world.now)
    assert world.picked(1000)[B] < 50
    world.now += 100
    assert world.picked(1000)[B] > 400


# -- ejection


def test_who_fails_is_left_out_for_its_time() -> None:
    world = World(service(A, B, C, balancing=ONE_FAILS))
    world.fails(A)
    assert set(world.picked()) == {B, C}
    assert world.metrics.get("bartizan_ejections_total", LABELS) == 1
    world.now += 29.9
    assert set(world.picked()) == {B, C}
    world.now += 0.1
    assert set(world.picked()) == {A, B, C}


def test_a_success_between_failures_counts() -> None:
    world = World(service(A, B, balancing=Balancing(ejection=Ejection(failures=2))))
    for is_success in (False, True, False):
        world.sees(A, is_success)
    assert set(world.picked()) == {A, B}
    world.fails(A)
    assert set(world.picked()) == {B}


def test_without_ejection_nobody_is_left_out() -> None:
    world = World(service(A, B, balancing=Balancing(ejection=None)))
    for _ in range(20):
        world.fails(A)
    assert set(world.picked()) == {A, B}


def test_an_endpoint_that_is_out_is_still_dialled_itself() -> None:
    world = World(service(A, B, balancing=ONE_FAILS))
    world.fails(A)
    assert set(world.picked(only=A)) == {A}


def test_fewer_endpoints_let_more_of_them_back() -> None:
    """Two of four may be out, one of three: the one whose time ends first comes back."""
    world = World(service(A, B, C, D, balancing=ONE_FAILS))
    world.fails(A)
    world.now += 1
    world.fails(B)
    assert set(world.picked()) == {C, D}
    world.become(service(A, B, C, balancing=ONE_FAILS))
    assert set(world.picked()) == {A, C}
    world.become(service(B, balancing=ONE_FAILS))
    assert set(world.picked()) == {B}
    world.become(service(A, B, C, D, balancing=ONE_FAILS))
    assert set(world.picked()) == {A, B, C, D}


def test_a_rule_that_goes_lets_all_back() -> None:
    world = World(service(A, B, balancing=ONE_FAILS))
    world.fails(A)
    world.become(service(A, B, balancing=Balancing(ejection=None)))
    assert set(world.picked()) == {A, B}


@given(st.lists(st.tuples(st.sampled_from([A, B, C, D]), st.booleans(), st.floats(0, 40)), max_size=60))
def test_there_is_always_somebody(attempts: list[tuple[Endpoint, bool, float]]) -> None:
    """Whatever fails, half of the endpoints at most are out, and the choice is among the others."""
    world = World(service(A, B, C, D, balancing=ONE_FAILS))
    for endpoint, is_success, pause in attempts:
        world.now += pause
        world.sees(endpoint, is_success)
        assert len(world.picked(8)) >= 2


# -- limits


@pytest.mark.parametrize(("protocol", "most"), [("http", 2), ("http1", 2), ("http2", 2), ("opaque", 3), ("app-tls", 3)])
def test_what_is_beyond_the_limit_is_refused(protocol: Any, most: int) -> None:
    world = World(service(A, B, balancing=Balancing(limits=Limits(connections=3, requests=2)), protocol=protocol))
    group = world.group
    (one, other) = (group.pick(0.0, only=endpoint) for endpoint in (A, B))
    assert one is not None
    assert other is not None
    leaves = [group.enter(member) for member in (one, other, one)[:most]]
    for member in (one, other):
        with pytest.raises(Unavailable) as caught:
            group.enter(member)
        assert caught.value.reason is Reason.CIRCUIT_OPEN
    assert world.metrics.get("bartizan_circuit_open_total", LABELS) == 2
    leaves[0]()
    group.enter(other)
    assert group.in_flight == one.in_flight + other.in_flight == most


# -- budgets


def retried(percent: float, *names: str) -> Service:
    return service(A, rules=tuple(CallRule(name, retries=Retries(budget_percent=percent)) for name in names))


def test_each_rule_has_its_budget_over_snapshots() -> None:
    world = World(retried(20, "one", "two"))
    one, two = world.group.service.rules

    def spent(rule: CallRule) -> int:
        count = 0
        while world.group.may_retry(rule, world.now):
            count += 1
        return count

    for _ in range(50):
        world.group.deposit(one, world.now)
    assert (spent(one), spent(two)) == (40, 30)
    assert world.metrics.get("bartizan_retries_refused_total", LABELS) == 2
    world.become(retried(40, "one"))
    assert spent(world.group.service.rules[0]) == 10
    world.become(retried(40, "two"))
    world.become(retried(40, "one"))
    assert spent(world.group.service.rules[0]) == 0     # nothing was called in between
    world.become(retried(40, "two"))
    assert spent(world.group.service.rules[0]) == 30
    world.become(retried(40, "one"))
    assert spent(world.group.service.rules[0]) == 30


# -- over snapshots


def test_what_stays_is_remembered_and_what_goes_is_not() -> None:
    world = World(service(A, B, C, D, balancing=ONE_FAILS))
    world.fails(A)
    member = world.group.pick(0.0, only=B)
    assert member is not None
    leave = world.group.enter(member)
    world.become(service(B, A, C, balancing=ONE_FAILS))
    assert set(world.picked()) == {B, C}
    assert world.group.pick(0.0, only=B) is member
    world.become(service(C, A, balancing=ONE_FAILS))
    assert world.group.in_flight == 1       # it is not over
    leave()
    assert world.group.in_flight == 0
    world.become(service(A, B, C, balancing=ONE_FAILS))
    assert set(world.picked()) == {B, C}
    assert world.group.pick(0.0, only=B) is not member


def test_attempts_at_endpoints_that_are_gone_say_nothing() -> None:
    world = World(service(A, B, balancing=ONE_FAILS))
    gone = world.group.pick(0.0, only=A)
    assert gone is not None
    world.become(service(B, balancing=ONE_FAILS))
    world.become(service(B, msgspec.structs.replace(A, identity=WEB), balancing=ONE_FAILS))
    world.group.observe(gone, lambda: world.now, False)
    assert len(world.picked()) == 2
    assert world.metrics.get("bartizan_ejections_total", LABELS) == 0


def test_services_that_are_gone_are_forgotten() -> None:
    world = World(service(A, B, balancing=ONE_FAILS))
    world.fails(A)
    before = world.group
    other = service(A, B, balancing=ONE_FAILS)
    world.endpoints.follow(rules(msgspec.structs.replace(other, port=81)), world.now)
    assert world.endpoints._groups == {}
    assert world.group is not before
    assert set(world.picked()) == {A, B}


def test_an_equal_snapshot_changes_nothing() -> None:
    world = World(service(A, B, balancing=ONE_FAILS))
    world.fails(A)
    world.become(service(A, B, balancing=ONE_FAILS))
    assert set(world.picked()) == {B}


# -- NetworkPolicies


def test_who_is_listed_is_a_member_from_snapshot_to_snapshot() -> None:
    world = World(service(A, B, C))
    assert set(world.picked()) == {A, B, C}
    world.rules = leaving(rules(service(A, B, C)), A, B)
    assert set(world.picked()) == {A, B}
    assert world.group.pick(world.now, only=C) is None
    world.rules = leaving(rules(service(A, B, C)), B)
    assert set(world.picked()) == {B}
    world.become(service(A, B, C))
    assert set(world.picked()) == {A, B, C}


def test_of_those_that_are_listed_no_more_are_left_out_than_may_be() -> None:
    """Half of all that are listed, and not of all that there are."""
    balancing = Balancing("RoundRobin", ejection=Ejection(failures=1, for_s=30, most_percent=50))
    world = World(service(A, B, C, D, balancing=balancing))
    world.rules = leaving(world.rules, A, B)
    world.fails(A)
    world.fails(B)
    assert set(world.picked()) == {B}


def test_who_drains_is_no_member() -> None:
    world = World(service(A, B))
    assert set(world.picked()) == {A, B}
    world.become(service(B, draining=(A,)))
    assert set(world.picked()) == {B}
    assert world.group.pick(world.now, only=A) is None
