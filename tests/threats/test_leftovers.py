"""L6, F1: exchanges that break off at every step, through two sidecars, and nothing of them is left: no count, no connection, no place.

What one exchange leaves behind is another's: a place that is never given back closes a route or a Service for good, a connection with
half an answer on it gives that to a stranger.
"""

import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.egress import Outbound
from sidecar.model.route import Caller, DirectResponse, Fault, Match, PathMatch, RateLimit, Redirect, Route
from sidecar.model.service import Balancing, CallRule, Ejection, Endpoint, Limits, Mirror, Retries, Service
from sidecar.model.snapshot import Inbound, Snapshot, Workload
from sidecar.net.listener import Tally
from sidecar.net.socket_stream import SocketStream
from sidecar.policy.rules import Rules
from sidecar.protocol.http2 import frames
from tests.helpers.http2 import ENDS, OPENING, data, headers, reset
from tests.helpers.leave import Pod, pod
from tests.helpers.mesh import sidecar
from tests.helpers.pki import ORDERS, WEB
from tests.helpers.runtime import POD, Bench

TIMES = int(os.environ.get("BARTIZAN_TIMES", "8"))     # of each row
VIP = Address("10.96.7.1", 80)
A = Endpoint("10.1.0.7", 8080, ORDERS)
HOME = Endpoint(POD, 8080, WEB)
PLACES = 5      # of the route and of the Service: a few that are not given back, and nothing goes any more

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
PART = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 1000


async def app(sock: socket.socket) -> None:
    """Answers as the path says."""
    stream, text = SocketStream(sock), b""
    try:
        while piece := await stream.receive_some():
            text += piece
            if b"\r\n\r\n" not in text:
                continue
            path, text = text.split(b" ")[1], b""
            if path == b"/hang":
                await trio.sleep_forever()
            elif path == b"/gone":
                return
            elif path == b"/garbage":
                await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\n")
            elif path == b"/part":
                await stream.send_all(PART)
                await trio.sleep_forever()
            elif path == b"/cut":
                await stream.send_all(PART)
                stream.abort()
                return
            elif path == b"/early":
                await stream.send_all(b"HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n")
            elif path == b"/much":
                await stream.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                while True:
                    await stream.send_all(b"4000\r\n" + b"y" * 0x4000 + b"\r\n")
            elif path == b"/interim":
                await stream.send_all(b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n")
                await trio.sleep_forever()
            elif path == b"/ws":
                await stream.send_all(SWITCH + b"z" * 300_000)
                await trio.sleep_forever()
            else:
                await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(path), path))
    except trio.BrokenResourceError:
        pass


def _route(name: str, path: str, **more: object) -> Route:
    return Route(name, (Caller(),), matches=(Match(PathMatch(path)),), concurrency=PLACES, **more)  # type: ignore[arg-type]


ROUTES = (
    Route("all", (Caller(),), concurrency=PLACES, upgrades=("websocket",), max_body_bytes=50_000),
    _route("direct", "/direct", direct_response=DirectResponse(200, "no")),
    _route("away", "/away", redirect=Redirect(hostname="a.test")),
    _route("slow", "/slow", fault=Fault(delay_s=30)),
    _route("broken", "/broken", fault=Fault(abort_status=503)),
    _route("limited", "/limited", rate_limit=RateLimit(1, per_s=86400)),
)
CALLS = CallRule(
    "calls", retries=Retries(2, on=("connect-failure", "refused-stream", "reset", "503"), attempt_s=20),
    mirror=Mirror("orders.shop", 80, 10),
)


