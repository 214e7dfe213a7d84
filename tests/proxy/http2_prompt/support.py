"""What goes the prompt way is told of and answered just as what goes the way of all others: both carry out the same exchanges here.

The library h2 asks, and the library h2 answers.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import h2.events
import trio
from trio.testing import wait_all_tasks_blocked

from sidecar.model.message import RequestHead
from sidecar.proxy.plan import Decision
from sidecar.telemetry.access_log import Record
from tests.helpers.exchange import Downstream, Server, downstream
from tests.helpers.http2 import GET, OK, h2_peer
from tests.helpers.runtime import bench, rules
from tests.helpers.streams import MemoryStream
from tests.proxy.test_http2 import Client

Fields = list[tuple[bytes, bytes]]


class Up:
    """The upstream's end of a connection, and what was asked there, by stream."""

    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream
        self.h2 = h2_peer(is_client=False)
        self.h2.initiate_connection()
        self.asked: dict[int, Fields] = {}
        self.bodies: dict[int, bytes] = defaultdict(bytes)
        self.whole: list[int] = []
        self.resets: dict[int, int] = {}

    async def send(self) -> None:
        await self.stream.send_all(self.h2.data_to_send())

    async def read(self, until: Callable[[], object]) -> None:
        while not until():
            data = await self.stream.receive_some()
            assert data, "the proxy closed"
            for event in self.h2.receive_data(data):
                match event:
                    case h2.events.RequestReceived():
                        self.asked[event.stream_id] = list(event.headers)   # type: ignore[arg-type]
                    case h2.events.DataReceived():
                        self.bodies[event.stream_id] += event.data
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    case h2.events.StreamEnded():
                        self.whole.append(event.stream_id)
                    case h2.events.StreamReset():
                        self.resets[event.stream_id] = event.error_code
            await self.send()

    async def request(self) -> int:
        """The next one, whole."""
        seen = len(self.whole)
        await self.read(lambda: len(self.whole) > seen)
        return self.whole[-1]

    async def answer(self, sid: int, body: bytes = b"ok", fields: Fields = OK) -> None:
        self.h2.send_headers(sid, fields, end_stream=not body)
        if body:
            self.h2.send_data(sid, body, end_stream=True)
        await self.send()


Play = Callable[[Client, Up, Downstream], Awaitable[object]]
Decide = Callable[[RequestHead, Record, Server], Decision | Awaitable[Decision]]


def permitted(request: RequestHead, record: Record, server: Server) -> Decision:
    return server.plan()


async def carried(play: Play, *, is_prompt: bool, decide: Decide = permitted, room: int = 1 << 20) -> tuple[Any, ...]:
    """What both ends saw, and what was told, after a first exchange that made the connection to the upstream."""
    async with trio.open_nursery() as nursery:
        def judge(request: RequestHead, record: Record) -> Decision | Awaitable[Decision]:
            return decide(request, record, server)

        server = Server(1 << 20, is_http2=True)
        known = bench(nursery, rules(accept_http10=True), is_prompt=is_prompt)
        down = downstream(nursery, decide=judge, server=server, room=room, known=known)
        client = Client(down)
        first = await client.ask([*GET[:3], (b":path", b"/first")])
        up = Up(await server.accept())
        await up.send()
        await up.answer(await up.request())
        assert await client.answer(first) == b"ok"
        began = trio.current_time()
        await play(client, up, down)
        await wait_all_tasks_blocked()
        took = trio.current_time() - began
        lines = [{key: value for key, value in line.items() if key not in ("time", "duration_ms")} for line in down.bench.lines]
        assert all(line.get("duration_ms", 0) <= took * 1000 + 1 for line in down.bench.lines)
        for end in (client.down.client, up.stream):
            end.close()
        down.scope.cancel()
        nursery.cancel_scope.cancel()
    return (
        client.heads, dict(client.bodies), client.trailers, client.ended, client.resets, client.goaways,
        sorted(up.asked.values()), sorted(up.bodies.values()), sorted(up.resets.values()), sorted(lines, key=str), took,
    )
