"""A namespace for one test, and what one does in it."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .images import Images
from .kubectl import Kubectl, Object
from .workloads import account, container, deployment, service, template

SAID = '%{stderr}\n{"status": %{response_code}, "headers": %{header_json}}'


@dataclass(frozen=True)
class Answer:
    """What curl was told."""

    status: int
    headers: Mapping[str, list[str]]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def arrived(self) -> dict[str, str]:
        """The headers with which the application was asked, which it answers with."""
        return {name.lower(): value for name, value in self.json["headers"]}

    @property
    def reason(self) -> str:
        """Why a sidecar refused; empty: none did."""
        return self.headers.get("x-bartizan-reason", [""])[0]


@dataclass(frozen=True)
class Space:
    name: str
    kubectl: Kubectl
    images: Images

    def apply(self, *objects: Object) -> str:
        return self.kubectl.apply(*({**made, "metadata": {"namespace": self.name, **made["metadata"]}} for made in objects))

    def dry_run(self, made: Object) -> Object:
        """What the API server would make of an object, after all of its admission."""
        said: Object = json.loads(self.run("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(made)))
        return said

    def run(self, *arguments: str, stdin: str = "") -> str:
        """kubectl, in this namespace."""
        return self.kubectl("-n", self.name, *arguments, stdin=stdin)

    def app(self, name: str, annotations: Mapping[str, str] | None = None, replicas: int = 1, **spec: Any) -> None:
        """The application with a Service and an account of the same name. Returns when it is ready."""
        self.apply_app(name, annotations, replicas, **spec)
        self.ready(name)

    def apply_app(self, name: str, annotations: Mapping[str, str] | None = None, replicas: int = 1, **spec: Any) -> None:
        made = template(container(self.images.app, *spec.pop("command", ()), **spec.pop("container", {})), name, annotations, **spec)
        self.apply(account(name), service(name), deployment(name, made, replicas))

    def ready(self, *names: str) -> None:
        """Deployments, and with them whoever asks for their names."""
        self.kubectl.rolled_out(self.name, *(f"deployment/{name}" for name in names))

    def pods(self, app: str) -> list[Object]:
        """Those that are there to stay."""
        found = self.kubectl.items(self.name, "pods", "-l", f"app={app}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def url(self, app: str, path: str = "/", port: int = 8080) -> str:
        return f"http://{app}.{self.name}:{port}{path}"

    def curl(self, app: str, *arguments: str) -> Answer:
        """One request from a pod of the Deployment, which must be answered."""
        done = self.exec_in(app, "curl", "-sS", "--max-time", "20", "--write-out", SAID, *arguments)
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stderr[done.stderr.index('{"status"'):])
        return Answer(said["status"], said["headers"], done.stdout)

    def try_run(self, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """kubectl, whatever comes of it."""
        words = [str(self.kubectl.program), f"--kubeconfig={self.kubectl.kubeconfig}", "-n", self.name, *arguments]
        return subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=120)

    def exec_in(self, app: str, *command: str, stdin: str = "", container: str = "app") -> "subprocess.CompletedProcess[str]":
        """Whatever comes of it."""
        return self.try_run("exec", "-i", f"deployment/{app}", "-c", container, "--", *command, stdin=stdin)

    @contextmanager
    def running(self, app: str, *command: str) -> "Iterator[subprocess.Popen[str]]":
        """A process in a pod of the Deployment, for as long as the block at most."""
        words = [str(self.kubectl.program), f"--kubeconfig={self.kubectl.kubeconfig}", "-n", self.name, "exec", "-i",
                 f"deployment/{app}", "-c", "app", "--", *command]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def load(self, app: str, url: str) -> Iterator[dict[str, Any]]:
        """Requests one after the other while the block runs; afterwards the value says what was seen, by status."""
        seen: dict[str, Any] = {}
        with self.running(app, "python3", "/app.py", "load", url) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            yield seen
            said, _ = process.communicate("enough\n", timeout=60)
        seen |= json.loads(said)
