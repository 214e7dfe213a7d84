"""Opaque bytes both ways, until both sides have ended, one breaks, nothing moves for an hour, or the leave to do so is withdrawn."""

from collections.abc import Callable

import trio

from sidecar.model.decision import Permit
from sidecar.net.watched import Watched
from sidecar.policy.rules import Rules
from sidecar.telemetry.access_log import Record

IDLE_S = 3600.0
PIECE_BYTES = 65536


async def tunnel(
    downstream: trio.abc.HalfCloseableStream,
    upstream: trio.abc.HalfCloseableStream,
    permit: Permit,
    record: Record,
    rules: Watched[Rules | None],
    is_permitted: Callable[[Rules | None], bool],
) -> None:
    """
    Args:
        record: gets the bytes counted.
        is_permitted: asked at each change of the rules; False ends the connection.

    Returns quietly however it ends; the caller closes both streams.
    """
    assert isinstance(permit, Permit)
    idle = trio.CancelScope(deadline=trio.current_time() + IDLE_S)
    with idle:
        async with trio.open_nursery() as nursery:

            async def half(source: trio.abc.ReceiveStream, sink: trio.abc.HalfCloseableStream, is_up: bool) -> None:
                try:
                    while data := await source.receive_some(PIECE_BYTES):
                        await sink.send_all(data)
                        idle.deadline = trio.current_time() + IDLE_S
                        if is_up:
                            record.received += len(data)
                        else:
                            record.sent += len(data)
                    await sink.send_eof()
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    nursery.cancel_scope.cancel()   # a cut side cuts the other
                ended.append(is_up)
                if len(ended) == 2:
                    nursery.cancel_scope.cancel()

            async def watch() -> None:
                seen = rules.current
                while is_permitted(seen):
                    seen = await rules.wait_change(seen)
                record.detail = "no longer permitted"
                nursery.cancel_scope.cancel()

            ended: list[bool] = []
            nursery.start_soon(half, downstream, upstream, True)
            nursery.start_soon(half, upstream, downstream, False)
            nursery.start_soon(watch)
