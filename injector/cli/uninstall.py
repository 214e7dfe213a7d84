"""`bartizan uninstall`: a control plane is removed, or one revision of it, once nobody is in its mesh any more.

While a namespace carries the label of the mesh its new pods are expected to be in it, and pods with a sidecar end with their
certificates once there is no issuer; so both are a refusal, and `--force` has to be said. Then the order is the one in which nothing
comes in un-meshed for as long as possible: first who decides, which leaves the webhooks to refuse; then the webhooks; the policy that
holds without any webhook is the last of admission.

The namespace bartizan-system, with the authority and the evidence in it, and the policies stay, unless `--purge` is said.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from injector.documents import INJECTION, REVISION
from injector.settings import ROOTS, SYSTEM

from . import kubectl
from .installed import PART, Stays, meshed_namespaces, meshed_pods, revisions
from .kubectl import Json, Kubectl, NotFound
from .terminal import listed

MOST_NAMES = 20
DELETED_S = 300.0   # kubectl waits until the objects of a step are gone


@dataclass(frozen=True, slots=True)
class Step:
    """
    Args:
        kinds: as kubectl names them.
        namespace: where; empty: of the cluster, or anywhere.
        is_purged: only with --purge.
    """

    kinds: str
    namespace: str = ""
    is_purged: bool = False


STEPS = (
    Step("deployments,statefulsets,services,poddisruptionbudgets", SYSTEM),
    Step("mutatingwebhookconfigurations,validatingwebhookconfigurations"),
    Step("validatingadmissionpolicybindings,validatingadmissionpolicies"),
    Step("rolebindings"),       # those that let Secrets be read stand in other namespaces
    Step("clusterrolebindings,clusterroles,ingressclasses"),
    Step("gatewayclasses"),     # which not every API server knows
    Step("roles,serviceaccounts,configmaps,networkpolicies", SYSTEM),
    Step("customresourcedefinitions", is_purged=True),
    Step("namespaces", is_purged=True),
)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan uninstall", description="Remove a control plane that nobody needs any more.")
    kubectl.add_arguments(parser)
    parser.add_argument("--revision", metavar="NAME", help="only this one; the others stay (empty text: the one without a name)")
    parser.add_argument("--purge", action="store_true", help="also the policies, the authority and the evidence")
    parser.add_argument("--force", action="store_true", help="although namespaces or pods are in the mesh")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    args = parser.parse_args(argv)
    cluster = Kubectl.of(args)
    _check(cluster, args.revision, is_purged=args.purge, is_forced=args.force)
    count = 0
    for found in _inventory(cluster, args.revision, is_purged=args.purge):
        count += len(found)
        if not args.dry_run:
            several = {"apiVersion": "v1", "kind": "List", "items": found}
            cluster.run("delete", "--ignore-not-found", "-f", "-", stdin=json.dumps(several).encode(), within_s=DELETED_S)
        for one in found:
            print(f"{one['kind']} {'/'.join(filter(None, (one['metadata'].get('namespace'), one['metadata']['name'])))}"
                  f" {'would be removed' if args.dry_run else 'removed'}")
    if not count:
        print("there is nothing to remove")
    elif not args.purge and args.revision is None:
        print(f"the namespace {SYSTEM} with the authority and the evidence, and the policies are still there; --purge removes them",
              file=sys.stderr)
    return 0


def _check(cluster: Kubectl, revision: str | None, *, is_purged: bool, is_forced: bool) -> None:
    """Raises Stays, with names."""
    if revision is not None:
        if is_purged:
            raise Stays("--purge removes what all revisions share; say it without --revision")
        if revision not in (there := revisions(cluster)):
            known = ", ".join(repr(name) for name in there) or "none"
            raise Stays(f"there is no control plane of the revision {revision!r}; there are: {known}")
    namespaces, pods = meshed_namespaces(cluster, revision), meshed_pods(cluster, revision)
    words = []
    if namespaces:
        cure = f"{REVISION}=OTHER --overwrite" if revision is not None else f"{INJECTION}-"
        named = listed(namespaces, MOST_NAMES)
        words.append(f"namespaces whose pods it would no longer mesh: {named} (kubectl label namespace NAME {cure})")
    if pods:
        named = listed(pods, MOST_NAMES)
        words.append(f"pods that need it for their certificates: {named} (make them anew without the label, or by another revision)")
    if words and not is_forced:
        raise Stays(f"nothing was removed: there are {'; and '.join(words)}. --force removes it all the same")
    for word in words:
        print(f"bartizan: warning: {word}", file=sys.stderr)


def _inventory(cluster: Kubectl, revision: str | None, *, is_purged: bool) -> Iterator[list[Json]]:
    """What is there, step by step: no more of each object than says which it is."""
    selector = PART if revision is None else f"{PART},{REVISION}={revision}"
    for step in STEPS:
        if step.is_purged and not is_purged:
            continue
        try:
            found = cluster.list(step.kinds, step.namespace, selector)
        except NotFound:        # an API server without one of these kinds
            continue
        if made := [_key(one) for one in found if one["metadata"]["name"] != ROOTS]:
            yield made


def _key(made: Json) -> Json:
    where = {name: made["metadata"][name] for name in ("namespace", "name") if name in made["metadata"]}
    return {"apiVersion": made["apiVersion"], "kind": made["kind"], "metadata": where}
