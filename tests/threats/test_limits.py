"""How long, how many, how much? L1 to L6, L8 (L7 has a file of its own): slow clients, floods, edges, stalled readers; virtual time."""

import errno
import socket
from collections.abc import Callable
from dataclasses import replace

import pytest
import trio
from OpenSSL import SSL
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.reason import Reason
from sidecar.model.snapshot import Inbound
from sidecar.net.listener import Tally, serve_listener
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import ALPN_HTTP1, ALPN_TCP
from sidecar.net.tls_stream import TlsStream
from sidecar.parts import EachTurn
from sidecar.telemetry.access_log import AccessLog
from tests.helpers.attack import PLAIN_HTTP, Chain, canary, request
from tests.helpers.leave import pod
from tests.helpers.mesh import APP, arrive, call, sidecar, tls_of
from tests.helpers.pki import WEB
from tests.helpers.runtime import socket_pair
from tests.proxy.outbound.support import DB, ENDPOINT, ONE, VIP, mesh

OK_BIG = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n"
OPAQUE = Inbound(mode="permissive", permissive_until=4e9, ports={8080: "opaque"})


async def is_served(chain: Chain, name: str) -> None:
    assert b"GET /canary-%b" % name.encode() in await chain.say(canary(name))


async def trickle(chain: Chain, begin: bytes, piece: bytes, every_s: float, until_s: float) -> float:
    """When the client that sends `piece` every so often was gone; `until_s` if it was not. Others are served meanwhile."""
    stream = await chain.connect()
    await stream.send_all(begin)
    start, number = trio.current_time(), 0
    with trio.move_on_after(until_s):
        async with trio.open_nursery() as nursery:

            async def wait_end() -> None:
                try:
                    while await stream.receive_some():
                        pass
                except trio.BrokenResourceError:
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait_end)
            while True:
                await trio.sleep(every_s)
                number += 1
                if number < 5:
                    await is_served(chain, f"{begin[:4].hex()}-{number}")
                try:
                    await stream.send_all(piece)
                except trio.BrokenResourceError:
                    break
    await stream.aclose()
    return trio.current_time() - start


# -- L1: slow clients


