"""`bartizan reach FROM TO[:PORT]`: may it, by NetworkPolicies, and by which? Of a cluster, or with -f of manifests.

The sidecars' own code answers (`injector/compile/reach.py`). What else judges, routes and mTLS and approvals, the last line says.
"""

import argparse
import json

import msgspec

from injector.cluster import Cluster
from injector.compile.network_book import NetworkBook
from injector.compile.reach import End, Reach, find_source, find_targets, reach
from sidecar.model.address import is_address

from .as_if import read_manifests
from .asking import authority
from .egress_explain import TRUST_DOMAIN
from .kubectl import Kubectl, add_arguments, add_scope
from .live import whole_cluster
from .terminal import Paint, add_colour, paint_of, printable

MAY_NOT = 1


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan reach", description="May FROM reach TO, as far as NetworkPolicies go, and by which?")
    parser.add_argument("source", metavar="FROM", help="NAMESPACE/POD, NAMESPACE/WORKLOAD for its first pod, or an address")
    parser.add_argument("target", metavar="TO[:PORT]", help="likewise, or NAMESPACE/SERVICE; without a port: each that it has")
    parser.add_argument("-f", "--files", nargs="+", metavar="FILE", help="ask these manifests, files or folders, instead of the cluster")
    add_scope(parser, everywhere=False, selector=False)
    parser.add_argument("--json", action="store_true", help="print the answers as JSON")
    add_arguments(parser)
    add_colour(parser)
    args = parser.parse_args(argv)
    cluster = read_manifests(args.files) if args.files else whole_cluster(Kubectl.of(args))     # a policy may mean any namespace
    source, answers = ask(cluster, _named(args.source, args), _named(args.target, args))
    if args.json:
        print(json.dumps([{"may": one.may, **msgspec.to_builtins(one)} for one in answers], indent=1))
    else:
        _show(source, answers, paint_of(args))
    return 0 if may(answers) else MAY_NOT


def ask(cluster: Cluster, source: str, target: str) -> tuple[End, list[Reach]]:
    """ConfigError where there is no such end."""
    host, port = split(target)
    begin, book = find_source(cluster, source), NetworkBook(TRUST_DOMAIN)
    return begin, [reach(cluster, begin, end, number, book, TRUST_DOMAIN) for end, number in find_targets(cluster, host, port)]


def may(answers: list[Reach]) -> bool:
    """An endpoint that may not be left for is not chosen; one that would refuse is."""
    left_for = [one for one in answers if all(side.may for side in one.sides if side.direction == "out")]
    return bool(left_for) and all(one.may for one in left_for)


def split(text: str) -> tuple[str, int | None]:
    """(who, port) of `shop/web:80`, `10.0.0.1:80`, `[fd00::1]:80`, `fd00::1`."""
    if is_address(text):
        return text, None
    namespace, slash, rest = text.rpartition("/")
    host, port = authority(rest)
    return f"{namespace}{slash}{host.strip('[]')}", port


def _named(text: str, args: argparse.Namespace) -> str:
    return text if not args.namespace or "/" in text or is_address(split(text)[0]) else f"{args.namespace}/{text}"


def _show(source: End, answers: list[Reach], paint: Paint) -> None:
    for one in answers:
        print(printable(f"{one.source} -> {one.to}:{one.port}" + (f" ({one.address})" if one.address != one.to else "")))
        for side in one.sides:
            word = paint("may    ", "green") if side.may else paint("may not", "red")
            code = f" [{side.code}]" if side.code else ""
            print(f"  {side.direction:<4}{word}  {printable(side.words)}{code}{', and approves it' if side.approves else ''}")
        if not one.sides:
            print("  a pod may always reach itself")
    if not may(answers):
        print("may not: not every pod that would be chosen lets it in" if any(one.may for one in answers) else "may not")
        return
    besides = f"; ask: bartizan egress explain {source.name} HOST" if source.pod is not None else ""
    print(printable(f"may, as far as NetworkPolicies go; mTLS, routes and approvals judge besides{besides}"))
