"""`bartizan describe POD|SERVICE`: what stands for it, as it is enforced: who may call, what may leave, what is not in force and why."""

import argparse
import json
from collections.abc import Iterable, Iterator

import msgspec

from injector.describe import date
from injector.description import Description, EgressView, PodView, RouteView, ServiceView
from injector.operator import Naming
from injector.status import PodStatus

from . import doors
from .kubectl import Kubectl, add_scope
from .status import version_of
from .terminal import Paint, add_colour, ago, paint_of, printable

RULE = "--------------------"
KINDS = (
    "pod", "po", "pods", "svc", "service", "services", "deploy", "deployment", "sts", "statefulset", "ds", "daemonset", "job", "cronjob",
)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan describe", description="What stands for a pod or a Service, as it is enforced.")
    parser.add_argument("kind", nargs="?", metavar="pod|svc", help="where a pod and a Service have one name")
    parser.add_argument("name", metavar="NAME", help="a pod, a workload for its first pod, or a Service; also KIND/NAME, NAMESPACE/NAME")
    add_scope(parser, everywhere=False, selector=False)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="default text")
    doors.add_arguments(parser)
    add_colour(parser)
    args = parser.parse_args(argv)
    ways = doors.doors_of(args)
    is_here = isinstance(ways[0], doors.Local)
    name = full_name(args.kind or "", args.name, args.namespace or ("default" if is_here else ""), Kubectl.of(args), args)
    _, found = doors.newest(ways, "/v1/describe", Naming(name), Description, lambda one: one.pod.status.heard_at if one.pod else 0.0)
    if args.output == "json":
        print(json.dumps(msgspec.to_builtins(found), indent=2))
        return 0
    for line in as_text(found, paint_of(args)):
        print(line)
    return 0


def full_name(kind: str, name: str, namespace: str, kubectl: Kubectl, args: argparse.Namespace) -> str:
    """As the injector reads it: NAMESPACE/NAME or NAMESPACE/KIND/NAME."""
    first, slash, rest = name.partition("/")
    if slash and first.lower() in KINDS:
        kind, name = first, rest
    elif slash:
        namespace, name = first, rest
    namespace = namespace or kubectl.namespace(args)
    return "/".join(part for part in (namespace, kind, name) if part)


def as_text(found: Description, paint: Paint) -> Iterator[str]:
    lines = _pod(found.pod, found.now) if found.pod is not None else _service(found.service) if found.service is not None else iter(())
    for line in lines:
        line = printable(line)
        yield paint(line, "yellow") if line.startswith("WARNING") else line


def _pod(pod: PodView, now: float) -> Iterator[str]:
    status = pod.status
    yield f"Pod: {status.name}.{status.namespace}" + (f" ({pod.owner})" if pod.owner else "")
    if not status.sidecar:
        yield from (f"WARNING: {text}" for text in pod.warnings)
        return
    yield f"   Sidecar: {version_of(status)}{', native' if status.native else ''}"
    yield f"   Identity: {pod.identity or '-'}   Addresses: {', '.join(pod.addresses) or '-'}"
    yield f"   Snapshot: {snapshot_words(status, now)}"
    yield RULE
    yield from _listed("Ports", (_columns(str(one.port), one.protocol, one.mode, f"by {', '.join(one.services)}" if one.services else "")
                                 for one in pod.ports), "none declared, and no Service leads here")
    yield RULE
    if pod.without_routes:
        who = "any verified workload of the mesh may call it" if pod.without_routes == "mesh" else "nobody may call it"
        yield f"Routes: none declared: {who}"
    else:
        yield from _listed("Routes (the most specific that matches decides; what none matches is refused)",
                           (line for one in pod.routes for line in _route(one)), "declared, and none in force: nobody may call it")
    yield RULE
    yield from _listed("Egress (everything else is refused)", map(_egress, pod.egress), "nothing is approved")
    if pod.observed_until:
        yield f"   observed until {date(pod.observed_until)}: what nobody approves is let through, and written down"
    if pod.isolated_in or pod.isolated_out:
        yield RULE
        yield "NetworkPolicies (what they do not list is refused; who may: bartizan reach FROM TO)"
        yield from (f"   what {way} is isolated by {', '.join(names)}{approves}" for way, names, approves in (
            ("enters", pod.isolated_in, ""),
            ("leaves", pod.isolated_out, "; what their ipBlocks list is approved thereby" if pod.is_approved_by_them else ""),
        ) if names)
    if pod.rules or status.problems:
        yield RULE
        yield "Not in force as it is written"
        yield from (f"   {one.standing}: {one.annotation} {one.name}: {one.why}" for one in pod.rules)
        said = {one.why for one in pod.rules}
        yield from (f"   {text}" for text in status.problems if not any(text in why for why in said))
    yield from (f"WARNING: {text}" for text in pod.warnings)
    yield from (f"Suggestion: {text}" for text in pod.suggestions)


def snapshot_words(status: PodStatus, now: float) -> str:
    """Its state as `bartizan status` has it, and why."""
    state = status.state(now)
    if not status.heard_at:
        why = "its sidecar has not been heard of"
    elif status.refused:
        why = f"its sidecar does not take the newest: {status.refused}"
    elif status.has != status.should:
        why = "it has an older one" if status.has else "it has none yet"
    else:
        why = "it has the newest" if state == "SYNCED" else f"it had the newest when it was last heard of, {ago(now - status.heard_at)} ago"
    return f"{state}: {why}"


def _route(one: RouteView) -> Iterator[str]:
    port = f":{one.port} " if one.port else ""
    who = ", ".join(one.allow) or "nobody"
    but = f" but {', '.join(one.deny)}" if one.deny else ""
    besides = f"   [{', '.join(one.besides)}]" if one.besides else ""
    for i, request in enumerate(one.requests):
        yield _columns(one.name if not i else "", f"{port}{request}", f"from {who}{but}{besides}" if not i else "")


def _egress(one: EgressView) -> str:
    why = f"   NOT REACHED: {one.why_not}" if one.why_not else ""
    return _columns(one.to, "; ".join(one.how) or "-", f"by {one.policy}") + why


def _service(service: ServiceView) -> Iterator[str]:
    yield f"Service: {service.name}.{service.namespace}   {', '.join(service.addresses) or 'headless'}"
    yield RULE
    for port in service.ports:
        yield f"Port {port.port} ({port.protocol})"
        yield from (f"   {f'[{one.address}]' if ':' in one.address else one.address}:{one.port}  {one.identity}" for one in port.endpoints)
        if port.rules:
            yield f"   callers carry out: {', '.join(port.rules)}"
    yield from _listed("Pods", (name if has_sidecar else f"{name}  without sidecar" for name, has_sidecar in service.pods.items()), "none")
    yield from (f"WARNING: {text}" for text in (*service.problems, *service.warnings))
    yield from (f"Suggestion: who may call it: bartizan describe pod {name} -n {service.namespace}"
                for name in [name for name, has_sidecar in service.pods.items() if has_sidecar][:1])


def _listed(head: str, lines: Iterable[str], otherwise: str) -> Iterator[str]:
    found = list(lines)
    yield f"{head}:" if found else f"{head.partition(' (')[0]}: {otherwise}"
    yield from (f"   {line}" for line in found)


def _columns(*cells: str) -> str:
    return "  ".join(f"{cell:<16}" for cell in cells).rstrip()


