"""Certificates and roots change again and again under load, and nobody notices: neither the callers nor the application."""

from typing import Any

import pytest
import trio

from injector.demo import settings
from injector.demo.checks.change import under_load
from injector.demo.checks.identity import EVENTS, LOOK_EVERY_S, rotate_root, status
from injector.demo.checks.mesh import ALLOWED
from injector.demo.world import World, json_lines
from tests.helpers.demo_world import play

pytestmark = [pytest.mark.netns, pytest.mark.timeout(240)]

PER_SECOND = 200
LEAVES, ROOTS = 100, 3
PODS = ("web", "orders")
WITHIN_S = 15.0
HELD_S = 60


async def _rotate_leaves(world: World, pod: str, count: int) -> None:
    for _ in range(count):
        before = (await status(world, pod))["renewal"]["renewals"]
        await world.admin(pod, "POST", "/rotate")
        with trio.fail_after(WITHIN_S):
            while True:
                await trio.sleep(LOOK_EVERY_S)
                if (await status(world, pod))["renewal"]["renewals"] > before:
                    break


def _asked(world: World) -> int:
    """How often the application was asked what the load asks."""
    path = "/" + ALLOWED.split("/", 3)[3]
    return sum(item.get("request", "").startswith(f"GET {path} ") for item in json_lines(world.kubelet.log("orders", "orders")))


async def rotations(world: World) -> dict[str, Any]:
    held: dict[str, Any] = {}
    signers: list[str] = []
    serials = {pod: {(await status(world, pod))["serial"]} for pod in PODS}

    async def hold() -> None:
        held.update(await world.ask("web", "hold", EVENTS, "--seconds", str(HELD_S), within_s=2 * HELD_S))

    async def roots() -> None:
        for _ in range(ROOTS):
            await rotate_root(world)
            signers.append((await status(world, "web"))["signer"])

    async def change() -> None:
        async with trio.open_nursery() as nursery:
            for pod in PODS:
                nursery.start_soon(_rotate_leaves, world, pod, LEAVES // len(PODS))
            nursery.start_soon(roots)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold)
        began = trio.current_time()
        sent = await under_load(world, change, PER_SECOND)
        took = trio.current_time() - began
    issued = [item["serial"] for item in json_lines(settings.AUTHORITY / "issuance.log")
              if item["podUid"] in {world.kubelet.pod(pod).uid for pod in PODS}]
    return {"sent": sent, "asked": _asked(world), "took": took, "held": held, "signers": signers,
            "issued": len(set(issued) - set().union(*serials.values()))}


def test_a_hundred_certificates_and_three_roots() -> None:
    """Requests that fail end it: `under_load` says which."""
    seen = play(rotations)
    assert seen["asked"] == seen["sent"] > LEAVES * ROOTS, seen
    assert seen["issued"] >= LEAVES
    assert len(set(seen["signers"])) == ROOTS
    assert seen["held"]["at"] is None       # the stream that was open all the time
    assert seen["held"]["echoes"] > HELD_S
