"""`bartizan config POD`: the snapshot that a pod's sidecar is meant to have, and which one it has by its own word; keys are left out."""

import argparse
import json
from typing import Any

from injector.operator import ConfigView, Naming
from sidecar.model.errors import ConfigError

from . import doors
from .describe import full_name
from .kubectl import Kubectl, add_scope
from .terminal import add_colour

PARTS = ("all", "inbound", "outbound", "services", "egress", "trust", "gateway", "digest")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan config", description="The snapshot of a pod's sidecar, without keys, as JSON.")
    parser.add_argument("name", metavar="POD", help="a pod, or a workload for its first pod; also NAMESPACE/POD")
    parser.add_argument("part", nargs="?", choices=PARTS, default="all", help="of the snapshot; digest: which one it has; default all")
    add_scope(parser, everywhere=False, selector=False)
    parser.add_argument("-o", "--output", choices=("json",), default="json")
    doors.add_arguments(parser)
    add_colour(parser)
    args = parser.parse_intermixed_args(argv)       # the part may stand behind the options
    ways = doors.doors_of(args)
    is_here = isinstance(ways[0], doors.Local)
    name = full_name("", args.name, args.namespace or ("default" if is_here else ""), Kubectl.of(args), args)
    _, found = doors.newest(ways, "/v1/config", Naming(name), ConfigView, lambda one: one.status.heard_at)
    print(json.dumps(shown(found, args.part), indent=2))
    return 0


def shown(found: ConfigView, part: str) -> dict[str, Any]:
    """ConfigError where there is no snapshot."""
    status, snapshot = found.status, found.snapshot
    if snapshot is None:
        why = "it does not run" if status.sidecar else "it has no sidecar"
        raise ConfigError("POD", f"{status.namespace}/{status.name} has no snapshot: {why}")
    has = {"should": status.should, "has": status.has, "isNewest": status.has == status.should}
    if status.refused:
        has["refused"] = status.refused
    outbound = snapshot.get("outbound", {})
    parts: dict[str, Any] = {
        "all": snapshot, "inbound": snapshot.get("inbound", {}), "outbound": outbound, "services": outbound.get("services", []),
        "egress": {name: outbound.get(name, []) for name in ("hosts", "ranges")}, "trust": snapshot.get("trust"),
        "gateway": snapshot.get("gateway", []),
    }
    return {"digest": has} if part == "digest" else {"digest": has, "snapshot" if part == "all" else part: parts[part]}

