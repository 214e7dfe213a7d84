"""Shares by weight; weight 0 never; who is unknown, or of another kind, is left out."""

import random
from collections import Counter

import pytest

from sidecar.model.egress import Outbound
from sidecar.model.reason import Reason
from sidecar.model.service import Backend, CallRule, Endpoint, Service
from sidecar.policy.egress import OutboundTable, ToService
from sidecar.policy.split import led, named, target

OLD, NEW, IDLE, TCP = Backend("old.shop", 80, 9), Backend("new.shop", 80, 1), Backend("idle.shop", 80, 0), Backend("tcp.shop", 80, 9)


def table(*backends: Backend) -> OutboundTable:
    ends = (Endpoint("10.1.0.7", 8080, "spiffe://x/ns/shop/sa/orders"),)
    return OutboundTable(Outbound(tuple(
        Service(backend.service, backend.port, (), "opaque" if backend is TCP else "http", ends) for backend in (OLD, *backends)
    )))


def dialled(outbound: OutboundTable) -> ToService:
    found = outbound.service_named("old.shop", 80)
    assert found is not None
    return found


def drawn(backends: tuple[Backend, ...], outbound: OutboundTable, times: int = 200) -> Counter[str]:
    rng, to = random.Random(1), dialled(outbound)
    rule = CallRule("split", backends=backends)
    found = [target(to, rule, outbound, rng) for _ in range(times)]
    return Counter(one.service.name if isinstance(one, ToService) else one.reason.code for one in found)


@pytest.mark.parametrize(("backends", "known", "expected"), [
    ((OLD, NEW, IDLE), (NEW, IDLE), {"old.shop", "new.shop"}),
    ((OLD, NEW, IDLE), (IDLE,), {"old.shop"}),
    ((NEW, IDLE), (IDLE,), {Reason.NO_ENDPOINT.code}),
    ((IDLE,), (IDLE,), {Reason.NO_ENDPOINT.code}),
    ((TCP, NEW), (TCP, NEW), {"new.shop"}),
    ((), (NEW,), {"old.shop"}),
])
def test_who_can_be_drawn(backends: tuple[Backend, ...], known: tuple[Backend, ...], expected: set[str]) -> None:
    assert set(drawn(backends, table(*known))) == expected


@pytest.mark.parametrize(("backends", "known", "expected"), [
    ((OLD, NEW, IDLE), (NEW, IDLE), {"old.shop", "new.shop"}), ((NEW, IDLE), (IDLE,), set()), ((TCP, NEW), (TCP, NEW), {"new.shop"}),
    ((), (NEW,), set()), ((NEW,), (NEW,), {"new.shop"}),
])
def test_where_a_rule_at_the_edge_leads(backends: tuple[Backend, ...], known: tuple[Backend, ...], expected: set[str]) -> None:
    rng = random.Random(1)
    found = [led(backends, table(*known), rng) for _ in range(100)]
    assert {to.service.name for to in found if to is not None} == expected
    assert (None in found) == (not expected)


def test_shares_follow_the_weights() -> None:
    assert 850 < drawn((OLD, NEW), table(NEW), 10_000)["new.shop"] < 1150


def test_without_a_rule_it_is_who_was_dialled() -> None:
    outbound = table()
    to = dialled(outbound)
    assert target(to, None, outbound, random.Random(1)) is to


def test_a_single_pod_that_was_dialled_stays_the_one() -> None:
    outbound = table()
    whole = dialled(outbound)
    pod = ToService(whole.permit, whole.service, (whole.endpoints[0],))
    assert named(OLD, pod, outbound) is pod
