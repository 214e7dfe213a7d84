"""What nobody has approved and is let through, and written down, until a date."""

import socket

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.egress import Outbound
from sidecar.net.socket_stream import SocketStream
from tests.helpers.exchange import OK
from tests.helpers.leave import Pod, pod
from tests.helpers.mesh import echo, http_app, is_gone, read_rest, read_until
from tests.helpers.pki import WEB
from tests.helpers.runtime import POD, rules
from tests.helpers.tls13 import client_hello
from tests.proxy.outbound.support import FAR, RANGE, mesh

NEWS = "news.example"
OBSERVED_S = 600.0


def observer(nursery: trio.Nursery) -> Pod:
    web = pod(nursery, None)
    outbound = Outbound(
        mode="observe", observe_until=web.bench.wall + OBSERVED_S, cluster_ranges=("192.0.2.0/24",), resolvers=("10.96.0.10",))
    web.bench.runtime.rules.set(rules(outbound=outbound))
    web.resolver.names[NEWS] = (FAR.host,)
    return web


def seen_of(web: Pod) -> list[tuple[str, str, str, dict[str, int], dict[str, int], int]]:
    """What the ledger holds: how, by which identity, where to, spoken how to which port, by which rule, bytes sent."""
    found = [entry for entry in web.bench.ledger.entries if entry.kind == "connection"]
    assert {entry.local for entry in found} == {WEB}
    return [(entry.security, entry.host, entry.dst, entry.spoken, entry.rules, entry.sent) for entry in found]


