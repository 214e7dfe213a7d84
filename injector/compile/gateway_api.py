"""What the objects of the Gateway API say of the edge, and what each is told of itself. Pure; any object is compiled or told.

Trust: any namespace may write Gateways and routes; what they may lead to and whose certificates they show the namespaces that own them
grant (`references.py`). Attacked by tests/injector/compile/test_gateway_api.py (any object: compiled or told, never an exception).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from injector.cluster import Cluster, Key, Ref
from injector.cluster.objects import Object

from .conditions import Condition
from .edge_rule import annotated
from .gateways import Gateway, read_classes, read_gateways
from .httproutes import Annotation, HttpRoute, read_routes
from .inbound import Keys
from .last_good import LastGood
from .looked import Looked
from .references import Grants
from .said import Said

KINDS = ("GatewayClass", "Gateway", "HTTPRoute", "ReferenceGrant")


@dataclass(frozen=True, slots=True, eq=False)
class GatewayApi:
    """
    Args:
        classes: whether each GatewayClass that is ours is accepted, by name.
        said: by all of them.
    """

    classes: Mapping[str, Condition]
    gateways: Mapping[Ref, Gateway]
    routes: Mapping[Ref, HttpRoute]
    said: tuple[Said, ...]


class GatewayBook:
    """What the objects say, for as long as they and what was looked up for them are the same.

    Args:
        last_good: of annotations of HTTPRoutes.
    """

    def __init__(self, last_good: LastGood) -> None:
        self._last_good = last_good
        self._keys: Keys = {}
        self._known: tuple[list[Mapping[Key, Object]], Looked, GatewayApi] | None = None

    def of(self, cluster: Cluster, keys: Keys) -> GatewayApi:
        if keys != self._keys:
            self._known, self._keys = None, dict(keys)
        tables = [cluster.of_kind(kind) for kind in KINDS]
        if self._known is not None:
            before, looked, known = self._known
            if all(one is other or not (one or other) for one, other in zip(tables, before, strict=True)) and looked.holds_in(cluster):
                return known
        looked = Looked(cluster)
        made = read_gateway_api(cluster, looked, lambda one: annotated(one, self._last_good, looked, keys))
        self._known = tables, looked, made
        return made


def read_gateway_api(cluster: Cluster, look: Looked, annotation: Annotation) -> GatewayApi:
    grants = Grants(cluster)
    classes = read_classes(cluster)
    gateways = read_gateways(cluster, look, classes, grants)
    routes = read_routes(cluster, look, gateways, grants, annotation)
    wrong = (Said(ref=ref, problems=(problem,)) for ref, problem in grants.problems.items())
    return GatewayApi(
        classes, gateways, routes, (*wrong, *(one.said() for one in gateways.values()), *(one.said() for one in routes.values())))
