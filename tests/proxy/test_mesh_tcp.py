"""How connections are balanced whose protocol is opaque to us; several sidecars face to face."""

import socket
from collections import Counter

import msgspec
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.service import Backend, CallRule, Limits, Service
from tests.helpers.leave import Pod
from tests.helpers.mesh import echo, is_gone, read_rest, read_until
from tests.helpers.network import NAMED, isolation
from tests.helpers.services import (
    FIRST_FAILS,
    IN_TURN,
    OURSELVES,
    TCP_VIP,
    A,
    B,
    C,
    World,
    address,
    db,
    orders,
)


async def pinged(world: World) -> bool:
    app = world.web.dial(TCP_VIP)
    try:
        await app.send_all(b"\x00ping")
        return await app.receive_some() == b"\x00ping"
    except trio.BrokenResourceError:
        return False
    finally:
        app.close()
        await wait_all_tasks_blocked()


async def test_connections_may_be_split_too(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    both = CallRule("canary", backends=(Backend("db.shop", 5432, 1), Backend("new-db.shop", 5432, 1), Backend("orders.shop", 80, 9)))
    old, new = db(A), Service("new-db.shop", 5432, (), "opaque", (B,))
    world = echoing(nursery, msgspec.structs.replace(old, rules=(both,)), new, orders(C))
    for _ in range(10):
        assert await pinged(world)
    assert set(world.web.bench.dialer.dialled) == {address(A), address(B)}
    assert {line["rule"] for line in world.web.bench.lines} == {"service/db.shop", "service/new-db.shop"}
    while True:
        app = world.web.dial(TCP_VIP)
        await app.send_all(b"ping")
        await read_until(app, b"ping")
        if world.web.bench.dialer.dialled[-1] == address(B):
            break
        app.close()
    world.become(msgspec.structs.replace(old, rules=(both,)), orders(C))
    assert await is_gone(app)


def echoing(nursery: trio.Nursery, *services: Service) -> World:
    world = World(nursery, *services)
    for endpoint in (A, B, C):
        world.plays(endpoint, echo)
    return world


async def test_connections_are_balanced(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = echoing(nursery, db(A, B, C))
    for _ in range(6):
        assert await pinged(world)
    assert Counter(world.web.bench.dialer.dialled) == dict.fromkeys(map(address, (A, B, C)), 2)
    assert world.in_flight() == 0


async def test_a_connection_that_cannot_be_made_is_made_to_another(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = echoing(nursery, db(A, B, C))
    world.is_down(A)
    world.web.bench.dialer.silent.add(address(B))
    for _ in range(3):
        assert await pinged(world)
    assert {line["upstream"] for line in world.web.bench.lines} == {f"db.shop {address(C)}"}
    assert world.in_flight() == 0


async def test_an_endpoint_has_its_time_to_take_a_connection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = echoing(nursery, db(A, B, balancing=msgspec.structs.replace(IN_TURN, connect_s=2)))
    world.web.bench.dialer.silent.add(address(A))
    for _ in range(2):
        assert await pinged(world)
    assert trio.current_time() == 2


async def test_a_connection_is_idle_as_long_as_its_rule_says(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = echoing(nursery, msgspec.structs.replace(db(A), rules=(CallRule("short", idle_s=7),)))
    app = world.web.dial(TCP_VIP)
    await app.send_all(b"ping")
    await read_until(app, b"ping")
    assert await is_gone(app)
    assert trio.current_time() == 7


async def test_three_endpoints_are_tried_and_none_twice(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = echoing(nursery, db(A, B, C, msgspec.structs.replace(A, port=8081)))
    world.web.bench.dialer.servers.clear()
    assert not await pinged(world)
    assert len(world.web.bench.dialer.dialled) == len(set(world.web.bench.dialer.dialled)) == 3
    world.become(db(A))
    assert not await pinged(world)
    assert len(world.web.bench.dialer.dialled) == 4
    assert world.web.bench.codes == ["BZ0401"] * 2
    assert world.in_flight() == 0


async def test_a_connection_never_comes_home_instead(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = echoing(nursery, db(A, OURSELVES))
    world.is_down(A)
    world.web.bench.dialer.servers[address(OURSELVES)] = echo
    assert {await pinged(world) for _ in range(2)} == {True, False}
    assert world.in_flight() == 0


async def test_an_endpoint_that_cannot_be_connected_to_is_left_out(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = echoing(nursery, db(A, B, balancing=FIRST_FAILS))
    world.is_down(A)
    for _ in range(6):
        assert await pinged(world)
    assert world.web.bench.dialer.dialled.count(address(A)) == 1
    assert world.counted("bartizan_ejections_total", "db.shop:5432") == 1


async def test_connections_have_their_limit(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = echoing(nursery, db(A, B, balancing=msgspec.structs.replace(IN_TURN, limits=Limits(connections=1))))
    app = world.web.dial(TCP_VIP)
    await app.send_all(b"ping")
    await read_until(app, b"ping")
    other = world.web.dial(TCP_VIP)
    other.sock.shutdown(socket.SHUT_WR)
    assert await is_gone(other)
    assert world.web.bench.codes == ["BZ0407"]
    await app.send_eof()
    assert await read_rest(app) == b""
    await wait_all_tasks_blocked()
    assert await pinged(world)


async def test_a_connection_given_up_is_counted_no_more(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = echoing(nursery, db(A))
    world.web.bench.dialer.silent.add(address(A))
    async with trio.open_nursery() as inner:
        web = Pod(world.web.bench, inner)
        await web.dial(TCP_VIP).send_all(b"x")
        await wait_all_tasks_blocked()
        assert world.in_flight() == 1
        inner.cancel_scope.cancel()
    assert world.in_flight() == 0


# -- NetworkPolicies


async def test_connections_go_to_endpoints_that_a_policy_lists(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = echoing(nursery, db(A, B, C))
    world.become(db(A, B, C), isolation=isolation(B))
    for _ in range(3):
        assert await pinged(world)
    assert set(world.web.bench.dialer.dialled) == {address(B)}
    world.is_down(B)
    assert not await pinged(world)      # nor to another instead
    assert set(world.web.bench.dialer.dialled) == {address(B)}


async def test_no_connection_where_no_endpoint_is_listed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = echoing(nursery, db(A, B))
    world.become(db(A, B), isolation=isolation(f"{TCP_VIP.host}/32"))
    assert not await pinged(world)
    (line,) = world.web.bench.lines
    assert (line["code"], line["rule"]) == ("BZ0216", NAMED)
    assert world.web.bench.dialer.dialled == []


async def test_a_connection_that_is_listed_no_longer_ends(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = echoing(nursery, db(A))
    app = world.web.dial(TCP_VIP)
    await app.send_all(b"ping")
    await read_until(app, b"ping")
    world.become(db(A), isolation=isolation(A))
    await app.send_all(b"more")
    await read_until(app, b"more")
    world.become(db(A), isolation=isolation(A, port=9090))
    assert await is_gone(app)
    assert trio.current_time() == 0


# -- draining


async def test_a_connection_outlasts_its_endpoints_readiness(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = echoing(nursery, db(A, B))
    app = world.web.dial(address(A))
    await app.send_all(b"ping")
    await read_until(app, b"ping")
    draining = msgspec.structs.replace(db(B), draining=(A,))
    world.become(draining)
    for _ in range(3):
        assert await pinged(world)
    assert world.web.bench.dialer.dialled[1:] == [address(B)] * 3
    await app.send_all(b"more")
    await read_until(app, b"more")
    world.become(db(B))
    assert await is_gone(app)
    assert trio.current_time() == 0
