"""What of the Gateway API would not be in force, of files: in a cluster each object's status says it. Ingresses: `injector/edge_review.py`.
And of whatever leads clients in: pods behind it that let no ingress gateway in.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from injector import documents
from injector.cluster import Cluster
from injector.cluster.default_classes import with_classes
from injector.cluster.objects import Json, Object, at, selects
from injector.compile.edge import compile_edge
from injector.edge_review import can_be_told
from injector.findings import Finding
from injector.settings import GATEWAY, SYSTEM
from injector.validate import read_routes

from .found import Found
from .judge import found_at, suppressed, with_namespace
from .judge_cluster import may
from .judge_network import is_ours, makers
from .manifests import Manifest

KINDS = ("Gateway", "HTTPRoute", "ReferenceGrant")
LEADING = ("Ingress", "HTTPRoute")


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


def judge_entrances(manifests: list[Manifest], cluster: Cluster) -> Iterator[Found]:
    """Objects that lead to pods none of whose own rules lets the ingress gateway in, in their order."""
    if not any(manifest.data.get("kind") in LEADING for manifest in manifests):
        return
    led: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for route in compile_edge(cluster).edge.routes:
        led[tuple(route.name.split("/")[:3])] |= {backend.service for backend in route.backends}
    for manifest in manifests:
        if manifest.data.get("kind") not in LEADING or {"*", Finding.EDGE_WAITS.code} & suppressed(Object(manifest.data)):
            continue
        one = Object(with_namespace(manifest.data))
        for service in sorted(led[one.kind.lower(), one.namespace, one.name]):
            name, _, namespace = service.partition(".")
            for maker in _shut(name, namespace, cluster):
                text = (f"Service {namespace}/{name}: no route of {maker.kind} {maker.name} lets the ingress gateway in, so its clients "
                        f"get 403; write allow: [{{serviceAccount: {GATEWAY}, namespace: {SYSTEM}}}]")
                yield found_at(Finding.EDGE_WAITS, manifest, "", text, "Warning")


def _shut(name: str, namespace: str, cluster: Cluster) -> Iterator[Object]:
    """Pods behind the Service, or what makes them. Rules that cannot be read are another finding."""
    service = cluster.services.get((namespace, name))
    selector = at(service.data, "spec", "selector") if service is not None else None
    if not selector or not is_ours(namespace, cluster):
        return
    for one in makers(cluster):
        if one.namespace == namespace and selects(selector, one.pod.labels):
            written = one.annotations.get(documents.ROUTES, one.pod.annotations.get(documents.ROUTES, "[]"))
            found = read_routes(written) if isinstance(written, str) else None
            if found is not None and not found.problems and not any(
                may(caller, namespace, [(SYSTEM, GATEWAY)]) for rule in found.entries.values() for caller in rule.allow
            ):
                yield one
