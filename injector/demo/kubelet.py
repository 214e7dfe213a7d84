"""The kubelet: runs pods as their JSON says, asks their probes, and reports their status. It knows nothing of sidecars.

One pod, in order: network and volumes; init containers one after the other, those with restartPolicy `Always` staying, the next
one waiting for their startup probe; then all the others. What ends is started again with back-off. A pod is Ready when every
container that stays is. `postStart` comes before the probes, `preStop` before the end.

Spec: Kubernetes, Pod Lifecycle; Sidecar Containers. Left out: ordered termination, and Jobs (restartPolicy other than Always).
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from . import runtime
from .container import Lookup, Object, plan
from .errors import DemoError
from .images import Images
from .network import NODE, Addresses, Network
from .probes import Ask, Timing, asker, keep_asking, wait_started
from .runtime import Done, Running
from .tokens import TokenSigner
from .volumes import Volumes

Clock = Callable[[], float]
Report = Callable[[str, Object], None]   # pod uid, its status
NO_ADDRESSES = Addresses("", "")


@dataclass(frozen=True, slots=True)
class Node:
    """What all pods of this machine share.

    Args:
        folder: for volumes, logs and the list of containers to enter.
        clock: Unix seconds.
        has_uids: whether runAsUser can be honoured.
    """

    folder: Path
    images: Images
    network: Network
    signer: TokenSigner
    lookup: Lookup
    clock: Clock
    has_uids: bool


@dataclass
class Pod:
    """A pod that this kubelet runs, and what is known of it.

    Args:
        trouble: why it does not come up, with the last lines of the container that failed; empty while all is well.
    """

    object: Object
    addresses: Addresses = NO_ADDRESSES
    volumes: Volumes | None = None
    running: dict[str, Running] = field(default_factory=dict)
    ready: dict[str, bool] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    is_initialized: bool = False
    trouble: str = ""
    is_ending: bool = False
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    gone: trio.Event = field(default_factory=trio.Event)

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def uid(self) -> str:
        return str(self.object["metadata"]["uid"])

    @property
    def staying(self) -> list[str]:
        """Names of the containers that are to run all the time; the applications' first."""
        spec = self.object["spec"]
        return [*(item["name"] for item in spec["containers"]),
                *(item["name"] for item in spec.get("initContainers") or () if item.get("restartPolicy") == "Always")]

    @property
    def grace_s(self) -> float:
        return float(self.object["spec"].get("terminationGracePeriodSeconds", 30))

    @property
    def is_ready(self) -> bool:
        return self.is_initialized and all(self.ready.get(name, False) for name in self.staying)

    def status(self) -> Object:
        def condition(kind: str, holds: bool) -> Object:
            return {"type": kind, "status": "True" if holds else "False"}

        return {
            "phase": "Running" if self.is_initialized else "Pending",
            "podIP": self.addresses.ipv4,
            "podIPs": [{"ip": ip} for ip in self.addresses.both() if ip],
            "hostIP": NODE[0],
            "conditions": [condition("PodScheduled", True), condition("Initialized", self.is_initialized),
                           condition("ContainersReady", self.is_ready), condition("Ready", self.is_ready)],
            "containerStatuses": [{"name": name, "ready": self.ready.get(name, False), "restartCount": self.restarts.get(name, 0)}
                                  for name in self.staying],
        }


