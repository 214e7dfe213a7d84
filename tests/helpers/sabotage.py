"""The demo's world with one safeguard switched off at a time. What is changed is the world, as somebody could who may: stored
objects, the patch on its way back from the webhook, packet rules, a server outside. None of our programs is another.

Run within namespaces of its own: `python -m tests.helpers.sabotage MODE`. Each line of standard input, `{"check", "sabotage"}`,
is answered by a line of JSON, the check's result. A sabotage stands until another is asked for.
"""

import base64
import copy
import datetime
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from injector.demo import settings
from injector.demo.apiserver import Webhook
from injector.demo.checks import EVERY, run_check
from injector.demo.checks.change import ROUTES
from injector.demo.checks.check import Check
from injector.demo.checks.leaving import UNAPPROVED, WRONG
from injector.demo.modes import BY_NAME, search_path
from injector.demo.network import NODE, command, in_netns
from injector.demo.outside import HOSTS
from injector.demo.world import World, world
from injector.settings import GATEWAY
from injector.yaml_text import read_yaml

Object = dict[str, Any]
Stands = AbstractAsyncContextManager[None]      # a sabotage, for as long as the block runs
Edit = Callable[[list[Object]], list[Object]]   # of a JSON patch

ROOT = Path(__file__).parents[2]
EFFECTIVE_WITHIN_S = 15.0
ANOTHER_UID = 49999   # admission gives none below 50000
EGRESS, PORTS = "bartizan.dev/egress", "bartizan.dev/ports"
TOOLS = ("iptables", "ip6tables")


def nothing(world: World) -> Stands:
    return nullcontext()


# -- stored objects


async def _snapshot(world: World, pod: str) -> Object:
    """What is in force, without what the application has made it want meanwhile: Services of other namespaces."""
    found: Object = json.loads(await world.admin(pod, "GET", "/snapshot"))
    outbound, own = found["outbound"], f".{found['workload']['namespace']}"
    outbound.pop("wanted", None)
    outbound["services"] = [one for one in outbound.get("services", ()) if one["name"].endswith(own)]
    return found


@asynccontextmanager
async def stored(world: World, pod: str, *items: Object) -> AsyncIterator[None]:
    """Store objects without asking admission, later again what was there; each time until the sidecar of `pod` knows."""
    keys = [(item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]) for item in items]
    old = [world.api.get(*key) for key in keys]
    before = await _snapshot(world, pod)
    for item in items:
        world.api.store(item)
    with trio.fail_after(EFFECTIVE_WITHIN_S):
        while await _snapshot(world, pod) == before:
            pass
    yield
    for key, former in zip(keys, old, strict=True):
        if former is None:
            world.api.delete(*key)
        else:
            world.api.store(former)
    with trio.fail_after(EFFECTIVE_WITHIN_S):
        while await _snapshot(world, pod) != before:
            pass


def _found(world: World, kind: str, namespace: str, name: str) -> Object:
    found = world.api.get(kind, namespace, name)
    assert found is not None
    return copy.deepcopy(found)


def _annotated(world: World, name: str, annotation: str, change: Callable[[list[Object]], None]) -> Object:
    """A Deployment with its template's annotation, changed, on itself, where it is read live."""
    deployment = _found(world, "Deployment", "shop", name)
    rules: Any = read_yaml(deployment["spec"]["template"]["metadata"]["annotations"][annotation]).data
    change(rules)
    deployment["metadata"].setdefault("annotations", {})[annotation] = json.dumps(rules)
    return deployment


def any_method(world: World) -> Stands:
    return stored(world, "orders", _annotated(world, "orders", ROUTES, lambda rules: rules[0]["matches"][0].pop("method")))


def any_path(world: World) -> Stands:
    return stored(world, "orders", _annotated(world, "orders", ROUTES, lambda rules: rules[0]["matches"][0].pop("path")))


def thief_allowed(world: World) -> Stands:
    thief = {"serviceAccount": "thief"}
    return stored(world, "orders", _annotated(world, "orders", ROUTES, lambda rules: rules[0]["allow"].append(thief)))


def _kept(*fields: str) -> Callable[[list[Object]], None]:
    """Of every rule these fields remain."""
    def change(rules: list[Object]) -> None:
        rules[:] = [{name: value for name, value in rule.items() if name in fields} for rule in rules]

    return change


