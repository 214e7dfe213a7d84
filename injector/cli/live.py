"""The objects of a cluster that `analyze` and `check` look at, through kubectl: of one namespace with what concerns it, or all."""

from .kubectl import Forbidden, Json, Kubectl, KubectlError, NotFound

WORKLOADS = "deployments.apps,replicasets.apps,statefulsets.apps,daemonsets.apps,jobs.batch,cronjobs.batch"
KINDS = f"pods,services,{WORKLOADS}"
NETWORK_POLICIES = "networkpolicies.networking.k8s.io"
POLICIES = ("egresspolicies.bartizan.dev", "meshpolicies.bartizan.dev")


def everything(kubectl: Kubectl, namespace: str = "") -> tuple[list[Json], list[str]]:
    """The objects, and what could not be read, in words. Raises KubectlError where nothing can be told without.

    Args:
        namespace: empty: all of them.
    """
    found = [kubectl.get("namespace", namespace)] if namespace else kubectl.list("namespaces")
    found += kubectl.list(KINDS, namespace)
    missing: list[str] = []
    for kind, where in (*((kind, "") for kind in POLICIES), (NETWORK_POLICIES, namespace)):
        try:
            found += kubectl.list(kind, where)
        except KubectlError as exc:
            if not isinstance(exc, NotFound | Forbidden):
                raise
            cure = "; bartizan schema crd | kubectl apply -f -" if isinstance(exc, NotFound) and kind in POLICIES else ""
            missing.append(f"{kind} are not looked at: {exc}{cure}")
    return found, missing