class Kubelet:
    """Runs every pod that it is handed for as long as `serve` runs."""

    def __init__(self, node: Node, report: Report) -> None:
        self._node = node
        self._report = report
        self._pods: dict[str, Pod] = {}
        self._send, self._receive = trio.open_memory_channel[Pod](100)
        self._changed = trio.Event()
        for name in ("pods", "logs"):
            (node.folder / name).mkdir(parents=True)

    async def serve(self) -> None:
        async with trio.open_nursery() as nursery:
            async for pod in self._receive:
                nursery.start_soon(self._run_pod, pod)

    def run(self, pod: Object) -> None:
        """Begin to run a pod."""
        found = self._pods[pod["metadata"]["name"]] = Pod(pod)
        self._send.send_nowait(found)

    def update(self, pod: Object) -> None:
        """The stored pod has changed: its metadata shows in the pod's files, its containers stay as they are."""
        found = self.pod(pod["metadata"]["name"])
        found.object = {**found.object, "metadata": pod["metadata"]}
        if found.volumes is not None:
            found.volumes.refresh(found.object, self._node.clock())

    async def remove(self, name: str) -> None:
        """End a pod; returns when all of it is gone."""
        pod = self.pod(name)
        pod.is_ending = True
        spec = pod.object["spec"]
        with trio.move_on_after(pod.grace_s):
            async with trio.open_nursery() as nursery:
                for container in (*spec["containers"], *(spec.get("initContainers") or ())):
                    if container["name"] in pod.running:
                        nursery.start_soon(self._run_hook, pod, container, "preStop", pod.running[container["name"]])
        pod.scope.cancel()
        await pod.gone.wait()

    def pod(self, name: str) -> Pod:
        """The pod by its name, or by the name of the workload that it was made for if that has only one."""
        if name in self._pods:
            return self._pods[name]
        found = [pod for pod in self._pods.values() if pod.object["metadata"].get("generateName") == f"{name}-"]
        if len(found) != 1:
            raise DemoError(f"{len(found)} pods are called {name!r}; there are: {', '.join(sorted(self._pods))}")
        return found[0]

    def log(self, pod: str, container: str) -> Path:
        metadata = self.pod(pod).object["metadata"]
        return self._node.folder / "logs" / f"{metadata['namespace']}_{metadata['name']}_{container}.log"

    async def execute(self, pod: str, argv: list[str], container: str = "", stdin: bytes = b"") -> Done:
        """Run a command in a container, the pod's first application by default."""
        found = self.pod(pod)
        running = found.running.get(container or found.staying[0])
        if running is None:
            raise DemoError(f"container {container or found.staying[0]} of pod {found.name} is not running")
        return await running.execute(argv, stdin)

    async def wait_until(self, name: str, holds: Callable[[Pod], bool], within_s: float) -> None:
        """Wait until something holds of a pod. DemoError tells what went wrong instead, as soon as that is known."""
        pod = self.pod(name)
        with trio.move_on_after(within_s):
            while not holds(pod):
                if pod.trouble:
                    raise DemoError(f"pod {pod.name}: {pod.trouble}")
                await self._changed.wait()
            return
        waiting = [item for item in pod.staying if not pod.ready.get(item, False)]
        logs = "\n".join(f"  {item} last said:\n{runtime.tail(self.log(pod.name, item))}" for item in waiting)
        raise DemoError(f"pod {pod.name} is not as expected after {within_s:g} s; not ready: {', '.join(waiting)}\n{logs}")

    # -- one pod

    async def _run_pod(self, pod: Pod) -> None:
        try:
            with pod.scope:
                await self._bring_up(pod)
        finally:
            self._pods.pop(pod.name, None)
            with trio.CancelScope(shield=True), trio.move_on_after(5):
                if pod.addresses is not NO_ADDRESSES:
                    await self._node.network.remove_pod(pod.name)
            pod.gone.set()
            self._note(pod)

    async def _bring_up(self, pod: Pod) -> None:
        node = self._node
        try:
            pod.addresses = await node.network.add_pod(pod.name)
            pod.volumes = Volumes(node.folder / "pods" / pod.uid, pod.addresses, node.signer, node.lookup)
            paths = await pod.volumes.make(pod.object, node.clock())
        except DemoError as exc:
            return await self._give_up(pod, str(exc))
        self._note(pod)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._renew, pod, pod.volumes)
            for container in pod.object["spec"].get("initContainers") or ():
                if container.get("restartPolicy") == "Always":
                    await nursery.start(partial(self._keep_running, pod, container, paths))
                else:
                    await self._run_to_completion(pod, container, paths)
            pod.is_initialized = True
            for container in pod.object["spec"]["containers"]:
                nursery.start_soon(self._keep_running, pod, container, paths)
            self._note(pod)
        return None

    async def _renew(self, pod: Pod, volumes: Volumes) -> None:
        while True:
            now = self._node.clock()
            await trio.sleep(max(volumes.refresh(pod.object, now) - now, 1.0))

    async def _run_to_completion(self, pod: Pod, container: Object, paths: dict[str, str]) -> None:
        restarts = 0
        while (status := await self._run_once(pod, container, paths, lambda: None)) != 0:
            pod.trouble = self._failure(pod, container["name"], status)
            self._note(pod)
            await trio.sleep(runtime.back_off_s(restarts))
            restarts += 1
        pod.trouble = ""

    async def _keep_running(self, pod: Pod, container: Object, paths: dict[str, str],
                            task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run a container again and again. `task_status` is told when it has started for the first time."""
        name, has_started, failures = container["name"], False, 0

        def started() -> None:
            nonlocal has_started
            if not has_started:
                has_started = True
                task_status.started()

        while True:
            began = trio.current_time()
            status = await self._run_once(pod, container, paths, started)
            if pod.is_ending:
                return
            failures = 0 if trio.current_time() - began > runtime.FORGIVEN_AFTER_S else failures
            if failures or not has_started:
                pod.trouble = self._failure(pod, name, status)
            pod.restarts[name] = pod.restarts.get(name, 0) + 1
            self._note(pod)
            await trio.sleep(runtime.back_off_s(failures))
            failures += 1

    async def _run_once(self, pod: Pod, container: Object, paths: dict[str, str], started: Callable[[], None]) -> int:
        """Run a container until it ends. Returns its exit status."""
        node, name = self._node, container["name"]
        assert pod.volumes is not None
        try:
            launch = plan(pod.object, container, node.images, paths, pod.addresses, node.lookup)
            running = await runtime.start(launch, pod.name, self.log(pod.name, name), node.has_uids, pod.volumes.system_mounts())
        except DemoError as exc:
            await self._give_up(pod, str(exc))
            raise AssertionError("unreachable") from exc
        pod.running[name] = running
        self._list_containers()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._probe, pod, container, running, started)
                status = await running.wait()
                nursery.cancel_scope.cancel()
            return status
        finally:
            del pod.running[name]
            pod.ready[name] = False
            await running.stop(pod.grace_s)

    async def _probe(self, pod: Pod, container: Object, running: Running, started: Callable[[], None]) -> None:
        """Ask a container's probes, the startup probe first. One that failed for good ends the container."""
        name = container["name"]

        def set_ready(verdict: bool) -> None:
            pod.ready[name] = verdict
            self._note(pod)

        def ask(kind: str) -> tuple[Timing, Ask]:
            return Timing.of(container[kind]), asker(container[kind], container, pod.addresses.ipv4, running.run)

        try:
            if not await self._run_hook(pod, container, "postStart", running):
                return await self._end(pod, container, running)
            if "startupProbe" in container and not await wait_started(*ask("startupProbe")):
                return await self._end(pod, container, running)
            started()
            dead = trio.Event()
            async with trio.open_nursery() as nursery:
                if "livenessProbe" in container:
                    nursery.start_soon(keep_asking, *ask("livenessProbe"), True, lambda _: dead.set())
                if "readinessProbe" in container:
                    nursery.start_soon(keep_asking, *ask("readinessProbe"), False, set_ready)
                else:
                    set_ready(True)
                await dead.wait()
                await self._end(pod, container, running)
        except* DemoError as group:
            await self._give_up(pod, str(group.exceptions[0]))

    async def _run_hook(self, pod: Pod, container: Object, kind: str, running: Running) -> bool:
        hook = (container.get("lifecycle") or {}).get(kind)
        return not hook or await asker(hook, container, pod.addresses.ipv4, running.run, is_hook=True)()

    async def _end(self, pod: Pod, container: Object, running: Running) -> None:
        with trio.CancelScope(deadline=trio.current_time() + pod.grace_s) as grace:
            await self._run_hook(pod, container, "preStop", running)
        await running.stop(max(grace.deadline - trio.current_time(), 0))

    # -- what is told

    def _failure(self, pod: Pod, container: str, status: int) -> str:
        return f"container {container} ended with status {status}; it last said:\n{runtime.tail(self.log(pod.name, container))}"

    async def _give_up(self, pod: Pod, why: str) -> None:
        """Stay in trouble until the pod is removed."""
        pod.trouble = why
        self._note(pod)
        await trio.sleep_forever()

    def _note(self, pod: Pod) -> None:
        if pod.is_ready:
            pod.trouble = ""
        if not pod.gone.is_set():
            self._report(pod.uid, pod.status())
        self._changed.set()
        self._changed = trio.Event()

    def _list_containers(self) -> None:
        """Write down how to enter each container, for `bartizan demo exec`."""
        listed = [{"pod": pod.name, "generateName": pod.object["metadata"].get("generateName", ""),
                   "containers": {name: pod.running[name].prefix for name in (*pod.staying, *pod.running) if name in pod.running}}
                  for pod in self._pods.values()]
        fresh = self._node.folder / "enter.new"
        fresh.write_text(json.dumps(listed))
        os.replace(fresh, self._node.folder / "enter.json")
