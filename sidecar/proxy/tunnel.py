"""Opaque bytes both ways, until both sides have ended, one breaks, nothing moves for long, or the leave to do so is withdrawn.

Only the first is an end; everything else cuts both sides, so that nobody takes a part for the whole. What is plain on both sides
goes from socket to socket (`net/splice.py`); with TLS on either side in pieces as large, through the room that all share.
"""

from collections.abc import Callable

import trio

from sidecar.model.decision import Permit
from sidecar.model.errors import Unavailable
from sidecar.net.socket_stream import SocketStream, cut
from sidecar.net.splice import Pipes, relay
from sidecar.net.tls_stream import TlsStream
from sidecar.net.watched import Watched
from sidecar.policy.rules import Rules
from sidecar.telemetry.access_log import Record

IDLE_S = 3600.0
PIECE_BYTES = 65536
ASK_AGAIN_S = 5.0


async def tunnel(
    downstream: trio.abc.HalfCloseableStream,
    upstream: trio.abc.HalfCloseableStream,
    permit: Permit,
    record: Record,
    rules: Watched[Rules | None],
    is_permitted: Callable[[], bool],
    pipes: Pipes,
    idle_s: float | None = None,
    spend: Callable[[int], None] | None = None,
) -> None:
    """
    Args:
        idle_s: how long it may be without a byte either way; None: an hour.
        record: gets the bytes counted.
        spend: called with how many bytes have gone to the upstream; raises Unavailable where they are too many, which ends the
            connection. A piece, `net/splice.LARGE_BYTES`, may have gone too far by then.
        is_permitted: asked at each change of the rules, and now and then, since dates pass, too; False ends the connection.

    Returns quietly however it ends; the caller closes both streams. After cancellation both are cut.
    """
    assert isinstance(permit, Permit)
    ended: list[bool] = []
    idle_s = idle_s or IDLE_S
    idle = trio.CancelScope(deadline=trio.current_time() + idle_s)

    async def half(source: trio.abc.ReceiveStream, sink: trio.abc.HalfCloseableStream, is_up: bool) -> None:
        def moved(count: int) -> None:
            idle.deadline = trio.current_time() + idle_s
            if is_up:
                record.received += count
                if spend is not None:
                    spend(count)
            else:
                record.sent += count

        try:
            if isinstance(source, SocketStream) and isinstance(sink, SocketStream):
                await relay(source.sock, sink.sock, pipes, moved)
            elif isinstance(source, SocketStream | TlsStream) and isinstance(sink, SocketStream | TlsStream):
                while piece := await source.receive_into(pipes.room):
                    sent = sink.send_nowait(piece)
                    if sent < len(piece):
                        with pipes.keeping(piece[sent:]) as rest:
                            await sink.send_all(rest)
                    moved(len(piece))
            else:
                while data := await source.receive_some(PIECE_BYTES):
                    await sink.send_all(data)
                    moved(len(data))
            await sink.send_eof()
            ended.append(is_up)
            if len(ended) < 2:
                return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except Unavailable as exc:
            record.refuse(exc.reason, exc.detail)
        idle.cancel()

    try:
        with idle:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(half, downstream, upstream, True)
                nursery.start_soon(half, upstream, downstream, False)
                while is_permitted():       # first of all before a byte moves: it took time to connect
                    seen = rules.current
                    with trio.move_on_after(ASK_AGAIN_S):
                        await rules.wait_change(seen)
                record.detail = "no longer permitted"
                idle.cancel()
    finally:
        if len(ended) < 2:
            cut(downstream)
            cut(upstream)
