"""May this peer make this request of the application? The judge of everything that enters a pod.

Pure: the same answer for the same arguments. The proxy asks it for each request, the compiler and the offline explainer run it too.
Precedence as in the Gateway API: of the alternatives that match, the most specific decides alone (port named, Exact before
PathPrefix, longer before shorter, method named, more headers; then the order they stand in). What no rule matches is refused.

Trust: `peer` has been verified, `request` judged by `protocol/framing.py`. Only here and in `policy/egress.py` is a Permit made.
"""

from collections.abc import Iterable

from sidecar.model import identity
from sidecar.model.decision import Denied, Permit
from sidecar.model.identity import SpiffeId
from sidecar.model.message import Headers, RequestHead
from sidecar.model.reason import Reason
from sidecar.model.route import Caller, Match, PathMatch, Route
from sidecar.model.snapshot import Inbound

EVERYTHING = Match()


def _rank(route: Route, match: Match) -> tuple[bool, bool, int, bool, int]:
    """Greater is more specific."""
    path = match.path
    return (
        route.port is not None,
        path is not None and path.type == "Exact",
        len(path.value) if path else 0,
        match.method is not None,
        len(match.headers),
    )


class RouteTable:
    """The alternatives of all routes, most specific first; built once for each snapshot."""

    def __init__(self, routes: Iterable[Route]) -> None:
        entries = [(route, match) for route in routes for match in route.matches or (EVERYTHING,)]
        # sorted() is stable, so that equals stay in the order of the document.
        self._entries = sorted(entries, key=lambda entry: _rank(*entry), reverse=True)

    def find(self, port: int, request: RequestHead | None) -> Route | None:
        """The route that decides.

        Args:
            request: None for a TCP connection. It could carry any request, so that only a route without matches can decide it,
                and only if no more specific one would decide some request otherwise.
        """
        for route, match in self._entries:
            if route.port not in (None, port):
                continue
            if request is None:
                return route if match is EVERYTHING else None
            if _holds(match, request):
                return route
        return None


def _holds(match: Match, request: RequestHead) -> bool:
    return (
        (match.method is None or match.method.encode() == request.method)
        and (match.path is None or path_holds(match.path, request.path))
        and all(_value(request.headers, header.name) == header.value.encode() for header in match.headers)
    )


def path_holds(match: PathMatch, path: bytes) -> bool:
    wanted = match.value.encode()
    if match.type == "Exact":
        return path == wanted
    stem = wanted.rstrip(b"/")
    return path == stem or path.startswith(stem + b"/")


def _value(headers: Headers, name: str) -> bytes | None:
    """The field's value; None if it is absent or repeats, since hops differ in which of two they read."""
    wanted = name.encode().lower()
    found = [value for field, value in headers if field.lower() == wanted]
    return found[0] if len(found) == 1 else None


def is_allowed(peer: SpiffeId, allow: Iterable[Caller], trust_domain: str) -> bool:
    domain, namespace, account = identity.parts(peer)
    return domain == trust_domain and any(
        entry.namespace in ("*", namespace) and entry.service_account in ("*", account) for entry in allow
    )


def authorize(
    peer: SpiffeId | None,
    request: RequestHead | None,
    port: int,
    *,
    inbound: Inbound,
    table: RouteTable,
    trust_domain: str,
    now: float,
) -> Permit | Denied:
    """
    Args:
        peer: the verified identity; None: plaintext, which has none.
        request: None for a TCP connection.
        port: the application's.
        table: of `inbound.routes`.
        now: Unix seconds, for the end of permissive mode.
    """
    if peer is None:
        if inbound.mode == "strict":
            return Denied(Reason.PLAINTEXT)
        if inbound.permissive_until is None or now >= inbound.permissive_until:
            return Denied(Reason.PERMISSIVE_ENDED)
    if inbound.routes is None:
        if inbound.without_routes == "nothing":
            return Denied(Reason.NO_ROUTE, detail="the workload declares no routes and the mesh lets such workloads accept nothing")
        return Permit("without-routes")
    route = table.find(port, request)
    if route is None:
        return Denied(Reason.NO_ROUTE)
    # Permissive is for callers that have no identity yet: the route must match, `allow` cannot be asked of them.
    if peer is not None and not is_allowed(peer, route.allow, trust_domain):
        return Denied(Reason.NOT_ALLOWED, route.name)
    return Permit(route.name)
