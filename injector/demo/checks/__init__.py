"""What the demo shows: a table of checks, each from traffic that was observed, none from configuration.

    mesh      who may call whom, as the application and the wire see it
    speaking  what applications speak with each other, and what is done with it where a rule says so
    edge      what clients outside of the mesh get of it
    leaving   what may leave a pod, as the outside world sees it
    explaining  what the operator is told of it
    change    what changes while traffic runs
    identity  what becomes of certificates, roots and evidence
    rules     what happens when a packet rule is gone
    approvals   what an approval says beyond the host's name
    proving   how an external host must prove itself
    observing   from an observation to an approval

A check returns what it saw, in words; it raises CheckFailed if that is not what it must see. Those that say "nothing arrived"
rest on `leaving.control`: the same packets do arrive when a pod without sidecar sends them.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import trio

from injector.demo.errors import causes
from injector.demo.world import World
from sidecar.model.errors import MeshError

from . import approvals, change, edge, explaining, identity, leaving, mesh, observing, proving, rules, speaking
from .check import Check

CHECKS: tuple[Check, ...] = (
    *mesh.CHECKS, *speaking.CHECKS, *edge.CHECKS, *leaving.CHECKS, *explaining.CHECKS, *change.CHECKS, *identity.CHECKS,
)
# They are about pods of their own and wait most of the time, so they run beside the others: each row in its order.
BESIDE: tuple[tuple[Check, ...], ...] = (rules.CHECKS, (*approvals.CHECKS, *proving.CHECKS), observing.CHECKS)
EVERY: tuple[Check, ...] = (*CHECKS, *(check for row in BESIDE for check in row))
CHECK_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Result:
    name: str
    passed: bool
    detail: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


async def run_checks(world: World, tell: Callable[[Result], None]) -> list[Result]:
    """Run them all; each result is told as it is there."""
    results: list[Result] = []

    async def run(row: tuple[Check, ...]) -> None:
        for check in row:
            result = await run_check(world, check)
            results.append(result)
            tell(result)

    async with trio.open_nursery() as nursery:
        for row in (*BESIDE, CHECKS):
            nursery.start_soon(run, row)
    return results


async def run_check(world: World, check: Check) -> Result:
    try:
        with trio.fail_after(CHECK_WITHIN_S):
            return Result(check.name, True, await check.run(world))
    except (MeshError, trio.TooSlowError, ExceptionGroup) as exc:
        leaves = causes(exc)
        if not all(isinstance(leaf, MeshError | trio.TooSlowError) for leaf in leaves):
            raise   # a bug, not a finding
        return Result(check.name, False, "; ".join(str(leaf) or "it did not end in time" for leaf in leaves))
