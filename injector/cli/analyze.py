"""`bartizan analyze`: mistakes in manifests, without a cluster; with -n or -A in a cluster, or in manifests as they would be in it.

By the very functions of admission (`judge.py`), and what only a whole cluster shows (`judge_cluster.py`).
"""

import argparse
import sys
from collections.abc import Iterable
from typing import Any

from injector.cluster import Cluster, ref_of
from injector.cluster.default_classes import with_classes
from injector.cluster.objects import TEMPLATES, Object
from injector.findings import Finding
from injector.yaml_text import YamlError
from sidecar.model.errors import ConfigError
from sidecar.net.clock import WallClock, wall_clock

from .exits import FINDINGS
from .found import LEVELS, Found, as_json, as_sarif
from .judge import judge, with_namespace
from .judge_cluster import judge_cluster
from .judge_edge import judge_edge, judge_entrances
from .kubectl import Kubectl, add_arguments, add_scope
from .live import everything
from .manifests import Manifest, files_in, live, manifests_in, read_documents
from .terminal import Paint, add_colour, paint_of

_COLOURS = {"Error": "red", "Warning": "yellow", "Info": ""}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan analyze", description="Find mistakes in manifests, or in a cluster.")
    parser.add_argument("files", nargs="*", metavar="FILE", help="YAML or JSON, or a folder; - is standard input")
    add_scope(parser, selector=False)
    parser.add_argument("-o", "--output", choices=("log", "json", "sarif"), default="log", help="default log")
    parser.add_argument("--fail-on", choices=("error", "warning"), default="error", help=f"what ends with status {FINDINGS}; default error")
    add_arguments(parser)
    add_colour(parser)
    args = parser.parse_args(argv)
    if args.files and not (args.all_namespaces or args.namespace or args.context or args.kubeconfig):
        found = find(args.files)
    else:
        found = in_cluster(args)
    print_found(found, args.output, paint_of(args))
    worst = LEVELS[:1] if args.fail_on == "error" else LEVELS[:2]
    return FINDINGS if any(one.level in worst for one in found) else 0


def print_found(found: Iterable[Found], output: str, paint: Paint) -> None:
    if output == "json":
        print(as_json(found))
    elif output == "sarif":
        print(as_sarif(found))
    else:
        for one in found:
            print(str(one).replace(one.level, paint(one.level, _COLOURS[one.level]), 1))    # type: ignore[arg-type]


def analyze(files: list[str], wall: WallClock = wall_clock) -> list[str]:
    """One line for each finding, in the order of files and objects."""
    return list(map(str, find(files, wall)))


def find(files: list[str], wall: WallClock = wall_clock, beside: Cluster | None = None) -> list[Found]:
    """
    Args:
        beside: what else is there; objects of the files count before it.
    """
    manifests, found = read(files)
    readable = [with_namespace(manifest.data) for manifest in manifests if _is_readable(manifest)]
    cluster = Cluster.of(map(dict, with_classes(readable))) if beside is None else _applied(beside, readable)
    at_the_edge = judge_edge(manifests, readable) if beside is None else ()
    return list(dict.fromkeys([*found, *judge(manifests, cluster, wall()), *at_the_edge, *judge_entrances(manifests, cluster)]))


def _is_readable(manifest: Manifest) -> bool:
    try:
        Cluster.of([with_namespace(manifest.data)])
    except ConfigError:
        return False
    return True


def _applied(cluster: Cluster, objects: Iterable[dict[str, Any]]) -> Cluster:
    return cluster.having({ref_of(Object(data)): data for data in objects})


def _is_owned(manifest: Manifest) -> bool:
    """Made from another object, whose findings are its own."""
    try:
        owner = Object(manifest.data).owner
    except ConfigError:
        return False
    return owner is not None and owner[0] in TEMPLATES


def read(files: list[str]) -> tuple[list[Manifest], list[Found]]:
    """The objects of the files, and what cannot be read of them."""
    manifests: list[Manifest] = []
    found: list[Found] = []
    for file in files_in(files):
        try:
            manifests += [manifest for document in read_documents(file) for manifest in manifests_in(file, document)]
        except YamlError as exc:
            found.append(Found(Finding.UNREADABLE, "Error", exc.problem, file=file, line=exc.line))
        except ConfigError as exc:
            found.append(Found(Finding.UNREADABLE, "Error", exc.problem if exc.where == file else str(exc), file=file, line=1))
    return manifests, found


def in_cluster(args: argparse.Namespace, wall: WallClock = wall_clock) -> list[Found]:
    """Of the files as they would be in the cluster; without files of the cluster itself, in one namespace or in all. Raises MeshError."""
    kubectl = Kubectl.of(args)
    namespace = kubectl.namespace(args)
    objects, missing = everything(kubectl, namespace)
    for text in missing:
        print(f"bartizan: {text}", file=sys.stderr)
    manifests = [live(item) for item in objects]
    readable = [manifest for manifest in manifests if _is_readable(manifest)]
    cluster = Cluster.of(with_namespace(manifest.data) for manifest in readable)
    if args.files:
        return find(args.files, wall, cluster)
    own = [manifest for manifest in manifests if not _is_owned(manifest)]
    found = [*judge(own, cluster, wall()), *judge_cluster(cluster, is_whole=not namespace), *judge_entrances(own, cluster)]
    if not found and args.output == "log":
        where = f"the namespace {namespace}" if namespace else "all namespaces"
        print(f"√ nothing found in {where}: {len(own)} objects")
    return list(dict.fromkeys(found))
