"""The inside half of `bartizan bench`: everything happens in the namespaces that it was started in, and ends with them."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from .errors import BenchError, NotAvailable
from .facts import machine, two_cores, versions
from .measures import Numbers
from .proxies import OURS, PROXIES, REFERENCE, Proxy
from .report import document
from .workloads import BESIDE_PEERS, WORKLOADS, Workload
from .world import World

Results = dict[str, dict[str, tuple[list[Numbers], str]]]


def order(proxies: Sequence[Proxy], number: int) -> list[Proxy]:
    """Of one round: each begins with another one."""
    start = number % len(proxies)
    return [*proxies[start:], *proxies[:start]]


def peers(workload: Workload, *, is_quick: bool) -> Sequence[Proxy]:
    """Who is measured: whoever is compared in it; if it must be quick, everybody only in the first workload."""
    if is_quick and workload is not WORKLOADS[0]:
        return [proxy for proxy in PROXIES if proxy.name in (OURS, REFERENCE)]
    return [proxy for proxy in PROXIES if not proxy.workloads or workload.name in proxy.workloads]


def run(
    world: World, workloads: Sequence[Workload], of: Callable[[Workload], Sequence[Proxy]], rounds: int, seconds: float
) -> Results:
    """The numbers of every round by workload and proxy, and why there are none. What is not available once is not tried again."""
    results: Results = {}
    for workload in workloads:
        proxies = of(workload)
        numbers: dict[str, list[Numbers]] = {proxy.name: [] for proxy in proxies}
        why = dict.fromkeys(numbers, "")
        for number in range(rounds):
            for proxy in order(proxies, number):
                if why[proxy.name]:
                    continue
                print(f"bartizan: bench: round {number + 1} of {rounds}, {workload.name}, {proxy.name}", file=sys.stderr, flush=True)
                try:
                    numbers[proxy.name].append(workload.run(world, proxy, seconds))
                except (BenchError, NotAvailable, OSError) as exc:     # the others go on
                    why[proxy.name] = str(exc) or type(exc).__name__
        results[workload.name] = {name: (numbers[name], why[name]) for name in numbers}
    return results


def main(argv: list[str]) -> int:
    """Prints the document. Args: the names of workloads; none: all of them, or with `--quick` those that others can do, too."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("only", nargs="*")
    options = parser.parse_args(argv)
    os.chdir("/")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "run", "/run"], check=True)
    offered = BESIDE_PEERS if options.quick and not options.only else WORKLOADS
    asked = [workload for workload in offered if not options.only or workload.name in options.only]
    proxy_core, load_core, are_siblings = two_cores(os.sched_getaffinity(0))
    date = datetime.now().astimezone().isoformat(timespec="minutes")
    found: dict[str, Any] = {"machine": machine(are_siblings), "date": date, "versions": versions()}
    try:
        world = World(proxy_core, load_core)
        world.up()
        results = run(world, asked, partial(peers, is_quick=options.quick), options.rounds, options.seconds)
    except (BenchError, NotAvailable) as exc:
        print(f"bartizan: bench: {exc}", file=sys.stderr)
        return 1
    print(json.dumps(document(asked, results, **found, rounds=options.rounds, seconds=options.seconds), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
