"""The whole world, brought up in order: wires, outside, issuer, injector, objects, pods. One trio process runs it.

What is ours in it is started as a person would start it: `bartizan certs`, `bartizan injector`, and in the pods what the webhook
put there. A process of the world that ends ends the world, with the last lines that it wrote.
"""

import base64
import datetime
import json
import os
import random
import ssl
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio
import yaml

from injector.settings import GATEWAY, ROOTS, ROOTS_KEY, SYSTEM

from . import images, settings
from .apiserver import ApiServer, Webhook
from .applying import Applying, with_roots
from .errors import DemoError
from .images import Images
from .kubelet import Kubelet, Node
from .modes import Mode
from .network import CLUSTER_DNS, Network, command, in_netns
from .outside import HOSTS
from .paper import Papers
from .probes import ask_tcp
from .runtime import Done, tail
from .settings import WORLD
from .tokens import TokenSigner

Object = dict[str, Any]
Say = Callable[[str], None]

SERVER_WITHIN_S = 15.0
POD_WITHIN_S = 25.0
ASK_EVERY_S = 0.05


class World:
    """
    Args:
        images, kubelet, api, webhook: see there.
        client: the demo's client, as a command inside pods.
    """

    def __init__(self, mode: Mode, found: Images, network: Network, papers: Papers) -> None:
        self.mode = mode
        self.papers = papers
        self.python = [found.python, "-m"]
        self.client = [*self.python, "injector.demo.client"]
        self.program = [*self.python, "injector.cli.main"]
        self.environment = {**os.environ, **dict(found.env)}
        self.signer = TokenSigner(settings.TOKEN_ISSUER)
        self.rng = random.Random()
        self._more_names: dict[str, list[str]] = {}
        self.api = ApiServer(settings.CLUSTER, self.rng, self._write_dns_table)
        self.kubelet = Kubelet(
            Node(WORLD, found, network, self.signer, self.api.get, time.time, mode.has_uids), self.api.set_status)
        self.webhook = Webhook(
            ("127.0.0.1", settings.WEBHOOK_PORT), settings.INJECTOR_NAME, "/mutate",
            lambda: ssl.create_default_context(cafile=str(settings.AUTHORITY / "roots.pem")))
        self.applying = Applying(self.api, self.webhook, self.kubelet, papers.roots)

    # -- what checks do and see

    async def run(self, pod: str, *words: str, container: str = "", within_s: float = 30.0) -> Done:
        """Run a command in a pod."""
        with trio.move_on_after(within_s):
            return await self.kubelet.execute(pod, list(words), container)
        raise DemoError(f"`{' '.join(words)}` in pod {pod} did not end within {within_s:g} s")

    async def ask(self, pod: str, *words: str, within_s: float = 30.0) -> Object:
        """Run the demo's client in a pod's application container. Returns what it reports."""
        done = await self.run(pod, *self.client, *words, within_s=within_s)
        if done.status != 0:
            said = done.err.decode(errors="replace")[-800:]
            raise DemoError(f"the client in pod {pod} ended with status {done.status}: {said}")
        return dict(json.loads(done.out))

    async def ask_outside(self, *words: str) -> Object:
        """The same outside, as a client of no pod."""
        argv = in_netns("outside", [*self.client, *words])
        return dict(json.loads((await trio.run_process(argv, env=self.environment, capture_stdout=True)).stdout))

    async def bartizan(self, *words: str) -> Done:
        """Run our command on the node, as an operator would."""
        done = await trio.run_process([*self.program, *words], env=self.environment, check=False, capture_stdout=True, capture_stderr=True)
        return Done(done.returncode, done.stdout, done.stderr)

    def address(self, pod: str) -> str:
        return self.kubelet.pod(pod).addresses.ipv4

    def arrivals(self, host: str, since: float) -> list[Object]:
        """What arrived at a host of the outside world after a moment."""
        return [item for item in json_lines(settings.OUTSIDE / "evidence.jsonl") if item["host"] == host and item["at"] >= since]

    def access_log(self, pod: str, since: float) -> list[Object]:
        """What a pod's sidecar wrote about requests and connections that began after a moment."""
        return [item for item in json_lines(self.kubelet.log(pod, _container(pod))) if item.get("time", 0) >= since]

    def ledger(self, pod: str) -> list[Object]:
        """What a pod's sidecar wrote down as evidence, shipped or not."""
        volumes = settings.WORLD / "pods" / self.kubelet.pod(pod).uid / "volumes"
        return [item for path in sorted(volumes.glob("*/ledger/*.jsonl")) for item in json_lines(path)]

    async def admin(self, pod: str, method: str, path: str) -> bytes:
        """Ask the sidecar's admin socket, from within the sidecar's own container."""
        script = ("import http.client, socket, sys; c = http.client.HTTPConnection('admin'); "
                  "c.sock = socket.socket(socket.AF_UNIX); c.sock.connect('/run/bartizan/private/admin.sock'); "
                  "c.request(*sys.argv[1:]); sys.stdout.buffer.write(c.getresponse().read())")
        done = await self.run(pod, self.client[0], "-c", script, method, path, container=_container(pod))
        if done.status != 0:
            raise DemoError(f"the admin socket of pod {pod} did not answer: {done.err.decode(errors='replace')[-300:]}")
        return done.out

    async def netns(self, pod: str, *words: str, text: str = "") -> str:
        """Run a command as the node's administrator in a pod's network namespace."""
        return await command(in_netns(self.kubelet.pod(pod).name, list(words)), text)

    # -- bringing it up

    def store_examples(self) -> list[Object]:
        """Store everything but the Deployments, which are returned: they go through admission."""
        deployments = []
        for item in read_manifests(settings.EXAMPLES):
            if item["kind"] == "Deployment":
                if not self.mode.has_uids:
                    # The C library's DNS query for issuer and injector carries no mark, so in this mode the rules do not exempt it.
                    item["spec"]["template"]["spec"]["hostAliases"] = [
                        {"ip": ip, "hostnames": [name]} for name, found in settings.control_plane_names().items() for ip in found]
                deployments.append(item)
                continue
            with_roots(item, self.papers.roots)
            _not_yet(item)
            self.api.store(item)
        self._store_certificate("mutual-client", self.papers.issue("shop-web", is_client=True))
        self._store_certificate("shop-tls", self.papers.issue("shop.demo.example"))
        self.api.store({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": ROOTS, "namespace": SYSTEM},
            "data": {ROOTS_KEY: (settings.AUTHORITY / "roots.pem").read_text()},
        })
        return deployments

    def _store_certificate(self, name: str, issued: tuple[str, str]) -> None:
        self.api.store({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": name, "namespace": "shop"},
            "data": {file: base64.b64encode(text.encode()).decode() for file, text in zip(("tls.crt", "tls.key"), issued, strict=True)},
        })

    async def deploy(self, deployment: Object) -> list[str]:
        """Apply a Deployment. Returns the names of its pods once all are ready."""
        names = await self.api.apply(deployment, self.webhook, self.kubelet)
        for name in names:
            await self.kubelet.wait_until(name, lambda pod: pod.is_ready, POD_WITHIN_S)
        return names

    async def settle(self) -> None:
        """Until every sidecar knows an endpoint of every Service: readiness is word of mouth, and takes a moment."""
        for pod in self.api.all("Pod"):
            name = pod["metadata"]["name"]
            if "bartizan.dev/status" not in pod["metadata"].get("annotations", {}):
                continue
            with trio.move_on_after(POD_WITHIN_S) as patience:
                while True:
                    services = json.loads(await self.admin(name, "GET", "/snapshot")).get("outbound", {}).get("services", ())
                    # What has no sidecar, as the ingress gateway, is no endpoint of the mesh.
                    if all(service.get("endpoints") for service in services if not service["name"].endswith(f".{SYSTEM}")):
                        break
                    await trio.sleep(ASK_EVERY_S)
            if patience.cancelled_caught:
                raise DemoError(f"the sidecar of pod {name} does not hear of the Services' endpoints")

    def name(self, names: dict[str, list[str]]) -> None:
        """The name server knows these, too, from now on."""
        self._more_names |= names
        self._write_dns_table()

    def _write_dns_table(self) -> None:
        """At each change of an object, too."""
        table = settings.control_plane_names() | {host.name: list(host.addresses.both()) for host in HOSTS.values()} | self._more_names
        for service in self.api.all("Service"):
            metadata, spec = service["metadata"], service["spec"]
            if spec.get("clusterIP") != "None":
                addresses = spec.get("clusterIPs") or [spec["clusterIP"]]
            else:
                addresses = [item["ip"] for pod in self.api.all("Pod") for item in pod.get("status", {}).get("podIPs", ())
                             if pod["metadata"]["namespace"] == metadata["namespace"]
                             and spec["selector"].items() <= pod["metadata"].get("labels", {}).items()]
            table[f"{metadata['name']}.{metadata['namespace']}.svc.cluster.local"] = addresses
        replace_json(settings.DNS_TABLE, table)


