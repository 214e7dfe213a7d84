"""A container's probes and hooks: their numbers, the tally that turns answers into a verdict, and the ways to ask.

Spec: Kubernetes, Probe v1 core, LifecycleHandler v1 core. An HTTP answer from 200 to 399 is a success, to a hook any; so are an
accepted connection, SERVING and exit status 0.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

import trio

from sidecar.model.config import Probe, ProbeHeader
from sidecar.model.errors import MeshError
from sidecar.net.app_probe import AppProber
from sidecar.net.dial import Dialer

from .errors import DemoError

Ask = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Timing:
    """The defaults are the API's."""

    initial_delay_s: float = 0
    period_s: float = 10
    timeout_s: float = 1
    success_threshold: int = 1
    failure_threshold: int = 3

    @classmethod
    def of(cls, probe: dict[str, Any]) -> "Timing":
        return cls(probe.get("initialDelaySeconds", 0), probe.get("periodSeconds", 10), probe.get("timeoutSeconds", 1),
                   probe.get("successThreshold", 1), probe.get("failureThreshold", 3))


class Tally:
    """The verdict so far; it changes only when enough equal answers came in a row."""

    def __init__(self, timing: Timing, verdict: bool) -> None:
        self._timing = timing
        self._in_row = 0
        self._last: bool | None = None
        self.verdict = verdict

    def record(self, answer: bool) -> bool:
        """Count one answer. Returns whether the threshold for it is reached, even if the verdict was that already."""
        self._in_row = self._in_row + 1 if answer == self._last else 1
        self._last = answer
        reached = self._in_row >= (self._timing.success_threshold if answer else self._timing.failure_threshold)
        if reached:
            self.verdict = answer
        return reached


async def _wait_turn(due: float, timing: Timing) -> float:
    """Sleep until it is time to ask. Returns the time after that: each period, however long the answers take."""
    await trio.sleep_until(due)
    return max(due, trio.current_time()) + timing.period_s


async def _ask_in_time(ask: Ask, timing: Timing) -> bool:
    with trio.move_on_after(timing.timeout_s):
        return await ask()
    return False


async def wait_started(timing: Timing, ask: Ask) -> bool:
    """Ask a startup probe until it has succeeded or failed for good."""
    tally, due = Tally(timing, verdict=False), trio.current_time() + timing.initial_delay_s
    while True:
        due = await _wait_turn(due, timing)
        if tally.record(await _ask_in_time(ask, timing)):
            return tally.verdict


async def keep_asking(timing: Timing, ask: Ask, verdict: bool, changed: Callable[[bool], None]) -> None:
    """Ask a readiness or liveness probe for as long as the container runs.

    Args:
        verdict: at the beginning: not ready, but alive.
        changed: called with each new verdict.
    """
    tally, due = Tally(timing, verdict), trio.current_time() + timing.initial_delay_s
    while True:
        due = await _wait_turn(due, timing)
        tally.record(await _ask_in_time(ask, timing))
        if tally.verdict != verdict:
            verdict = tally.verdict
            changed(verdict)


def asker(
    asked: dict[str, Any], container: dict[str, Any], address: str, execute: Callable[[list[str]], Awaitable[int]], *, is_hook: bool = False
) -> Ask:
    """How to ask a probe, or to carry out a hook, from the node's own network.

    Args:
        address: of the pod.
        execute: runs a command in the container; returns its exit status.
    """
    ways = ("httpGet", "exec", "sleep") if is_hook else ("httpGet", "tcpSocket", "grpc", "exec")
    how = next((way for way in ways if way in asked), None)
    if how is None and is_hook:
        return _fail
    if how is None:
        raise DemoError(f"container {container['name']}: the kubelet knows {', '.join(ways)} probes, not {sorted(asked)}")
    said = asked[how]
    if how == "exec":
        async def ask_exec() -> bool:
            return await execute(said["command"]) == 0

        return ask_exec
    if how == "sleep":
        async def sleep() -> bool:
            await trio.sleep(said["seconds"])
            return True

        return sleep
    port, to = port_number(container, said["port"]), said.get("host") or address
    if how == "tcpSocket":
        return lambda: ask_tcp(to, port)
    probe = Probe(port, "grpc", service=said.get("service") or "")
    if how == "httpGet":
        fields = tuple(ProbeHeader(item["name"], item["value"]) for item in said.get("httpHeaders") or ())
        by: Literal["http", "https"] = "https" if said.get("scheme") == "HTTPS" else "http"
        probe = Probe(port, by, said.get("path") or "/", fields, word="" if is_hook else None)

    async def ask() -> bool:
        try:
            status = await AppProber(Dialer(), forbidden=()).ask(probe, to)
        except MeshError:
            return False
        return is_hook or 200 <= status < 400

    return ask


async def _fail() -> bool:
    """A hook by `tcpSocket` can be written, and is none that the kubelet knows."""
    return False


def port_number(container: dict[str, Any], port: int | str) -> int:
    """A port by number or by the name that the container gives it."""
    if isinstance(port, int):
        return port
    for item in container.get("ports") or ():
        if item.get("name") == port:
            return int(item["containerPort"])
    raise DemoError(f"container {container['name']}: no port is called {port!r}")


async def ask_tcp(host: str, port: int) -> bool:
    try:
        await (await trio.open_tcp_stream(host, port)).aclose()
    except OSError:
        return False
    return True
