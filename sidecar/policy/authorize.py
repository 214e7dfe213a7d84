"""May this peer make this request of the application? The judge of everything that enters a pod.

Two steps, both pure: `find_route` says which rule decides, `authorize` whether it lets this caller in. Between them whoever asks
verifies the bearer token, if the rule wants one. The proxy asks for each request, the compiler and the offline explainer run it too.
What no rule matches is refused.

Trust: `peer` and `claims` have been verified, `request` judged by `protocol/framing.py`. Only here and in `policy/egress.py` is a
Permit made.
"""

import ipaddress
from collections.abc import Mapping

from sidecar.model import identity
from sidecar.model.decision import Denied, Permit
from sidecar.model.edge import EdgeRoute, Restriction
from sidecar.model.identity import SpiffeId
from sidecar.model.message import RequestHead
from sidecar.model.path import decode_path, judge_rule_path
from sidecar.model.reason import Reason
from sidecar.model.route import Caller, Route
from sidecar.model.snapshot import Inbound

from .pattern import name_holds
from .route_table import Found, RouteTable

Claims = Mapping[str, object]


class Asker:
    """What is known of the caller. One may ask many times: its name is taken apart once.

    Args:
        identity: verified; None: plaintext, which has none.
        source: its IP address, canonical; counts for plaintext only.
        claims: of the verified token; None: there is none, or nobody asked for it.
    Attributes:
        name: its identity's parts; None: plaintext.
    """

    __slots__ = ("claims", "identity", "name", "source")

    def __init__(self, identity: SpiffeId | None, source: str, claims: Claims | None = None) -> None:
        self.identity = identity
        self.source = source
        self.claims = claims
        self.name = _Name(identity) if identity is not None else None


def find_route(
    port: int, request: RequestHead | None, *, is_plaintext: bool, inbound: Inbound, table: RouteTable[Route], now: float
) -> Found[Route] | Permit | Denied:
    """The rule that decides; or the verdict, where none is needed for it.

    Args:
        port: the application's.
        request: None for a TCP connection.
        table: of `inbound.routes`.
        now: Unix seconds, for the end of permissive mode.
    """
    if is_plaintext:
        mode = inbound.mode_at(port)
        if mode.mode == "strict":
            return Denied(Reason.PLAINTEXT)
        if mode.permissive_until is None or now >= mode.permissive_until:
            return Denied(Reason.PERMISSIVE_ENDED)
    if inbound.routes is None:
        if inbound.without_routes == "nothing":
            return Denied(Reason.NO_ROUTE, detail="the workload declares no routes and the mesh lets such workloads accept nothing")
        return Permit("without-routes")
    found = table.find(port, request)
    if found is None:
        return Denied(Reason.NO_ROUTE)
    if request is None and (found.rule.redirect or found.rule.direct_response):
        return Denied(Reason.NOT_HTTP, found.rule.name, "the rule answers requests itself; nothing reaches the application by it")
    return found


def authorize(found: Found[Route], asker: Asker, trust_domain: str) -> Permit | Denied:
    """Whether the rule that `find_route` found lets the caller in."""
    route, name = found.rule, asker.name
    if route.jwt is not None and asker.claims is None:
        return Denied(Reason.TOKEN_REFUSED, route.name)
    if name is None:
        is_denied = _is_plaintext_denied(route.deny, asker)
        is_allowed = _is_plaintext_named(route.allow, asker)
    else:
        is_denied = _is_named(route.deny, name, asker.claims)
        is_allowed = name.trust_domain == trust_domain and _is_named(route.allow, name, asker.claims)
    if is_denied:
        return Denied(Reason.CALLER_DENIED, route.name)
    if not is_allowed:
        return Denied(Reason.NOT_ALLOWED, route.name)
    return Permit(route.name, found.more, found.match)


def authorize_client(found: Found[EdgeRoute], request: RequestHead, source: str, claims: Claims | None) -> Permit | Denied:
    """Whether the rule at the edge lets a client in, who has no identity in the mesh.

    Args:
        source: the client's IP address, canonical.
        claims: what its credentials say, verified; None: it brought none, or none was asked for.
    """
    route = found.rule
    allow, deny = _of_clients(route, request) if route.restrictions else ((route.allow,), route.deny)
    if deny and _is_client_named(deny, source, claims):
        return Denied(Reason.CALLER_DENIED, route.name)
    for entries in allow:
        if not _is_client_named(entries, source, claims):
            return Denied(Reason.NOT_ALLOWED, route.name)
    return Permit(route.name, found.more, found.match)


