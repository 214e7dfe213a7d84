"""What one object says of the edge: the value that Ingresses, Gateways and HTTPRoutes are read into, and `edge_join.py` joins.

A routable host is written as in `EdgeRoute.hosts`; no hosts means every one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from injector.cluster import Ref
from sidecar.model.edge import Access, EdgeRoute, TlsHost
from sidecar.model.route import TokenIssuer

PLAIN, TLS = 80, 443        # the ports that clients know; those of an Ingress


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """
    Args:
        created: creationTimestamp. Older wins, then namespace and name; empty is the oldest, as all are in a directory.
        routes: the more specific of two is found by the `RouteTable`; of equals in all that it looks at the earlier one counts.
        tls: by port. Of a `Gateway` it speaks for routes of other namespaces, of everything else for its own namespace's hosts.
        listeners: (port, whether it speaks TLS).
        access: by a name that nobody else gives: it begins with that of the object, as routes' names do.
        problems: what of the object is not in force, in words.
        mistakes: of these, what no other object can cure; each begins with the field.
        default: a route for every host and path that nobody else names (`defaultBackend`); the oldest of all counts.
        redirected: hosts with TLS, whose rules of Ingresses leave port 80 to a redirect; empty text: those of no name.
        is_plain: its own rules stay on port 80 whatever others say.
        closed: ports and hosts of which nothing that no rule is about goes on to wider rules, not even to those of the same namespace.
    """

    ref: Ref
    created: str = ""
    routes: tuple[EdgeRoute, ...] = ()
    tls: tuple[tuple[int, TlsHost], ...] = ()
    listeners: tuple[tuple[int, bool], ...] = ()
    access: Mapping[str, Access] = field(default_factory=dict)
    issuers: tuple[TokenIssuer, ...] = ()
    problems: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()
    default: EdgeRoute | None = None
    redirected: frozenset[str] = frozenset()
    is_plain: bool = False
    closed: frozenset[tuple[int, str]] = frozenset()

    @property
    def namespace(self) -> str:
        return self.ref[1]

    @property
    def precedence(self) -> str:
        """Why what it claims is not another's."""
        return "which is older" if self.created else "whose name comes first (in a cluster the older one has it)"

    @property
    def age(self) -> tuple[str, str, str, str]:
        """Smaller is older."""
        kind, namespace, name = self.ref
        return self.created, namespace, name, kind
