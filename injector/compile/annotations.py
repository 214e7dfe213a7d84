"""The annotations in force for a pod: its workload's own, read live, win over those that the pod was made with.

So a changed annotation on a Deployment works at once and nothing is rolled out.
"""

from collections.abc import Mapping

from injector.cluster import Cluster
from injector.cluster.objects import Pod
from injector.documents import PORTS, Protocol
from injector.validate import USER_ANNOTATIONS, read_ports

# Protocols in which the server speaks first, or which look like nothing that could be told apart: never peeked at.
OPAQUE_PORTS = (25, 587, 3306, 4444, 5432, 6379, 9300, 11211, 27017)


def workload_key(cluster: Cluster, pod: Pod) -> str:
    """`Deployment/shop/orders`, or the pod itself where nothing owns it."""
    owner = cluster.workload_of(pod)
    return f"{owner.kind}/{pod.namespace}/{owner.name}" if owner else f"Pod/{pod.namespace}/{pod.name}"


def effective(cluster: Cluster, pod: Pod) -> dict[str, str]:
    """The users' annotations by name."""
    owner = cluster.workload_of(pod)
    merged = {**pod.annotations, **(owner.annotations if owner else {})}
    return {name: merged[name] for name in USER_ANNOTATIONS if isinstance(merged.get(name), str)}


def declared_ports(annotations: Mapping[str, str]) -> Mapping[str, Protocol]:
    """What the ports annotation says, as far as it can be read."""
    return read_ports(annotations[PORTS]).entries if PORTS in annotations else {}
