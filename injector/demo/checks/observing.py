"""From an observation to an approval: what a pod was seen to reach is proposed, and applied; what is new to it is told."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import trio
import yaml

from injector.demo.apiserver import Refused
from injector.demo.outside import HOSTS
from injector.demo.settings import STATE, WORLD
from injector.demo.world import Object, World, json_lines
from injector.documents import EGRESS
from injector.egress.alerts import METRIC

from .check import Check, brief, expect, expect_refusal, expect_status
from .leaving import at

POD, WORKLOAD = "trial", "shop/trial"
VENDOR, OTHER = "vendor.example", "other-vendor.example"
SEEN, SAME_HOST = f"https://{VENDOR}/v1/tools", f"http://{VENDOR}/"
EFFECTIVE_WITHIN_S = 6.0
ADMITTED_WITHIN_S = 5.0
TOLD_WITHIN_S = 20.0        # a sidecar ships its ledger every ten seconds
LOOK_EVERY_S = 0.2


async def proposed(world: World) -> str:
    """The vendor is reached by the application's own TLS, and that alone is proposed."""
    began = await _observed(world)
    await _shipped(world, began)
    since = datetime.fromtimestamp(began, UTC).isoformat()
    done = await world.bartizan("egress", "propose", "--state", str(STATE), "--workload", WORKLOAD, "--since", since)
    expect(done.status == 0, f"`egress propose`: {done.err.decode(errors='replace')[-300:]}")
    path = WORLD / "proposed.yaml"
    path.write_bytes(done.out)
    found = await world.bartizan("analyze", str(path))
    expect(found.status == 0, f"`analyze` of what is proposed: {found.out.decode(errors='replace')[-300:]}")
    pod, policy = yaml.safe_load_all(done.out)
    names = [host["host"] for host in policy["spec"]["hosts"]]
    expect(names == [VENDOR], f"proposed were {names}")
    async with _applied(world, pod["metadata"]["annotations"][EGRESS], policy), _enforced(world):
        expect_status(await world.ask(POD, "http", "GET", SEEN), 200)
        other = await world.ask(POD, "http", "GET", f"http://{OTHER}/", "--to", at(HOSTS[OTHER].addresses.ipv4, 80))
        refusal = expect_refusal(other, 403, "BZ0201")
        plain = await world.ask(POD, "http", "GET", SAME_HOST)
    return (f"observed: 200; `propose` named {VENDOR}, `analyze` accepted it; applied and enforced: 200, "
            f"another host {refusal}, the same host in plaintext {brief(plain)}")


async def anomaly(world: World) -> str:
    """Two attempts at a host that the observation has not seen: one event. The metric counts each that is told of the workload."""
    await _observed(world)
    name = f"new-{world.rng.getrandbits(32):x}.example"
    async with _enforced(world):
        for _ in range(2):
            answer = await world.ask(POD, "http", "GET", f"http://{name}/", "--to", at(HOSTS[OTHER].addresses.ipv4, 80))
    events: list[Object] = []
    with trio.move_on_after(TOLD_WITHIN_S):
        while not events:
            await trio.sleep(LOOK_EVERY_S)
            told = [line for line in json_lines(WORLD / "logs" / "injector.log") if line.get("event") == "egress-anomaly"]
            events = [line for line in told if line["host"] == name]
    expect(events, f"nothing was told of {name} within {TOLD_WITHIN_S:g} s")
    expect(len(events) == 1 and events[0]["kind"] == "new-host", f"told was {events}")
    count, counted = sum(line["kind"] == "new-host" and line["pod"] == events[0]["pod"] for line in told), await _counted(world)
    expect(counted == count, f"{count} were told, and {counted} counted")
    return (f"{brief(answer)}; the injector told once: {events[0]['kind']} of pod {events[0]['pod']}: {name}: {events[0]['detail']}; "
            f"{METRIC} {counted}")


# -- how the pod is treated


async def _observed(world: World) -> float:
    """Reach the vendor, once that is let through. Returns since when."""
    began = time.time()
    asked = await world.ask(POD, "until", SEEN, "--status", "200", "--seconds", str(EFFECTIVE_WITHIN_S))
    expect(asked["at"] is not None, f"under observation {SEEN} got {asked['statuses']}")
    return began


@asynccontextmanager
async def _applied(world: World, annotation: str, policy: Object) -> AsyncIterator[None]:
    """As a team and the security team would; the annotation by admission, as soon as that has heard of the policy."""
    deployment = world.api.get("Deployment", "shop", POD)
    assert deployment is not None
    world.api.store(policy)
    try:
        with trio.fail_after(ADMITTED_WITHIN_S):
            while True:
                try:
                    await world.api.annotate("shop", POD, {EGRESS: annotation}, world.webhook, world.kubelet)
                    break
                except Refused:
                    await trio.sleep(LOOK_EVERY_S)
        yield
    finally:
        world.api.store(deployment)
        world.api.delete("EgressPolicy", "", policy["metadata"]["name"])


@asynccontextmanager
async def _enforced(world: World) -> AsyncIterator[None]:
    """The observation is over, as soon as the pod knows: what nobody approves is refused."""
    policy = world.api.get("MeshPolicy", "", POD)
    assert policy is not None
    world.api.store({**policy, "spec": {**policy["spec"], "egress": {"mode": "enforce"}}})
    try:
        to = at(HOSTS[VENDOR].addresses.ipv4, 80)
        await world.ask(POD, "until", SAME_HOST, "--to", to, "--status", "403", "--seconds", str(EFFECTIVE_WITHIN_S))
        yield
    finally:
        world.api.store(policy)


# -- what came of it


async def _shipped(world: World, since: float) -> None:
    """Until the control plane has the pod's word for the connection."""
    uid = world.kubelet.pod(POD).uid
    with trio.move_on_after(TOLD_WITHIN_S):
        while True:
            lines = [line for path in (STATE / "ledger").glob(f"*/*.{uid}.jsonl") for line in json_lines(path)]
            if any(line.get("time", 0) >= since and VENDOR in str(line) for line in lines):
                return
            await trio.sleep(LOOK_EVERY_S)
    expect(False, f"the control plane was not told of {VENDOR} within {TOLD_WITHIN_S:g} s")


async def _counted(world: World) -> int:
    line = re.search(rf'^{METRIC}{{kind="new-host",workload="{WORKLOAD}"}} (\d+)', await world.webhook.read("/metrics"), re.MULTILINE)
    return int(line[1]) if line is not None else 0


CHECKS = (
    Check("what an observed pod reached is proposed as annotation and policy, which let exactly that through", proposed),
    Check("a host that is new to a workload is told once, in log and metric", anomaly),
)
