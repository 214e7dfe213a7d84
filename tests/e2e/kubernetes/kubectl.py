"""kubectl, as an operator has it, for tests."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .programs import program

Object = dict[str, Any]
WITHIN_S = 60


class Failed(AssertionError):
    """kubectl said no; its text is what a person would read."""


@dataclass(frozen=True)
class Kubectl:
    kubeconfig: Path
    program: Path = field(default_factory=lambda: program("kubectl"))

    def __call__(self, *arguments: str, stdin: str = "", within_s: float = 2 * WITHIN_S) -> str:
        """Returns what it printed; raises Failed with what it complained of."""
        command = [str(self.program), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=within_s)
        if done.returncode != 0:
            raise Failed(f"kubectl {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def environment(self) -> dict[str, str]:
        """For programs that run kubectl themselves."""
        path = f"{self.program.parent}:{os.environ['PATH']}"
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": path}

    def is_done(self, *arguments: str) -> bool:
        try:
            self(*arguments)
        except Failed:
            return False
        return True

    def apply(self, *objects: Object) -> str:
        """`kubectl apply` of all of them, in one file."""
        return self("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def get(self, namespace: str, *what: str) -> Object:
        found: Object = json.loads(self("-n", namespace, "get", "-o", "json", *what))
        return found

    def items(self, namespace: str, *what: str) -> list[Object]:
        found: list[Object] = self.get(namespace, *what)["items"]
        return found

    def wait(self, kind: str, name: str, condition: str, namespace: str = "default") -> None:
        for what in ("create", f"condition={condition}"):
            self("-n", namespace, "wait", f"{kind}/{name}", f"--for={what}", f"--timeout={WITHIN_S}s")

    def rolled_out(self, namespace: str, *workloads: str) -> None:
        for workload in workloads:
            try:
                self("-n", namespace, "rollout", "status", workload, f"--timeout={WITHIN_S}s")
            except Failed as exc:
                raise Failed(f"{exc}\n{self.trouble(namespace)}") from exc

    def trouble(self, namespace: str) -> str:
        """What there is to know of a namespace whose pods do not come up."""
        return self("-n", namespace, "get", "pods", "-o", "wide") + self("-n", namespace, "get", "events", "--sort-by=.lastTimestamp")

    def execute(self, namespace: str, pod: str, *command: str, container: str = "", stdin: str = "") -> str:
        chosen = ["-c", container] if container else []
        return self("-n", namespace, "exec", "-i", pod, *chosen, "--", *command, stdin=stdin)

    def events(self, namespace: str, about: Callable[[Object], bool] = lambda _: True) -> list[Object]:
        return [event for event in self.items(namespace, "events") if about(event)]
