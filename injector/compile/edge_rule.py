"""What `bartizan.dev/edge` adds to the rules of the object that it stands on.

Trust: the annotation is an application team's. A part of it that cannot be read may be what restricts: then the version before counts,
and where there is none nobody is let in.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from injector.cluster.objects import Object
from injector.documents import EDGE, EdgeRule
from injector.documents.edge import ClientLimit, combined
from injector.documents.text import in_bytes, seconds
from injector.validate import read_edge
from sidecar.model.edge import Access, ClientCertificates, EdgeRoute
from sidecar.model.route import Caller, HeaderEdit, HeaderMatch, Match, RateLimit, TokenIssuer
from sidecar.model.service import Backend

from .access import CompiledAccess, asks_for_claims, compile_access, restrictions
from .edge_backends import backend_of
from .inbound import Keys
from .last_good import LastGood
from .looked import Looked
from .routes import retries_of

ANYBODY = (Caller(),)
MOST_WEIGHT = 1_000_000     # of a backend


@dataclass(frozen=True, slots=True)
class Annotated:
    """
    Args:
        is_unreadable: something of it is broken, and never was in force.
        problems: in words.
        name: by which its rules name `access`.
        access: who clients are; None: nobody asks.
    """

    rule: EdgeRule = field(default_factory=EdgeRule)
    is_unreadable: bool = False
    problems: tuple[str, ...] = ()
    name: str = ""
    access: CompiledAccess | None = None

    @property
    def accesses(self) -> Mapping[str, Access]:
        return {self.name: self.access.access} if self.access is not None else {}

    @property
    def issuers(self) -> tuple[TokenIssuer, ...]:
        return self.access.issuers if self.access is not None else ()

    @property
    def clients(self) -> ClientCertificates | None:
        """What TLS asks of clients at the object's hosts."""
        return self.access.clients if self.access is not None else None


def annotated(one: Object, last_good: LastGood, look: Looked, keys: Keys) -> Annotated:
    """What the annotation of an Ingress or an HTTPRoute says.

    Args:
        keys: of token issuers, as far as they were fetched.
    """
    owner, text = f"{one.namespace}/{one.kind}/{one.name}", one.annotations.get(EDGE)
    if text is None:
        last_good.forget(owner, EDGE)
        return Annotated()
    if not isinstance(text, str):
        return Annotated(is_unreadable=True, problems=(f"{EDGE}: an annotation's value is text; put it under `|`; nobody is let in",))
    entries, broken, wrong = last_good.read(owner, EDGE, text, read_edge, lambda data: msgspec.convert(data, EdgeRule))
    is_unreadable = bool(broken or (wrong and not entries))
    problems = [*map(str, wrong), *([f"{EDGE}: nobody is let in before it is corrected"] if is_unreadable else [])]
    rule = combined(entries)
    access = compile_access(look, one.namespace, rule.authentication, keys) if rule.authentication is not None else None
    if access is not None:
        problems += [f"{EDGE}: authentication: {problem}" for problem in access.problems]
    if asks_for_claims(rule.authorization) and not (rule.authentication is not None and rule.authentication.has_ways):
        problems.append(f"{EDGE}: authorization: nobody has roles or claims, since `authentication` names no way to say who one is")
    return Annotated(rule, is_unreadable, tuple(problems), f"{one.kind.lower()}/{one.namespace}/{one.name}", access)


def with_rule(route: EdgeRoute, found: Annotated) -> EdgeRoute:
    """The route as the annotation wants it; what it does not speak of stays."""
    rule = found.rule
    return replace(
        route,
        allow=() if found.is_unreadable else tuple(Caller(source=text) for text in rule.allow_from) or route.allow,
        access=found.name if found.access is not None else route.access,
        restrictions=restrictions(rule.authorization),
        deny=(*route.deny, *(Caller(source=text) for text in rule.deny_from)),
        rate_limit=_rate_limit(rule.rate_limit) if rule.rate_limit is not None else route.rate_limit,
        concurrency=rule.concurrency or route.concurrency,
        max_body_bytes=in_bytes(rule.max_body) if rule.max_body is not None else route.max_body_bytes,
        request_s=seconds(rule.timeouts.request) if rule.timeouts.request is not None else route.request_s,
        idle_s=seconds(rule.timeouts.idle) if rule.timeouts.idle is not None else route.idle_s,
        retries=retries_of(rule.retries) if rule.retries is not None else route.retries,
        request_headers=route.request_headers if rule.request_headers == HeaderEdit() else rule.request_headers,
        response_headers=route.response_headers if rule.response_headers == HeaderEdit() else rule.response_headers,
    )


def _rate_limit(limit: ClientLimit) -> RateLimit:
    return RateLimit(limit.requests, seconds(limit.per), "header" if limit.by == "header" else "identity", limit.header, limit.burst)


def with_canaries(route: EdgeRoute, rule: EdgeRule, namespace: str, look: Looked) -> tuple[list[EdgeRoute], list[str]]:
    """(the route, and before it those that lead some of its requests elsewhere: by header, then by cookie, then by weight; which of them
    lead nowhere, in words).
    """
    problems: list[str] = []
    weighed: list[Backend] = []
    special: list[tuple[bool, int, HeaderMatch, Backend]] = []
    for i, canary in enumerate(rule.canary):
        backend, problem = backend_of(canary.service, canary.port, namespace, look)
        if backend is None or problem:
            problems.append(f"canary: {problem}; nothing is sent there")
        elif canary.header is not None:
            special.append((False, i, HeaderMatch(canary.header.name, canary.header.value), backend))
        elif canary.cookie is not None:
            special.append((True, i, _cookie(canary.cookie.name, canary.cookie.value), backend))
        elif canary.weight:
            weighed.append(replace(backend, weight=canary.weight))
    routes = []
    for _, i, header, backend in sorted(special, key=lambda one: one[:2]):
        matches = tuple(replace(match, headers=(*match.headers, header)) for match in route.matches or (Match(),))
        routes.append(replace(route, name=f"{route.name}/canary-{i}", matches=matches, backends=(replace(backend, weight=1),)))
    return [*routes, replace(route, backends=_shared(route.backends, weighed)) if weighed else route], problems


def _shared(stable: tuple[Backend, ...], canaries: list[Backend]) -> tuple[Backend, ...]:
    """A hundred shares: those of the canaries, and the rest by the weights that there were."""
    rest, total = 100 - sum(one.weight for one in canaries), sum(one.weight for one in stable)
    weights = [*((one, one.weight * rest) for one in stable), *((one, one.weight * total) for one in canaries)]
    too_large = max(1, -(-max(weight for _, weight in weights) // MOST_WEIGHT))
    return tuple(replace(one, weight=-(-weight // too_large)) for one, weight in weights)


def _cookie(name: str, value: str) -> HeaderMatch:
    """One of the pairs of the Cookie field. RFC 6265 s4.2.1."""
    return HeaderMatch("cookie", rf"(?:.*;[ \t]*)?{re.escape(f'{name}={value}')}[ \t]*(?:;.*)?", "RegularExpression")