def leave_only(world: World) -> Stands:
    """The rules of orders say who may call, and what callers' sidecars do; beyond that nothing."""
    return stored(world, "orders", _annotated(world, "orders", ROUTES, _kept("name", "port", "matches", "allow", "retries")))


def no_retries(world: World) -> Stands:
    def change(rules: list[Object]) -> None:
        for rule in rules:
            rule.pop("retries", None)

    return stored(world, "web", _annotated(world, "orders", ROUTES, change))


def port_undeclared(world: World) -> Stands:
    """The application is said to speak every version of HTTP."""
    deployment = _found(world, "Deployment", "shop", "orders")
    deployment["metadata"].setdefault("annotations", {})[PORTS] = json.dumps({"8080": "http"})
    return stored(world, "orders", deployment)


def permissive(world: World) -> Stands:
    policy = _found(world, "MeshPolicy", "", "default")
    tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    policy["spec"]["mtls"] = {"mode": "permissive", "until": tomorrow.isoformat()}
    return stored(world, "orders", policy)


def ungated(world: World) -> Stands:
    """The policy demands no gateway."""
    policy = _found(world, "EgressPolicy", "", "gated")
    del policy["spec"]["gateway"]
    return stored(world, "web", policy)


def approved(world: World) -> Stands:
    """The host that must not be reached is asked for and approved."""
    policy = _found(world, "EgressPolicy", "", "partners")
    policy["spec"]["hosts"].append({"host": UNAPPROVED, "caBundle": world.papers.roots})
    asked = _annotated(world, "web", EGRESS, lambda rules: rules.append({"host": UNAPPROVED}))
    return stored(world, "web", policy, asked)


def unrestricted(world: World) -> Stands:
    """The policy of billing says of its hosts whom they are, and no more."""
    policy = _found(world, "EgressPolicy", "", "billing")
    _kept("host", "ports", "protocols", "caBundle")(policy["spec"]["hosts"])
    return stored(world, "billing", policy)


def databases_in_plaintext(world: World) -> Stands:
    """A team asks for databases without TLS, and a policy lets it."""
    def change(rules: list[Object]) -> None:
        for rule in rules:
            if rule.get("protocol") == "tcp":
                rule["tls"] = {"mode": "none"}

    policy = _found(world, "EgressPolicy", "", "billing")
    for host in policy["spec"]["hosts"]:
        if host.get("protocols") == ["tcp"]:
            host["allowPlaintext"] = True
    return stored(world, "billing", policy, _annotated(world, "billing", EGRESS, change))


def observed_on(world: World) -> Stands:
    """Another policy, which is narrower, goes on observing: then nothing is refused, and nothing is unusual."""
    policy = _found(world, "MeshPolicy", "", "trial")
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
    spec = {"selector": {**policy["spec"]["selector"], "namespaces": ["shop"]}, "egress": {"mode": "observe", "until": later.isoformat()}}
    return stored(world, "trial", {**policy, "metadata": {"name": "trial-goes-on"}, "spec": spec})


def _secret(world: World, name: str, subject: str) -> Object:
    certificate, key = world.papers.issue(subject, is_client=True)
    data = {"tls.crt": certificate, "tls.key": key}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": name, "namespace": "shop"},
            "data": {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}}


def another_client(world: World) -> Stands:
    return stored(world, "web", _secret(world, "mutual-client", "shop-other"))


def nameless_rule(world: World) -> Stands:
    """An Ingress says nothing of hosts, nor of paths."""
    ingress = _found(world, "Ingress", "shop", "shop")
    (rule,) = ingress["spec"]["rules"]
    del rule["host"]
    rule["http"]["paths"][0]["path"] = "/"
    return stored(world, GATEWAY, ingress)


def not_let_in(world: World) -> Stands:
    """The rule of orders is not for the ingress gateway."""
    return stored(world, "orders", _annotated(world, "orders", ROUTES, lambda rules: rules[0]["allow"].pop()))


def secret_created(world: World) -> Stands:
    return stored(world, "web", _secret(world, "not-created", "shop-web"))


# -- patches


@dataclass(frozen=True)
class Tampered(Webhook):
    """The webhook, whose patches for the pods of some workloads are changed on their way back.

    Args:
        edits: by workload.
    """

    edits: Mapping[str, Edit]

    async def review(self, request: Object) -> Object:
        response = await super().review(request)
        edit = self.edits.get(request["object"]["metadata"].get("generateName", "").rstrip("-"))
        if edit is None or request["kind"]["kind"] != "Pod":
            return response
        patch = edit(json.loads(base64.b64decode(response["patch"])))
        return {**response, "patch": base64.b64encode(json.dumps(patch).encode()).decode()}


