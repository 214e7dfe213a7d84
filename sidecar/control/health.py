"""Health and metrics, asked through the captured inbound port, so that an answer proves the redirect of PREROUTING.

/healthz/started   the process runs and has its configuration
/healthz/ready     it has a snapshot and a valid certificate, and the packet rules are whole
/healthz/live      the loop turns
/app-health/...    a probe of the application that admission moved here (the kubelet has no identity)
"""

from collections.abc import Callable

import trio

from sidecar.model.address import Address
from sidecar.model.call import Answer, Call, Handler
from sidecar.model.config import Config, Probe
from sidecar.model.errors import BadResponse, MeshError
from sidecar.model.message import NO_BODY, RequestHead
from sidecar.net.deadline import Deadline
from sidecar.net.dial import Dialer
from sidecar.net.http1 import Http1Client
from sidecar.net.socket_stream import SocketStream
from sidecar.net.watched import Watched
from sidecar.telemetry.metrics import Metrics

APP_PROBE_S = 10.0


class Health:
    """
    Args:
        obstacles: what stands against readiness now, in words; empty: ready.
        address: the pod's own, where the application is probed; None while it is unknown.
    """

    def __init__(
        self, config: Config, obstacles: Callable[[], list[str]], address: Callable[[], str | None], dialer: Dialer
    ) -> None:
        self._config = config
        self._obstacles = obstacles
        self._address = address
        self._dialer = dialer
        self.asked_at = Watched(trio.current_time())   # when the captured port was last asked

    async def handle(self, call: Call) -> Answer:
        if call.path == "/healthz/ready":
            self.asked_at.set(trio.current_time())
            obstacles = self._obstacles()
            return Answer(503 if obstacles else 200, ("; ".join(obstacles) or "ready").encode() + b"\n", "text/plain")
        if call.path in ("/healthz/started", "/healthz/live"):
            self.asked_at.set(trio.current_time())
            return Answer(200, b"ok\n", "text/plain")
        probe = self._config.probes.get(call.path)
        if probe is not None:
            return await self._probe(probe)
        return Answer(404, b"no such probe\n", "text/plain")

    async def _probe(self, probe: Probe) -> Answer:
        """Ask the application itself, at the pod's address, as the kubelet would have."""
        host = self._address()
        if host is None:
            return Answer(503, b"the pod's address is not known yet\n", "text/plain")
        to = Address(host, probe.port)
        try:
            with Deadline() as deadline:
                deadline.upstream("probe", APP_PROBE_S)
                stream = SocketStream(await self._dialer.connect(to))
                try:
                    status = 200 if probe.path is None else await self._status(stream, to, probe.path)
                finally:
                    stream.close()
        except MeshError as exc:
            return Answer(503, f"{exc}\n".encode(), "text/plain")
        return Answer(status, b"", "text/plain")

    async def _status(self, stream: SocketStream, to: Address, path: str) -> int:
        connection = Http1Client(stream)
        head = RequestHead(b"GET", path.encode(), str(to).encode(), None, [(b"user-agent", b"bartizan-probe")], NO_BODY, True)
        await connection.send_request(head, str(to).encode(), [(b"connection", b"close")], b"", is_end=True)
        status = (await connection.read_head()).status
        if status < 200:
            raise BadResponse("interim answer to a probe")
        return status


def metrics_handler(metrics: Metrics, gauges: Callable[[], dict[str, float]]) -> Handler:
    async def handle(call: Call) -> Answer:
        if call.path != "/metrics":
            return Answer(404, b"only /metrics\n", "text/plain")
        return Answer(200, metrics.render(gauges()).encode(), "text/plain; version=0.0.4; charset=utf-8")

    return handle
