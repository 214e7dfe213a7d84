"""`bartizan demo`: the whole path on this machine. No cluster, no image, nothing left behind.

    bartizan demo                       bring the world up, run the checks, end it
    bartizan demo --keep                let it go on in the background afterwards; with --no-checks at once
    bartizan demo exec POD -- CMD ...   run a command in a pod of the world that goes on
    bartizan demo apply FILE...         put objects into it, by way of the real webhook
    bartizan demo --stop                end it
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from injector.cli.manifests import manifests_in, read_documents
from injector.yaml_text import YamlError
from sidecar.model.errors import ConfigError, MeshError

from . import kept, settings
from .applying import SOCKET, apply
from .errors import DemoError
from .modes import Mode, detect, require_tools, search_path

SOURCE = Path(__file__).resolve().parents[2]
INTERRUPTED = 130
END_WITHIN_S = 5.0
NO_WORLD = "no world goes on; start one with: bartizan demo --keep"

# The first process of the world. It takes over orphans, and everything ends with it.
FIRST_PROCESS = ("sh", "-c", '"$@"; exit $?', "sh")


def main(argv: list[str]) -> int:
    if argv[:1] == ["exec"]:
        return _exec(argv[1:])
    if argv[:1] == ["apply"]:
        return _apply(argv[1:])
    parser = argparse.ArgumentParser(prog="bartizan demo", description="The whole path on this machine, in network namespaces.",
                                     epilog="In a kept world: `bartizan demo exec POD -- COMMAND ...` runs a command in a pod, "
                                            "`bartizan demo apply FILE...` applies objects.")
    parser.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")
    parser.add_argument("--keep", action="store_true", help="let the world go on afterwards")
    parser.add_argument("--no-checks", action="store_true", help="bring the world up and check nothing")
    parser.add_argument("--stop", action="store_true", help="end the world that goes on")
    options = parser.parse_args(argv)
    try:
        if options.stop:
            if not kept.end(kept.state_file()):
                raise DemoError(NO_WORLD)
            print("the world has ended")
            return 0
        return _run(options.json, options.keep, options.no_checks)
    except DemoError as exc:
        print(f"bartizan: demo: {exc}", file=sys.stderr)
        return 1


def _run(as_json: bool, keep: bool, no_checks: bool) -> int:
    require_tools()
    mode = detect(os.geteuid() == 0)
    show = _Quiet(mode) if as_json else _Tour(mode)
    if kept.end(kept.state_file()):
        show.say("ended the earlier world")
    lifeline, hold = os.pipe()
    process = subprocess.Popen(
        ["unshare", *mode.unshare, *FIRST_PROCESS, sys.executable, "-m", "injector.demo.inner",
         "--mode", mode.name, "--lifeline", str(lifeline),
         *(["--keep"] if keep else []), *(["--no-checks"] if no_checks else [])],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        pass_fds=(lifeline,), env=_environment(), start_new_session=True,   # Ctrl-C comes to us alone
    )
    os.close(lifeline)
    assert process.stdout is not None
    is_released = False
    try:
        status = _follow(process.stdout, show)
        if keep and status is not None:
            kept.remember(kept.state_file(), _first_process(process.pid), mode.name)
            os.write(hold, kept.RELEASED)
            is_released = True
            show.kept()
        return 1 if status is None else status
    except KeyboardInterrupt:
        show.say("interrupted")
        return INTERRUPTED
    finally:
        os.close(hold)   # unless it was released, the world ends with this
        if not is_released:
            _see_ended(process)


def _follow(lines: IO[str], show: "_Tour | _Quiet") -> int | None:
    """Show what the inside says. Returns the exit status that it names, or None if it ended without naming one."""
    for line in lines:
        try:
            message: dict[str, Any] = json.loads(line)
        except ValueError:
            print(line, end="", file=sys.stderr)   # a traceback, or a program's own words
            continue
        if "say" in message:
            show.say(message["say"])
        elif "check" in message:
            show.check(message["check"])
        elif "failed" in message:
            show.failed(message["failed"])
            return None
        else:
            show.end()
            return int(message["end"])
    show.failed("the world ended early")
    return None


def _see_ended(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(END_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()   # its child is killed with it (--kill-child), and the rest of the world with that
        process.wait()


def _first_process(unshare: int) -> int:
    """The world's first process by the one that made its namespaces."""
    return int(Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()[0])


