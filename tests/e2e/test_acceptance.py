"""The manifests that operators learn ingress and egress from, as they stand, in a directory: what real clients and pods then see.

One world: each manifest is applied and taken away again, and each is asked the same before it was there.
"""

import json
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import yaml

from injector.demo import settings
from injector.demo.network import command, in_netns
from injector.demo.world import World, read_manifests
from sidecar.model import ports
from sidecar.model.call import Call
from sidecar.model.identity import workload_id
from tests.architecture.sources import ROOT
from tests.helpers.demo_world import play

pytestmark = [pytest.mark.netns, pytest.mark.timeout(240)]

MANIFESTS = ROOT / "tests" / "vectors" / "acceptance"
PODS = ROOT / "tests" / "e2e" / "acceptance"
# Somebody is there at each, beyond the node.
ELSEWHERE = ("203.0.113.200", "198.51.100.7", "34.102.136.180", "34.102.136.181", "192.168.1.10", "192.168.2.10")
PORTS = (80, 443, 8080)
WITHIN_S, AGAIN_S = 20.0, 0.1
GATEWAY = workload_id(settings.TRUST_DOMAIN, "bartizan-system", "bartizan-gateway")
OUTSIDE = "203.0.113.10"      # its first address

Answers = dict[str, str]
Object = dict[str, Any]


async def _build_elsewhere(world: World, nursery: trio.Nursery) -> None:
    lines = ["link add elsewhere0 type veth peer name eth0 netns elsewhere", "link set elsewhere0 up",
             "addr add 169.254.7.1/30 dev elsewhere0", *(f"route add {address}/32 dev elsewhere0" for address in ELSEWHERE)]
    await command(["ip", "netns", "add", "elsewhere"])
    await command(["ip", "-batch", "-"], "\n".join(lines) + "\n")
    inside = ["link set lo up", "link set eth0 up", "addr add 169.254.7.2/30 dev eth0", "route add default via 169.254.7.1",
              *(f"addr add {address}/32 dev eth0" for address in ELSEWHERE)]
    await command(["ip", "-n", "elsewhere", "-batch", "-"], "\n".join(inside) + "\n")
    for port in PORTS:
        argv = in_netns("elsewhere", [*world.python, "injector.demo.apps", "orders", str(port)])
        nursery.start_soon(partial(trio.run_process, argv, env=world.environment, capture_stdout=True, capture_stderr=True))


async def _settled(ask: Callable[[], Awaitable[str]], expected: str) -> str:
    """What is answered once it is what is expected, or in the end: what was applied takes a moment to be heard of everywhere."""
    end = trio.current_time() + WITHIN_S
    while True:
        found = await ask()
        if found == expected or trio.current_time() >= end:
            return found
        await trio.sleep(AGAIN_S)


WEB, APP = f"200 web {OUTSIDE}", f"200 app {OUTSIDE}"      # who answered, and which client he was told of
INGRESS = {
    # what is asked (host, path): what is answered, by which Service
    "ingress-web.yaml": (
        ("myapp.example.com", "/", WEB), ("myapp.example.com", "/any/path", WEB), ("MYAPP.example.com", "/", WEB),
        ("other.example.com", "/", "404"), ("www.myapp.example.com", "/", "404"),
    ),
    "ingress-app-path.yaml": (
        ("www.example.com", "/app", APP), ("www.example.com", "/app/", APP), ("www.example.com", "/app/x", APP),
        ("www.example.com", "/apple", "404"), ("www.example.com", "/", "404"), ("example.com", "/app", "404"),
    ),
}

# who asks, what for: what it gets while the policy is there, and without it.
POLICIES: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "networkpolicy-restrict-egress-cidr.yaml": (
        ("backend", "http://203.0.113.200/", "200", "403 BZ0201"),
        ("backend", "http://203.0.113.200:443/", "200", "403 BZ0201"),
        ("backend", "http://203.0.113.200:8080/", "200", "403 BZ0201"),
        ("backend", "http://198.51.100.7/", "403 BZ0216", "403 BZ0201"),
        ("backend", "http://192.168.1.10/", "403 BZ0216", "403 BZ0201"),
        ("backend", "http://web/", "403 BZ0216", "200"),
        ("client", "http://203.0.113.200/", "403 BZ0201", "403 BZ0201"),
        ("client", "http://web/", "200", "200"),
    ),
    "networkpolicy-restrict-egress-one-address.yaml": (
        ("role-backend", "http://34.102.136.180:443/", "200", "403 BZ0201"),
        ("role-backend", "http://34.102.136.180/", "403 BZ0216", "403 BZ0201"),
        ("role-backend", "http://34.102.136.181:443/", "403 BZ0216", "403 BZ0201"),
        ("role-backend", "http://web/", "403 BZ0216", "200"),
        ("client", "http://role-backend/", "403 BZ0112", "200"),
        ("legacy", "http://{role-backend}:8080/", "403 BZ0112", "200"),
    ),
    "networkpolicy-allow-frontend-ingress.yaml": (
        ("client", "http://frontend/", "200", "200"),
        ("client", "http://frontend:8080/", "403 BZ0112", "200"),
        ("legacy", "http://{frontend}/", "200", "200"),
        ("legacy", "http://{frontend}:8080/", "403 BZ0112", "200"),
        ("client", "http://web/", "200", "200"),
    ),
    "networkpolicy-myapp-egress.yaml": (
        ("myapp", "http://192.168.1.10/", "200", "403 BZ0201"),
        ("myapp", "http://192.168.1.10:8080/", "403 BZ0216", "403 BZ0201"),
        ("myapp", "http://192.168.2.10/", "403 BZ0216", "403 BZ0201"),
        ("myapp", "http://203.0.113.200/", "403 BZ0216", "403 BZ0201"),
        ("myapp", "http://web/", "403 BZ0216", "200"),
    ),
}


