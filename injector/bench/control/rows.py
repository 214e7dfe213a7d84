"""What is measured of the control plane. Each row starts what it needs, and ends it."""

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from injector.bench.certificates import Control, write_control
from injector.bench.errors import BenchError
from injector.bench.load import percentile
from injector.documents import ROUTES
from sidecar.net.tls_context import load_certificates

from .apiserver import api_server
from .caller import Caller, paced
from .objects import Size, addresses_of, app, everybodys_policy, namespace, objects, routes, slice_of, wanted_of
from .plane import Plane, plane
from .reviews import reviews
from .sidecars import Pod, Sidecars
from .store import Directory, Pods, Store

KNOWN = Size(50, 20, 2, 100)        # 1,000 Services, 2,000 pods
WORKLOADS = Size(25, 20, 1, 50)     # 500 of them
REVIEWS_PER_S = 100
CHANGES_PER_S = 4                   # to workloads, while they are measured
MOST_PAUSE_S = 0.5                  # between two changes; so a sidecar may be found asking or pausing
TO_ALL = 5                          # changes that concern everybody
IDLE_S = 30.0                       # in which each question is answered "nothing new" once
ROLLING_PER_S = 2
SETTLED_S = 1.5

Numbers = dict[str, float]


@dataclass(frozen=True, slots=True)
class Desk:
    """
    Args:
        folder: for everything of this row; exists, and is empty.
        on_core: begins the command of what has a core of its own.
    """

    folder: Path
    on_core: tuple[str, ...] = ()

    def place(self, name: str) -> Path:
        made = self.folder / name
        made.mkdir()
        return made

    def certificates(self) -> Control:
        return write_control(self.place("certificates"), time.time())


# -- admission


def admission(desk: Desk, seconds: float, size: Size = KNOWN, per_s: float = REVIEWS_PER_S) -> Numbers:
    control, store = desk.certificates(), Directory(desk.folder / "objects")
    trio.run(store.fill, objects(size))
    with plane(desk.place("injector"), control.folder, desk.on_core, store.source()) as injector:
        return trio.run(_admitted, injector, control, size, per_s, seconds)


async def _admitted(injector: Plane, control: Control, size: Size, per_s: float, seconds: float) -> Numbers:
    caller = Caller(injector.webhook, load_certificates(control.roots.encode(), "roots"))
    bodies = reviews(size)

    async def ask() -> None:
        status, answer = await caller.call("POST", "/mutate", next(bodies))
        if status != 200 or b'"allowed":true' not in answer or b'"patch"' not in answer:
            raise BenchError(f"a pod was not injected: {status} {answer[:300].decode(errors='replace')}")

    await paced(ask, per_s, 1.0)    # warm
    before = injector.cpu_s()
    took = sorted(await paced(ask, per_s, seconds))
    used = injector.cpu_s() - before
    caller.close()
    return {"cpu_us": used / len(took) * 1e6, "p50_ms": percentile(took, 50) * 1e3, "p99_ms": percentile(took, 99) * 1e3}


# -- propagation


def propagation(desk: Desk, seconds: float, size: Size = WORKLOADS) -> Numbers:
    control = desk.certificates()
    with api_server(desk.place("apiserver"), control.folder) as store:
        return propagated(desk, control, store, size, max(1, round(CHANGES_PER_S * seconds)), TO_ALL)


def propagated(desk: Desk, control: Control, store: Store, size: Size, changes: int, to_all: int) -> Numbers:
    uids = trio.run(store.fill, objects(size))
    with plane(desk.place("injector"), control.folder, desk.on_core, store.source()) as injector:
        return trio.run(partial(_propagated, injector, control, store, uids, size, changes, to_all))


async def _propagated(
    injector: Plane, control: Control, store: Store, uids: Pods, size: Size, changes: int, to_all: int,
) -> Numbers:
    rng = random.Random(1)
    one: list[float] = []
    everybody: list[float] = []
    async with _sidecars(injector, control, uids, size) as sidecars:
        for number in range(changes):
            await trio.sleep(rng.uniform(0, MOST_PAUSE_S))
            team, service = rng.randrange(size.namespaces), rng.randrange(size.services)
            marker = f"change-{number:06}"
            awaited = sidecars.expect(_concerned(team, service, size), marker)
            await store.put({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"namespace": namespace(team), "name": app(service), "annotations": {ROUTES: routes(app(service), marker)}},
            })
            acknowledged = time.monotonic()
            one += [at - acknowledged for at in await sidecars.wait(awaited)]
        for number in range(to_all):
            await trio.sleep(SETTLED_S)
            marker = f"policy-{number:06}"
            awaited = sidecars.expect(uids.keys(), marker)
            await store.put(everybodys_policy(f"/v1/{marker}"))
            acknowledged = time.monotonic()
            everybody += [at - acknowledged for at in await sidecars.wait(awaited)]
    one.sort()
    everybody.sort()
    return {
        "p50_ms": percentile(one, 50) * 1e3, "p99_ms": percentile(one, 99) * 1e3,
        "all_p50_ms": percentile(everybody, 50) * 1e3, "all_p99_ms": percentile(everybody, 99) * 1e3,
    }


