"""Where an approved name leads: the resolver that the sidecar has, asked by the recipes that use it; only the name servers are played."""

from dataclasses import dataclass, field

import dns.message
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.egress import EgressHost, Origination, Outbound
from sidecar.net.race import STAGGER_S
from sidecar.net.resolve import NEGATIVE_S, STALE_S, TTL_FLOOR_S, Resolver
from sidecar.net.socket_stream import SocketStream
from sidecar.policy.rules import Rules
from sidecar.proxy.originate import Originator
from tests.helpers import pki
from tests.helpers.dns_server import Script, records
from tests.helpers.exchange import OK
from tests.helpers.leave import Pod, https, partner, pod
from tests.helpers.mesh import echo, http_app, is_gone, read_until, root
from tests.helpers.runtime import rules
from tests.helpers.tls13 import client_hello
from tests.proxy.test_egress import ask

HOST = "api.partner.example"
FOUR, SIX, NEXT = "203.0.113.80", "2001:db8::80", "203.0.113.81"
RESOLVER, OTHER = Address("10.96.0.10", 53), Address("10.96.0.11", 5353)
ROOTS = pki.pem([root("public").certificate])
TTL_S = 30
HELLO = client_hello(HOST)


@dataclass
class Played(Resolver):
    """
    Args:
        script: what every name server says; None: nothing.
    """

    script: Script | None
    asked: list[tuple[Address, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    async def exchange(self, query: dns.message.Message, server: Address) -> dns.message.Message:
        self.asked.append((server, query.question[0].rdtype.name))
        await trio.lowlevel.checkpoint()
        if self.script is None:
            await trio.sleep_forever()
        assert self.script is not None
        return dns.message.from_wire(self.script(query)[0])


def known(*resolvers: str) -> Rules:
    host = EgressHost(HOST, "partners/api", tls=Origination(roots=ROOTS), tcp_ports=(5432,))
    return rules(outbound=Outbound(hosts=(host,), resolvers=resolvers or ("10.96.0.10",), cluster_ranges=("10.244.0.0/16", "fd10::/64")))


def outside(nursery: trio.Nursery, *texts: str) -> tuple[Pod, Played]:
    web, resolver = pod(nursery, known()), Played(told(*texts))
    web.originator = Originator(web.bench.runtime.rules, resolver)
    for address in (FOUR, SIX, NEXT):
        web.bench.dialer.servers[Address(address, 443)] = https(partner(HOST), http_app([], OK))
    return web, resolver


def told(*addresses: str, ttl: int = TTL_S) -> Script:
    return records(*(f"{HOST} {ttl} {'AAAA' if ':' in one else 'A'} {one}" for one in addresses))


def led_to(web: Pod) -> list[str]:
    return [to.host for to in web.bench.dialer.dialled]


async def test_the_name_servers_are_those_of_the_snapshot(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, resolver = outside(nursery, FOUR)
    app = web.dial(Address("192.0.2.1", 80))
    assert await ask(app) == OK
    web.bench.runtime.rules.set(known("10.96.0.11:5353"))
    assert await ask(app) == OK
    assert sorted(resolver.asked) == sorted((server, kind) for server in (RESOLVER, OTHER) for kind in ("A", "AAAA"))


async def test_an_answer_of_no_time_holds_for_the_floor(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, resolver = outside(nursery)
    resolver.script = told(FOUR, ttl=0)
    app = web.dial(Address("192.0.2.1", 80))
    assert await ask(app) == OK
    resolver.script = told(NEXT, ttl=0)
    await trio.sleep(TTL_FLOOR_S - 0.01)
    assert await ask(app) == OK
    assert (led_to(web), len(resolver.asked)) == ([FOUR], 2)
    await trio.sleep(0.01)
    assert await ask(app) == OK
    assert (led_to(web), len(resolver.asked)) == ([FOUR, NEXT], 4)


async def test_rebinding_when_the_time_of_an_answer_is_over(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, resolver = outside(nursery, FOUR)
    app = web.dial(Address("192.0.2.1", 80))
    assert await ask(app) == OK
    resolver.script = told("169.254.169.254")
    await trio.sleep(TTL_S)
    assert b"BZ0204 special-address" in await ask(app)
    assert led_to(web) == [FOUR]


async def test_while_no_name_server_answers_the_last_answer_goes_on(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, resolver = outside(nursery, FOUR)
    app = web.dial(Address("192.0.2.1", 80))
    assert await ask(app) == OK
    for script in (None, records(code="SERVFAIL")):
        resolver.script = script
        await trio.sleep(TTL_S)
        assert await ask(app) == OK
    await trio.sleep(STALE_S)
    app = web.dial(Address("192.0.2.1", 80))
    assert b"BZ0406 name-not-resolved" in await ask(app)
    resolver.script = told(NEXT)
    await trio.sleep(NEGATIVE_S)
    assert await ask(app) == OK
    assert led_to(web)[-1] == NEXT


async def test_a_stale_answer_is_judged_by_the_rules_of_now(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, resolver = outside(nursery, "10.9.0.1")
    app = web.dial(Address("192.0.2.1", 80))
    web.bench.dialer.servers[Address("10.9.0.1", 443)] = https(partner(HOST), http_app([], OK))
    allowed = EgressHost(HOST, "partners/api", tls=Origination(roots=ROOTS), special_addresses=("10.9.0.0/24",))
    web.bench.runtime.rules.set(rules(outbound=Outbound(hosts=(allowed,), resolvers=("10.96.0.10",))))
    assert await ask(app) == OK
    resolver.script = None
    await trio.sleep(TTL_S)
    web.bench.runtime.rules.set(known())
    assert b"BZ0204 special-address" in await ask(app)


async def test_that_there_is_no_such_name_is_remembered_briefly(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, resolver = outside(nursery)
    resolver.script = records(code="NXDOMAIN")
    app = web.dial(Address("192.0.2.1", 80))
    for _ in range(3):
        assert b"BZ0406 name-not-resolved" in await ask(app)
    assert len(resolver.asked) == 2
    resolver.script = told(FOUR)
    await trio.sleep(NEGATIVE_S)
    assert await ask(app) == OK


@pytest.mark.parametrize("kind", ["plain", "tls", "tcp"])
async def test_a_family_into_a_black_hole_costs_a_quarter_of_a_second(kind: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, _ = outside(nursery, FOUR, SIX)
    for port in (443, 5432):
        web.bench.dialer.silent.add(Address(SIX, port))
        web.bench.dialer.servers[Address(FOUR, port)] = https(partner(HOST), http_app([], OK)) if kind == "plain" else echo
    if kind == "tcp":
        web.bench.dialer.servers[Address(FOUR, 5432)] = https(partner(HOST), echo)
    app = begin(web, kind)
    if kind == "plain":
        assert await ask(app) == OK
    else:
        first = HELLO if kind == "tls" else b"ping"
        await app.send_all(first)
        assert await read_until(app, first) == first
    assert trio.current_time() == STAGGER_S
    assert led_to(web) == [SIX, FOUR]


def begin(web: Pod, kind: str) -> SocketStream:
    if kind != "tcp":
        return web.dial(Address(FOUR, 80 if kind == "plain" else 443))
    address = web.bench.runtime.synthetic.address(HOST)
    assert address is not None
    return web.dial(Address(address, 5432))


SPECIAL = (
    "127.0.0.1", "0.0.0.0", "10.0.0.1", "172.31.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "192.0.0.170", "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "10.244.0.7", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "fd10::7", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::127.0.0.1",
)


@pytest.mark.parametrize("address", SPECIAL)
@pytest.mark.parametrize("kind", ["plain", "tls", "tcp"])
async def test_no_name_leads_to_a_special_address(kind: str, address: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, _ = outside(nursery, address)
    app = begin(web, kind)
    if kind == "plain":
        assert b"BZ0204 special-address" in await ask(app)
    else:
        assert await is_gone(app, HELLO if kind == "tls" else b"x")
        await wait_all_tasks_blocked()
        assert web.bench.codes == ["BZ0204"]
    assert web.bench.dialer.dialled == []


@pytest.mark.parametrize("kind", ["plain", "tls"])
@pytest.mark.parametrize("dialled", [FOUR, NEXT])
async def test_another_address_than_the_names_is_written_down(
    kind: str, dialled: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """No error: addresses of a name rotate. (A synthetic address is a name's own, and says nothing.)"""
    web, _ = outside(nursery, FOUR, SIX)
    web.bench.dialer.servers[Address(FOUR, 443)] = web.bench.dialer.servers[Address(SIX, 443)] = \
        https(partner(HOST), http_app([], OK)) if kind == "plain" else echo
    app = web.dial(Address(dialled, 80 if kind == "plain" else 443))
    if kind == "plain":
        assert await ask(app) == OK
    else:
        await app.send_all(HELLO)
        await read_until(app, HELLO)
    app.close()
    await wait_all_tasks_blocked()
    (line,) = web.bench.lines
    assert (line.get("dst_mismatch", False), line["dst"]) == (dialled == NEXT, str(Address(dialled, 80 if kind == "plain" else 443)))
