"""`bartizan check [--pre|--proxy]`: whether all is as it must be, category by category, each with the place of its hints.

`--pre` before an installation, `--proxy` for the namespaces of the mesh besides the control plane. With `--wait` what fails is looked
at again until the time is over.
"""

import argparse
import json
import re
from collections.abc import Callable, Iterator

import trio

from injector.documents import REVISION
from injector.operator import Listing
from injector.settings import SYSTEM
from injector.status import Status, merged
from sidecar.model.errors import ConfigError, MeshError
from sidecar.net.clock import wall_clock

from . import doors
from .checks import Category, Check, as_json, as_text, has_failed
from .checks.before import kubernetes_api, other_meshes, pod_security, pre_install
from .checks.control_plane import admission, existence, identity, leading
from .checks.data_plane import data_plane
from .checks.gateway import ingress_gateway
from .exits import FINDINGS
from .installed import INJECTORS, config_of
from .kubectl import Kubectl, add_arguments, add_scope
from .terminal import add_colour, paint_of

AGAIN_S = 2.0
_UNITS = {"s": 1, "m": 60, "h": 3600}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan check", description="Whether all is as it must be; status 79 if not.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--pre", action="store_true", help="what must hold before an installation")
    which.add_argument("--proxy", action="store_true", help="the pods of the mesh, too")
    add_scope(parser, selector=False)
    parser.add_argument(
        "-o", "--output", choices=("table", "json", "short"), default="table", help="short: what is not well; default table")
    parser.add_argument("--wait", metavar="TIME", default="0s", help="look again until all is well, for so long: 90s, 5m; default: once")
    add_arguments(parser)
    add_colour(parser)
    args = parser.parse_args(argv)
    kubectl = Kubectl.of(args)
    categories = trio.run(wait_until_well, lambda: list(look(kubectl, args)), seconds(args.wait))
    if args.output == "json":
        print(json.dumps(as_json(categories), indent=2))
    else:
        for line in as_text(categories, paint_of(args), is_short=args.output == "short"):
            print(line)
    return FINDINGS if has_failed(categories) else 0


def seconds(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,6})([smh])", text)
    if match is None:
        raise ConfigError("--wait", f"{text[:50]!r} is no time; write 90s, 5m or 1h")
    return int(match[1]) * _UNITS[match[2]]


async def wait_until_well(run: Callable[[], list[Category]], most_s: float) -> list[Category]:
    """The last result; of once, if there is no time to wait."""
    ends = trio.current_time() + most_s
    while True:
        found = run()
        if not has_failed(found) or trio.current_time() + AGAIN_S > ends:
            return found
        await trio.sleep(AGAIN_S)


def look(kubectl: Kubectl, args: argparse.Namespace) -> Iterator[Category]:
    now = wall_clock()
    api = list(kubernetes_api(kubectl))
    yield "kubernetes-api", api
    if len(api) == 1:       # nobody answers: everything else would say the same
        return
    if args.pre:
        yield "pre-install", list(pre_install(kubectl, now))
        return
    found = list(existence(kubectl))
    yield "bartizan-existence", found
    if len(found) == 1:
        return
    status, answers = _status(kubectl, args.namespace)
    yield "bartizan-control-plane", [answers, leading(kubectl, now)]
    yield "bartizan-admission", list(admission(kubectl))
    yield "bartizan-identity", list(identity(kubectl, now, status))
    if of_gateway := list(ingress_gateway(kubectl)):
        yield "bartizan-gateway", of_gateway
    if args.proxy:
        pods = data_plane(kubectl, args.namespace, status, _images(kubectl))    # without a namespace: of all that are labelled
        yield "bartizan-data-plane", [pod_security(kubectl), other_meshes(kubectl), *pods]


def _status(kubectl: Kubectl, namespace: str) -> tuple[Status | None, Check]:
    description, anchor = "every injector answers", "injector-answers"
    failures: list[str] = []
    found: list[Status] = []
    try:
        replicas = doors.replicas(kubectl)
    except MeshError as exc:
        return None, Check(description, anchor, (str(exc),), "error")
    for door in replicas:
        try:
            found.append(doors.put(door, "/v1/status", Listing(namespace), Status))
        except MeshError as exc:
            failures.append(f"{door.pod}: {exc}")
    check = Check(description, anchor, tuple(failures), "success" if not failures else "warning" if found else "error")
    return (merged(found) if found else None), check


def _images(kubectl: Kubectl) -> dict[str, str]:
    """What new pods get, by revision; those that cannot be told are left out."""
    found: dict[str, str] = {}
    try:
        configs = kubectl.list("configmaps", SYSTEM, INJECTORS)
        for revision in {str((one["metadata"].get("labels") or {}).get(REVISION, "")) for one in configs}:
            if isinstance(image := config_of(kubectl, revision).get("image"), str):
                found[revision] = image
    except MeshError:
        pass        # who may not read it is told so by the checks above
    return found
