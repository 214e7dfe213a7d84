"""What the objects of the Gateway API say of the edge, and what each is told of itself. Pure; any object is compiled or told.

Trust: any namespace may write Gateways and routes; what they may lead to and whose certificates they show the namespaces that own them
grant (`references.py`). Attacked by tests/injector/compile/test_gateway_api.py (any object: compiled or told, never an exception).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from injector.cluster import Cluster, Ref

from .gateways import Gateway, read_classes, read_gateways
from .httproutes import HttpRoute, read_routes
from .references import Condition, Grants
from .said import Said


@dataclass(frozen=True, slots=True, eq=False)
class GatewayApi:
    """
    Args:
        classes: whether each GatewayClass that is ours is accepted, by name.
    """

    classes: Mapping[str, Condition]
    gateways: Mapping[Ref, Gateway]
    routes: Mapping[Ref, HttpRoute]
    grant_problems: Mapping[Ref, str]

    def said(self) -> list[Said]:
        grants = [Said(ref=ref, problems=(problem,)) for ref, problem in self.grant_problems.items()]
        return [*grants, *(one.said() for one in self.gateways.values()), *(one.said() for one in self.routes.values())]


def read_gateway_api(cluster: Cluster) -> GatewayApi:
    grants = Grants(cluster)
    classes = read_classes(cluster)
    gateways = read_gateways(cluster, classes, grants)
    return GatewayApi(classes, gateways, read_routes(cluster, gateways, grants), grants.problems)