@asynccontextmanager
async def _tampered(world: World, edits: Mapping[str, Edit]) -> AsyncIterator[None]:
    genuine = world.webhook
    world.webhook = Tampered(genuine.address, genuine.name, genuine.path, genuine.tls, edits)
    try:
        yield
    finally:
        world.webhook = genuine


async def _replace(world: World, name: str) -> None:
    """The workload again, from its admission on."""
    deployment, pod = _found(world, "Deployment", "shop", name), world.kubelet.pod(name).name
    await world.kubelet.remove(pod)
    world.api.delete("Pod", "shop", pod)
    world.api.delete("Deployment", "shop", name)
    await world.deploy(deployment)


@asynccontextmanager
async def _redeployed(world: World, edits: Mapping[str, Edit]) -> AsyncIterator[None]:
    async def redeploy() -> None:
        async with trio.open_nursery() as nursery:
            for name in edits:
                nursery.start_soon(_replace, world, name)

    async with _tampered(world, edits):
        await redeploy()
    yield
    await redeploy()
    await world.settle()


@asynccontextmanager
async def unmeshed(world: World) -> AsyncIterator[None]:
    """web and orders run without what admission puts into them; in web stands what a kube-proxy would put there."""
    async with _redeployed(world, {"web": lambda patch: [], "orders": lambda patch: []}):
        service = _found(world, "Service", "shop", "orders")
        pods = world.kubelet.pod("orders").addresses.both()
        for tool, vip, pod in zip(TOOLS, service["spec"]["clusterIPs"], pods, strict=True):
            to = f"[{pod}]:8080" if ":" in pod else f"{pod}:8080"
            await world.netns("web", tool, "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-d", vip, "--dport", "80",
                              "-j", "DNAT", "--to-destination", to)
        yield


def private_folder_shared(world: World) -> Stands:
    mount = {"op": "add", "path": "/spec/containers/0/volumeMounts",
             "value": [{"name": "bartizan-private", "mountPath": "/run/bartizan/private"}]}
    return _redeployed(world, {"web": lambda patch: [*patch, mount]})


def another_user(world: World) -> Stands:
    """The sidecar of web runs as another user, and the packet rules exempt that one."""
    of = "/spec/initContainers"
    changes: list[Object] = [{"op": "replace", "path": f"{of}/0/args/2", "value": str(ANOTHER_UID)},
                             {"op": "replace", "path": f"{of}/1/securityContext/runAsUser", "value": ANOTHER_UID}]
    return _redeployed(world, {"web": lambda patch: [*patch, *changes]})


def another_probe(world: World) -> Stands:
    """The kubelet asks the pods that are made from now on whether the sidecar lives, not whether it is ready."""
    probe = {"op": "replace", "path": "/spec/initContainers/1/readinessProbe/httpGet/path", "value": "/healthz/live"}
    return _tampered(world, {"spare": lambda patch: [*patch, probe]})


# -- wires


@asynccontextmanager
async def no_way_out_over_ipv6(world: World) -> AsyncIterator[None]:
    await world.netns("legacy", "ip", "-6", "route", "del", "default")
    yield
    await world.netns("legacy", "ip", "-6", "route", "add", "default", "via", NODE[1])


@asynccontextmanager
async def port_served(world: World) -> AsyncIterator[None]:
    """A port that the sidecar must not have leads to somebody who answers."""
    redirect = ("nat", "PREROUTING", "-p", "tcp", "--dport", "15000", "-j", "REDIRECT", "--to-ports", "8080")
    let_answer = ("filter", "OUTPUT", "-p", "tcp", "--sport", "8080", "-j", "ACCEPT")
    for table, *rule in (redirect, let_answer):
        await world.netns("orders", "iptables", "-t", table, "-I", *rule)
    yield
    for table, *rule in (redirect, let_answer):
        await world.netns("orders", "iptables", "-t", table, "-D", *rule)


@asynccontextmanager
async def control_plane_mute(world: World) -> AsyncIterator[None]:
    """Nothing that issuer and injector send reaches a sidecar. Afterwards the Deployments are what they were."""
    before = [_found(world, "Deployment", "shop", name) for name in ("web", "orders")]
    rule = ("OUTPUT", "-o", "mesh0", "-p", "tcp", "-m", "multiport", "--sports",
            f"{settings.ISSUER_PORT},{settings.STREAM_PORT}", "-j", "DROP")
    for tool in TOOLS:
        await command([tool, "-A", *rule])
    yield
    for tool in TOOLS:
        await command([tool, "-D", *rule])
    for item in before:
        world.api.store(item)


