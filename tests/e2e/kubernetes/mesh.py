"""bartizan in the cluster, as a platform team puts it there: `bartizan install | kubectl apply`."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from injector.cluster.objects import SIDECAR
from injector.settings import SYSTEM
from tests.helpers.pods import ROOT, wait_until

from .images import Images
from .kubectl import Failed, Kubectl, Object
from .node import Node
from .node_files import DOMAIN, PODS, SERVICES
from .outside import Outside
from .space import Space
from .workloads import container, pod, template

READY_S = 90.0
LIFETIME_S = 300        # the shortest: certificates are renewed while these tests run


@dataclass(frozen=True)
class Mesh:
    node: Node
    images: Images
    outside: Outside | None

    @property
    def kubectl(self) -> Kubectl:
        return self.node.kubectl

    def bartizan(self, *arguments: str) -> str:
        """A verb of the operator's; raises Failed with what it complained of."""
        done = self.try_bartizan(*arguments)
        if done.returncode != 0:
            raise Failed(f"bartizan {' '.join(arguments)}: {done.stderr}{done.stdout}")
        return done.stdout

    def try_bartizan(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Whatever comes of it."""
        command = [sys.executable, "-m", "injector.cli.main", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=self.kubectl.environment(), timeout=120)

    def install(self, *more: str) -> None:
        """Print and apply; returns when all of it is ready."""
        self.apply(self.bartizan("install", *self.values(), *more))
        self.ready()

    def values(self) -> list[str]:
        """What this cluster's installation says."""
        policy = "Never" if self.images.archives else "IfNotPresent"
        said = {"image": self.images.bartizan, "imagePullPolicy": policy, "lifetimeS": LIFETIME_S}
        return [word for key, value in said.items() for word in ("--set", f"{key}={value}")]

    def apply(self, manifests: str) -> None:
        self.kubectl("apply", "--server-side", "-f", "-", stdin=manifests)

    def ready(self) -> None:
        """All of the control plane."""
        found = self.kubectl.items(SYSTEM, "statefulsets")
        self.kubectl.rolled_out(SYSTEM, *(f"statefulset/{one['metadata']['name']}" for one in found))

    def policy(self) -> Object:
        """What a security team says of this cluster."""
        dns = self.kubectl.get("kube-system", "service/kube-dns")["spec"]["clusterIP"]
        return {"apiVersion": "bartizan.dev/v1alpha1", "kind": "MeshPolicy", "metadata": {"name": "default"}, "spec": {
            "resolvers": [dns], "clusterDomain": DOMAIN, "clusterRanges": [*PODS.values(), *SERVICES.values()]}}

    @contextmanager
    def space(self, name: str, **labels: str) -> Iterator[Space]:
        """A namespace of the mesh."""
        meshed = {"bartizan.dev/injection": "enabled", **labels}
        self.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": meshed}})
        found = Space(name, self.kubectl, self.images)
        found.run("wait", "--for=create", "serviceaccount/default", "--timeout=30s")
        try:
            yield found
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")

    def wait_until_it_admits(self, space: Space) -> None:
        """Until the webhook answers, and its answer is used."""
        said = ""

        def admits() -> bool:
            nonlocal said
            try:
                found = space.dry_run(pod("probe", template(container(self.images.app), "default")))
            except Failed as exc:
                said = str(exc)
                return False
            said = f"a pod without {SIDECAR} was admitted"
            return SIDECAR in [one["name"] for one in found["spec"].get("initContainers", ())]

        wait_until(admits, lambda: said, READY_S)