class World:
    """An application, its sidecar, the sidecar of another, and that one's application."""

    def __init__(self, nursery: trio.Nursery, endpoint: Endpoint = A) -> None:
        limits = Limits(connections=200, pending=PLACES, requests=PLACES)
        service = Service(
            "orders.shop", 80, (VIP.host,), endpoints=(endpoint,), rules=(CALLS,),
            balancing=Balancing(limits=limits, ejection=Ejection(1_000_000)),
        )
        inbound = Inbound(routes=ROUTES, ports={8080: "http1"})
        snapshot = Snapshot(Workload(WEB, "shop", addresses=(POD,)), inbound=inbound, outbound=Outbound((service,)))
        self.web: Pod = pod(nursery, Rules.of(snapshot, "digest"))
        self.orders, serve = sidecar(nursery, app, inbound, at=Address(A.address, A.port))
        self.web.bench.dialer.servers[Address(A.address, A.port)] = serve
        self.web.bench.dialer.servers[Address(HOME.address, HOME.port)] = app
        self.tally = Tally()
        for bench in self.benches:
            nursery.start_soon(bench.runtime.mirrors.run, bench.runtime.pool, self.tally)

    @property
    def benches(self) -> tuple[Bench, Bench]:
        return self.web.bench, self.orders

    async def fetch(self, path: bytes) -> bytes:
        client = self.web.dial(VIP)
        await client.send_all(b"GET %b HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\r\n" % path)
        answer = b""
        while piece := await client.receive_some():
            answer += piece
        client.close()
        return answer

    def left(self) -> list[object]:
        """Whatever is not as it was before anybody came."""
        found: list[object] = []
        for bench in self.benches:
            runtime = bench.runtime
            pool, groups = runtime.pool, runtime.endpoints._groups.values()
            found += [runtime.admission.under_way, pool.pending, pool.connecting, runtime.idle]
            found += [group.in_flight for group in groups]
            found += [member.in_flight for group in groups for member in group._members.values()]
            found += [sum(pool.opened.values()) - len(pool._places), [place for place in pool._places.values() if not place.is_kept]]
            found += [[kept for kept in pool._kept.values() if any(connection not in pool._places for connection in kept)]]
            found += [runtime.mirrors._give.statistics().current_buffer_used, runtime.pipes.count - len(runtime.pipes._spare)]
        return [what for what in found if what] + [self.tally.bugs] * bool(self.tally.bugs)


# -- how far it goes, and how it ends


