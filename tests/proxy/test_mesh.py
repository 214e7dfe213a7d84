"""How calls are carried out: rules, backends, attempts, limits; several sidecars face to face, under the virtual clock."""

import socket
from collections import Counter
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.route import Caller, HeaderEdit, Match, PathMatch, Rewrite, Route
from sidecar.model.service import Backend, Balancing, CallRule, Ejection, Endpoint, HashOn, Limits, Mirror, Retries, Service
from sidecar.model.snapshot import Inbound, Outbound, Snapshot, Workload
from sidecar.net.listener import Tally
from sidecar.policy.rules import Rules
from tests.helpers.exchange import OK
from tests.helpers.leave import Pod, pod
from tests.helpers.mesh import echo, http_app, is_gone, read_rest, read_until
from tests.helpers.pki import ORDERS, WEB
from tests.helpers.runtime import POD, Serve
from tests.proxy.test_outbound import sidecar

VIP, NEW_VIP, TCP_VIP = Address("10.96.7.1", 80), Address("10.96.7.9", 80), Address("10.96.7.2", 5432)
A, B, C = (Endpoint(f"10.1.0.{i}", 8080, ORDERS) for i in (7, 8, 9))
OURSELVES = Endpoint(POD, 8080, WEB)
BROKEN = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
IN_TURN = Balancing("RoundRobin", ejection=None)
FIRST_FAILS = Balancing("RoundRobin", ejection=Ejection(failures=1, for_s=30))


def address(endpoint: Endpoint) -> Address:
    return Address(endpoint.address, endpoint.port)


def orders(*endpoints: Endpoint, balancing: Balancing = IN_TURN, rule: CallRule | None = None, **more: Any) -> Service:
    return Service("orders.shop", 80, (VIP.host,), endpoints=endpoints, balancing=balancing, rules=(rule,) if rule else (), **more)


def new_orders(*endpoints: Endpoint, balancing: Balancing = IN_TURN, **more: Any) -> Service:
    return Service("new-orders.shop", 80, (NEW_VIP.host,), endpoints=endpoints, balancing=balancing, **more)


def db(*endpoints: Endpoint, balancing: Balancing = IN_TURN) -> Service:
    return Service("db.shop", 5432, (TCP_VIP.host,), "opaque", endpoints, balancing=balancing)


def knows(*services: Service, zone: str = "") -> Rules:
    """The rules of the caller, on whose own ports TCP is served, too."""
    inbound = Inbound(ports={OURSELVES.port: "opaque"} if any(service.protocol == "opaque" for service in services) else {})
    return Rules.of(Snapshot(Workload(WEB, "shop", addresses=(POD,), zone=zone), inbound=inbound, outbound=Outbound(services)), "digest")


def says(text: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text)


class World:
    """A caller, and endpoints whose applications say which one they are."""

    def __init__(self, nursery: trio.Nursery, *services: Service, zone: str = "") -> None:
        self.nursery = nursery
        self.web: Pod = pod(nursery, knows(*services, zone=zone))
        self.seen: dict[Endpoint, list[bytes]] = {}
        for endpoint in (A, B, C):
            self.answers(endpoint, says(endpoint.address.encode()))

    def plays(self, endpoint: Endpoint, app: Serve) -> None:
        """What is no HTTP is `echo`."""
        inbound = Inbound(ports={endpoint.port: "opaque"} if app is echo else {})
        self.web.bench.dialer.servers[address(endpoint)] = sidecar(self.nursery, app, inbound, at=address(endpoint))[1]

    def answers(self, endpoint: Endpoint, answer: bytes) -> None:
        self.plays(endpoint, http_app(self.seen.setdefault(endpoint, []), answer))

    def is_down(self, *endpoints: Endpoint) -> None:
        for endpoint in endpoints:
            del self.web.bench.dialer.servers[address(endpoint)]

    def become(self, *services: Service) -> None:
        self.web.bench.runtime.rules.set(knows(*services))

    async def ask(self, path: str = "/", *, method: str = "GET", more: str = "", to: Address = VIP) -> bytes:
        app = self.web.dial(to)
        await app.send_all(f"{method} {path} HTTP/1.1\r\nhost: orders.shop\r\n{more}\r\n".encode())
        answer = bytes(await app.receive_some())
        app.close()
        await wait_all_tasks_blocked()
        return answer

    async def asked(self, times: int = 12, **how: Any) -> Counter[bytes]:
        return Counter([(await self.ask(**how)).rpartition(b"\r\n")[2] for _ in range(times)])

    def in_flight(self) -> int:
        return sum(group.in_flight for group in self.web.bench.runtime.endpoints._groups.values())

    def counted(self, name: str, service: str = "orders.shop:80") -> float:
        return self.web.bench.runtime.metrics.get(name, (("service", service),))


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


async def hang(sock: socket.socket) -> None:
    await trio.sleep_forever()


def names(*endpoints: Endpoint) -> set[bytes]:
    return {endpoint.address.encode() for endpoint in endpoints}


# -- which endpoint


async def test_requests_of_one_connection_go_to_each_endpoint(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B, C))
    app, found = world.web.dial(VIP), []
    for _ in range(6):
        await app.send_all(b"GET / HTTP/1.1\r\nhost: orders.shop\r\n\r\n")
        found.append(bytes(await app.receive_some()).rpartition(b"\r\n")[2])
    assert Counter(found) == dict.fromkeys(names(A, B, C), 2)
    assert world.in_flight() == 0


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


# -- which Service


def to_both(old: int, new: int) -> CallRule:
    return CallRule("canary", backends=(Backend("orders.shop", 80, old), Backend("new-orders.shop", 80, new)))


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


async def test_without_a_rule_nothing_is_asked_twice(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, B))
    world.is_down(A)
    assert {b"BZ0401" in await world.ask() for _ in range(4)} == {True, False}


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
    assert [b"BZ0401" in await world.ask() for _ in range(10)].count(True) == 1
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


async def test_the_circuit_opens(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, orders(A, balancing=msgspec.structs.replace(IN_TURN, limits=Limits(requests=1))))
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


# -- connections


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
