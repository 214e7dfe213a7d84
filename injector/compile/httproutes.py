"""HTTPRoutes: which listeners hear each, and the rules at the edge that they become. Pure.

A route is heard where a parent names a listener (all of a Gateway's, one by name, those of a port), the listener lets its namespace in, and
both have a host in common; each parent is told apart. A rule that cannot be carried out as it says answers
its requests with 500, lest they go to a wider one, and is told; the others go on.

Spec: gateway.networking.k8s.io/v1 HTTPRoute, RouteParentStatus.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from injector.cluster import Cluster, Ref, ref_of
from injector.cluster.objects import Object, objects
from injector.documents.gateway_api import GROUP, HttpRouteSpec, ParentRef
from injector.hints import read
from sidecar.model.edge import Access, EdgeRoute
from sidecar.model.errors import ConfigError
from sidecar.model.route import TokenIssuer
from sidecar.model.rule_check import check_matches

from .conditions import Cause, Condition, condition
from .edge_rule import Annotated, with_canaries, with_rule
from .gateways import Gateway, Heard
from .hostnames import deep, intersect, left_to
from .http_rules import Refused, Rule, compile_rule, refusing_rule
from .looked import Looked
from .references import Grants
from .said import Said

Annotation = Callable[[Object], Annotated]
MOST_PARENTS = 32       # what the API takes
Places = dict[tuple[str, ...], tuple[int, ...]]     # ports by the hosts that a rule has there


@dataclass(slots=True)
class Parent:
    """A Gateway of ours that a route names.

    Args:
        data: as it is named.
        heard: the hosts that each listener hears of the route.
    """

    data: Mapping[str, Any]
    gateway: Ref
    heard: list[tuple[Heard, tuple[str, ...]]] = field(default_factory=list)
    refused: list[Cause] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class HttpRoute:
    """
    Args:
        refused: why nothing of it is in force, wherever it is heard.
        dropped: rules that are left out.
        unresolved: backends that are answered for with 500.
        annotated: what is wrong with the annotation, in words.
    """

    ref: Ref
    created: str
    parents: tuple[Parent, ...]
    routes: tuple[EdgeRoute, ...] = ()
    refused: tuple[Cause, ...] = ()
    dropped: tuple[Cause, ...] = ()
    unresolved: tuple[Cause, ...] = ()
    annotated: tuple[str, ...] = ()
    access: Mapping[str, Access] = field(default_factory=dict)
    issuers: tuple[TokenIssuer, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        causes = (*self.refused, *(cause for parent in self.parents for cause in parent.refused), *self.dropped, *self.unresolved)
        return tuple(dict.fromkeys((*(cause.message for cause in causes), *self.annotated)))

    def said(self) -> Said:
        return Said(
            ref=self.ref, created=self.created, routes=self.routes, access=self.access, issuers=self.issuers, problems=self.problems)

    def conditions(self, parent: Parent) -> Iterator[Condition]:
        causes = [*parent.refused, *self.refused]
        yield condition("Accepted", causes)
        yield condition("ResolvedRefs", self.unresolved)
        if self.dropped and not causes:
            yield Condition("PartiallyInvalid", True, self.dropped[0].reason,
                            f"Dropped Rule: {'; '.join(one.message for one in self.dropped)}")


def read_routes(
    cluster: Cluster, look: Looked, gateways: Mapping[Ref, Gateway], grants: Grants, annotation: Annotation,
) -> dict[Ref, HttpRoute]:
    """Those that name a Gateway of ours. Each is counted by the listeners that it is attached to."""
    found = {}
    for one in cluster.of_kind("HTTPRoute").values():
        made = _route(ref_of(one), one, look, gateways, grants, annotation)
        if made is not None:
            found[made.ref] = made
    return found


def _route(
    ref: Ref, one: Object, look: Looked, gateways: Mapping[Ref, Gateway], grants: Grants, annotation: Annotation,
) -> HttpRoute | None:
    try:
        named = objects(one.spec.get("parentRefs"), "spec.parentRefs")[:MOST_PARENTS]
    except ConfigError:
        return None     # it names nobody
    parents = tuple(parent for data in named if (parent := _parent(data, ref[1], gateways)) is not None)
    if not parents:
        return None

    def refused(*causes: Cause) -> HttpRoute:
        return HttpRoute(ref, one.created, parents, refused=causes)

    try:
        spec = read(one.spec, HttpRouteSpec, "spec")
        check_matches("spec", map(deep, spec.hostnames), (), is_edge=True)
    except ConfigError as exc:
        return refused(Cause("UnsupportedValue", str(exc)))
    for parent in parents:
        _attach(parent, ref, spec.hostnames, gateways[parent.gateway], look)
    rules, refusing, dropped = _rules(ref, spec.rules, look, grants)
    places = _places(parents, gateways)
    answers = tuple(placed for route in refusing for placed in _placed(route, places))
    if not rules:
        return HttpRoute(ref, one.created, parents, answers, refused=tuple(dropped))
    found, wrong = annotation(one), dict[str, None]()
    routes = tuple(
        placed for rule in rules for route in _annotated(rule.route, found, ref[1], look, wrong) for placed in _placed(route, places)
    )
    unresolved = tuple(dict.fromkeys(cause for rule in rules for cause in rule.unresolved))
    if found.clients is not None:
        wrong["authentication: clientCertificate: no listener of a Gateway asks for one, so that nobody is let in by it"] = None
    return HttpRoute(
        ref, one.created, parents, (*routes, *answers), dropped=tuple(dropped), unresolved=unresolved,
        annotated=(*found.problems, *wrong), access=found.accesses, issuers=found.issuers,
    )


# -- where it is heard


def _parent(data: Mapping[str, Any], namespace: str, gateways: Mapping[Ref, Gateway]) -> Parent | None:
    """None if that is no Gateway of ours."""
    key = (data.get("group", GROUP), data.get("kind", "Gateway"), data.get("namespace") or namespace, data.get("name"))
    if key[:2] != (GROUP, "Gateway"):
        return None
    ref = ("Gateway", str(key[2]), str(key[3]))
    return Parent(data, ref) if ref in gateways else None


def _attach(parent: Parent, ref: Ref, hostnames: Iterable[str], gateway: Gateway, look: Looked) -> None:
    """Finds the listeners that hear the route."""
    try:
        said = read(parent.data, ParentRef, "spec.parentRefs")
    except ConfigError as exc:
        parent.refused.append(Cause("UnsupportedValue", str(exc)))
        return
    where = f"Gateway {gateway.ref[1]}/{gateway.ref[2]}"
    if gateway.refused:
        parent.refused.append(Cause("Pending", f"{where} is not accepted: {gateway.refused[0].message}"))
        return
    named = gateway.named(said.section_name, said.port)
    if not named:
        asked = {"name": said.section_name, "port": said.port}
        what = " and ".join(f"{key} {value}" for key, value in asked.items() if value is not None)
        parent.refused.append(Cause("NoMatchingParent", f"{where} has no listener" + (f" of {what}" if what else "")))
        return
    open_to = [heard for heard in named if heard.hears(ref, gateway.ref[1], look)]
    if not open_to:
        what = f"no listener of {where} lets HTTPRoutes of namespace {ref[1]} in (allowedRoutes)"
        parent.refused.append(Cause("NotAllowedByListeners", what))
        return
    for heard in open_to:
        hosts = intersect(heard.hostname, hostnames)
        if hosts:
            heard.attached.add(ref)
            parent.heard.append((heard, hosts))
    if not parent.heard:
        what = ", ".join(heard.hostname for heard in open_to)
        parent.refused.append(Cause("NoMatchingListenerHostname", f"none of its hostnames is one of the listeners' of {where}: {what}"))


def _places(parents: Iterable[Parent], gateways: Mapping[Ref, Gateway]) -> Places:
    ports: dict[tuple[str, ...], dict[int, None]] = {}
    for parent in parents:
        for heard, names in parent.heard:
            if not heard.is_served or heard.said is None:
                continue
            beside = gateways[parent.gateway].beside(heard)
            left = [name for name in names if left_to(name, heard.hostname, beside)]
            if left:
                hosts = () if "" in left else tuple(map(deep, left))
                ports.setdefault(hosts, {})[heard.said.port] = None
    return {hosts: tuple(found) for hosts, found in ports.items()}


def _placed(route: EdgeRoute, places: Places) -> Iterator[EdgeRoute]:
    for i, (hosts, ports) in enumerate(places.items()):
        yield replace(route, hosts=hosts, ports=ports, name=f"{route.name}/{i}" if i else route.name)


# -- what it says


def _rules(ref: Ref, said: Iterable[object], look: Looked, grants: Grants) -> tuple[list[Rule], list[EdgeRoute], list[Cause]]:
    """(those in force, what answers for the others, why these are not)."""
    rules, refusing, dropped = [], [], []
    for i, data in enumerate(said):
        name = f"httproute/{ref[1]}/{ref[2]}/{i}"
        try:
            rules.append(compile_rule(name, data, f"spec.rules[{i}]", ref[1], look, grants))
        except ConfigError as exc:
            dropped.append(Cause(exc.reason if isinstance(exc, Refused) else "UnsupportedValue", str(exc)))
            refusing += [answer] if (answer := refusing_rule(name, data)) is not None else []
    return rules, refusing, dropped


def _annotated(route: EdgeRoute, found: Annotated, namespace: str, look: Looked, wrong: dict[str, None]) -> Iterable[EdgeRoute]:
    """With what `bartizan.dev/edge` adds.

    Args:
        wrong: takes what is wrong with it, in words.
    """
    route = with_rule(route, found)
    if not route.backends:
        return (route,)
    routes, problems = with_canaries(route, found.rule, namespace, look)
    wrong.update(dict.fromkeys(problems))
    return routes


def attached_json(route: HttpRoute, more: Iterable[Condition] = ()) -> list[dict[str, Any]]:
    """`status.parents`, what is ours of it.

    Args:
        more: conditions that hold for each.
    """
    more = tuple(more)
    return [
        {"parentRef": msgspec.to_builtins(parent.data), "conditions": [one.as_json() for one in (*route.conditions(parent), *more)]}
        for parent in route.parents
    ]
