"""One downstream connection on memory streams, whose exchanges lead to upstreams that the test plays."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import trio

from sidecar.model.decision import Denied, Permit
from sidecar.model.message import RequestHead, ResponseHead
from sidecar.net.ends import Connection
from sidecar.net.http1_client import Http1Client
from sidecar.net.http2_client import Http2Client
from sidecar.proxy.http import serve_http
from sidecar.proxy.plan import Decide, Decision, Plan, Upstream
from sidecar.telemetry.access_log import Record
from tests.helpers.runtime import NOW, Bench, bench, rules
from tests.helpers.streams import ROOM_BYTES, MemoryStream, stream_pair

PERMIT = Permit("test")


@dataclass
class Server:
    """Where exchanges go: `accept` is the test's end of the next connection, `made` all of the proxy's ends."""

    room: int = ROOM_BYTES
    is_http2: bool = False
    made: list[MemoryStream] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._give, self._take = trio.open_memory_channel[MemoryStream](1024)

    async def connect(self) -> Connection:
        ours, theirs = stream_pair(self.room)
        self.made.append(ours)
        await self._give.send(theirs)
        return Http2Client(ours) if self.is_http2 else Http1Client(ours)

    async def accept(self) -> MemoryStream:
        return await self._take.receive()

    def upstream(self, key: Hashable = "server", *, is_mesh: bool = False) -> Upstream:
        return Upstream(key, self.connect, b"up.test", [(b"x-ours", b"1")], "up", is_mesh, is_shared=self.is_http2)

    def plan(
        self, key: Hashable = "server", *, is_mesh: bool = False, adapt: Callable[[ResponseHead], ResponseHead] | None = None
    ) -> Plan:
        return Plan(PERMIT, lambda: self.upstream(key, is_mesh=is_mesh), adapt=adapt)


@dataclass
class Downstream:
    """
    Args:
        client: the test's end.
        ours: the proxy's end.
    """

    bench: Bench
    server: Server
    client: MemoryStream
    ours: MemoryStream
    scope: trio.CancelScope

    async def ask(self, text: bytes) -> None:
        await self.client.send_all(text)

    async def reach(self, text: bytes) -> MemoryStream:
        """Ask, on a new connection to the server: its end, from which the request's head has been read."""
        await self.ask(text)
        up = await self.server.accept()
        await up.read_until()
        return up


def downstream(
    nursery: trio.Nursery,
    *,
    decide: Decide | Denied | None = None,
    room: int = ROOM_BYTES,
    upstream_room: int = ROOM_BYTES,
    server: Server | None = None,
    is_mesh: bool = False,
    known: Bench | None = None,
    direction: str = "outbound",
) -> Downstream:
    """Begin to serve one connection.

    Args:
        decide: a decision function, or the one refusal; None: everything is permitted and goes to `server`.
        server: None: one that speaks HTTP/1.1.
    """
    server = server or Server(upstream_room)
    client, ours = stream_pair(room)
    made = Downstream(known or bench(nursery, rules(accept_http10=True)), server, client, ours, trio.CancelScope())

    def known_judge(request: RequestHead, record: Record) -> Decision:
        return decide if isinstance(decide, Denied) else server.plan(is_mesh=is_mesh)

    judge = decide if callable(decide) else known_judge

    async def serve() -> None:
        with made.scope:
            try:
                await serve_http(ours, made.bench.runtime, judge, lambda: Record(NOW, direction))
            finally:
                ours.close()

    nursery.start_soon(serve)
    return made


GET = b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def post(length: int, body: bytes = b"", *fields: bytes) -> bytes:
    """The head of a POST with a body of `length` bytes, and what of the body comes with it."""
    lines = [b"POST / HTTP/1.1", b"host: a.test", b"content-length: %d" % length, *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
