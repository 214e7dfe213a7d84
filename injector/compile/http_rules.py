"""One rule of an HTTPRoute as the rule at the edge that does the same. Pure.

A rule is taken whole or not at all: what would be done otherwise than it says is refused, with the cause. A backend that is not there,
is of another kind, or was not granted is no such mistake: the API has its share of the requests answered with 500, and the others go on.
That share is the rule's `fault`, and where nothing else is left its answer.

Trust: whoever may write a route names Services of other namespaces only where these grant it. Attacked by
tests/injector/compile/test_http_rules.py.
Spec: gateway.networking.k8s.io/v1 HTTPRouteRule.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from injector.cluster.objects import objects
from injector.documents import gateway_api as api
from injector.documents.text import seconds
from injector.hints import read
from sidecar.model.edge import EdgeRoute
from sidecar.model.errors import ConfigError
from sidecar.model.route import Caller, DirectResponse, Fault, HeaderEdit, Match, PathMatch, QueryMatch, Redirect, Rewrite
from sidecar.model.rule_check import check_route
from sidecar.model.service import Backend, Mirror
from sidecar.model.value import convert
from sidecar.policy.route_table import RouteTable

from .conditions import Cause
from .looked import Looked
from .references import Grants

T = TypeVar("T")

NO_BACKEND = DirectResponse(500, "no backend of this rule can be reached\n")
REFUSED = DirectResponse(500, "this rule is not in force\n")
NOT_THERE = DirectResponse(404, "this rule names no backend\n")


class Refused(ConfigError):
    """
    Args:
        reason: of the condition that says so.
    """

    def __init__(self, where: str, problem: str, reason: str = "UnsupportedValue") -> None:
        super().__init__(where, problem)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Rule:
    """
    Args:
        route: for every host and the ports that it was made with.
        unresolved: backends that are answered for with 500.
    """

    route: EdgeRoute
    unresolved: tuple[Cause, ...]


def compile_rule(name: str, data: object, where: str, namespace: str, look: Looked, grants: Grants) -> Rule:
    """Raises ConfigError, which is Refused where a special reason says why.

    Args:
        name: of the route that it becomes.
        namespace: of the HTTPRoute.
    """
    rule = read(data, api.HttpRule, where)
    filters = _Filters(rule.filters, f"{where}.filters")
    redirect, rewrite, mirror = filters.redirect, filters.rewrite, filters.mirror
    if redirect is not None and rewrite is not None:
        raise Refused(f"{where}.filters", "RequestRedirect and URLRewrite exclude each other", "IncompatibleFilters")
    if redirect is not None and rule.backend_refs:
        raise Refused(f"{where}.backendRefs", "what RequestRedirect answers is not forwarded; remove one of the two", "IncompatibleFilters")
    resolver = _Resolver(namespace, look, grants)
    backends, lost_percent = resolver.backends(rule.backend_refs)
    answer = None
    if redirect is None and not backends:
        answer = NO_BACKEND if rule.backend_refs else NOT_THERE
    forwards = redirect is None and answer is None
    route = EdgeRoute(
        name=name, allow=(Caller(),), ports=(80,),
        matches=tuple(_match(one) for one in rule.matches) or (_match(api.HttpMatch()),),
        backends=backends,
        fault=Fault(abort_status=NO_BACKEND.status, abort_percent=lost_percent) if forwards and lost_percent else None,
        request_headers=_edit(filters.request),
        response_headers=_edit(filters.response),
        rewrite=_rewrite(rewrite) if forwards and rewrite is not None else None,
        redirect=_redirect(redirect) if redirect is not None else None,
        direct_response=answer,
        mirror=resolver.mirror(mirror) if forwards and mirror is not None else None,
        upgrades=("websocket",) if forwards else (),
        request_s=_request_s(rule.timeouts),
    )
    return Rule(checked(where, route), tuple(dict.fromkeys(resolver.unresolved)))


def refusing_rule(name: str, data: object) -> EdgeRoute | None:
    """What a refused rule leaves: its requests are answered with 500, lest they go to a wider rule that asks less of them. None: what
    it matches cannot be read.
    """
    said = data.get("matches") if isinstance(data, dict) else None
    try:
        matches = read([api.HttpMatch()] if said is None else said, tuple[api.HttpMatch, ...], "")
        found = tuple(map(_match, matches or (api.HttpMatch(),)))
        return checked("", EdgeRoute(name=name, allow=(Caller(),), ports=(80,), matches=found, direct_response=REFUSED))
    except ConfigError:
        return None


def checked(where: str, route: EdgeRoute) -> EdgeRoute:
    """The route; a sidecar would take a snapshot that holds it. Raises ConfigError."""
    try:
        found = convert(msgspec.to_builtins(route), EdgeRoute)
        check_route("", found, is_edge=True)
        RouteTable([found])
    except ConfigError as exc:
        raise ConfigError(f"{where}.{exc.where.lstrip('.')}".rstrip("."), exc.problem) from exc
    return found


# -- what it matches


def _match(said: api.HttpMatch) -> Match:
    """Of headers or parameters of one name the first counts, as the API says."""
    return Match(
        path=PathMatch(said.path.value, said.path.type), method=said.method,
        headers=tuple(_first((one.name.lower(), one) for one in said.headers)),
        query=tuple(QueryMatch(one.name, one.value, one.type) for one in _first((one.name, one) for one in said.query_params)),
    )


def _first(named: Iterable[tuple[str, T]]) -> Iterable[T]:
    found: dict[str, T] = {}
    for name, one in named:
        found.setdefault(name, one)
    return found.values()


# -- what is done


class _Filters:
    """Each kind of filter once at most."""

    def __init__(self, said: Iterable[api.HttpFilter], where: str) -> None:
        self.request = self.response = api.HeaderFilter()
        self.redirect: api.RedirectFilter | None = None
        self.rewrite: api.RewriteFilter | None = None
        self.mirror: api.MirrorFilter | None = None
        seen: set[str] = set()
        for i, one in enumerate(said):
            if one.type in seen:
                raise Refused(f"{where}[{i}]", f"{one.type} stands there twice; a rule takes one")
            seen.add(one.type)
            match one:
                case api.HttpFilter(type="RequestHeaderModifier", request_header_modifier=api.HeaderFilter() as found):
                    self.request = found
                case api.HttpFilter(type="ResponseHeaderModifier", response_header_modifier=api.HeaderFilter() as found):
                    self.response = found
                case api.HttpFilter(type="RequestRedirect", request_redirect=api.RedirectFilter() as found):
                    self.redirect = found
                case api.HttpFilter(type="URLRewrite", url_rewrite=api.RewriteFilter() as found):
                    self.rewrite = found
                case api.HttpFilter(type="RequestMirror", request_mirror=api.MirrorFilter() as found):
                    self.mirror = found
                case _:
                    raise Refused(f"{where}[{i}]", f"the field of type {one.type} is missing")


def _edit(said: api.HeaderFilter) -> HeaderEdit:
    return HeaderEdit(
        set={one.name: one.value for one in said.set}, add={one.name: one.value for one in said.add}, remove=said.remove,
    )


def _path(said: api.PathModifier | None) -> tuple[str | None, str | None]:
    """(the whole path, the prefix) that stand there instead."""
    if said is None:
        return None, None
    if said.type == "ReplaceFullPath":
        return said.replace_full_path, None
    prefix = said.replace_prefix_match
    return None, prefix.rstrip("/") or "/" if prefix is not None else None


def _rewrite(said: api.RewriteFilter) -> Rewrite:
    path, prefix = _path(said.path)
    return Rewrite(path, prefix, said.hostname)


def _redirect(said: api.RedirectFilter) -> Redirect:
    path, prefix = _path(said.path)
    return Redirect(said.scheme, said.hostname, said.port, path, prefix, said.status_code)


def _request_s(said: api.HttpTimeouts) -> float | None:
    """0s is none. There is one attempt, so that what holds for it holds for the request."""
    found = [seconds(text) for text in (said.request, said.backend_request) if text is not None]
    return min((one for one in found if one), default=None)


# -- where it leads


class _Resolver:
    def __init__(self, namespace: str, look: Looked, grants: Grants) -> None:
        self._namespace = namespace
        self._look = look
        self._grants = grants
        self.unresolved: list[Cause] = []

    def backends(self, refs: Iterable[api.BackendRef]) -> tuple[tuple[Backend, ...], float]:
        """The backends by weight, and the share of the requests that is for others, in percent."""
        weights: dict[tuple[str, int], int] = {}
        lost = 0
        for ref in refs:
            found = self._resolve(ref)
            if found is None:
                lost += ref.weight
            elif ref.weight:
                weights[found] = weights.get(found, 0) + ref.weight
        total = lost + sum(weights.values())
        made = tuple(Backend(service, port, weight) for (service, port), weight in weights.items())
        return made, 100.0 * lost / total if total else 0.0

    def mirror(self, said: api.MirrorFilter) -> Mirror | None:
        found = self._resolve(said.backend_ref)
        if found is None:
            return None
        percent = float(said.percent) if said.percent is not None else 100.0
        if said.fraction is not None:
            percent = 100.0 * said.fraction.numerator / said.fraction.denominator
        return Mirror(*found, percent)

    def _resolve(self, ref: api.ServiceRef) -> tuple[str, int] | None:
        """(`web.shop`, port) of a Service that is there and may be named."""
        cause = self._why_not(ref)
        if cause is not None or ref.port is None:
            self.unresolved += [cause] if cause is not None else []
            return None
        return f"{ref.name}.{ref.namespace or self._namespace}", ref.port

    def _why_not(self, ref: api.ServiceRef) -> Cause | None:
        namespace = ref.namespace or self._namespace
        name = f"{namespace}/{ref.name}"
        if ref.group or ref.kind != "Service":
            return Cause("InvalidKind", f"{ref.group}/{ref.kind} {ref.name} is no Service")
        if not self._grants.allow("HTTPRoute", self._namespace, ("", "Service", namespace, ref.name)):
            what = f"no ReferenceGrant in namespace {namespace} lets HTTPRoutes of {self._namespace} name Service {ref.name}"
            return Cause("RefNotPermitted", what)
        service = self._look.service((namespace, ref.name))
        if service is None:
            return Cause("BackendNotFound", f"there is no Service {name}")
        if service.spec.get("type") == "ExternalName":
            return Cause("BackendNotFound", f"Service {name} is an ExternalName, which is no backend at the edge")
        if ref.port is None:
            return Cause("BackendNotFound", f"the port of Service {name} is missing")
        if not any(port.get("port") == ref.port for port in objects(service.spec.get("ports"), "spec.ports")):
            return Cause("BackendNotFound", f"Service {name} has no port {ref.port}")
        return None