@asynccontextmanager
async def world(mode: Mode, say: Say) -> AsyncIterator[World]:
    """The world while the block runs. It must be the first thing that happens in namespaces of its own."""
    began = trio.current_time()
    WORLD.mkdir(mode=0o700)
    (WORLD / "stage").mkdir()
    images.IMAGE.mkdir()
    found, network = await images.build(), Network()
    await network.up({host.name: host.addresses for host in HOSTS.values()})
    papers = Papers(datetime.datetime.now(datetime.UTC))
    papers.lay_out(settings.OUTSIDE, [host.certificate for host in HOSTS.values() if host.certificate],
                   frozenset(host.certificate for host in HOSTS.values() if host.is_expired))
    made = World(mode, found, network, papers)
    await _make_authority(made)
    replace_json(settings.JWKS, made.signer.jwks())
    await _name_the_control_plane()
    settings.INJECTOR_TOKEN.write_text(made.signer.token(
        settings.INJECTOR_POD, str(uuid.uuid4()), "bartizan", settings.INJECTOR_TOKEN_S, time.time()))
    deployments = made.store_examples()
    async with trio.open_nursery() as nursery:
        start = partial(nursery.start, partial(_server, environment=made.environment))
        nursery.start_soon(made.kubelet.serve)
        async with trio.open_nursery() as starting:
            issuer, injector = WORLD / "issuer.json", WORLD / "injector.json"
            replace_json(issuer, settings.issuer_config())
            replace_json(injector, settings.injector_config("uid" if mode.has_uids else "mark"))
            starting.start_soon(start, "issuer", [*made.program, "certs", "serve", "--config", str(issuer)],
                                ("127.0.0.1", settings.ISSUER_PORT))
            starting.start_soon(start, "injector", [*made.program, "injector", "--config", str(injector)],
                                ("127.0.0.1", settings.WEBHOOK_PORT))
            starting.start_soon(start, "outside", in_netns("outside", [*made.python, "injector.demo.outside", str(settings.OUTSIDE)]),
                                (HOSTS["api.partner.example"].addresses.ipv4, 443))
            answering = [CLUSTER_DNS, str(settings.DNS_TABLE), str(settings.DNS_EVIDENCE)]
            starting.start_soon(start, "name server", in_netns("kube-dns", [*made.python, "injector.demo.dns", *answering]),
                                (CLUSTER_DNS, 53))
        say(f"issuer, injector, name server and outside world are up after {trio.current_time() - began:.1f} s")
        async with trio.open_nursery() as deploying:
            for deployment in deployments:
                deploying.start_soon(made.deploy, deployment)
        await made.settle()
        say(f"pods are ready after {trio.current_time() - began:.1f} s")
        yield made
        nursery.cancel_scope.cancel()


