"""The objects of a cluster that `analyze` and `check` look at, through kubectl: of one namespace with what concerns it, or all."""

import sys

from injector.cluster import Cluster
from injector.cluster.checked import checked
from injector.cluster.directory import derived_slices
from injector.validate import Invalid
from sidecar.model.errors import ConfigError

from .kubectl import Forbidden, Json, Kubectl, KubectlError, NotFound
from .terminal import printable

WORKLOADS = "deployments.apps,replicasets.apps,statefulsets.apps,daemonsets.apps,jobs.batch,cronjobs.batch"
KINDS = f"pods,services,{WORKLOADS}"
NETWORKING = "networkpolicies.networking.k8s.io,ingresses.networking.k8s.io,ingressclasses.networking.k8s.io"
POLICIES = ("egresspolicies.bartizan.dev", "meshpolicies.bartizan.dev")


def everything(kubectl: Kubectl, namespace: str = "") -> tuple[list[Json], list[str]]:
    """The objects, and what could not be read, in words. Raises KubectlError where nothing can be told without.

    Args:
        namespace: empty: all of them.
    """
    found = [kubectl.get("namespace", namespace)] if namespace else kubectl.list("namespaces")
    found += kubectl.list(KINDS, namespace)
    missing: list[str] = []
    for kind, where in (*((kind, "") for kind in POLICIES), (NETWORKING, namespace)):
        try:
            found += kubectl.list(kind, where)
        except KubectlError as exc:
            if not isinstance(exc, NotFound | Forbidden):
                raise
            cure = "; bartizan schema crd | kubectl apply -f -" if isinstance(exc, NotFound) and kind in POLICIES else ""
            missing.append(f"{kind} are not looked at: {exc}{cure}")
    return found, missing


def whole_cluster(kubectl: Kubectl) -> Cluster:
    """All of it, as a source would have it; what could not be read is told on standard error. Raises KubectlError."""
    found, missing = everything(kubectl)
    readable = []
    for item in found:
        try:
            readable.append(checked(item))
        except (ConfigError, Invalid) as exc:
            missing.append(f"left out: {exc}")
    for text in missing:
        print(f"bartizan: {printable(text)}", file=sys.stderr)
    return Cluster.of([*readable, *derived_slices(readable)])