HONEST = """
import dataclasses, os, sys, threading
from pathlib import Path
from injector.demo.outside import HOSTS, Evidence, TcpServer, tls_context
name, folder, port = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
host = dataclasses.replace(HOSTS[name], certificate=name)
for address in host.addresses.both():
    server = TcpServer(host, address, port, tls_context(host, folder), Evidence(folder / "evidence.jsonl"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
os.write(1, b"ready\\n")
threading.Event().wait()
"""


@asynccontextmanager
async def right_certificate(world: World) -> AsyncIterator[None]:
    """Behind the address of the host with the wrong certificate answers one with the right one."""
    (settings.OUTSIDE / f"{WRONG}.pem").write_text("".join(world.papers.issue(WRONG)))
    process = await trio.lowlevel.open_process(
        in_netns("outside", [sys.executable, "-c", HONEST, WRONG, str(settings.OUTSIDE), "9443"]),
        stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    try:
        assert await process.stdout.receive_some() == b"ready\n"
        for action in ("-A", "-D"):
            for tool, address in zip(TOOLS, HOSTS[WRONG].addresses.both(), strict=True):
                to = f"[{address}]:9443" if ":" in address else f"{address}:9443"
                await command(in_netns("outside", [tool, "-t", "nat", action, "PREROUTING", "-p", "tcp", "-d", address,
                                                   "--dport", "443", "-j", "DNAT", "--to-destination", to]))
            if action == "-A":
                yield
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


# -- evidence


@asynccontextmanager
async def evidence_edited(world: World) -> AsyncIterator[None]:
    """One digit in the collected ledger of orders, by somebody who may write there."""
    (path,) = (settings.STATE / "ledger").glob(f"*/*.{world.kubelet.pod('orders').uid}.jsonl")
    at = path.read_bytes().index(b'"time":1') + len(b'"time":')
    for digit in (b"2", b"1"):
        with path.open("r+b") as file:      # it goes on to grow
            file.seek(at)
            file.write(digit)
        if digit == b"2":
            yield


SABOTAGES: dict[str, Callable[[World], Stands]] = {sabotage.__name__: sabotage for sabotage in (
    nothing, any_method, any_path, thief_allowed, leave_only, no_retries, port_undeclared, permissive, ungated, approved, another_client,
    secret_created, unmeshed, another_user, private_folder_shared, another_probe, no_way_out_over_ipv6, port_served,
    control_plane_mute, right_certificate, evidence_edited, nameless_rule, not_let_in, unrestricted, databases_in_plaintext, observed_on,
)}


# -- what is asked for


async def users(world: World) -> str:
    """Whom the rules of web exempt, and as whom its sidecar runs."""
    # Only exemptions name a canary; of a guard over several ranges of users (sub-UIDs), one may be a single user, too.
    exempt = sorted(set(re.findall(r"! -d \S+ .*--uid-owner (\d+) ", await world.netns("web", "iptables-save"))))
    done = await world.run("web", "stat", "-c", "%u", "/proc/1", container=settings.SIDECAR)
    return f"{' '.join(exempt)} {done.out.decode().strip()}"


USERS = Check("users", users)


async def _lines() -> AsyncIterator[bytes]:
    async with trio.lowlevel.FdStream(os.dup(0)) as stream:
        held = b""
        async for data in stream:
            *whole, held = (held + data).split(b"\n")
            for line in whole:
                yield line


async def serve(mode: str) -> None:
    checks, current = {check.name: check for check in (*EVERY, USERS)}, ""
    async with world(BY_NAME[mode], lambda text: None) as made, AsyncExitStack() as stack:
        async for line in _lines():
            task = json.loads(line)
            if task["sabotage"] != current:
                await stack.aclose()
                current = task["sabotage"]
                await stack.enter_async_context(SABOTAGES[current](made))
            result = await run_check(made, checks[task["check"]])
            print(json.dumps(result.to_json()), flush=True)


if __name__ == "__main__":
    os.environ["PATH"] = search_path()
    os.umask(0o022)
    os.chdir("/")   # as in injector/demo/inner.py
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "run", "/run"], check=True)
    trio.run(serve, sys.argv[1])