async def _name_the_control_plane() -> None:
    """Issuer and injector ask each other by the names that their certificates are for: the node's hosts file has them."""
    hosts = WORLD / "hosts"
    names = "\t".join(name for name in settings.control_plane_names())
    hosts.write_text(f"127.0.0.1\tlocalhost\n::1\tlocalhost\n127.0.0.1\t{names}\n")
    await command(["mount", "--bind", str(hosts), "/etc/hosts"])


async def _make_authority(made: World) -> None:
    done = await made.bartizan("certs", "init", str(settings.AUTHORITY), "--trust-domain", settings.TRUST_DOMAIN)
    if done.status != 0:
        raise DemoError(f"`bartizan certs init` failed: {done.err.decode(errors='replace').strip()}")


async def _server(name: str, argv: list[str], listens: tuple[str, int], *, environment: dict[str, str],
                  task_status: trio.TaskStatus[None]) -> None:
    """Run a server of the world for as long as that lasts; started when it listens. DemoError if it ends."""
    log = WORLD / "logs" / f"{name.replace(' ', '-')}.log"
    with log.open("ab") as output:
        process = await trio.lowlevel.open_process(argv, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                                                   stderr=subprocess.STDOUT)
    try:
        async with trio.open_nursery() as nursery:
            async def report() -> None:
                with trio.move_on_after(SERVER_WITHIN_S):
                    await _wait_listening(listens)
                    return task_status.started()
                raise DemoError(f"the {name} does not listen after {SERVER_WITHIN_S:g} s; it last said:\n{tail(log)}")

            nursery.start_soon(report)
            status = await process.wait()
            raise DemoError(f"the {name} ended with status {status}; it last said:\n{tail(log)}")
    finally:
        if process.poll() is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def _wait_listening(address: tuple[str, int]) -> None:
    while True:
        if await ask_tcp(*address):
            return
        await trio.sleep(ASK_EVERY_S)


def _container(pod: str) -> str:
    """Of a pod, the one in which our process runs."""
    return settings.INGRESS_GATEWAY if pod == GATEWAY else settings.SIDECAR


def _not_yet(item: Object) -> None:
    """What the demo's manifests relax until a date is relaxed for as long as anybody looks at it: until tomorrow."""
    spec = item.get("spec") or {}
    dated = [waiver for host in spec.get("hosts", ()) for waiver in host.get("waivers", ())] if item["kind"] == "EgressPolicy" else []
    if item["kind"] == "MeshPolicy" and spec.get("egress", {}).get("mode") == "observe":
        dated.append(spec["egress"])
    for one in dated:
        one["until"] = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)).isoformat()


def read_manifests(folder: Path) -> list[Object]:
    found: list[Object] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            found += [item for item in yaml.safe_load_all(path.read_text()) if item]
        except yaml.YAMLError as exc:
            raise DemoError(f"{path}: {exc}") from exc
    if not found:
        raise DemoError(f"there are no manifests in {folder}; the demo needs a checkout of the repository")
    return found


def json_lines(path: Path) -> list[Object]:
    """The lines of a file that are whole JSON objects."""
    found = []
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            item = json.loads(line)
        except ValueError:
            continue   # the program's own words, or a line that is being written
        if isinstance(item, dict):
            found.append(item)
    return found


def replace_json(path: Path, value: Any) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(json.dumps(value, indent=1))
    os.replace(fresh, path)