def _concerned(team: int, service: int, size: Size) -> list[Pod]:
    """Whose snapshots tell of the Service."""
    name = f"{app(service)}.{namespace(team)}"
    return [pod for pod, (there, its_own) in _pods(size).items() if there == team or name in wanted_of(there, its_own, size)]


# -- scale


def scale(desk: Desk, seconds: float, size: Size = KNOWN) -> Numbers:
    control = desk.certificates()
    with api_server(desk.place("apiserver"), control.folder) as store:
        return scaled(desk, control, store, size, max(10, round(ROLLING_PER_S * seconds)), IDLE_S)


def scaled(desk: Desk, control: Control, store: Store, size: Size, changes: int, idle_s: float) -> Numbers:
    """First with half of it, then with all."""
    uids = dict(trio.run(store.fill, objects(size.half)))
    found = []
    for there, name in ((size.half, "half"), (size, "whole")):
        if there is size:
            uids |= trio.run(partial(store.fill, objects(size, beyond=size.half)))
        with plane(desk.place(name), control.folder, desk.on_core, store.source()) as injector:
            found.append(trio.run(partial(_scaled, injector, control, store, uids, there, changes, idle_s)))
    half, whole = found
    growth = {f"{name}_growth": whole[name] / half[name] for name in ("rss_mb", "first_s", "idle_percent", "change_ms") if half[name]}
    return {**whole, **growth, "most_growth": max(growth.values())}


async def _scaled(
    injector: Plane, control: Control, store: Store, uids: Pods, size: Size, changes: int, idle_s: float,
) -> Numbers:
    began = injector.cpu_s()
    async with _sidecars(injector, control, uids, size):
        first_s = injector.cpu_s() - began
        settle_s = min(SETTLED_S, idle_s)
        await trio.sleep(settle_s)
        before = injector.cpu_s()
        await trio.sleep(idle_s)
        idle = (injector.cpu_s() - before) / idle_s
        # Of the later half of the teams: those that the row before had not.
        turns = [(team, service) for service in range(size.services) for team in range(size.namespaces // 2, size.namespaces)]
        before, started = injector.cpu_s(), time.monotonic()
        for number in range(changes):
            again, turn = divmod(number, len(turns))
            team, service = turns[turn]
            await store.put(slice_of(namespace(team), app(service), addresses_of(team, service, size), is_ready=again % 2 == 1))
            await trio.sleep(max(0.0, started + (number + 1) / ROLLING_PER_S - time.monotonic()))
        await trio.sleep(settle_s)
        used = injector.cpu_s() - before - idle * (time.monotonic() - started)
        resident, unshared = injector.memory_mb()
    return {"rss_mb": resident, "rss_unshared_mb": unshared, "first_s": first_s, "idle_percent": idle * 100,
            "change_ms": max(0.0, used) / changes * 1e3}


# -- both


@asynccontextmanager
async def _sidecars(injector: Plane, control: Control, uids: Pods, size: Size) -> AsyncIterator[Sidecars]:
    """All of them, each with its first snapshot."""
    known = _pods(size)
    sidecars = Sidecars(injector.stream, control.svids, control.roots, uids, lambda pod: app(known[pod][1]),
                        lambda pod: wanted_of(*known[pod], size))
    async with trio.open_nursery() as nursery:
        awaited = sidecars.expect(uids.keys(), "")
        nursery.start_soon(sidecars.run)
        await sidecars.wait(awaited)
        yield sidecars
        nursery.cancel_scope.cancel()


def _pods(size: Size) -> dict[Pod, tuple[int, int]]:
    """Team and application of each pod."""
    return {(namespace(team), pod): (team, service) for team in range(size.namespaces) for service in range(size.services)
            for pod in addresses_of(team, service, size)}