async def test_observed_plain_http_goes_on_as_it_is_and_is_written_down(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, seen = observer(nursery), []
    web.bench.dialer.servers[Address(FAR.host, 8080)] = http_app(seen, OK)
    app = web.dial(Address("198.51.100.9", 8080))
    await app.send_all(f"POST /a HTTP/1.1\r\nhost: {NEWS}:8080\r\ncontent-length: 4\r\n\r\nbody".encode())
    assert await app.receive_some() == OK
    assert seen[0].startswith(f"POST /a HTTP/1.1\r\nhost: {NEWS}:8080\r\n".encode())
    app.close()
    await wait_all_tasks_blocked()
    dst = "198.51.100.9:8080"
    assert seen_of(web) == [("plaintext", NEWS, dst, {"plain:8080": 1}, {"(observed)": 1}, 4)]
    assert web.bench.lines[0]["spoken"] == "plain:8080"


async def test_observed_tls_passes_by_its_name(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, sent = observer(nursery), client_hello(NEWS)
    web.bench.dialer.servers[Address(FAR.host, 8443)] = echo
    app = web.dial(Address(FAR.host, 8443))
    await app.send_all(sent)
    await read_until(app, sent)
    app.close()
    await wait_all_tasks_blocked()
    assert seen_of(web) == [("passthrough", NEWS, f"{FAR.host}:8443", {"tls:8443": 1}, {"(observed)": 1}, len(sent))]


@pytest.mark.parametrize("first", [b"\x00\x01\x02\x03", b"EHLO web\r\n", client_hello(None)], ids=["binary", "lines", "tls-without-name"])
async def test_observed_bytes_without_a_name_go_to_the_address(
    first: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = observer(nursery)
    web.bench.dialer.servers[FAR] = echo
    app = web.dial(FAR)
    await app.send_all(first)
    await read_until(app, first)
    app.close()
    await wait_all_tasks_blocked()
    assert seen_of(web) == [("passthrough", "", str(FAR), {f"tcp:{FAR.port}": 1}, {"(observed)": 1}, len(first))]


async def test_an_observed_server_that_speaks_first(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = observer(nursery)

    async def greet(sock: socket.socket) -> None:
        await SocketStream(sock).send_all(b"220 ready\r\n")

    web.bench.dialer.servers[FAR] = greet
    assert await read_rest(web.dial(FAR)) == b"220 ready\r\n"
    assert trio.current_time() == 5


async def test_an_observed_connection_that_lasts_is_told_of_while_it_does(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = observer(nursery)
    web.bench.dialer.servers[FAR] = echo
    app = web.dial(FAR)
    for sent in (b"\x00\x01", b"\x02"):
        await app.send_all(sent)
        await read_until(app, sent)
        web.bench.runtime.accounts.tell_open()      # which `main` does every ten minutes
    app.close()
    await wait_all_tasks_blocked()
    web.bench.runtime.accounts.tell_open()
    entries = web.bench.ledger.entries
    assert [(entry.sent, entry.is_open) for entry in entries] == [(2, True), (3, True), (3, False)]
    assert {(entry.id, entry.dst, str(entry.spoken), str(entry.rules)) for entry in entries} == {
        (web.bench.lines[0]["connection"], str(FAR), f"{{'tcp:{FAR.port}': 1}}", "{'(observed)': 1}")}


@pytest.mark.parametrize("host", [
    "127.0.0.1", "169.254.169.254", "10.1.0.9", "192.0.2.7", "192.168.1.1", "240.0.0.1", POD,
])
@pytest.mark.parametrize("first", [
    b"\x00\x01\x02\x03", client_hello(None), client_hello("inner.example"), b"GET / HTTP/1.1\r\nhost: inner.example\r\n\r\n",
], ids=["binary", "tls-without-name", "tls", "plain"])
async def test_nobody_is_observed_within(host: str, first: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Addresses of the pod, the node, the cluster and private networks are for approvals that mean them."""
    web = observer(nursery)
    web.resolver.names["inner.example"] = (host,)
    app = web.dial(Address(host, 80))
    await app.send_all(first)
    app.sock.shutdown(socket.SHUT_WR)
    await wait_all_tasks_blocked()
    assert web.bench.dialer.dialled == []
    assert web.bench.codes in (["BZ0202"], ["BZ0204"])


async def test_an_observation_ends_at_its_date(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = observer(nursery)
    for port in (5432, 443):
        web.bench.dialer.servers[Address(FAR.host, port)] = echo
    opaque, own = web.dial(FAR), web.dial(Address(FAR.host, 443))
    for app, first in (opaque, b"\x00\x01"), (own, client_hello(NEWS)):
        await app.send_all(first)
        await read_until(app, first)
    web.bench.dialer.servers[Address(FAR.host, 80)] = http_app([], OK)
    plain = web.dial(Address(FAR.host, 80))
    await plain.send_all(f"GET / HTTP/1.1\r\nhost: {NEWS}\r\n\r\n".encode())
    assert await plain.receive_some() == OK
    assert len(web.bench.runtime.pool) == 1
    web.bench.wall += OBSERVED_S
    assert await is_gone(opaque)
    assert await is_gone(own)
    assert trio.current_time() <= 5
    web.bench.runtime.withdrawals.part()        # which `main` does every few seconds
    await plain.send_all(f"GET / HTTP/1.1\r\nhost: {NEWS}\r\n\r\n".encode())
    assert b"BZ0201 host-not-approved" in await plain.receive_some()
    assert await is_gone(web.dial(FAR), b"\x00\x01")
    assert len(web.bench.dialer.dialled) == 3


async def test_an_observed_connection_goes_on_where_it_was_approved_meanwhile(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = observer(nursery)
    web.bench.dialer.servers[FAR] = echo
    app = web.dial(FAR)
    await app.send_all(b"\x00\x01")
    await read_until(app, b"\x00\x01")
    web.bench.runtime.rules.set(mesh(ranges=(RANGE,)))
    await trio.sleep(60)
    await app.send_all(b"\x00\x02")
    await read_until(app, b"\x00\x02")
    web.bench.runtime.rules.set(mesh())
    assert await is_gone(app)


async def test_what_was_refused_says_how_it_was_spoken(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, mesh())
    for first in (client_hello(NEWS), b"\x00\x01\x02\x03", f"GET / HTTP/1.1\r\nhost: {NEWS}\r\n\r\n".encode()):
        app = web.dial(Address(FAR.host, 80))
        await app.send_all(first)
        app.sock.shutdown(socket.SHUT_WR)
        await wait_all_tasks_blocked()
    refused = [(entry.code, entry.host, entry.spoken) for entry in web.bench.ledger.entries]
    assert refused == [("BZ0201", NEWS, {"tls:80": 1}), ("BZ0202", "", {"tcp:80": 1}), ("BZ0201", NEWS, {"plain:80": 1})]
