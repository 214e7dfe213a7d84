"""What enters the pod and is no HTTP: judged once, and again whenever the rules change."""

import trio

from sidecar.model.address import Address
from sidecar.model.call import Peer
from sidecar.model.decision import Denied, Permit
from sidecar.model.errors import MeshError, ReasonedError
from sidecar.net.deadline import Deadline
from sidecar.net.socket_stream import SocketStream, linger
from sidecar.telemetry.access_log import Record

from .entrance import Entrance
from .plan import CONNECT_S
from .runtime import Runtime
from .tunnel import tunnel


async def serve_opaque(
    stream: trio.abc.HalfCloseableStream, to: Address, peer: Peer | None, record: Record, runtime: Runtime
) -> None:
    started = trio.current_time()
    entrance = Entrance(to, peer, record.source, runtime)
    judged = entrance.judge(None)
    if isinstance(judged, Permit):
        judged = runtime.admission.limit(judged, None, entrance.caller) or judged
    if isinstance(judged, Denied):
        record.rule = judged.rule
        record.refuse(judged.reason, judged.detail)
        runtime.tell(record)
        await linger(stream)    # an end, and no reset: who is refused is not to take it for a fault of the network
        return
    record.rule, record.upstream = judged.rule, f"app {to}"
    done = runtime.admission.hold(judged)
    try:
        with Deadline() as deadline:
            deadline.upstream("connect", CONNECT_S)
            app = SocketStream(await runtime.dialer.connect(to))
        try:
            idle_s = judged.route.idle_s if judged.route else None
            await tunnel(stream, app, judged, record, runtime.rules, entrance.is_permitted, runtime.pipes, idle_s)
        finally:
            app.close()
    except MeshError as exc:
        if isinstance(exc, ReasonedError):
            record.refuse(exc.reason, exc.detail)
    finally:
        if done is not None:
            done()
        record.duration_ms = round((trio.current_time() - started) * 1000, 3)
        runtime.tell(record)