def ask(path: str, method: str = "GET", *fields: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: orders", *fields, "", ""]).encode() + body


UPGRADE = ("connection: upgrade", "upgrade: websocket")
HTTP1 = {
    "nothing": b"",
    "half a head": ask("/")[:20],
    "a request": ask("/"),
    "a pipeline": ask("/") * 3 + ask("/hang"),
    "a request that hangs": ask("/hang"),
    "a call for ever": ask("/hang", "POST", "content-type: application/grpc", "grpc-timeout: 99999999H"),
    "half a body": ask("/hang", "POST", "content-length: 10", body=b"12345"),
    "half a chunk": ask("/hang", "POST", "transfer-encoding: chunked", body=b"a\r\n12345"),
    "a broken chunk": ask("/hang", "POST", "transfer-encoding: chunked", body=b"a\r\n1234567890\r\nx"),
    "too large a body": ask("/hang", "POST", "transfer-encoding: chunked", body=b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"),
    "a body that is announced": ask("/early", "POST", "content-length: 10", "expect: 100-continue"),
    "an early answer": ask("/early", "POST", "content-length: 1000", body=b"12345"),
    "a part of an answer": ask("/part"),
    "an answer that is cut": ask("/cut"),
    "an answer that is none": ask("/garbage"),
    "no answer": ask("/gone"),
    "an answer without end": ask("/much"),
    "an interim answer": ask("/interim"),
    "an upgrade": ask("/ws", "GET", *UPGRADE, body=b"w" * 1000),
    "an upgrade that is refused": ask("/hang", "GET", *UPGRADE),
    "our own answer": ask("/direct") + ask("/away") + ask("/broken") + ask("/limited") * 2,
    "a delay": ask("/slow"),
    "against the law": ask("/a//b"),
}


def fields(path: str, method: bytes = b"GET") -> list[tuple[bytes, bytes]]:
    return [(b":method", method), (b":scheme", b"http"), (b":authority", b"orders"), (b":path", path.encode())]


def many(path: str, count: int = 5) -> bytes:
    return b"".join(headers(sid, fields(path)) for sid in range(1, 2 * count, 2))


def _begun(path: str) -> bytes:
    return headers(1, fields(path, b"POST"), frames.END_HEADERS) + data(1, b"12345")


HTTP2 = {
    "nothing": b"",
    "a request": many("/", 1),
    "half a head": headers(1, fields("/"))[:15],
    "five that hang": many("/hang"),
    "a call for ever": headers(1, [*fields("/hang", b"POST"), (b"content-type", b"application/grpc"), (b"grpc-timeout", b"99999999H")]),
    "half a body": _begun("/hang"),
    "one that is reset": many("/hang", 2) + reset(1),
    "one that is reset in its body": _begun("/hang") + reset(1),
    "reset at once": b"".join(headers(sid, fields("/")) + reset(sid) for sid in range(1, 60, 2)),
    "too large a body": headers(1, fields("/hang", b"POST"), frames.END_HEADERS) + data(1, b"x" * 16000) * 4,
    "trailers": _begun("/hang") + headers(1, [(b"a", b"b")], ENDS),
    "a bad stream beside": many("/hang", 2) + headers(5, [*fields("/"), (b"connection", b"x")]),
    "a violation beside": many("/hang", 2) + data(0, b"x"),
    "an early answer": _begun("/early"),
    "a part of an answer": many("/part"),
    "an answer that is cut": many("/cut"),
    "an answer that is none": many("/garbage"),
    "no answer": many("/gone"),
    "answers without end": many("/much"),
    "an answer that nobody has room for": frames.render(frames.SETTINGS, 0, 0, b"\0\4\0\0\0\1") + many("/much"),
    "our own answer": headers(1, fields("/direct")) + headers(3, fields("/away")) + headers(5, fields("/broken")),
    "delays": many("/slow"),
    "GOAWAY": many("/hang", 2) + frames.render_goaway(0, frames.Code.NO_ERROR),
    "against the law": headers(1, fields("/a//b")),
}
ROWS = list(HTTP1.items()) + [(f"h2: {name}", OPENING + text) for name, text in HTTP2.items()]


async def go(stream: SocketStream) -> None:
    """Closing with bytes unread resets."""
    stream.close()


async def end(stream: SocketStream) -> None:
    """No word more, and much is read."""
    try:
        await stream.send_eof()
        seen = 0
        while seen < 1 << 20 and (piece := await stream.receive_some()):
            seen += len(piece)
    except trio.BrokenResourceError:
        pass


async def wait(stream: SocketStream) -> None:
    """Nothing is said or read until we are sent away."""
    await trio.sleep(30)


@dataclass(frozen=True)
class Way:
    leave: Callable[[SocketStream], Awaitable[None]]
    at_once: bool       # before anybody has looked at what was sent


WAYS = {"at once": Way(go, True), "then": Way(go, False), "half": Way(end, False), "silent": Way(wait, False)}


async def abort(world: World, text: bytes, way: Way) -> None:
    stream = world.web.dial(VIP)
    try:
        if text:
            await stream.send_all(text)
        if not way.at_once:
            await wait_all_tasks_blocked()
        with trio.move_on_after(100):
            await way.leave(stream)
    except trio.BrokenResourceError:
        pass
    finally:
        stream.close()


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("endpoint", [A, HOME], ids=["elsewhere", "at home"])
@pytest.mark.parametrize(("name", "text"), ROWS, ids=[name for name, _ in ROWS])
async def test_nothing_is_left(
    name: str, text: bytes, endpoint: Endpoint, how: str, nursery: trio.Nursery, autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as inner:
        world = World(inner, endpoint)
        assert (await world.fetch(b"/before")).endswith(b"/before")
        for _ in range(TIMES):
            await abort(world, text, WAYS[how])
            await wait_all_tasks_blocked()
        await trio.sleep(4000)   # a tunnel of which one half is open may rest for an hour
        assert world.left() == []
        for path in (b"/one", b"/two"):
            assert (await world.fetch(path)).endswith(path)
        inner.cancel_scope.cancel()
