"""The inside half of `bartizan demo`: brings the world up in the namespaces that it was started in, runs the checks, goes on if
it is to be kept. What it has to say it writes as lines of JSON for the outside half, which shows them.

Its life hangs on a pipe: when the outside half is gone without a word, so is this process, and with it the world.
"""

import argparse
import json
import os
import subprocess
import sys
import threading

import trio

from sidecar.net.listener import Tally, listen_unix, serve_listener

from . import settings
from .applying import SOCKET
from .checks import run_checks
from .errors import DemoError, causes
from .kept import RELEASED
from .modes import BY_NAME, search_path
from .world import world


def tell(**message: object) -> None:
    print(json.dumps(message), flush=True)


def hang_on(lifeline: int) -> None:
    """End this process when the pipe does; a byte on it sets us free. A thread, so that no state of the loop can delay it."""
    def watch() -> None:
        if os.read(lifeline, 1) != RELEASED:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


async def run(mode_name: str, is_kept: bool, is_checked: bool) -> None:
    async with world(BY_NAME[mode_name], lambda text: tell(say=text)) as made:
        results = await run_checks(made, lambda result: tell(check=result.to_json())) if is_checked else []
        tell(end=0 if all(result.passed for result in results) else 1)
        if is_kept:
            quiet = os.open(settings.WORLD / "logs" / "world.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(quiet, 1)   # nobody reads our words any more
            os.dup2(quiet, 2)
            await serve_listener(listen_unix(str(settings.WORLD / SOCKET)), made.applying.serve, Tally())


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", required=True)
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--no-checks", action="store_true")
    options = parser.parse_args(argv)
    hang_on(options.lifeline)
    os.environ["PATH"] = search_path()
    os.umask(0o022)
    os.chdir("/")   # Python looks for modules where it is started; the world's programs are in the image
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "run", "/run"], check=True)
    try:
        trio.run(run, options.mode, options.keep, not options.no_checks)
    except BaseException as exc:
        leaves = causes(exc)
        if not leaves or not all(isinstance(leaf, DemoError) for leaf in leaves):
            raise
        tell(failed=str(leaves[0]))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
