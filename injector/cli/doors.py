"""The ways to the injector's operator socket: on this machine, or inside each replica in a cluster, by `kubectl exec`.

Nothing is exposed for it: who may exec into a pod of `bartizan-system` may ask. A sidecar's standing question is at one of the replicas,
so all of them are asked, and what is newest counts.

Trust: what comes back is read as the value that was asked for, or is an error; its texts are escaped where they are shown.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec
import trio

from injector.operator import SOCKET
from injector.settings import SYSTEM
from sidecar.model.call import Answer
from sidecar.model.errors import ConfigError, ConnectFailed, MeshError
from sidecar.model.value import Value, from_json
from sidecar.net.service import call_unix

from . import state
from .installed import INJECTORS
from .kubectl import Kubectl, KubectlError
from .kubectl import add_arguments as add_cluster
from .terminal import printable

WITHIN_S = 30.0
CONTAINER = "injector"
T = TypeVar("T")


class Door(Protocol):
    def call(self, path: str, body: bytes) -> Answer:
        """Raises MeshError if nobody answers."""
        ...


class Passed(Value, frozen=True):
    """An answer on its way out of a pod."""

    status: int
    body: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Local:
    """
    Args:
        directory: the injector's stateDirectory.
    """

    directory: Path

    def call(self, path: str, body: bytes) -> Answer:
        socket = str(self.directory / SOCKET)

        async def ask() -> Answer:
            with trio.move_on_after(WITHIN_S):
                return await call_unix(socket, "POST", path, body)
            raise ConnectFailed(f"{socket}: the injector did not answer within {WITHIN_S:g} s")

        try:
            return trio.run(ask)
        except ConnectFailed as exc:
            raise ConfigError("--state", f"{exc}; is it the stateDirectory of a running injector, and may you open it?") from exc


@dataclass(frozen=True, slots=True)
class Replica:
    """An injector's pod. `bartizan operator` inside of it speaks to its socket (`injector/cli/operator.py`)."""

    kubectl: Kubectl
    pod: str

    def call(self, path: str, body: bytes) -> Answer:
        command = ["bartizan", "operator", path]
        printed = self.kubectl.exec(SYSTEM, self.pod, CONTAINER, command, body, within_s=WITHIN_S + 10)
        passed = from_json(printed, Passed)
        return Answer(passed.status, bytes(passed.body))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which injector: that of a cluster, unless another is named."""
    add_cluster(parser)
    state.add_arguments(parser)


def doors_of(args: argparse.Namespace) -> Sequence[Door]:
    """Where this machine has an injector, and no cluster is named, that one. Raises MeshError if there is none anywhere."""
    is_here = (Path(state.STATE) / SOCKET).exists() and not (args.context or args.kubeconfig)
    if args.state or args.demo or is_here:
        return [Local(state.state_of(args))]
    return replicas(Kubectl.of(args))


def replicas(kubectl: Kubectl) -> list[Replica]:
    """Of all revisions. Raises KubectlError if none runs."""
    running = [
        str(pod["metadata"]["name"]) for pod in kubectl.list("pods", SYSTEM, INJECTORS)
        if (pod.get("status") or {}).get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")
    ]
    if not running:
        raise KubectlError(f"no injector runs in the namespace {SYSTEM}; see `bartizan check`, or name another one with --state or --demo")
    return [Replica(kubectl, name) for name in sorted(running)]


def put(door: Door, path: str, asked: Value, kind: type[T]) -> T:
    """Raises MeshError."""
    answer = door.call(path, msgspec.json.encode(asked))
    if answer.status != 200:
        raise ConfigError("", _error(answer.body))
    return from_json(answer.body, kind)


def ask_all(doors: Sequence[Door], path: str, asked: Value, kind: type[T]) -> list[tuple[Door, T]]:
    """The answers of all that answer; who does not is told of on standard error. Raises MeshError if nobody does."""
    found: list[tuple[Door, T]] = []
    failures: list[MeshError] = []
    for door in doors:
        try:
            found.append((door, put(door, path, asked, kind)))
        except MeshError as exc:
            failures.append(exc)
    if not found:
        raise failures[0]
    for failure in failures:
        print(f"bartizan: one replica did not answer: {printable(str(failure))}", file=sys.stderr)
    return found


def newest(doors: Sequence[Door], path: str, asked: Value, kind: type[T], heard_at: Callable[[T], float]) -> tuple[Door, T]:
    """The answer of the replica that heard of it last, and the way to it."""
    return max(ask_all(doors, path, asked, kind), key=lambda found: heard_at(found[1]))


def _error(body: bytes) -> str:
    try:
        return printable(str(json.loads(body)["error"]))
    except (ValueError, KeyError, TypeError):
        return "the injector's answer is none"
