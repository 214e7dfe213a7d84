"""A lease: one exchange's place on an upstream connection, pooled or new, within the limits of its group.

Where a connection carries many exchanges (HTTP/2), those that come while it is being made wait for it instead of making more.
"""

import trio

from sidecar.model.errors import TimedOut, Unavailable
from sidecar.model.reason import Reason
from sidecar.net.deadline import Deadline
from sidecar.net.ends import AskingEnd, Connection
from sidecar.net.pool import Pool

from .plan import Upstream


async def lease(upstream: Upstream, pool: Pool, deadline: Deadline) -> tuple[AskingEnd, bool]:
    """(the end, whether its connection was used before). Raises UpstreamError, or Unavailable where a limit is reached."""
    if (end := pool.take_nowait(upstream.key)) is not None:
        return end, True
    deadline.upstream("connection", 2 * upstream.connect_s)     # to wait for one, then to make one
    limits, group = upstream.limits, upstream.group
    if limits is not None and pool.pending[group] >= limits.pending:
        raise _beyond(upstream, f"{limits.pending} requests wait for a connection to {upstream.name}")
    pool.pending[group] += 1
    try:
        while upstream.is_shared and (made := pool.connecting.get(upstream.key)) is not None:
            await made.wait()
            if (end := pool.take_nowait(upstream.key)) is not None:
                return end, True
        return await connect(upstream, pool), False
    finally:
        pool.pending[group] -= 1
        if not pool.pending[group]:
            del pool.pending[group]


async def connect(upstream: Upstream, pool: Pool) -> AskingEnd:
    """An exchange on a new connection."""
    limits, group = upstream.limits, upstream.group
    if limits is not None and pool.opened[group] >= limits.connections:
        raise _beyond(upstream, f"{limits.connections} connections to {upstream.name} are open")
    pool.opened[group] += 1
    made = trio.Event()
    if upstream.is_shared:
        pool.connecting[upstream.key] = made
    try:
        connection = await _in_time(upstream)
    except BaseException:
        pool.forget(group)
        raise
    finally:
        made.set()
        if pool.connecting.get(upstream.key) is made:
            del pool.connecting[upstream.key]
    return pool.add(upstream.key, group, connection)


def _beyond(upstream: Upstream, detail: str) -> Unavailable:
    if upstream.refused is not None:
        upstream.refused()
    return Unavailable(Reason.CIRCUIT_OPEN, detail)


async def _in_time(upstream: Upstream) -> Connection:
    """TimedOut tells that nothing was sent: the attempt failed, not the exchange."""
    with trio.move_on_after(upstream.connect_s):
        return await upstream.connect()
    raise TimedOut("connect", is_before_request=True)
