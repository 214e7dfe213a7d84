"""Which endpoint takes each attempt, and when it is this very pod; several sidecars face to face."""

import socket
from collections import Counter
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.route import Caller, Route
from sidecar.model.service import Balancing, CallRule, Endpoint, HashOn, Limits, Retries
from sidecar.model.snapshot import Inbound
from sidecar.net.socket_stream import SocketStream
from sidecar.policy.rules import Rules
from tests.helpers.exchange import OK
from tests.helpers.h2_peer import Peer
from tests.helpers.http2 import GET
from tests.helpers.mesh import http_app, is_gone, read_until, sidecar
from tests.helpers.network import NAMED, POLICY, entering, isolation
from tests.helpers.pki import ORDERS, WEB
from tests.helpers.services import (
    BROKEN,
    FIRST_FAILS,
    IN_TURN,
    OURSELVES,
    VIP,
    A,
    B,
    C,
    World,
    address,
    hang,
    knows,
    names,
    new_orders,
    orders,
    says,
    to_both,
)


async def test_an_upgrade_is_the_destinations_affair_and_lasts_as_long_as_the_endpoint(
    nursery: trio.Nursery, autojump_clock: MockClock,
) -> None:
    world = World(nursery, orders(A))
    switch = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    opted_in = Inbound(routes=(Route("all", (Caller(),), upgrades=("websocket",)),))
    app = http_app(world.seen[A], switch)
    world.web.bench.dialer.servers[address(A)] = sidecar(nursery, app, opted_in, at=address(A))[1]
    client = world.web.dial(VIP)
    await client.send_all(b"GET / HTTP/1.1\r\nhost: orders.shop\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
    assert b"101 Switching" in await read_until(client, b"\r\n\r\n")
    await client.send_all(b"GET /in-the-tunnel HTTP/1.1\r\n\r\n")
    assert await read_until(client, b"\r\n\r\n") == switch      # the app's own words: nobody reads along
    world.become(orders(B))
    assert await is_gone(client)
    assert trio.current_time() == 0


# -- which endpoint


async def test_requests_of_one_connection_go_to_each_endpoint(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B, C))
    app, found = world.web.dial(VIP), []
    for _ in range(6):
        await app.send_all(b"GET / HTTP/1.1\r\nhost: orders.shop\r\n\r\n")
        found.append(bytes(await app.receive_some()).rpartition(b"\r\n")[2])
    assert Counter(found) == dict.fromkeys(names(A, B, C), 2)
    assert world.in_flight() == 0


async def test_streams_of_one_connection_go_to_each_endpoint(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Each by HTTP/2 to its endpoint's sidecar, whose application speaks HTTP/1.1 only."""
    world = World(nursery, orders(A, B, C))
    for endpoint in (A, B, C):
        app, inbound = http_app([], says(endpoint.address.encode())), Inbound(ports={endpoint.port: "http1"})
        world.web.bench.dialer.servers[address(endpoint)] = sidecar(nursery, app, inbound, at=address(endpoint))[1]
    client = Peer(world.web.dial(VIP), is_client=True)
    await client.begin()
    for stream in range(1, 12, 2):
        await client.ask(stream, GET)
    assert Counter([await client.ended(stream) for stream in range(1, 12, 2)]) == dict.fromkeys(names(A, B, C), 2)


@pytest.mark.parametrize("protocol", ["http", "http1", "http2"])
async def test_every_http_is_balanced(protocol: Any, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B, protocol=protocol))
    assert await world.asked(4) == dict.fromkeys(names(A, B), 2)


async def test_the_pod_that_was_dialled_itself(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B, C))
    assert set(await world.asked(4, to=address(B))) == names(B)


