"""A container's probes: their numbers, the tally that turns answers into a verdict, and the ways to ask.

Spec: Kubernetes, Probe v1 core. An HTTP answer from 200 to 399 is a success; so are an accepted connection and exit status 0.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import trio

from .errors import DemoError

Ask = Callable[[], Awaitable[bool]]
LONGEST_STATUS_LINE = 1024


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


def asker(probe: dict[str, Any], container: dict[str, Any], address: str, execute: Callable[[list[str]], Awaitable[int]]) -> Ask:
    """How to ask `probe`, from the node's own network.

    Args:
        address: of the pod.
        execute: runs a command in the container; returns its exit status.
    """
    if "httpGet" in probe:
        get = probe["httpGet"]
        if get.get("scheme", "HTTP") != "HTTP":
            raise DemoError(f"container {container['name']}: the demo asks probes over plain HTTP only")
        host, port = get.get("host") or address, port_number(container, get["port"])
        head = [f"GET {get.get('path') or '/'} HTTP/1.1", f"Host: {host}:{port}", "User-Agent: kube-probe/1.30",
                "Accept: */*", "Connection: close",
                *(f"{item['name']}: {item['value']}" for item in get.get("httpHeaders") or ())]
        return lambda: ask_http(host, port, "\r\n".join([*head, "", ""]).encode())
    if "tcpSocket" in probe:
        host, port = probe["tcpSocket"].get("host") or address, port_number(container, probe["tcpSocket"]["port"])
        return lambda: ask_tcp(host, port)
    if "exec" in probe:
        async def ask_exec() -> bool:
            return await execute(probe["exec"]["command"]) == 0

        return ask_exec
    raise DemoError(f"container {container['name']}: the demo knows httpGet, tcpSocket and exec probes, not {sorted(probe)}")


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


async def ask_http(host: str, port: int, request: bytes) -> bool:
    """Send a whole request and look at the status line of the answer."""
    try:
        async with await trio.open_tcp_stream(host, port) as stream:
            await stream.send_all(request)
            line = b""
            while b"\r\n" not in line and len(line) < LONGEST_STATUS_LINE:
                data = await stream.receive_some(LONGEST_STATUS_LINE)
                if not data:
                    return False
                line += data
    except (OSError, trio.BrokenResourceError):
        return False
    version, _, status = line.partition(b" ")
    return version.startswith(b"HTTP/1.") and status[:3].isdigit() and 200 <= int(status[:3]) < 400