def judge_source(found: Found[EdgeRoute], request: RequestHead, source: str) -> Denied | None:
    """Why no claim could let a client in from there: asked before its credentials are looked at, so that it has nothing to guess at."""
    route = found.rule
    allow, deny = _of_clients(route, request) if route.restrictions else ((route.allow,), route.deny)
    if any(not entry.claims and _source_holds(entry, source) for entry in deny):
        return Denied(Reason.CALLER_DENIED, route.name)
    for entries in allow:
        if not any(_source_holds(entry, source) for entry in entries):
            return Denied(Reason.NOT_ALLOWED, route.name)
    return None


def _of_clients(route: EdgeRoute, request: RequestHead) -> tuple[tuple[tuple[Caller, ...], ...], tuple[Caller, ...]]:
    """(lists, each of which must name a client; those who are refused all the same), for this very request"""
    for one in route.restrictions:
        if _is_for(one, request):
            return (route.allow, one.allow) if one.allow is not None else (route.allow,), route.deny + one.deny
    return (route.allow,), route.deny


def _is_for(one: Restriction, request: RequestHead) -> bool:
    if one.methods and request.method.decode("ascii") not in one.methods:
        return False
    path = decode_path(request.path)
    stems = (decode_path(judge_rule_path(text)).rstrip(b"/") for text in one.paths)
    return not one.paths or any(path == stem or path.startswith(stem + b"/") for stem in stems)


class _Name:
    def __init__(self, whole: SpiffeId) -> None:
        self.whole = whole
        self.trust_domain, self.namespace, self.service_account = identity.parts(whole)


# Loops, and no `any`: each generator would cost as much as a whole look.


def _is_named(entries: tuple[Caller, ...], name: _Name, claims: Claims | None) -> bool:
    """Whether one of them speaks of a peer with an identity; an entry with a source does not."""
    for entry in entries:
        if (
            entry.source is None
            and ((namespace := entry.namespace) in ("*", name.namespace) or name_holds(namespace, name.namespace))
            and ((account := entry.service_account) in ("*", name.service_account) or name_holds(account, name.service_account))
            and (entry.identity is None or name_holds(entry.identity, name.whole))
            and (not entry.claims or _claims_hold(entry, claims))
        ):
            return True
    return False


def _is_client_named(entries: tuple[Caller, ...], source: str, claims: Claims | None) -> bool:
    """Whether one of them speaks of a client at the edge: of its address, if it names any, and of its claims."""
    return any(_source_holds(entry, source) and _claims_hold(entry, claims) for entry in entries)


def _is_plaintext_named(entries: tuple[Caller, ...], asker: Asker) -> bool:
    """Permissive is for callers that have no name yet: entries with names cannot be asked of them, unless some ask for the source."""
    asks_for_source = False
    for entry in entries:
        if entry.source is not None:
            asks_for_source = True
            if _source_holds(entry, asker.source) and _claims_hold(entry, asker.claims):
                return True
    if asks_for_source:
        return False
    for entry in entries:  # noqa: SIM110 -- as above
        if not entry.claims or _claims_hold(entry, asker.claims):
            return True
    return False


def _source_holds(entry: Caller, source: str) -> bool:
    return entry.source is None or ipaddress.ip_address(source) in ipaddress.ip_network(entry.source)


def _claims_hold(entry: Caller, claims: Claims | None) -> bool:
    """A claim is text, or a list that holds text; numbers and objects are like no value that a rule can name."""
    if not entry.claims:
        return True
    if claims is None:
        return False
    for name, values in entry.claims.items():
        claim = claims.get(name)
        held = claim if isinstance(claim, list) else [claim]
        if not any(isinstance(one, str) and one in values for one in held):
            return False
    return True


def _is_plaintext_denied(entries: tuple[Caller, ...], asker: Asker) -> bool:
    """Whether an entry of `deny` speaks of a plaintext peer: one that asks for no name does."""
    for entry in entries:
        asks_for_a_name = entry != Caller(source=entry.source, claims=entry.claims)
        if not asks_for_a_name and _source_holds(entry, asker.source) and _claims_hold(entry, asker.claims):
            return True
    return False