def _environment() -> dict[str, str]:
    present = os.environ.get("PYTHONPATH")
    return {**os.environ, "PATH": search_path(), "PYTHONPATH": f"{SOURCE}:{present}" if present else str(SOURCE)}


def _exec(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan demo exec", usage="bartizan demo exec [-c CONTAINER] POD -- COMMAND ...",
                                     description="Run a command in a pod, as its application.")
    parser.add_argument("-c", "--container", default="", help="default: the pod's first application")
    parser.add_argument("pod", help="its name, or the name of its Deployment")
    at = argv.index("--") if "--" in argv else len(argv)
    options, command = parser.parse_args(argv[:at]), argv[at + 1:]
    if not command:
        parser.error("what to run? bartizan demo exec POD -- COMMAND ...")
    found = kept.recall(kept.state_file())
    if found is None:
        print(f"bartizan: demo: {NO_WORLD}", file=sys.stderr)
        return 1
    enter = [*kept.enter_argv(found), sys.executable, "-m", "injector.demo.enter", options.pod, options.container, *command]
    return subprocess.run(enter, env=_environment(), check=False).returncode


def _apply(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan demo apply", description="Put objects into a kept world, by way of admission.")
    parser.add_argument("files", nargs="+", metavar="FILE", help="YAML or JSON; - is standard input")
    files = parser.parse_args(argv).files
    found = kept.recall(kept.state_file())
    if found is None:
        print(f"bartizan: demo: {NO_WORLD}", file=sys.stderr)
        return 1
    items = []
    try:
        for file in files:
            items += _objects(file)
        results = apply(str(found.inside(settings.WORLD / SOCKET)), items)
    except MeshError as exc:
        print(f"bartizan: demo: {exc}", file=sys.stderr)
        return 1
    for one in results:
        print(one['words'] if one['refused'] else f"{one['object']}: {one['words']}")
    return 1 if any(one["refused"] for one in results) else 0


def _objects(file: str) -> list[dict[str, Any]]:
    """ConfigError names file and line."""
    try:
        return [manifest.data for document in read_documents(file) for manifest in manifests_in(file, document)]
    except YamlError as exc:
        raise ConfigError(f"{file}:{exc.line}", exc.problem) from exc


class _Tour:
    """Shows what happens to a person."""

    def __init__(self, mode: Mode) -> None:
        self._counts = {True: 0, False: 0}
        print(f"bartizan demo, as {mode.says}", flush=True)

    def say(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def check(self, result: dict[str, Any]) -> None:
        self._counts[result["passed"]] += 1
        print(f"{'PASS' if result['passed'] else 'FAIL'}  {result['name']}\n      {result['detail']}", flush=True)

    def failed(self, why: str) -> None:
        print(f"bartizan: demo: {why}", file=sys.stderr, flush=True)

    def end(self) -> None:
        if any(self._counts.values()):
            print(f"{self._counts[True]} passed, {self._counts[False]} failed", flush=True)

    def kept(self) -> None:
        found = kept.recall(kept.state_file())
        where = found.inside(settings.WORLD) if found is not None else settings.WORLD
        print("The world goes on.\n"
              "  enter a pod      bartizan demo exec web -- curl -s http://orders/orders/1\n"
              "  change objects   bartizan demo apply FILE...   (the first ones: examples/demo/)\n"
              "  ask why          bartizan egress explain shop/web api.partner.example --demo\n"
              f"  look             {where}: cluster/ has the objects, logs/ access logs, state/ the ledgers\n"
              "  end it           bartizan demo --stop", flush=True)


class _Quiet:
    """Collects what happens and prints it once, as JSON."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._checks: list[dict[str, Any]] = []

    def say(self, text: str) -> None:
        """Not asked for."""

    def check(self, result: dict[str, Any]) -> None:
        self._checks.append(result)

    def failed(self, why: str) -> None:
        self._checks.append({"name": "the world comes up and stays", "passed": False, "detail": why})
        self.end()

    def end(self) -> None:
        passed = sum(item["passed"] for item in self._checks)
        failed = len(self._checks) - passed
        result = {"mode": self._mode.name, "passed": passed, "failed": failed, "checks": self._checks}
        print(json.dumps(result, indent=1), flush=True)

    def kept(self) -> None:
        """Not asked for."""
