"""What is wrong with an Ingress, or with our annotation on an HTTPRoute, before it is in force: for the webhook and for `analyze` alike.

An Ingress is judged together with those that name one of its hosts, and with no others: what that costs does not grow with the cluster
but for a look at each Ingress's hosts.
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import replace

from . import documents
from .cluster import Cluster, ref_of
from .cluster.ingress_class import class_of, our_classes
from .cluster.objects import Object
from .compile.edge_join import join
from .compile.edge_rule import Annotated, annotated
from .compile.ingress import read_ingress
from .compile.last_good import LastGood
from .compile.looked import Looked
from .compile.said import Said
from .validate import Problem, read_edge

KINDS = ("Ingress", "HTTPRoute")
YOUNGEST = "9999"       # of an object that is not created yet
_OTHERS = re.compile(r"[a-z0-9-]+\.ingress\.kubernetes\.io/|(nginx\.org|nginx\.com|haproxy\.org|haproxy-ingress\.github\.io|konghq\.com|"
                     r"projectcontour\.io|getambassador\.io)/")


def mistakes(one: Object, cluster: Cluster) -> Iterator[Problem]:
    """What nobody but its author can cure: the annotation, and of an Ingress of ours hosts and paths that could never match."""
    written = one.annotations.get(documents.EDGE)
    if isinstance(written, str):
        yield from read_edge(written).problems
    elif written is not None:
        yield Problem(documents.EDGE, "an annotation's value is text; put it under `|`")
    if is_our_ingress(one, cluster):
        for text in read_ingress(one, Looked(cluster), Annotated()).mistakes:
            yield Problem(f"Ingress {one.name}", text, path=text.partition(": ")[0])


def not_in_force(one: Object, cluster: Cluster) -> list[str]:
    """What of an Ingress waits for other objects, or is another's already, in words; its mistakes are not among it."""
    if not is_our_ingress(one, cluster):
        return _unserved(one, cluster)
    look = Looked(cluster)
    found = annotated(one, LastGood(), look, {})
    said = read_ingress(one, look, found)
    hosts, ref, ours = _hosts(one), ref_of(one), our_classes(cluster)
    others = [
        _said(other, cluster) for other in cluster.of_kind("Ingress").values()
        if ref_of(other) != ref and not hosts.isdisjoint(_hosts(other)) and class_of(other) in ours
    ]
    if not said.created and one.metadata.get("uid") is None and any(other.created for other in others):
        said = replace(said, created=YOUNGEST)
    known = {*said.mistakes, *found.problems}
    return [text for text in (*join([said, *others]).problems.get(ref, ()), *_foreign(one)) if text not in known]


def _unserved(one: Object, cluster: Cluster) -> list[str]:
    """An Ingress that may have been meant for us, and that nobody serves."""
    ours = sorted(our_classes(cluster))
    if one.kind != "Ingress" or not ours:
        return []
    name = class_of(one)
    if name is None:
        return [f"spec.ingressClassName: it is missing; the ingress gateway serves an Ingress that says {' or '.join(ours)}"]
    near = difflib.get_close_matches(str(name)[:100], ours, n=1)
    is_known = any(known == name for _, known in cluster.of_kind("IngressClass"))
    if is_known or not near:
        return []
    return [f'spec.ingressClassName: there is no IngressClass "{str(name)[:100]}"; did you mean "{near[0]}"?']


def _foreign(one: Object) -> list[str]:
    """What may have kept clients out elsewhere, and does not here."""
    found = sorted(name[:100] for name in one.annotations if _OTHERS.match(name))
    if not found:
        return []
    names = f"{', '.join(found[:-1])} and {found[-1]} are" if found[1:] else f"{found[0]} is"
    return [f"metadata.annotations: {names} for another controller, without effect here; what this one does beyond the API stands in "
            "bartizan.dev/edge"]


def is_our_ingress(one: Object, cluster: Cluster) -> bool:
    return one.kind == "Ingress" and class_of(one) in our_classes(cluster)


def _said(one: Object, cluster: Cluster) -> Said:
    return read_ingress(one, Looked(cluster), Annotated())


def _hosts(one: Object) -> set[object]:
    """Those of its rules, as far as they are any; None: every one."""
    spec = one.data.get("spec")
    rules = spec.get("rules") if isinstance(spec, dict) else None
    found: set[object] = {None} if isinstance(spec, dict) and "defaultBackend" in spec else set()
    for rule in rules if isinstance(rules, list) else ():
        host = rule.get("host") if isinstance(rule, dict) else None
        found.add(host if isinstance(host, str) and host else None)
    return found


def can_be_told(problem: str, namespace: str, cluster: Cluster) -> bool:
    """Whether files can tell it: Secrets are made elsewhere, and Services may be, where there are none of the namespace."""
    is_of_secret = "Secret" in problem and ("there is no" in problem or "missing" in problem)
    return not is_of_secret and ("Service" not in problem or any(of == namespace for of, _ in cluster.services))