async def test_the_callers_zone_comes_first(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    near, far = (msgspec.structs.replace(endpoint, zone=zone) for endpoint, zone in ((A, "a"), (B, "b")))
    world = World(nursery, orders(near, far), zone="a")
    assert set(await world.asked(4)) == names(A)


@pytest.mark.parametrize(("on", "path", "more"), [
    (HashOn(header="x-user"), "/", "x-user: {}\r\n"),
    (HashOn(cookie="sid"), "/", "cookie: a=1; sid={}\r\n"),
    (HashOn(query="user"), "/?user={}", ""),
])
async def test_a_key_keeps_its_endpoint(
    on: HashOn, path: str, more: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    world = World(nursery, orders(A, B, C, balancing=Balancing("ConsistentHash", on)))
    found = [await world.asked(3, path=path.format(key), more=more.format(key)) for key in range(8)]
    assert {len(of) for of in found} == {1}
    assert len({owner for of in found for owner in of}) > 1
    assert len(await world.asked(20)) > 1       # where there is no key chance decides


# -- how often


def again(**how: Any) -> CallRule:
    return CallRule("again", retries=Retries(**{"attempts": 2, **how}))


async def test_where_one_is_down_another_is_asked(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B, C, rule=again()))
    world.is_down(A, B)
    for _ in range(3):
        assert C.address.encode() in await world.ask(method="POST")     # nothing had been sent
    assert len(world.seen[C]) == 3
    assert {line["peer"] for line in world.web.bench.lines} == {ORDERS}
    assert {line["upstream"] for line in world.web.bench.lines} == {f"orders.shop {address(C)}"}
    assert world.in_flight() == 0


async def test_without_a_rule_what_reached_nobody_is_taken_elsewhere(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B, C))
    world.is_down(A, B)
    for _ in range(3):
        assert C.address.encode() in await world.ask(method="POST", more="content-length: 0\r\n")
    world.is_down(C)
    world.web.bench.runtime.pool.close()
    world.web.bench.dialer.dialled.clear()
    assert b"BZ0401" in await world.ask()
    assert sorted(world.web.bench.dialer.dialled) == sorted(map(address, (A, B, C)))
    assert world.in_flight() == 0


async def test_without_a_rule_the_only_one_is_asked_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A))
    world.is_down(A)
    assert b"BZ0401" in await world.ask()
    assert world.web.bench.dialer.dialled == [address(A)]


@pytest.mark.parametrize("answer", [BROKEN, b""])
async def test_without_a_rule_nothing_is_asked_twice(answer: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Neither a bad answer nor none is a reason to ask another: somebody was reached."""
    world = World(nursery, orders(A, B))
    asked = []

    async def serve(sock: socket.socket) -> None:
        asked.append(await SocketStream(sock).receive_some())
        await SocketStream(sock).send_all(answer)

    world.plays(A, serve)
    world.plays(B, serve)
    assert (await world.ask())[:11] == b"HTTP/1.1 50"
    assert len(asked) == 1


async def test_no_more_attempts_than_allowed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B, C, rule=again()))
    world.is_down(A, B, C)
    assert b"BZ0401 connect-failed" in await world.ask()
    assert len(world.web.bench.dialer.dialled) == len(set(world.web.bench.dialer.dialled)) == 3
    assert world.in_flight() == 0


async def test_the_only_one_is_asked_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, rule=again()))
    world.is_down(A)
    await world.ask()
    assert world.web.bench.dialer.dialled == [address(A)] * 3


async def test_an_answer_may_be_worth_another_attempt(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B, rule=again(on=("503",))))
    world.answers(A, BROKEN)
    assert set(await world.asked(4)) == names(B)
    assert len(world.seen[A]) == 2
    assert {(await world.ask(method="POST"))[:12] for _ in range(2)} == {b"HTTP/1.1 503", b"HTTP/1.1 200"}


async def test_a_body_that_may_have_been_seen_is_not_sent_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Not even by a method that may be repeated, and not even where it is here whole; nobody has seen it where nobody was reached."""
    body = "content-length: 2\r\n\r\n"       # the end of what is asked is the body
    world = World(nursery, orders(A, B, rule=again(on=("503", "connect-failure"))))
    world.answers(A, BROKEN)
    assert {(await world.ask(method="PUT"))[:12] for _ in range(2)} == {b"HTTP/1.1 200"}
    assert [(await world.ask(method="PUT", more=body))[:12] for _ in range(4)].count(b"HTTP/1.1 503") == 2
    world.is_down(A)
    world.web.bench.runtime.pool.close()
    assert {(await world.ask(method="PUT", more=body))[:12] for _ in range(4)} == {b"HTTP/1.1 200"}


async def test_a_connection_that_is_not_made_in_time(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B, rule=again(), balancing=msgspec.structs.replace(IN_TURN, connect_s=2)))
    world.web.bench.dialer.silent.add(address(A))
    for _ in range(2):
        assert B.address.encode() in await world.ask()
    assert 2 <= trio.current_time() < 2.2
    world.web.bench.dialer.silent.add(address(B))
    world.become(orders(B, balancing=msgspec.structs.replace(IN_TURN, connect_s=2)))
    world.web.bench.runtime.pool.close()
    assert b"BZ0402 upstream-timed-out" in await world.ask()