async def everything(world: World) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    async with trio.open_nursery() as nursery:
        await _build_elsewhere(world, nursery)
        await _apply(world, *read_manifests(PODS))
        await world.settle()
        for name in INGRESS:
            seen[name] = await _try_ingress(world, name)
        for name in POLICIES:
            seen[name] = await _try_policy(world, name)
        seen["reports"] = await _reported(world)
        nursery.cancel_scope.cancel()
    return seen


async def _apply(world: World, *items: Object) -> None:
    answer = await world.applying.answer(Call("POST", "/v1/apply", "", {}, json.dumps(items).encode()))
    for done in json.loads(answer.body):
        assert not done["refused"], done


def _key(name: str) -> tuple[Object, tuple[str, str, str]]:
    item = yaml.safe_load((MANIFESTS / name).read_text())
    return item, (item["kind"], item["metadata"].get("namespace", "default"), item["metadata"]["name"])


async def _try_ingress(world: World, name: str) -> Answers:
    item, key = _key(name)
    await _apply(world, item)
    seen = {}
    for host, path, expected in INGRESS[name]:
        seen[host + path] = await _settled(partial(_through_the_gateway, world, f"http://{host}{path}"), expected)
    world.api.delete(*key)
    return seen


async def _through_the_gateway(world: World, url: str) -> str:
    """What a client beyond the node is answered: the status, and as whom the application was called."""
    answer = await world.ask_outside("http", "GET", url, "--to", f"{world.address('bartizan-gateway')}:8080")
    called = ""
    if answer["status"] == 200:
        told = {name.lower(): value for name, value in json.loads(answer["body"])["headers"]}
        by = told["x-forwarded-client-cert"].partition("By=")[2].partition(";")[0]
        assert GATEWAY in told["x-forwarded-client-cert"], told
        called = f" {by.rpartition('/')[2]} {told['x-forwarded-for']}"
    return f"{answer['status']}{called}"


async def _try_policy(world: World, name: str) -> dict[str, Any]:
    asked = POLICIES[name]
    began = time.time()
    before = {f"{who} {url}": await _settled(partial(_from, world, who, url), expected) for who, url, _, expected in asked}
    item, key = _key(name)
    await _apply(world, item)
    during = {f"{who} {url}": await _settled(partial(_from, world, who, url), expected) for who, url, expected, _ in asked}
    judges = {"frontend", "role-backend", *(who for who, *_ in asked if who != "legacy")}
    told = [line["rule"] for pod in judges for line in world.access_log(pod, began) if _is_a_policys(line)]
    counts = [line for pod in judges for line in (await _metrics(world, pod)).splitlines()]
    counted = [line for line in counts if f'rule="networkpolicy/default/{key[2]}"' in line]
    world.api.delete(*key)
    return {"before": before, "during": during, "told": sorted(set(told)), "counted": counted}


def _is_a_policys(line: Object) -> bool:
    return bool((line["direction"], line.get("code")) in (("inbound", "BZ0112"), ("outbound", "BZ0216")))


async def _metrics(world: World, pod: str) -> str:
    return await command(["curl", "-sS", f"http://{world.address(pod)}:{ports.METRICS}/metrics"])


async def _audit(world: World, verb: str) -> str:
    done = await world.bartizan("audit", verb, "--store", str(settings.STATE / "ledger"), "-o", "json")
    return done.out.decode()


async def _reported(world: World) -> dict[str, str]:
    """The reports about both directions, once they have heard of all policies."""
    reports = {}
    end = trio.current_time() + WITHIN_S
    while trio.current_time() < end:
        reports = {verb: await _audit(world, verb) for verb in ("mtls", "egress")}
        if all(_key(name)[1][2] in reports["mtls"] + reports["egress"] for name in POLICIES):
            break
        await trio.sleep(AGAIN_S)
    return reports


async def _from(world: World, who: str, url: str) -> str:
    """What a pod gets: the status and the reason; `nothing` if there was no answer."""
    places = {f"{{{pod}}}": world.address(pod) for pod in ("frontend", "role-backend")}
    for name, address in places.items():
        url = url.replace(name, address)
    answer = await world.ask(who, "http", "GET", url)
    reason = answer.get("headers", {}).get("x-bartizan-reason", "").partition(" ")[0]
    return f"{answer['status']} {reason}".strip() if answer["status"] else "nothing"


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    return play(everything)


@pytest.mark.parametrize("name", INGRESS)
def test_ingress(seen: dict[str, Any], name: str) -> None:
    assert seen[name] == {host + path: expected for host, path, expected in INGRESS[name]}


@pytest.mark.parametrize("name", POLICIES)
def test_network_policy(seen: dict[str, Any], name: str) -> None:
    asked = POLICIES[name]
    assert seen[name]["before"] == {f"{who} {url}": expected for who, url, _, expected in asked}
    assert seen[name]["during"] == {f"{who} {url}": expected for who, url, expected, _ in asked}
    policy = f"default/{_key(name)[1][2]}"
    assert seen[name]["told"] == [f"networkpolicy/{policy}"]
    assert seen[name]["counted"]
    assert policy in seen["reports"]["mtls"] + seen["reports"]["egress"]
