"""What an ingress gateway serves, as it is looked up for each request: which rule decides, and what that asks of clients.

Trust: a rule that asks nothing of clients must be no way round one that does. Attacked by tests/policy/test_edge.py.
"""

from collections.abc import Mapping

from sidecar.model.edge import Access, Edge, EdgeRoute

from .credentials import credential_fields
from .route_table import RouteTable

NO_ACCESS = Access()


class EdgeTable:
    """
    Attributes:
        find: the rule that decides a request at a port that clients know.
        issuers: of the tokens that rules ask for.
    """

    def __init__(self, edge: Edge) -> None:
        self.issuers = edge.issuers
        self._ports = frozenset(listener.port for listener in edge.listeners)
        self.find = RouteTable(edge.routes).find
        self._by_name = {route.name: route for route in edge.routes}
        self._access = edge.access
        self._owned = _owned_fields(edge)
        self._taken = {route.name: self._owned[route.name] | _spent_fields(self.access(route)) for route in edge.routes}

    def serves(self, port: int) -> bool:
        """Whether there is a listener of a port that clients know."""
        return port in self._ports

    def named(self, name: str) -> EdgeRoute | None:
        return self._by_name.get(name)

    def access(self, route: EdgeRoute) -> Access:
        """What the rule asks of clients."""
        return self._access[route.access] if route.access else NO_ACCESS

    def owned_fields(self, route: EdgeRoute) -> frozenset[bytes]:
        """The fields that no client may say to the rule's backends, in lower case.

        What some rule tells an application no other rule lets a client tell it: they could share a backend, and a rule without
        authentication would be the way round one that has it.
        """
        return self._owned[route.name]

    def taken_fields(self, route: EdgeRoute) -> frozenset[bytes]:
        """What is taken off a request that was let in: those, and the credentials."""
        return self._taken[route.name]


def _spent_fields(access: Access) -> frozenset[bytes]:
    return frozenset() if access.keeps_credentials else credential_fields(access)


def _owned_fields(edge: Edge) -> Mapping[str, frozenset[bytes]]:
    """By rule."""
    said: dict[str, set[bytes]] = {}
    for route in edge.routes:
        access = edge.access.get(route.access)
        if access is not None:
            fields = {one.header.lower().encode() for one in access.claim_headers}
            if access.external is not None:
                fields |= {name.lower().encode() for name in access.external.takes}
            for service in _services(route):
                said.setdefault(service, set()).update(fields)
    return {route.name: frozenset().union(*(said.get(service, ()) for service in _services(route))) for route in edge.routes}


def _services(route: EdgeRoute) -> set[str]:
    services = {backend.service for backend in route.backends}
    return services | {route.mirror.service} if route.mirror is not None else services
