"""Which names below the cluster's domain its name server could know at all. The others need not be asked for, and would carry data there.

    SERVICE.NAMESPACE.svc            a Service, with `_PORT._PROTOCOL.` in front for SRV
    HOST.SERVICE.NAMESPACE.svc       a pod of a Service that we know of
    A-B-C-D.NAMESPACE.pod            a pod by its address

Spec: Kubernetes DNS-Based Service Discovery 1.1.0.
"""

from collections.abc import Container


def why_no_cluster_name(below: str, services: Container[str]) -> str:
    """In words; empty: it may be one.

    Args:
        below: the labels in front of the cluster's domain; none: that itself.
        services: `orders.shop`, those of the mesh.
    """
    if not below:
        return ""
    *labels, kind = below.split(".")
    if kind == "pod" and len(labels) == 2:
        return ""
    if kind == "svc":
        while len(labels) > 2 and labels[0].startswith("_"):
            del labels[0]
        if len(labels) <= 2 or (len(labels) == 3 and ".".join(labels[1:]) in services):
            return ""
    return "the cluster has no names of this form"


def searched(below: str, namespace: str) -> tuple[str, ...]:
    """What an application may have asked for if its search list put a domain behind it: `NAMESPACE.svc`, `svc` or nothing, each before
    the cluster's.

    Args:
        namespace: the pod's own.
    """
    return below, *(below.removesuffix(suffix) for suffix in (".svc", f".{namespace}.svc") if below.endswith(suffix))
