"""What of the Gateway API would not be in force, of files: in a cluster each object's status says it. Ingresses: `injector/edge_review.py`.
"""

from collections.abc import Iterable, Iterator

from injector.cluster import Cluster
from injector.cluster.default_classes import with_classes
from injector.cluster.objects import Json, Object
from injector.compile.edge import compile_edge
from injector.edge_review import can_be_told
from injector.findings import Finding

from .found import Found
from .judge import found_at, suppressed
from .manifests import Manifest

KINDS = ("Gateway", "HTTPRoute", "ReferenceGrant")


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
        if one.kind in KINDS and not {"*", Finding.EDGE_WAITS.code} & suppressed(one):
            namespace = one.namespace or "default"
            for problem in problems.get((one.kind, namespace, one.name), ()):
                if can_be_told(problem, namespace, cluster):
                    yield found_at(Finding.EDGE_WAITS, manifest, "metadata.name", problem, "Warning")
