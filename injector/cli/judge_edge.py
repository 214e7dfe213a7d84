"""What of Ingresses and of the Gateway API would not be in force, of files: in a cluster each object's status says it.

Secrets are made elsewhere: that one is missing nobody can say of files; and that a Service is, only where there are any in its namespace.
"""

from collections.abc import Iterable, Iterator

from injector.cluster import Cluster
from injector.cluster.default_classes import with_classes
from injector.cluster.objects import Json, Object
from injector.compile.edge import compile_edge
from injector.findings import Finding

from .found import Found
from .judge import found_at, suppressed
from .manifests import Manifest

KINDS = ("Ingress", "Gateway", "HTTPRoute", "ReferenceGrant")


def judge_edge(manifests: list[Manifest], readable: Iterable[Json]) -> Iterator[Found]:
    """In the order of the objects.

    Args:
        readable: the objects of the manifests, those that can be read, with their namespaces.
    """
    whole = list(readable)
    if not any(item.get("kind") in KINDS for item in whole):
        return
    cluster = Cluster.of(with_classes(whole))
    problems = compile_edge(cluster).problems
    for manifest in manifests:
        one = Object(manifest.data)
        if one.kind in KINDS and not {"*", Finding.NOT_AT_THE_EDGE.code} & suppressed(one):
            namespace = one.namespace or "default"
            for problem in problems.get((one.kind, namespace, one.name), ()):
                if _is_known(problem, namespace, cluster):
                    yield found_at(Finding.NOT_AT_THE_EDGE, manifest, "metadata.name", problem, "Warning")


def _is_known(problem: str, namespace: str, cluster: Cluster) -> bool:
    is_of_secret = "Secret" in problem and ("there is no" in problem or "missing" in problem)
    return not is_of_secret and ("Service" not in problem or any(of == namespace for of, _ in cluster.services))
