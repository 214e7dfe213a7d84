"""`bartizan install`: the manifests of a control plane, for `kubectl apply --server-side -f -` or for a repository.

It asks no cluster and holds no secret: the same values print the same manifests.
"""

import argparse
import json
import sys
from typing import Any

from injector.manifests import manifests
from injector.manifests.plan import Plan, read_plan
from injector.yaml_out import write_yaml

MESHED = (
    "namespaces of the mesh need pod-security.kubernetes.io/enforce: privileged, since `baseline` refuses every container with NET_ADMIN, "
    "and so the interception; admission asks of all other containers what it says in README, \"What keeps a pod honest\""
)
GONE_WITH_THE_POD = (
    "persistence.size is not set: evidence and the issuance log are gone with their pod; for an audit say --set persistence.size=10Gi"
)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="bartizan install", description="Print the manifests of a control plane: bartizan install | kubectl apply --server-side -f -")
    add_values(parser)
    add_output(parser)
    args = parser.parse_args(argv)
    plan = plan_from(args)
    show(manifests(plan), args.output)
    for note in notes(plan):
        print(f"bartizan: note: {note}", file=sys.stderr)
    return 0


def add_values(parser: argparse.ArgumentParser) -> None:
    """The arguments that make a `Plan`."""
    parser.add_argument("-f", "--values", action="append", default=[], metavar="FILE",
                        help="YAML: examples/kubernetes/README.md has the values; repeat for more, the last counts")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets",
                        help="one value, replicas=3 or persistence.size=10Gi; counts before every file")
    parser.add_argument("--revision", metavar="NAME", help="of this control plane; left out: the one of namespaces that name none")


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", choices=("yaml", "json"), default="yaml")


def plan_from(args: argparse.Namespace) -> Plan:
    return read_plan(args.values, args.sets, **({"revision": args.revision} if args.revision is not None else {}))


def show(objects: list[dict[str, Any]], output: str) -> None:
    if output == "json":
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=2))
    else:
        print(write_yaml(objects), end="")


def notes(plan: Plan) -> list[str]:
    """What somebody has to know who installs this."""
    return [MESHED, *([] if plan.persistence.size else [GONE_WITH_THE_POD])]
