"""What changes while traffic runs: a rule, a certificate. No request may fail for it."""

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from injector.demo.world import Object, World
from injector.yaml_text import read_yaml

from .check import Check, expect, expect_status
from .mesh import ALLOWED

ROUTES = "bartizan.dev/routes"
EFFECTIVE_WITHIN_S = 5.0     # a second on a quiet machine; this one may be busy
ROTATED_WITHIN_S = 5.0
PER_SECOND = 50
SPELL_S = 1.5


async def under_load(world: World, change: Callable[[], Awaitable[None]], per_second: float = PER_SECOND) -> int:
    """Requests from web to orders at a steady pace until `change` has ended. Expects that none fails; returns how many.

    Two clients share them, which begin again, with a new connection, every SPELL_S: while the one starts, the other goes on.
    """
    sent = 0
    failures: list[str] = []
    ended = trio.Event()

    async def load(delay_s: float) -> None:
        nonlocal sent
        await trio.sleep(delay_s)
        while not ended.is_set():
            report = await world.ask("web", "load", ALLOWED, "--per-second", str(per_second / 2), "--seconds", str(SPELL_S))
            sent += report["sent"]
            failures.extend(report["failures"])
            failures.extend(f"{count} times {status}" for status, count in report["statuses"].items() if status != "200")

    async with trio.open_nursery() as nursery:
        for delay_s in (0, SPELL_S / 2):
            nursery.start_soon(load, delay_s)
        try:
            await change()
        finally:
            ended.set()
    expect(not failures, f"of {sent} requests failed: {', '.join(failures[:5])}")
    return sent


async def annotation(world: World) -> str:
    """A rule is added to the workload's own annotation, limited, and taken away again; no pod is replaced."""
    deployment = world.api.get("Deployment", "shop", "orders")
    assert deployment is not None
    before = deployment["spec"]["template"]["metadata"]["annotations"][ROUTES]
    rules: Any = read_yaml(before).data
    added: Object = {"name": "reports", "port": 8080, "allow": [{"serviceAccount": "web"}],
                     "matches": [{"path": {"type": "PathPrefix", "value": "/reports"}, "method": "GET"}]}
    limited = {**added, "rateLimit": {"requests": 1, "per": "1h", "by": "route"}}
    took: list[float] = []
    expect((await world.ask("web", "http", "GET", "http://orders/reports"))["status"] == 403, "/reports is allowed beforehand")

    async def set_routes(text: str, status: int) -> None:
        asked: Object = {}

        async def ask() -> None:
            asked.update(await world.ask("web", "until", "http://orders/reports", "--status", str(status), "--seconds", "6"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(0.5)   # the client has begun to ask: it would see a change that comes too early
            changed = time.time()
            await world.api.annotate("shop", "orders", {ROUTES: text}, world.webhook, world.kubelet)
        expect(asked["at"] is not None, f"no {status} within 6 s of the change: {asked['statuses']}")
        took.append(asked["at"] - changed)

    async def change() -> None:
        await set_routes(json.dumps([*rules, added]), 200)
        await set_routes(json.dumps([*rules, limited]), 429)
        await set_routes(before, 403)

    sent = await under_load(world, change)
    expect(max(took) <= EFFECTIVE_WITHIN_S, f"effective after {', '.join(f'{seconds:.1f} s' for seconds in took)}")
    return (f"allowed after {took[0]:.2f} s, limited after {took[1]:.2f} s, taken back after {took[2]:.2f} s; "
            f"{sent} requests meanwhile, none failed")


async def rotation(world: World) -> str:
    """Both ends get new certificates under load, and a new connection afterwards uses them."""
    async def serial(pod: str) -> str:
        return str(json.loads(await world.admin(pod, "GET", "/status"))["serial"])

    before = {pod: await serial(pod) for pod in ("web", "orders")}
    after: dict[str, str] = {}

    async def change() -> None:
        await trio.sleep(1)   # the load runs
        for pod in before:
            await world.admin(pod, "POST", "/rotate")
        with trio.move_on_after(ROTATED_WITHIN_S):
            while (unchanged := [pod for pod, old in before.items() if after.get(pod, old) == old]):
                await trio.sleep(0.1)
                after.update({pod: await serial(pod) for pod in before})
        expect(not unchanged, f"no new certificate after {ROTATED_WITHIN_S:g} s: {', '.join(unchanged)}")

    sent = await under_load(world, change)
    expect_status(await world.ask("web", "http", "GET", ALLOWED), 200)
    changed = ", ".join(f"{pod} {before[pod][:8]} -> {after[pod][:8]}" for pod in before)
    return f"{changed}; {sent} requests meanwhile, none failed"


CHECKS = (
    Check("an annotation changed while traffic runs is effective within 5 s, and no request fails", annotation),
    Check("certificates change while 50 requests a second run, and none fails", rotation),
)
