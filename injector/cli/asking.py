"""What `bartizan egress explain` and `bartizan verify` share: a question put to the injector, and its answer shown.

Trust: the answer's texts come from a sidecar and, through it, from whoever answers outside; what does not print is escaped, so that
nobody writes to the terminal with them. Attacked by tests/injector/cli/test_asking.py.
"""

import argparse
import json
from collections.abc import Sequence

import msgspec

from injector.operator import Asking, ConfigView, Naming
from sidecar.model.errors import ConfigError
from sidecar.model.explanation import Explanation, Question, check_question
from sidecar.model.value import convert
from sidecar.protocol.authority import parse_authority

from . import doors
from .doors import Door, newest, put
from .kubectl import add_scope
from .terminal import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    doors.add_arguments(parser)
    add_scope(parser, everywhere=False, selector=False)
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


def pod_name(args: argparse.Namespace) -> str:
    """`NAMESPACE/POD`, where the namespace may stand in --namespace."""
    return args.pod if "/" in args.pod or not args.namespace else f"{args.namespace}/{args.pod}"


def ask(ways: Sequence[Door], pod: str, asked: Question) -> Explanation:
    """Of several replicas the one is asked that heard of the pod's sidecar last: its standing question is there. Raises MeshError."""
    door = ways[0]
    if ways[1:]:
        door, _ = newest(ways, "/v1/config", Naming(pod), ConfigView, lambda found: found.status.heard_at)
    return put(door, "/v1/ask", Asking(pod, asked), Explanation)


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

