"""How requests are carried out: rules, backends, mirrors, limits; several sidecars face to face, under the virtual clock."""


import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.egress import EgressHost
from sidecar.model.route import Caller, HeaderEdit, Match, PathMatch, Rewrite, Route
from sidecar.model.service import CallRule, Limits, Mirror, Service
from sidecar.model.snapshot import Inbound
from sidecar.net.listener import Tally
from sidecar.policy.rules import Rules
from tests.helpers.exchange import OK
from tests.helpers.mesh import http_app
from tests.helpers.network import isolation
from tests.helpers.pki import WEB
from tests.helpers.services import (
    BROKEN,
    FIRST_FAILS,
    IN_TURN,
    OURSELVES,
    VIP,
    A,
    B,
    World,
    address,
    hang,
    names,
    new_orders,
    orders,
    says,
    to_both,
)

# -- which Service


async def test_a_split(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, rule=to_both(3, 1)), new_orders(B))
    found = await world.asked(60)
    assert set(found) == names(A, B)
    assert found[A.address.encode()] > found[B.address.encode()]
    assert {line["rule"] for line in world.web.bench.lines} == {"service/orders.shop", "service/new-orders.shop"}
    assert b"\r\nhost: orders.shop\r\n" in world.seen[B][0]


async def test_only_requests_that_match_are_split(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    rule = msgspec.structs.replace(to_both(0, 1), matches=(Match(PathMatch("/new")),))
    world = World(nursery, orders(A, rule=rule), new_orders(B))
    assert set(await world.asked(3)) == names(A)
    assert set(await world.asked(3, path="/new")) == names(B)


@pytest.mark.parametrize(("services", "found"), [
    ((), names(A)),                                     # unknown: the others share what it would take
    ((new_orders(B, protocol="opaque"),), names(A)),    # takes no requests
])
async def test_a_backend_that_cannot_be_used(
    services: tuple[Service, ...], found: set[bytes], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    world = World(nursery, orders(A, rule=to_both(1, 1000)), *services)
    assert set(await world.asked(3)) == found
    world.become(orders(A, rule=to_both(0, 1)), *services)
    assert b"BZ0404 no-endpoint" in await world.ask()


async def test_a_backend_must_be_who_the_mesh_says(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    impostor = msgspec.structs.replace(B, identity=WEB)
    world = World(nursery, orders(A, rule=to_both(0, 1)), new_orders(impostor))
    assert b"BZ0502 wrong-identity" in await world.ask()
    assert world.seen[B] == []


# -- how long


async def test_the_time_of_a_request(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, rule=CallRule("quick", request_s=3)))
    world.plays(A, hang)
    assert b"BZ0402 upstream-timed-out" in await world.ask()
    assert trio.current_time() == 3
    assert world.in_flight() == 0


# -- a copy


async def test_a_mirror(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, rule=CallRule("copy", mirror=Mirror("new-orders.shop", 80))), new_orders(B, OURSELVES))
    nursery.start_soon(world.web.bench.runtime.mirrors.run, world.web.bench.runtime.pool, Tally())
    for _ in range(4):
        assert A.address.encode() in await world.ask()
    assert len(world.seen[A]) == len(world.seen[B]) == 4
    assert world.in_flight() == 0


@pytest.mark.parametrize("services", [(), (new_orders(),), (new_orders(OURSELVES),), (new_orders(B, protocol="opaque"),)])
async def test_a_mirror_that_cannot_be(
    services: tuple[Service, ...], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    world = World(nursery, orders(A, rule=CallRule("copy", mirror=Mirror("new-orders.shop", 80))), *services)
    nursery.start_soon(world.web.bench.runtime.mirrors.run, world.web.bench.runtime.pool, Tally())
    assert A.address.encode() in await world.ask()
    assert world.seen[B] == []


async def test_a_copy_goes_to_whom_the_mesh_names_and_nowhere_else(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It is the sidecar's own fetch: an approved external host is no Service, and an endpoint must prove who it is."""
    outside = CallRule("copy", mirror=Mirror("api.partner.example", 443))
    world = World(nursery, orders(A, rule=outside))
    known = world.web.bench.runtime.rules.current
    assert known is not None
    approved = msgspec.structs.replace(known.snapshot.outbound, hosts=(EgressHost("api.partner.example", "partners/api"),))
    world.web.bench.runtime.rules.set(Rules.of(msgspec.structs.replace(known.snapshot, outbound=approved), "digest"))
    nursery.start_soon(world.web.bench.runtime.mirrors.run, world.web.bench.runtime.pool, Tally())
    assert A.address.encode() in await world.ask()
    assert {to.host for to in world.web.bench.dialer.dialled} == {A.address}
    impostor = msgspec.structs.replace(B, identity=WEB)
    world.become(orders(A, rule=CallRule("copy", mirror=Mirror("new-orders.shop", 80))), new_orders(impostor))
    assert A.address.encode() in await world.ask()
    assert world.web.bench.dialer.dialled[-1].host == B.address
    assert world.seen[B] == []


async def test_a_copy_is_what_was_asked_not_what_our_own_rules_made_of_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Where a call comes home, its route edits what our application gets; the copy goes to another, who must not see that."""
    world, own = World(nursery, orders(OURSELVES, rule=CallRule("copy", mirror=Mirror("new-orders.shop", 80))), new_orders(B)), []
    world.web.bench.dialer.servers[address(OURSELVES)] = http_app(own, says(b"own"))
    edits = Route(
        "edits", (Caller(),), matches=(Match(PathMatch("/api")),), rewrite=Rewrite(prefix="/"),
        request_headers=HeaderEdit(set={"x-secret": "of the pod's own"}),
    )
    known = world.web.bench.runtime.rules.current
    assert known is not None
    world.web.bench.runtime.rules.set(Rules.of(msgspec.structs.replace(known.snapshot, inbound=Inbound(routes=(edits,))), "digest"))
    nursery.start_soon(world.web.bench.runtime.mirrors.run, world.web.bench.runtime.pool, Tally())
    assert b"own" in await world.ask("/api/a")
    assert own[0].startswith(b"GET /a ")
    assert b"x-secret" in own[0]
    (copy,) = world.seen[B]
    assert copy.startswith(b"GET /api/a ")
    assert b"x-secret" not in copy


async def test_some_are_mirrored(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, rule=CallRule("copy", mirror=Mirror("new-orders.shop", 80, 30))), new_orders(B))
    nursery.start_soon(world.web.bench.runtime.mirrors.run, world.web.bench.runtime.pool, Tally())
    await world.asked(40)
    assert 3 < len(world.seen[B]) < 25


# -- who fails


async def test_who_cannot_be_reached_is_left_out(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B, balancing=FIRST_FAILS))
    world.is_down(A)
    assert set(await world.asked(10)) == names(B)
    assert world.web.bench.dialer.dialled.count(address(A)) == 1
    assert world.counted("bartizan_ejections_total") == 1
    world.answers(A, OK)
    await trio.sleep(30)
    await world.asked(4)
    assert world.seen[A]


async def test_who_answers_badly_is_left_out(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B, balancing=FIRST_FAILS))
    world.answers(A, BROKEN)
    await world.asked(10)
    assert len(world.seen[A]) == 1


@pytest.mark.parametrize("body", ["", "content-length: 9\r\n"])
async def test_who_is_silent_is_left_out(body: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B, balancing=FIRST_FAILS, rule=CallRule("quick", request_s=3)))
    world.plays(A, hang)
    world.plays(B, hang)
    assert b"BZ0402" in await world.ask(method="PUT", more=body)
    assert trio.current_time() == 3
    assert world.counted("bartizan_ejections_total") == 1


# -- how many


@pytest.mark.parametrize("limits", [Limits(requests=1), Limits(connections=1)])
async def test_the_circuit_opens(limits: Limits, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, balancing=msgspec.structs.replace(IN_TURN, limits=limits)))
    world.plays(A, hang)
    hung = world.web.dial(VIP)
    await hung.send_all(b"GET / HTTP/1.1\r\nhost: orders.shop\r\n\r\n")
    await wait_all_tasks_blocked()
    assert b"BZ0407 circuit-open" in await world.ask()
    assert world.counted("bartizan_circuit_open_total") == 1
    hung.close()
    await trio.sleep(61)
    world.answers(A, OK)
    assert await world.ask() == OK


async def test_no_more_wait_for_a_connection_than_allowed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, balancing=msgspec.structs.replace(IN_TURN, limits=Limits(pending=1))))
    world.web.bench.dialer.silent.add(address(A))
    waiting = world.web.dial(VIP)
    await waiting.send_all(b"GET / HTTP/1.1\r\nhost: orders.shop\r\n\r\n")
    await wait_all_tasks_blocked()
    assert b"BZ0407 circuit-open" in await world.ask()
    assert world.counted("bartizan_circuit_open_total") == 1
    waiting.close()


# -- NetworkPolicies


async def test_neither_a_split_nor_a_copy_goes_where_no_policy_lists_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    split = orders(A, rule=to_both(0, 1))
    world = World(nursery, split, new_orders(B), isolation=isolation(A))
    assert b"BZ0216" in await world.ask()
    copied = orders(A, rule=CallRule("copied", mirror=Mirror("new-orders.shop", 80)))
    world.become(copied, new_orders(B), isolation=isolation(A))
    nursery.start_soon(world.web.bench.runtime.mirrors.run, world.web.bench.runtime.pool, Tally())
    assert set(await world.asked(3)) == names(A)
    assert set(world.web.bench.dialer.dialled) == {address(A)}
