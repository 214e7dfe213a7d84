"""`bartizan upgrade`: what `bartizan install` prints, after a look at what is installed.

It refuses what cannot be changed in place, with what to do instead, and says which namespaces a revision will have to be chosen for.
The authority is not among what is printed, so it stays.
"""

import argparse
import sys

from injector.documents import REVISION
from injector.manifests import manifests
from injector.manifests.plan import Plan

from . import kubectl
from .install import add_output, add_values, notes, plan_from, show
from .installed import Stays, meshed_namespaces, revisions, stateful_sets, trust_domain
from .kubectl import Json, Kubectl


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="bartizan upgrade",
        description="Print the manifests of another version, or of another revision beside the one that is there: "
                    "bartizan upgrade | kubectl apply --server-side -f -")
    kubectl.add_arguments(parser)
    add_values(parser)
    add_output(parser)
    args = parser.parse_args(argv)
    plan, cluster = plan_from(args), Kubectl.of(args)
    found = trust_domain(cluster)
    if not found:
        raise Stays("there is nothing to upgrade: no issuer is in this cluster; bartizan install prints a first control plane")
    if found != plan.trust_domain:
        raise Stays(f"the trust domain is {found!r}, and stays so: every identity, and the root itself, begins with it; "
                    f"say --set trustDomain={found}")
    made = manifests(plan)
    for name, there in stateful_sets(cluster).items():
        _check_volumes(name, there, made)
    told = [*notes(plan), *_what_is_next(plan, cluster)]
    show(made, args.output)
    for note in told:
        print(f"bartizan: note: {note}", file=sys.stderr)
    return 0


def _check_volumes(name: str, there: Json, made: list[Json]) -> None:
    """A StatefulSet never changes what volumes its pods get."""
    wanted = next((one for one in made if one["kind"] == "StatefulSet" and one["metadata"]["name"] == name), None)
    if wanted is not None and _volumes(wanted) != _volumes(there):
        raise Stays(
            f"StatefulSet {name} keeps on its volumes what `persistence` said when it was made ({_told(there)}), and cannot be made to "
            f"keep it otherwise ({_told(wanted)}): say the same as then, or remove it and leave its pods: "
            f"kubectl -n bartizan-system delete statefulset {name} --cascade=orphan")


def _volumes(made: Json) -> list[tuple[str, str]]:
    """(size, class) of each claim."""
    claims = [claim["spec"] for claim in made["spec"].get("volumeClaimTemplates") or ()]
    return [(claim["resources"]["requests"]["storage"], claim.get("storageClassName", "")) for claim in claims]


def _told(made: Json) -> str:
    return ", ".join(f"{size} of {name or 'the default class'}" for size, name in _volumes(made)) or "nothing that outlives a pod"


def _what_is_next(plan: Plan, cluster: Kubectl) -> list[str]:
    """Which namespaces are still another revision's."""
    if plan.revision in revisions(cluster):
        return []
    told = ["a new control plane comes beside what is there; choose it for one namespace after the other, and make its pods anew: "
            f"kubectl label namespace NAME {REVISION}={plan.revision} --overwrite && kubectl -n NAME rollout restart deployment"]
    if meshed := meshed_namespaces(cluster):
        told.append(f"namespaces of the mesh: {', '.join(meshed)}")
    return told