@pytest.mark.parametrize(("begin", "piece", "every_s", "within_s"), [
    pytest.param(b"GET / HTTP/1.1\r\n", b"a", 1, 25, id="L1-head"),
    pytest.param(b"GET / HTTP/1.1\r\n", b"a: b\r\n", 5, 25, id="L1-fields"),
    pytest.param(b"GET /", b"a", 9, 25, id="L1-target"),
    pytest.param(request(b"/") + b"G", b"ET / HTTP/1.1\r\na: b\r\n", 5, 20, id="L1-next-head"),
    pytest.param(request(b"/", b"content-length: 9", method=b"POST"), b"", 20, 61, id="L1-silent-body"),
    pytest.param(request(b"/", b"transfer-encoding: chunked", method=b"POST") + b"5\r\n", b"", 20, 301, id="L1-silent-chunk"),
    pytest.param(request(b"/", b"content-length: 9", b"expect: 100-continue", method=b"POST"), b"", 20, 61, id="L1-silent-expected-body"),
    pytest.param(request(b"/"), b"", 20, 76, id="L1-idle"),
])
async def test_a_slow_client_is_gone_in_time(
    begin: bytes, piece: bytes, every_s: float, within_s: float, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    chain = Chain(nursery)
    assert await trickle(chain, begin, piece, every_s, 3600) <= within_s
    await is_served(chain, "after")


@pytest.mark.parametrize(("begin", "piece"), [
    pytest.param(request(b"/", b"content-length: 100000", method=b"POST"), b"a", id="L1-trickled-body"),
    pytest.param(request(b"/", b"transfer-encoding: chunked", method=b"POST"), b"1\r\na\r\n", id="L1-trickled-chunks"),
])
async def test_a_trickled_body_is_gone_in_time(begin: bytes, piece: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """One byte every 50 seconds would keep a connection here, and one at the application, for eight weeks."""
    assert await trickle(Chain(nursery), begin, piece, 50, 7200) < 1000


async def test_L1_a_trickle_does_not_hide_who_does_not_read(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The application has answered at once and at length; the client reads nothing, and sends a byte of its body now and then."""
    chain = Chain(nursery)
    chain.bench.dialer.servers[APP] = endless(OK_BIG)
    stream = await chain.connect()
    await stream.send_all(request(b"/", b"content-length: 100000", method=b"POST"))
    for _ in range(20):
        await trio.sleep(50)
        try:
            await stream.send_all(b"a")
        except trio.BrokenResourceError:
            break
    await stream.aclose()
    assert trio.current_time() <= 200


@pytest.mark.parametrize("is_meshed", [pytest.param(False, id="L1-slow-read"), pytest.param(True, id="L1-slow-read-mtls")])
async def test_a_slow_reader_is_gone_in_time(is_meshed: bool, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A byte now and then does not keep it: a piece of 64 KiB has its time as a whole."""
    chain = Chain(nursery, is_meshed=is_meshed)
    chain.bench.dialer.servers[APP] = endless(OK_BIG)
    stream = await chain.connect()
    await stream.send_all(request(b"/"))
    while not chain.bench.lines and trio.current_time() < 3600:
        await trio.sleep(20)
        await stream.receive_some(1)
    assert chain.bench.codes == [Reason.TIMED_OUT_DOWNSTREAM.code]
    assert trio.current_time() <= 100
    await stream.aclose()


def endless(begin: bytes, sent: list[int] | None = None) -> Callable[[socket.socket], object]:
    async def serve(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        try:
            while b"\r\n\r\n" not in await stream.receive_some():
                pass
            await stream.send_all(begin)
            await push(sock, sent if sent is not None else [0])
        except trio.BrokenResourceError:
            pass

    return serve


async def push(sock: socket.socket, sent: list[int]) -> None:
    """As much as is taken, for ever; `sent` counts."""
    while True:
        try:
            sent[0] += sock.send(b"x" * 16384)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)
        except OSError:
            return


# -- L2: handshakes that do not go on


async def test_L2_half_handshakes_are_gone_after_ten_seconds(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    chain = Chain(nursery)
    socks = [arrive(nursery, chain.bench) for _ in range(300)]
    for sock in socks[:50]:
        stream = TlsStream(tls_of(WEB).clients[ALPN_HTTP1], sock, is_server=False)
        with pytest.raises(SSL.WantReadError):
            stream.connection.do_handshake()    # the hello, and no more
    await is_served(chain, "meanwhile")
    chain.bench.lines.clear()
    await trio.sleep(9.9)
    assert chain.bench.lines == []
    await trio.sleep(0.2)
    assert chain.bench.codes == [Reason.TIMED_OUT_DOWNSTREAM.code] * 300
    await is_served(chain, "after")


# -- L3: too many connections, too few descriptors


async def test_L3_a_flood_from_one_address_leaves_room_for_others(nursery: trio.Nursery) -> None:
    """Real sockets: three hundred silent strangers, room for eight."""
    served: list[str] = []

    async def serve(sock: socket.socket) -> None:
        served.append(sock.getpeername()[0])
        stream = SocketStream(sock)
        while data := await stream.receive_some():
            await stream.send_all(data)

    def connection(source: str) -> socket.socket:
        return socket.create_connection(listener.getsockname(), source_address=(source, 0))

    tally = Tally()
    with trio.fail_after(10), socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        listener.setblocking(False)
        flood = [connection("127.0.0.2") for _ in range(300)]
        nursery.start_soon(serve_listener, listener, serve, tally, 8)
        for _ in range(3):
            with connection("127.0.0.3") as sock:
                stream = SocketStream(sock)
                await stream.send_all(b"ping")
                assert await stream.receive_some() == b"ping"
        assert served.count("127.0.0.2") == 4
        for sock in flood:
            sock.close()
        while tally.open.current:
            await tally.open.wait_change(tally.open.current)
        with connection("127.0.0.2") as sock:
            stream = SocketStream(sock)
            await stream.send_all(b"ping")
            assert await stream.receive_some() == b"ping"
        assert tally.bugs == 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("code", [
    pytest.param(getattr(errno, name), id=f"L3-{name}") for name in ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM")
])
async def test_without_descriptors_the_listener_waits(code: int, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It neither spins nor ends, and serves as soon as it can."""
    class Full(socket.socket):
        tries, is_full = 0, True

        def accept(self) -> tuple[socket.socket, object]:
            self.tries += 1
            if self.is_full:
                raise OSError(code, "full")
            self.is_full = True
            return theirs, ("10.0.0.1", 1)

        def fileno(self) -> int:
            return asking[1].fileno()       # always readable

    asking = socket_pair()
    asking[0].send(b"x")
    ours, theirs = socket_pair()
    served = trio.Event()

    async def serve(sock: socket.socket) -> None:
        served.set()

    listener = Full()
    nursery.start_soon(serve_listener, listener, serve, Tally(), 8)
    await trio.sleep(10)
    assert 50 <= listener.tries <= 101
    listener.is_full = False
    await served.wait()
    nursery.cancel_scope.cancel()
    for sock in (*asking, ours):
        sock.close()


# -- L4: edges


@pytest.mark.parametrize(("payload", "status"), [
    pytest.param(request(b"/", b"a: " + b"b" * (65536 - len(request(b"/", b"a: ")))), 200, id="L4-64-KiB"),
    pytest.param(request(b"/", b"a: " + b"b" * (65537 - len(request(b"/", b"a: ")))), 431, id="L4-64-KiB-and-one"),
    pytest.param(request(b"/", b"a: " + b"b" * 10_000_000), 431, id="L4-10-MB"),
    pytest.param(request(b"/", *[b"a: b"] * 99), 200, id="L4-100-fields"),
    pytest.param(request(b"/", *[b"a: b"] * 100), 431, id="L4-101-fields"),
    pytest.param(request(b"/", *[b"a:b"] * 10_000), 431, id="L4-10000-fields"),
    pytest.param(request(b"/" + b"a" * 8191), 200, id="L4-8-KiB-target"),
    pytest.param(request(b"/" + b"a" * 8192), 414, id="L4-8-KiB-and-one-target"),
])
async def test_edges(payload: bytes, status: int, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    outcome = await Chain(nursery).attack(payload)
    assert (outcome.statuses, len(outcome.forwarded), outcome.is_served_on) == ([status], int(status == 200), status == 200)


# -- L5: what a stalled reader costs


def capacity() -> int:
    """What a connection's own buffers in the kernel take."""
    one, other = socket_pair()
    taken = 0
    try:
        while True:
            taken += one.send(b"x" * 16384)
    except BlockingIOError:
        return taken
    finally:
        one.close()
        other.close()


MOST_BYTES = 256 * 1024
UPLOADS = {
    "length": request(b"/", b"content-length: 100000000", method=b"POST"),
    "chunked": request(b"/", b"transfer-encoding: chunked", method=b"POST") + b"5f5e100\r\n",
}
DOWNLOADS = {
    "length": OK_BIG, "chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5f5e100\r\n",
    "until-close": b"HTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("begin", UPLOADS.values(), ids=[f"L5-up-{name}" for name in UPLOADS])
async def test_an_origin_that_does_not_read_holds_the_client_back(
    begin: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    chain, sent = Chain(nursery), [0]
    chain.bench.dialer.servers[APP] = never_reads
    sock = arrive(nursery, chain.bench)
    await SocketStream(sock).send_all(begin)
    nursery.start_soon(push, sock, sent)
    await wait_all_tasks_blocked()
    assert capacity() < sent[0] <= 2 * capacity() + MOST_BYTES
    nursery.cancel_scope.cancel()


async def never_reads(sock: socket.socket) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize("begin", DOWNLOADS.values(), ids=[f"L5-down-{name}" for name in DOWNLOADS])
@pytest.mark.parametrize("is_meshed", [False, True], ids=["plaintext", "mtls"])
async def test_a_client_that_does_not_read_holds_the_origin_back(
    begin: bytes, is_meshed: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    chain, sent = Chain(nursery, is_meshed=is_meshed), [0]
    chain.bench.dialer.servers[APP] = endless(begin, sent)
    stream = await chain.connect()
    await stream.send_all(request(b"/"))
    await wait_all_tasks_blocked()
    assert capacity() < sent[0] <= 2 * capacity() + MOST_BYTES
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_meshed", [pytest.param(False, id="L5-tcp"), pytest.param(True, id="L5-tcp-mtls")])
async def test_a_tunnel_holds_back_either_side(is_meshed: bool, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    up, down = [0], [0]
    chain = Chain(nursery, OPAQUE)

    async def serve(sock: socket.socket) -> None:
        await push(sock, down)

    chain.bench.dialer.servers[APP] = serve
    sock = arrive(nursery, chain.bench)
    stream = await call(sock, alpn=ALPN_TCP) if is_meshed else SocketStream(sock)

    async def send() -> None:
        while True:
            await stream.send_all(b"\0" * 16384)
            up[0] += 16384

    nursery.start_soon(send)
    await wait_all_tasks_blocked()
    for sent in (up, down):
        assert capacity() < sent[0] <= 2 * capacity() + MOST_BYTES
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("to", [pytest.param(VIP, id="L5-out"), pytest.param(DB, id="L5-out-tcp")])
async def test_two_sidecars_hold_back_either_side(to: Address, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An application calls another, and neither reads what it is sent."""
    up, down = [0], [0]
    web = pod(nursery, mesh(ONE))

    async def serve(sock: socket.socket) -> None:
        await SocketStream(sock).send_all(OK_BIG if to is VIP else b"")
        await push(sock, down)

    _, web.bench.dialer.servers[ENDPOINT] = sidecar(nursery, serve, Inbound() if to is VIP else OPAQUE)
    app = web.dial(to)
    if to is VIP:
        await app.send_all(UPLOADS["length"])
    nursery.start_soon(push, app.sock, up)
    await wait_all_tasks_blocked()
    for sent in (up, down):
        assert capacity() < sent[0] <= 3 * capacity() + 2 * MOST_BYTES
    nursery.cancel_scope.cancel()


# -- L6: nothing is left behind


async def test_L6_who_comes_and_goes_leaves_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Aborted at each step of an exchange, many times over: tasks, streams and counts are those of the beginning."""
    chain = Chain(nursery)
    await is_served(chain, "before")
    tasks = len(nursery.child_tasks)
    parts = (b"", b"G", request(b"/")[:20], request(b"/"), request(b"/", b"content-length: 5", method=b"POST") + b"he", request(b"/") * 3)
    for number in range(120):
        stream = await chain.connect()
        await stream.send_all(parts[number % len(parts)])
        if number % 2:
            await wait_all_tasks_blocked()
        await stream.aclose()
    await wait_all_tasks_blocked()
    await trio.sleep(100)
    # Each connection that a test makes leaves a task that would close the client's end.
    assert len(nursery.child_tasks) - tasks <= 120 + len(chain.bench.runtime.pool)
    assert sum(chain.bench.runtime.pool.opened.values()) == len(chain.bench.runtime.pool)
    await is_served(chain, "after")


# -- L8: floods of what is written down


async def test_L8_a_log_that_is_full_costs_counted_lines_only(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Two thousand refusals at once, each with a path and a host of its own: all are answered, all are counted, none grows a table."""
    chain = Chain(nursery, replace_routes(PLAIN_HTTP))
    lines: list[bytes] = []

    def write(some: bytes) -> None:
        if len(lines) >= 100:
            raise BlockingIOError
        lines.extend(some.splitlines())

    log = AccessLog(write)
    trio.lowlevel.add_instrument(EachTurn(log))
    chain.bench.runtime = replace(chain.bench.runtime, log=log)
    series = len(chain.bench.runtime.metrics.render({}).splitlines())
    asked = [request(b"/%d" % number, host=b"h%d.test" % number, method=b"M%d" % number) for number in range(2000)]
    answer = await chain.say(b"".join(asked))
    assert answer.count(b"HTTP/1.1 403 ") == 2000
    assert (len(lines), log.dropped) == (100, 1900)
    told = chain.bench.runtime.metrics.render({})
    assert sum(int(line.rpartition(" ")[2]) for line in told.splitlines() if line.startswith("bartizan_requests_total{")) == 2000
    assert len(told.splitlines()) - series <= 5
    assert all(len(line) < 1024 for line in lines)


def replace_routes(inbound: Inbound) -> Inbound:
    """Nothing is let in."""
    return Inbound(mode=inbound.mode, permissive_until=inbound.permissive_until, ports=inbound.ports, routes=())
