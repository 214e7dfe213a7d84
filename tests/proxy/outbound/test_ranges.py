"""To an address: an approved range, and nowhere without one."""

import socket

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model import ports
from sidecar.model.address import Address
from sidecar.model.egress import EgressRange
from sidecar.model.reason import Reason
from sidecar.policy.rules import Rules
from tests.helpers.exchange import GET
from tests.helpers.leave import pod
from tests.helpers.mesh import echo, is_gone, read_until
from tests.proxy.outbound.support import DB, FAR, ONE, RANGE, VIP, mesh

# -- ranges


async def test_an_approved_range_is_relayed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ranges=(RANGE,)))
    web.bench.dialer.servers[FAR] = echo
    app = web.dial(FAR)
    await app.send_all(b"ping")
    assert await read_until(app, b"ping") == b"ping"
    web.bench.runtime.rules.set(mesh())
    assert await is_gone(app)
    (line,) = web.bench.lines
    assert (line["security"], line["rule"], line["detail"]) == ("passthrough", "far-db", "no longer permitted")


async def test_what_goes_to_a_range_ends_where_a_budget_comes(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ranges=(RANGE,)))
    web.bench.dialer.servers[FAR] = echo
    app = web.dial(FAR)
    await app.send_all(b"ping")
    await read_until(app, b"ping")
    web.bench.runtime.rules.set(mesh(ranges=(replace(RANGE, bytes_per_hour=1),)))
    assert await is_gone(app)
    assert trio.current_time() == 0


async def test_an_approved_range_where_nobody_is(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ranges=(RANGE,)))
    app = web.dial(FAR)
    await app.send_all(GET)     # HTTP hears why
    assert b"BZ0401 connect-failed" in await app.receive_some()
    silent = Address("203.0.113.9", 5432)
    web.bench.dialer.silent.add(silent)
    app = web.dial(silent)
    await app.send_all(b"\x00\x00")
    app.sock.shutdown(socket.SHUT_WR)
    assert await is_gone(app)
    assert trio.current_time() == 5


# -- nowhere


@pytest.mark.parametrize("to", [
    Address("203.0.113.7", 5433), Address("203.0.114.7", 5432), Address("169.254.169.254", 80), Address("127.0.0.1", 5432),
])
async def test_bytes_without_a_name_go_nowhere(to: Address, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ONE, ranges=(RANGE,)))
    app = web.dial(to)
    assert await is_gone(app, b"\x00\x01\x02")
    assert web.bench.codes == [Reason.ADDRESS_NOT_APPROVED.code]
    assert web.bench.dialer.dialled == []


async def test_a_protocol_in_which_the_server_speaks_first(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh())
    app = web.dial(FAR)
    assert await app.receive_some() == b""
    assert trio.current_time() == 6     # five for a first byte, one more in case it was HTTP after all
    assert web.bench.codes == [Reason.TIMED_OUT_DOWNSTREAM.code]


@pytest.mark.parametrize("to", [None, *(Address("10.1.0.9", port) for port in sorted(ports.OWN)), Address("127.0.0.1", 25001)])
async def test_the_listener_relays_to_no_listener(to: Address | None, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ONE, ranges=(EgressRange("0.0.0.0/0", "all"),)))
    port = to.port if to is not None and to.port == 25001 else 15001
    app = web.dial(to, port)
    assert await is_gone(app)
    assert web.bench.codes == [Reason.OWN_PORT.code]
    assert web.bench.dialer.dialled == []


async def test_our_own_connection_that_came_back(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The exemption is lost: what we dial ourselves comes to our listener, which would dial again."""
    web = pod(nursery, mesh(ranges=(RANGE,)))
    web.bench.runtime.dialer.own_ports.add(40000)
    assert await is_gone(web.dial(FAR))
    assert web.bench.codes == [Reason.OWN_PORT.code]


async def test_a_canary_is_nobodys_traffic(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ranges=(EgressRange("0.0.0.0/0", "all"),)))
    to = Address(ports.NAT_CANARY[4], ports.CANARY_PORT)
    with web.arrivals.expect(Address(to.host, 40000)) as arrived:
        assert await is_gone(web.dial(to))
        assert arrived.is_set()
    assert web.bench.lines == []


@pytest.mark.parametrize(("is_open", "known", "code"), [(False, mesh(ONE), "BZ0207"), (True, None, "BZ0601")])
async def test_our_own_state(
    is_open: bool, known: Rules | None, code: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = pod(nursery, known)
    web.bench.runtime.is_outbound_open.set(is_open)
    for to in (VIP, DB, FAR, Address("10.96.0.10", 53)):
        app = web.dial(to)
        await app.send_all(GET)
        assert code.encode() in await app.receive_some()
        app.close()
        await wait_all_tasks_blocked()
    assert web.bench.codes == [code] * 4
    assert web.bench.dialer.dialled == []


async def test_a_refusal_of_bytes_that_are_not_http_is_an_end(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh(ONE))
    web.bench.runtime.is_outbound_open.set(False)
    app = web.dial(DB)
    await app.send_all(b"\x00\x00")
    assert await is_gone(app)
    assert web.bench.codes == ["BZ0207"]
