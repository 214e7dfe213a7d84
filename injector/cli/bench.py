"""`bartizan bench`: the outside half. It looks whether the benchmark can be run, starts it in namespaces of its own, and ends it.

Whatever ends this process ends `unshare` (`--pdeathsig`), that the first process inside (`--kill-child`), and that all others.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys

from injector.bench.proxies import INSTALL, SOURCE
from injector.bench.workloads import WORKLOADS
from injector.demo.errors import DemoError
from injector.demo.modes import detect, require_tools, search_path

# The origin is nginx, TLS for the load generators is HAProxy's: without these four nothing can be measured.
TOOLS = ("nginx", "haproxy", "wrk", "h2load", "taskset")
CORES = 2
CANNOT = 2
INTERRUPTED = 130


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan bench", description="Bartizan beside Envoy, nginx and HAProxy on this machine.")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON document")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", choices=[workload.name for workload in WORKLOADS],
                        help=f"a workload; may be given again: {', '.join(workload.name for workload in WORKLOADS)}")
    parser.add_argument("--rounds", type=_at_least_one, default=3, metavar="N", help="of which the medians are taken (3)")
    parser.add_argument("--seconds", type=_at_least_one, default=5, metavar="S", help="for each run under load (5)")
    options = parser.parse_args(argv)
    missing = [tool for tool in TOOLS if shutil.which(tool, path=search_path()) is None]
    try:
        if missing:
            raise DemoError(f"missing {', '.join(missing)}; {INSTALL}")
        if len(os.sched_getaffinity(0)) < CORES:
            raise DemoError("two cores are needed: one for the proxy alone, one for the load")
        require_tools()
        mode = detect(os.geteuid() == 0)
    except DemoError as exc:
        print(f"bartizan: bench: {exc}", file=sys.stderr)
        return CANNOT
    inner = [sys.executable, "-m", "injector.bench.inner", "--rounds", str(options.rounds), "--seconds", str(options.seconds),
             *(["--json"] if options.json else []), *options.only]
    present = os.environ.get("PYTHONPATH", "")
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", *mode.unshare, "sh", "-c", '"$@"; exit $?', "sh", *inner],
        stdin=subprocess.DEVNULL, start_new_session=True,   # Ctrl-C comes to us alone
        env={**os.environ, "PATH": search_path(), "PYTHONPATH": os.pathsep.join([str(SOURCE), *filter(None, [present])])},
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        process.kill()
        process.wait()


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)
