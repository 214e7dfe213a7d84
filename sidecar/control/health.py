"""Health and metrics, asked through the captured inbound port, so that an answer proves the redirect of PREROUTING.

/healthz/started   the process runs and has its configuration
/healthz/ready     it has a snapshot and a valid certificate, and the packet rules are whole
/healthz/live      the loop turns
/app-health/...    a probe or a hook of the application that admission moved here (the kubelet has no identity)

Trust: anybody in the network may ask here. What is asked of the application stands in the configuration, and nothing of a caller's
request goes into it; a caller learns what the probe's result says. A hook, which changes the application, is carried out for whoever
says the word that admission wrote into the pod's specification. Attacked by tests/control/test_health.py.
"""

from collections.abc import Awaitable, Callable
from hmac import compare_digest

import trio

from sidecar.model.call import Answer, Call, Handler
from sidecar.model.config import HOOK_HEADER, Config, Probe
from sidecar.model.errors import MeshError
from sidecar.net.app_probe import AppProber
from sidecar.net.deadline import Deadline
from sidecar.net.dial import Dialer
from sidecar.net.watched import Watched
from sidecar.telemetry.metrics import Metrics

NO_SUCH_PROBE = Answer(404, b"no such probe\n", "text/plain")
NO_ANSWER = Answer(503, b"the probe was given up\n", "text/plain")


class Health:
    """
    Args:
        obstacles: what stands against readiness now, in words; empty: ready.
        address: the pod's own, where the application is asked; it is waited for while it is unknown.
    """

    def __init__(
        self, config: Config, obstacles: Callable[[], list[str]], address: Callable[[], Awaitable[str]], dialer: Dialer
    ) -> None:
        self._config = config
        self._obstacles = obstacles
        self._address = address
        self._prober = AppProber(dialer)
        self._asking: dict[str, Watched[Answer | None]] = {}    # by path: the answer that is awaited
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
        if probe is None or call.method != "GET":
            return NO_SUCH_PROBE
        if probe.word is None:
            return await self._probe(call.path, probe)
        if not compare_digest(call.headers.get(HOOK_HEADER, "").encode(), probe.word.encode()):
            return NO_SUCH_PROBE
        # The kubelet looks at no status here; that it gets no answer at all is how a hook fails.
        return Answer(await self._ask(probe), b"", "text/plain")

    async def _probe(self, path: str, probe: Probe) -> Answer:
        """The result of a probe. Whoever asks while it is being asked gets the same: strangers cannot pile questions on the application."""
        if (awaited := self._asking.get(path)) is not None:
            return await awaited.wait_change(None) or NO_ANSWER
        awaited = self._asking[path] = Watched(None)
        answer = NO_ANSWER
        try:
            answer = Answer(await self._ask(probe), b"", "text/plain")
        except MeshError as exc:
            answer = Answer(503, f"{exc}\n".encode(), "text/plain")
        finally:
            del self._asking[path]
            awaited.set(answer)
        return answer

    async def _ask(self, probe: Probe) -> int:
        """Ask the application itself, at the pod's address, as the kubelet would have."""
        with Deadline() as deadline:
            until = deadline.now() + probe.timeout_s
            deadline.upstream("timed out waiting for the pod's address", probe.timeout_s)
            address = await self._address()
            deadline.upstream("timed out waiting for the application", until - deadline.now())
            return await self._prober.ask(probe, address)
        raise AssertionError("a deadline that has passed raises")


def metrics_handler(metrics: Metrics, gauges: Callable[[], dict[str, float]]) -> Handler:
    async def handle(call: Call) -> Answer:
        if call.path != "/metrics":
            return Answer(404, b"only /metrics\n", "text/plain")
        return Answer(200, metrics.render(gauges()).encode(), "text/plain; version=0.0.4; charset=utf-8")

    return handle
