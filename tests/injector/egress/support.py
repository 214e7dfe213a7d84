"""Stores of ledgers that tell of egress."""

from pathlib import Path
from typing import Any

from injector.audit.store import Store
from tests.injector.audit.support import NOW, PODS, WEB, World

SINCE = NOW - 7 * 86400


def tell(
    world: World, host: str, spoken: str, *, dst: str = "203.0.113.7:80", rule: str = "(observed)", led: str = "", **more: Any,
) -> None:
    """One connection of the workload `local`, as its sidecar would have written it; of a gateway that led out `led`."""
    security = {"plain": "plaintext"}.get(spoken.partition(":")[0], "passthrough")
    local = more.pop("local", WEB)
    said = {"security": security, "tls": "", "peer_serial": "", "rules": {rule: 1}, "requests": int(security == "plaintext")} | more
    world.egress(local, host, dst=dst, spoken={spoken: 1}, **said)
    world.ledgers[PODS[local]][-1].caller = led


def refuse(world: World, host: str, spoken: str, code: str = "BZ0201", **more: Any) -> None:
    reason = "host-not-approved"
    world.refused(more.pop("local", WEB), direction="outbound", host=host, code=code, reason=reason, spoken={spoken: 1}, source="", **more)


def made(folder: Path, *tellings: tuple[str, str]) -> Store:
    """A store in which the workload shop/web has reached each (host, spoken)."""
    world = World(folder)
    for host, spoken in tellings:
        tell(world, host, spoken)
    return world.store()
