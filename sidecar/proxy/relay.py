"""Connections whose bytes pass as they are: each is one tunnel, told of when it is over.

    relay    connects first: to an approved range, to a host whose TLS is the application's own, to what is observed
    carry    what is connected already
"""

import socket
from collections.abc import Callable, Sequence

import trio

from sidecar.model.address import Address
from sidecar.model.decision import Permit
from sidecar.model.egress import EgressHost, EgressRange
from sidecar.net.deadline import Deadline
from sidecar.net.socket_stream import SocketStream, close_stream
from sidecar.telemetry.access_log import Record

from .originate import dial
from .plan import CONNECT_S
from .runtime import Runtime
from .tunnel import tunnel


async def relay(
    sock: socket.socket,
    to: Sequence[Address],
    permit: Permit,
    record: Record,
    runtime: Runtime,
    is_permitted: Callable[[], bool],
    approval: EgressHost | EgressRange | None = None,
) -> None:
    """Bytes as they are, to the first of `to` that takes the connection.

    Args:
        approval: whose budget they are taken from.
    """
    record.rule = permit.rule
    if approval is not None:
        runtime.budgets.demand(approval)
    with Deadline() as deadline:
        deadline.upstream("connect", CONNECT_S)
        sock_up, at = await dial([address.host for address in to], to[0].port, runtime)
    record.upstream = f"{record.host or to[0].host}:{to[0].port}"
    await carry(SocketStream(sock), SocketStream(sock_up), permit, record, runtime, runtime.with_way(at, is_permitted), approval=approval)


async def carry(
    app: trio.abc.HalfCloseableStream,
    upstream: trio.abc.HalfCloseableStream,
    permit: Permit,
    record: Record,
    runtime: Runtime,
    is_permitted: Callable[[], bool],
    *,
    approval: EgressHost | EgressRange | None = None,
    idle_s: float | None = None,
) -> None:
    """Bytes as they are between two that are connected, until a side ends or the leave does; closes the upstream and tells the record.

    Args:
        approval: whose budget the bytes are taken from.
    """
    if not record.connection:
        runtime.accounts.relay(record)
    started = trio.current_time()
    try:
        spend = runtime.budgets.spender(approval) if approval is not None else None
        await tunnel(app, upstream, permit, record, runtime.rules, is_permitted, runtime.pipes, idle_s, spend)
    finally:
        record.duration_ms = round((trio.current_time() - started) * 1000, 3)
        runtime.tell(record)        # while its account is open
        close_stream(upstream)
