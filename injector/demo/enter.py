"""Runs a command in a container of the world that goes on; the second half of `bartizan demo exec`, already inside the world.

The exit status is the command's: this process becomes it.
"""

import json
import os
import sys
from typing import Any, NoReturn

from .errors import DemoError
from .settings import WORLD


def prefix_of(pods: list[dict[str, Any]], name: str, container: str) -> list[str]:
    """What to put before a command to run it there. DemoError if there is no such place.

    Args:
        pods: as the kubelet lists them.
        name: of the pod, or of the workload that it was made for.
        container: empty: the pod's first application.
    """
    found = [pod for pod in pods if name in (pod["pod"], pod["generateName"].removesuffix("-"))]
    if not found:
        raise DemoError(f"no pod is called {name!r}; there are: {', '.join(pod['pod'] for pod in pods)}")
    containers: dict[str, list[str]] = found[0]["containers"]
    if container and container not in containers:
        raise DemoError(f"no container {container!r} runs in pod {found[0]['pod']}; there are: {', '.join(containers)}")
    return containers[container or next(iter(containers))]


def main(argv: list[str]) -> NoReturn:
    """Args: pod, container, command."""
    name, container, *words = argv
    try:
        prefix = prefix_of(json.loads((WORLD / "enter.json").read_text()), name, container)
    except DemoError as exc:
        sys.exit(f"bartizan: demo: {exc}")
    os.execvp(prefix[0], [*prefix, *words])


if __name__ == "__main__":
    main(sys.argv[1:])
