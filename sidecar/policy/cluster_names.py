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


def pod_service(below: str) -> str:
    """The Service of which HOST.SERVICE.NAMESPACE.svc is a pod, as `orders.shop`; empty if it is of another form."""
    *labels, kind = below.split(".")
    return ".".join(labels[1:]) if kind == "svc" and len(labels) == 3 and not labels[0].startswith("_") else ""


def service_name(host: str, cluster_domain: str) -> str:
    """The Service that a name with a namespace may mean, as `orders.shop`; empty if it is of another form."""
    short = host.removesuffix("." + cluster_domain).removesuffix(".svc")
    return short if short.count(".") == 1 else ""


def searched(below: str, namespace: str) -> tuple[str, ...]:
    """What an application may have asked for if its search list put a domain behind it: `NAMESPACE.svc`, `svc` or nothing, each before
    the cluster's.

    Args:
        namespace: the pod's own.
    """
    return below, *(below.removesuffix(suffix) for suffix in (".svc", f".{namespace}.svc") if below.endswith(suffix))
