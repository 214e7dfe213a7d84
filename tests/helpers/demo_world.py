"""What happens in the demo's world, told as JSON: a test's own function runs there, in a process with namespaces of its own.

`python -m tests.helpers.demo_world MODE MODULE FUNCTION` is what runs inside.
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from injector.demo.errors import DemoError
from injector.demo.modes import BY_NAME, detect, search_path
from injector.demo.world import World, world

Scenario = Callable[[World], Awaitable[dict[str, Any]]]
ROOT = Path(__file__).parents[2]


def play(scenario: Scenario) -> dict[str, Any]:
    """What a function at the top of a module returns that was run in a new world."""
    try:
        mode = detect(os.geteuid() == 0)
    except DemoError as exc:
        pytest.skip(str(exc))
    words = [sys.executable, "-m", "tests.helpers.demo_world", mode.name, scenario.__module__, scenario.__name__]
    done = subprocess.run(["unshare", *mode.unshare, *words], cwd=ROOT, env={**os.environ, "PATH": search_path()},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-6000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


async def _run(mode: str, scenario: Scenario) -> None:
    async with world(BY_NAME[mode], lambda text: None) as made:
        print(json.dumps(await scenario(made)), flush=True)


if __name__ == "__main__":
    os.environ["PATH"] = search_path()
    os.umask(0o022)
    found: Scenario = getattr(importlib.import_module(sys.argv[2]), sys.argv[3])
    os.chdir("/")   # as in injector/demo/inner.py
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "run", "/run"], check=True)
    trio.run(_run, sys.argv[1], found)