async def test_an_attempt_has_its_time(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B, rule=again(on=("timeout",), attempt_s=2)))
    world.plays(A, hang)
    for _ in range(2):
        assert B.address.encode() in await world.ask()
    assert 2 <= trio.current_time() < 2.2


async def test_the_budget_ends_retries(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B, rule=again(attempts=1, budget_percent=0, backoff_s=0.001)))
    world.is_down(A)
    found = [b"BZ0401" in await world.ask() for _ in range(70)]
    assert found.count(True) == world.counted("bartizan_retries_refused_total") == 5
    assert found.index(True) > 55       # thirty retries are in reserve


async def test_between_attempts_the_rules_may_change(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    for change, code in (((orders(A),), b"BZ0401"), ((orders(A, C),), C.address.encode()), ((), b"BZ0404")):
        world = World(nursery, orders(A, B, rule=again(backoff_s=10)))
        world.is_down(A, B)
        app = world.web.dial(VIP)
        await app.send_all(b"GET / HTTP/1.1\r\nhost: orders.shop\r\n\r\n")
        await wait_all_tasks_blocked()
        first = world.web.bench.dialer.dialled[0]
        world.become(*change)
        assert code in bytes(await app.receive_some())
        assert address(B) not in world.web.bench.dialer.dialled or first == address(B)
        app.close()


async def test_between_attempts_the_way_out_may_be_lost(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B, rule=again(backoff_s=10)))
    world.is_down(A, B)
    app = world.web.dial(VIP)
    await app.send_all(b"GET / HTTP/1.1\r\nhost: orders.shop\r\n\r\n")
    await wait_all_tasks_blocked()
    world.web.bench.runtime.is_outbound_open.set(False)
    assert b"BZ0207 redirect-lost" in await app.receive_some()
    assert len(world.web.bench.dialer.dialled) == 1


# -- this very pod


async def test_our_own_turn_is_counted_too(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, OURSELVES, balancing=msgspec.structs.replace(IN_TURN, limits=Limits(requests=1))))
    own: list[bytes] = []
    world.web.bench.dialer.servers[address(OURSELVES)] = http_app(own, says(b"own"))
    assert await world.asked(4) == {A.address.encode(): 2, b"own": 2}
    assert {line["security"] for line in world.web.bench.lines} == {"mtls", "in-process"}
    assert world.in_flight() == 0


async def test_our_own_failures_count_too(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, OURSELVES, balancing=FIRST_FAILS))
    assert [b"BZ0401" in await world.ask() for _ in range(6)].count(True) == 1


async def test_what_was_sent_elsewhere_does_not_come_home(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A retry would have to be judged by our own inbound rules, as another exchange."""
    world = World(nursery, orders(A, OURSELVES, rule=again()))
    world.is_down(A)
    world.web.bench.dialer.servers[address(OURSELVES)] = http_app([], says(b"own"))
    assert {b"BZ0404" in await world.ask() for _ in range(2)} == {True, False}


async def test_our_own_rules_apply_to_what_a_split_sends_home(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world, seen = World(nursery, orders(A, rule=to_both(0, 1)), new_orders(OURSELVES)), []
    world.web.bench.dialer.servers[address(OURSELVES)] = http_app(seen, OK)
    assert await world.ask() == OK
    known = world.web.bench.runtime.rules.current
    assert known is not None
    refusing = msgspec.structs.replace(known.snapshot, inbound=Inbound(routes=()))
    world.web.bench.runtime.rules.set(Rules.of(refusing, "digest"))
    assert b"BZ0101 no-route" in await world.ask()
    assert len(seen) == 1
    assert world.in_flight() == 0


# -- NetworkPolicies


async def upgraded(world: World, endpoint: Endpoint = A) -> SocketStream:
    """A connection that speaks another protocol by now."""
    opted_in = Inbound(routes=(Route("all", (Caller(),), upgrades=("websocket",)),))
    app = http_app(world.seen[endpoint], b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
    world.web.bench.dialer.servers[address(endpoint)] = sidecar(world.nursery, app, opted_in, at=address(endpoint))[1]
    client = world.web.dial(VIP)
    await client.send_all(b"GET / HTTP/1.1\r\nhost: orders.shop\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
    assert b"101 Switching" in await read_until(client, b"\r\n\r\n")
    return client


@pytest.mark.parametrize(("listed", "found"), [
    ((A, C), names(A, C)), (("10.1.0.8/32",), names(B)), ((Endpoint(A.address, A.port, WEB), B), names(B)), ((A, B, C), names(A, B, C)),
])
async def test_endpoints_that_no_policy_lists_are_left_out_of_the_choice(
    listed: tuple[Endpoint | str, ...], found: set[bytes], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    world = World(nursery, orders(A, B, C), isolation=isolation(*listed))
    assert set(await world.asked()) == found
    assert {str(to.host).encode() for to in world.web.bench.dialer.dialled} == found


async def test_an_endpoint_that_fails_is_not_replaced_by_one_that_no_policy_lists(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B, C), isolation=isolation(A))
    world.is_down(A)
    assert b"BZ0401" in await world.ask()
    assert set(world.web.bench.dialer.dialled) == {address(A)}


async def test_where_none_is_left_the_policies_are_named(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Judged on the pod's own port and address: that the VIP is listed is nothing."""
    world = World(nursery, orders(A, B), isolation=isolation(f"{VIP.host}/32"))
    answer = await world.ask()
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"x-bartizan-reason: BZ0216 network-policy-out\r\n" in answer
    assert POLICY.encode() in answer
    (line,) = world.web.bench.lines
    assert (line["code"], line["rule"]) == ("BZ0216", NAMED)
    assert world.web.bench.dialer.dialled == []
    world.become(orders(A), isolation=isolation(A, port=VIP.port))
    assert b"BZ0216" in await world.ask()
    world.become(orders(A), isolation=isolation(A, port=A.port))
    assert (await world.ask()).endswith(A.address.encode())
    world.become(orders(), isolation=isolation(A))
    assert b"BZ0404" in await world.ask()       # nobody is there: no policy's doing


async def test_a_pod_that_is_dialled_itself_is_judged_itself(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B), isolation=isolation(B))
    assert b"BZ0216" in await world.ask(to=address(A))
    assert (await world.ask(to=address(B))).endswith(B.address.encode())


