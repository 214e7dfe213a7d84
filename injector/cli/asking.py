"""What `bartizan egress explain` and `bartizan verify` share: a question put to the injector, and its answer shown.

Trust: the answer's texts come from a sidecar and, through it, from whoever answers outside; what does not print is escaped, so that
nobody writes to the terminal with them. Attacked by tests/injector/cli/test_asking.py.
"""

import argparse
import json
from pathlib import Path

import msgspec
import trio

from injector.operator import SOCKET, Asking
from sidecar.model.errors import ConfigError, ConnectFailed
from sidecar.model.explanation import Explanation, Question, check_question
from sidecar.model.value import convert, from_json
from sidecar.net.service import call_unix
from sidecar.protocol.authority import parse_authority

from . import state
from .terminal import printable

WITHIN_S = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    state.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the steps as JSON")


def authority(text: str) -> tuple[str, int | None]:
    """(host, port) of `host[:port]`; an IPv6 address in brackets. ConfigError."""
    try:
        host, port = parse_authority(text.encode("ascii", "replace"))
    except ValueError as exc:
        why = "write HOST or HOST:PORT; `bartizan verify` takes a URL" if "/" in text else str(exc).partition(": ")[0]
        raise ConfigError("HOST", f"{text[:200]!r}: {why}") from exc
    return host.decode("ascii"), port


def question(host: str, port: int, kind: str, method: str, path: str, *, sends: bool = False) -> Question:
    """ConfigError where it is none."""
    asked = convert({"host": host, "port": port, "kind": kind, "method": method, "path": path, "sends": sends}, Question)
    check_question(asked)
    return asked


def ask(directory: Path, pod: str, asked: Question) -> Explanation:
    """Raises MeshError."""
    path, body = str(directory / SOCKET), msgspec.json.encode(Asking(pod, asked))

    async def call() -> Explanation:
        with trio.move_on_after(WITHIN_S):
            answer = await call_unix(path, "POST", "/v1/ask", body)
            if answer.status != 200:
                raise ConfigError("", _error(answer.body))
            return from_json(answer.body, Explanation)
        raise ConnectFailed(f"{path}: the injector did not answer within {WITHIN_S:g} s")

    try:
        return trio.run(call)
    except ConnectFailed as exc:
        raise ConfigError("--state", f"{exc}; is it the stateDirectory of a running injector, and may you open it?") from exc


def _error(body: bytes) -> str:
    try:
        return printable(str(json.loads(body)["error"]))
    except (ValueError, KeyError, TypeError):
        return "the injector's answer is none"


def show(explanation: Explanation, reached: str = "reached", *, as_json: bool) -> int:
    """Print it, in the end `reached` or why not. Returns the exit status: 0 if it would be reached."""
    if as_json:
        print(json.dumps({"reached": explanation.is_reached, **msgspec.to_builtins(explanation)}, indent=1))
        return 0 if explanation.is_reached else 1
    for one in explanation.steps:
        print(f"{one.outcome:<8} {one.name:<13} {printable(one.words)}" + (f" [{printable(one.code)}]" if one.code else ""))
        for name, text in one.facts.items():
            if text not in one.words:
                print(f"{'':<22} {printable(name)}: {printable(text)}")
    code = printable(explanation.code)
    print(reached if explanation.is_reached else f"not reached; for more: bartizan explain {code}" if code else "not reached")
    return 0 if explanation.is_reached else 1

