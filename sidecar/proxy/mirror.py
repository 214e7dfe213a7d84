"""Copies of requests to another Service: sent beside the exchange, never waited for, their answers thrown away.

Only a request that is whole when its head arrives is copied: what is still on its way would have to be held. Where more copies
wait than a few, the next ones are dropped and counted.
"""


import msgspec
import trio
from msgspec.structs import replace

from sidecar.model.errors import MeshError
from sidecar.model.message import RequestHead
from sidecar.net.deadline import Deadline
from sidecar.net.listener import Tally
from sidecar.net.pool import Pool
from sidecar.telemetry.metrics import Metrics

from .lease import lease
from .plan import Upstream

WAITING = 256
AT_ONCE = 32
COPY_S = 15.0
MAX_ANSWER_BYTES = 1 << 20


class Copy(msgspec.Struct, frozen=True):
    """None of the request is anybody else's: its head is a value, its body these bytes."""

    request: RequestHead
    body: bytes
    upstream: Upstream
    is_whole: bool

    @classmethod
    def of(cls, request: RequestHead, body: bytes, upstream: Upstream, *, is_whole: bool) -> "Copy":
        return cls(replace(request, upgrade=b"", expects_continue=False), body, upstream, is_whole)


class Mirrors:
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._give, self._take = trio.open_memory_channel[Copy](WAITING)

    def offer(self, copy: Copy) -> None:
        if not copy.is_whole:
            self._over(copy, "too-large")
            return
        try:
            self._give.send_nowait(copy)
        except trio.WouldBlock:
            self._over(copy, "too-many")

    def _over(self, copy: Copy, outcome: str) -> None:
        self._metrics.count("bartizan_mirrored_total", (("outcome", outcome),))
        if copy.upstream.leave is not None:
            copy.upstream.leave()

    async def run(self, pool: Pool, tally: Tally) -> None:
        """Send for ever, a few at a time."""
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(self._send_all, pool, tally)

    async def _send_all(self, pool: Pool, tally: Tally) -> None:
        async for copy in self._take:
            outcome = "failed"
            try:
                with Deadline() as deadline:
                    await _send(copy, pool, deadline)
                outcome = "sent"
            except MeshError:
                pass    # the exchange itself is none the worse
            except Exception as exc:  # noqa: BLE001 -- the supervisor of copies: no connection ends with one
                tally.report(exc)
            finally:
                self._over(copy, outcome)


async def _send(copy: Copy, pool: Pool, deadline: Deadline) -> None:
    asking, _ = await lease(copy.upstream, pool, deadline)
    try:
        deadline.upstream("mirrored request", COPY_S)
        await asking.send_request(copy.request, copy.upstream.host, copy.upstream.headers, copy.body, is_end=True)
        while (await asking.read_head()).status < 200:
            pass
        seen = 0
        while not asking.is_body_done and seen < MAX_ANSWER_BYTES:
            seen += len(await asking.read_body())
    finally:
        asking.finish()