async def test_the_pod_itself_needs_no_policy(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(OURSELVES), isolation=isolation("192.0.2.0/24"))
    world.web.bench.runtime.rules.set(entering(knows(orders(OURSELVES), isolation=isolation("192.0.2.0/24"))))
    world.web.bench.dialer.servers[address(OURSELVES)] = http_app([], says(b"us"))
    assert (await world.ask()).endswith(b"us")


async def test_what_is_upgraded_ends_when_no_policy_lists_it_any_more(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A), isolation=isolation(A))
    client = await upgraded(world)
    world.become(orders(A), isolation=isolation(A, port=A.port))
    await wait_all_tasks_blocked()
    await client.send_all(b"GET / HTTP/1.1\r\n\r\n")
    assert b"101" in await read_until(client, b"\r\n\r\n")
    world.become(orders(A), isolation=isolation(B))
    assert await is_gone(client)
    assert trio.current_time() == 0


async def test_a_request_under_way_ends_when_no_policy_lists_it_any_more(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A))
    world.plays(A, hang)
    app = world.web.dial(VIP)
    await app.send_all(b"GET / HTTP/1.1\r\nhost: orders.shop\r\n\r\n")
    await wait_all_tasks_blocked()
    world.become(orders(A), isolation=isolation(A))
    world.web.bench.runtime.withdrawals.part()
    await wait_all_tasks_blocked()
    assert world.web.bench.lines == []
    world.become(orders(A), isolation=isolation(B))
    world.web.bench.runtime.withdrawals.part()
    assert b"BZ0403" in await app.receive_some()
    assert trio.current_time() == 0


# -- draining


async def test_an_endpoint_that_drains_gets_nothing_new_and_ends_what_was_begun(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B))
    client = await upgraded(world)
    world.become(orders(B, draining=(A,)))
    assert set(await world.asked()) == names(B)
    assert b"BZ0404" in await world.ask(to=address(A))      # dialled itself
    await client.send_all(b"GET / HTTP/1.1\r\n\r\n")
    assert b"101" in await read_until(client, b"\r\n\r\n")
    world.become(orders(B))
    assert await is_gone(client)
    assert trio.current_time() == 0


async def test_a_policy_holds_for_what_drains_too(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A))
    client = await upgraded(world)
    world.become(orders(draining=(A,)), isolation=isolation(B))
    assert await is_gone(client)
    assert trio.current_time() == 0


async def test_an_endpoint_that_is_ready_again_is_asked_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B))
    assert set(await world.asked()) == names(A, B)
    world.become(orders(B, draining=(A,)))
    assert set(await world.asked()) == names(B)
    world.become(orders(A, B))
    assert set(await world.asked()) == names(A, B)
