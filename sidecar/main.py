"""`bartizan sidecar --config FILE`: read the configuration, build everything once, own the root nursery, drain on SIGTERM.

`bartizan gateway --config FILE` is the same where no packet rules bring anything, to lead out of the mesh or into it: see `doors.py`.
"""

import argparse
import gc
import os
import signal
import sys
from functools import partial

import trio

from .model.config import Config, parse_config, with_workers
from .model.errors import ConfigError
from .net.files import read_file
from .net.memory import keep_memory_private
from .parts import Sidecar
from .supervisor import own_command, supervise


async def serve(config: Config, *, is_gateway: bool) -> None:
    sidecar = Sidecar(config, is_gateway=is_gateway)
    gc.freeze()     # what was built at start lives for ever: keep it out of every later collection; a last one now would take 20 ms
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(sidecar.run)
            async for _ in signals:
                break
            async with trio.open_nursery() as last:

                async def hurry() -> None:
                    async for _ in signals:     # a second one ends the draining
                        last.cancel_scope.cancel()

                last.start_soon(hurry)
                await sidecar.drain()
                last.cancel_scope.cancel()
            nursery.cancel_scope.cancel()
        await sidecar.conclude()


def read_config(name: str) -> Config:
    """From a file, or with `env:NAME` from an environment variable (how the injected pod carries it)."""
    if name.startswith("env:"):
        text = os.environ.get(name[4:])
        if text is None:
            raise ConfigError("--config", f"the environment variable {name[4:]} is not set")
        return parse_config(text.encode())
    return parse_config(read_file(name, ""))


def main(argv: list[str], *, is_gateway: bool = False) -> int:
    verb, what = ("gateway", "a gateway, which no packet rules lead to") if is_gateway else ("sidecar", "the sidecar proxy")
    parser = argparse.ArgumentParser(prog=f"bartizan {verb}", description=f"Run {what}.")
    parser.add_argument("--config", required=True, metavar="FILE", help="JSON configuration; env:NAME reads a variable")
    if is_gateway:
        parser.add_argument("--workers", type=int, metavar="N", help="how many processes share the ports (default: the configuration's)")
    args = parser.parse_args(argv)
    try:
        config = read_config(args.config)
        if is_gateway and args.workers is not None:
            config = with_workers(config, args.workers)
        if config.workers > 1 and not is_gateway:
            raise ConfigError("workers", "a sidecar is one process; `bartizan gateway` may be several")
        if config.workers > 1 and not config.worker:
            return trio.run(supervise, config, own_command(argv))
        keep_memory_private()
        trio.run(partial(serve, config, is_gateway=is_gateway))
    except ConfigError as exc:
        print(f"bartizan: {args.config}: {exc}", file=sys.stderr)
        return 1
    return 0
