"""`bartizan status`: each pod's sidecar, with the snapshot that it has, its certificate, its mTLS and its rules."""

import argparse
import json

import msgspec

from injector.operator import Listing
from injector.status import PodStatus, Status, merged

from . import doors
from .kubectl import Kubectl, add_scope
from .terminal import Paint, add_colour, ago, paint_of, printable, table

HEADS = ("NAME", "VERSION", "SNAPSHOT", "CERT", "MTLS", "RULES")
COLOURS = {"SYNCED": "green", "STALE": "yellow", "NEVER": "red", "NO SIDECAR": "red"}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan status", description="Each pod's sidecar: its snapshot, certificate, mTLS and rules.")
    add_scope(parser)
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table", help="default table")
    doors.add_arguments(parser)
    add_colour(parser)
    args = parser.parse_args(argv)
    ways = doors.doors_of(args)
    is_here = isinstance(ways[0], doors.Local)      # which has no context, and thus no namespace of its own
    namespace = args.namespace if is_here else Kubectl.of(args).namespace(args)
    answers = [answer for _, answer in doors.ask_all(ways, "/v1/status", Listing(namespace), Status)]
    found = merged(answers)
    if args.selector:
        chosen = {(pod["metadata"]["namespace"], pod["metadata"]["name"])
                  for pod in Kubectl.of(args).list("pods", namespace, args.selector)}
        found = msgspec.structs.replace(found, pods=tuple(pod for pod in found.pods if (pod.namespace, pod.name) in chosen))
    if args.output == "json":
        print(json.dumps(as_json(found), indent=2))
        return 0
    for line in as_table(found, paint_of(args)):
        print(line)
    if not found.pods:
        where = f"the namespace {namespace}" if namespace else "any namespace"
        print(f"no pod in {where} has a sidecar, or should have one; see: kubectl get namespaces -L bartizan.dev/injection")
    return 0


def as_json(status: Status) -> dict[str, object]:
    pods = [{**msgspec.to_builtins(pod), "state": pod.state(status.now)} for pod in status.pods]
    return {"version": status.version, "now": status.now, "pods": pods}


def as_table(status: Status, paint: Paint) -> list[str]:
    """Below the table what sidecars refused, and what of documents is not in force."""
    lines = table(HEADS, (_row(pod, status.now) for pod in status.pods)) if status.pods else []
    for i, pod in enumerate(status.pods, 1):
        state = pod.state(status.now)
        lines[i] = lines[i].replace(state, paint(state, COLOURS[state]), 1)     # type: ignore[arg-type]
    for pod in status.pods:
        name = printable(f"{pod.name}.{pod.namespace}")
        if pod.refused:
            lines.append(f"{name}: its sidecar does not take the newest snapshot: {printable(pod.refused)}")
        lines += [f"{name}: {printable(problem)}" for problem in pod.problems]
    return lines


def _row(pod: PodStatus, now: float) -> tuple[str, ...]:
    name, state = f"{pod.name}.{pod.namespace}", pod.state(now)
    if not pod.sidecar:
        return name, "", state, "", "", ""
    age = f" ({ago(now - pod.heard_at)})" if state == "STALE" else ""
    left = pod.not_after - now
    ends = ("ended" if left <= 0 else ago(left)) if pod.not_after else ""
    mode = "permissive" if pod.permissive_until > now else "strict"
    return name, version_of(pod), state + age, ends, mode, rules_words(pod)


def version_of(pod: PodStatus) -> str:
    """`REVISION/VERSION`, the latter the image's tag or the beginning of its digest."""
    _, at, digest = pod.sidecar.partition("@")
    image = pod.sidecar.rpartition("/")[2]
    tag = digest.removeprefix("sha256:")[:12] if at else image.partition(":")[2] or image
    return f"{pod.revision}/{tag}" if pod.revision else tag


def rules_words(pod: PodStatus) -> str:
    """`3 in force, 1 kept, 1 refused`"""
    counts = (pod.rules.in_force, "in force"), (pod.rules.kept, "kept"), (pod.rules.refused, "refused")
    return ", ".join(f"{count} {words}" for count, words in counts if count) or "none"
