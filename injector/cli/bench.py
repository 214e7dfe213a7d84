"""`bartizan bench`: the outside half. It looks whether the benchmark can be run, starts it in namespaces of its own, and ends it.

Whatever ends this process ends `unshare` (`--pdeathsig`), that the first process inside (`--kill-child`), and that all others.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from injector.bench.errors import BenchError
from injector.bench.proxies import INSTALL, SOURCE
from injector.bench.readme import PLOT, around, write_readme
from injector.bench.report import text
from injector.bench.workloads import WORKLOADS
from injector.demo.errors import DemoError
from injector.demo.modes import detect, require_tools, search_path

# The origin is nginx, TLS for the load generators is HAProxy's: without these four nothing can be measured.
TOOLS = ("nginx", "haproxy", "wrk", "h2load", "taskset")
CORES = 2
CANNOT = 2
INTERRUPTED = 130


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan bench", description="Bartizan beside Envoy, nginx, HAProxy and others on this machine.")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON document")
    parser.add_argument("--readme", type=Path, metavar="FILE",
                        help=f"write the table there, between its markers, and {PLOT} beside it")
    parser.add_argument("--quick", action="store_true", help="one round of 1 s each, Envoy alone after the first workload")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", choices=[workload.name for workload in WORKLOADS],
                        help=f"a workload; may be given again: {', '.join(workload.name for workload in WORKLOADS)}")
    parser.add_argument("--rounds", type=_at_least_one, metavar="N", help="of which the medians are taken (3)")
    parser.add_argument("--seconds", type=_at_least_one, metavar="S", help="for each run under load (5)")
    options = parser.parse_args(argv)
    rounds, seconds = (options.rounds or 1, options.seconds or 1) if options.quick else (options.rounds or 3, options.seconds or 5)
    missing = [tool for tool in TOOLS if shutil.which(tool, path=search_path()) is None]
    try:
        if options.readme:
            around(options.readme)      # before half an hour is spent
        if missing:
            raise DemoError(f"missing {', '.join(missing)}; {INSTALL}")
        if len(os.sched_getaffinity(0)) < CORES:
            raise DemoError("two cores are needed: one for the proxy alone, one for the load")
        require_tools()
        mode = detect(os.geteuid() == 0)
        if not mode.has_uids:
            raise DemoError("packet rules exempt every proxy by its user: run as root, or give this user sub-UIDs (/etc/subuid, uidmap)")
    except (BenchError, DemoError) as exc:
        print(f"bartizan: bench: {exc}", file=sys.stderr)
        return CANNOT
    inner = [sys.executable, "-m", "injector.bench.inner", "--rounds", str(rounds), "--seconds", str(seconds),
             *(["--quick"] if options.quick else []), *options.only]
    present = os.environ.get("PYTHONPATH", "")
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", *mode.unshare, "sh", "-c", '"$@"; exit $?', "sh", *inner],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True,   # Ctrl-C comes to us alone
        env={**os.environ, "PATH": search_path(), "PYTHONPATH": os.pathsep.join([str(SOURCE), *filter(None, [present])])},
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        said, _ = process.communicate()
        if process.returncode:
            return process.returncode
        result = json.loads(said)
        print(json.dumps(result, indent=1) if options.json else text(result))
        if options.readme:
            write_readme(result, options.readme)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BenchError as exc:
        print(f"bartizan: bench: {exc}", file=sys.stderr)
        return CANNOT
    finally:
        process.kill()
        process.wait()
    return 0


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)
