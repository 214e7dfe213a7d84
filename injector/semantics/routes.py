"""What the types cannot say of `bartizan.dev/routes`."""

import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from injector.documents.routes import Caller, Fault, Retries, RouteRule
from injector.enforced import route
from sidecar.model import identity, ports
from sidecar.model.errors import ConfigError
from sidecar.model.fields import has_owner
from sidecar.model.identity import NAMESPACE, SERVICE_ACCOUNT, TRUST_DOMAIN
from sidecar.model.route import HeaderEdit, Match, Rewrite
from sidecar.model.rule_check import check_route
from sidecar.model.service import Protocol

from .text import Complaint, below, duration_problems, network_problems, pattern_problems

# What a star at one end leaves of a name.
_PART = re.compile("[a-z0-9.-]*", re.ASCII)
_IDENTITY_BEGINNING = re.compile(rf"spiffe://{TRUST_DOMAIN.pattern}/(?:ns/(?:[a-z0-9-]*|[a-z0-9-]+/(?:sa/[a-z0-9.-]*)?))?\*", re.ASCII)

# What holds for connections as well; all else is decided by looking into HTTP, which nobody does on an opaque port.
_OF_CONNECTIONS = frozenset({"name", "port", "allow", "deny", "rate_limit", "concurrency", "timeouts", "backends"})
_PLAIN = RouteRule("plain", ())


def route_problems(rule: RouteRule) -> Iterator[Complaint]:
    """Nothing is left that a sidecar would refuse: it takes a snapshot whole or not at all, and callers' snapshots hold this rule, too."""
    found = list(_problems(rule))
    yield from found
    if not found:
        try:
            check_route("", route(rule, "any"))
        except ConfigError as exc:
            yield exc.where.lstrip("."), exc.problem


def _problems(rule: RouteRule) -> Iterator[Complaint]:
    if rule.port in ports.OWN:
        yield "port", f"{rule.port} is a port of the sidecar; name the application's"
    for i, match in enumerate(rule.matches):
        yield from below(f"matches[{i}]", _match_problems(match))
    for where, callers in ("allow", rule.allow), ("deny", rule.deny):
        for i, caller in enumerate(callers):
            yield from below(f"{where}[{i}]", _caller_problems(caller, has_token=rule.jwt is not None))
    if rule.rate_limit is not None:
        yield from duration_problems("rateLimit.per", rule.rate_limit.per)
    if rule.fault is not None:
        yield from below("fault", _fault_problems(rule.fault))
    yield from below("requestHeaders", header_problems(rule.request_headers, is_request=True))
    yield from below("responseHeaders", header_problems(rule.response_headers, is_request=False))
    yield from _answer_problems(rule)
    yield from duration_problems("timeouts.request", rule.timeouts.request)
    yield from duration_problems("timeouts.idle", rule.timeouts.idle)
    if rule.retries is not None:
        yield from below("retries", retries_problems(rule.retries))
    yield from _backend_problems(rule)


def opaque_problems(rules: Iterable[RouteRule], protocols: Mapping[int, Protocol]) -> Iterator[tuple[RouteRule, str]]:
    """Rules that can never be as they say, because nobody looks into what goes through their port.

    Args:
        protocols: by port; one that is not in it is HTTP.
    """
    for rule in rules:
        protocol = protocols.get(rule.port or 0)
        if protocol not in ("opaque", "app-tls"):
            continue
        for field in msgspec.structs.fields(RouteRule):
            if field.name not in _OF_CONNECTIONS and getattr(rule, field.name) != getattr(_PLAIN, field.name):
                what = f'"{rule.name}" has {field.encode_name}, but port {rule.port} is {protocol}: nobody looks into what goes through it'
                yield rule, f'{what}; remove it, or write `"{rule.port}": http` in bartizan.dev/ports'
                break


# -- what a rule matches


def _match_problems(match: Match) -> Iterator[Complaint]:
    expressions: list[tuple[str, str]] = []
    if match.path is not None and match.path.type == "RegularExpression":
        expressions.append(("path.value", match.path.value))
    expressions += [(f"headers[{i}].value", one.value) for i, one in enumerate(match.headers) if one.type == "RegularExpression"]
    expressions += [(f"query[{i}].value", one.value) for i, one in enumerate(match.query) if one.type == "RegularExpression"]
    for path, expression in expressions:
        yield from pattern_problems(path, expression)
    if match.method is not None:
        yield from _method_problems("method", match.method)


def _method_problems(path: str, method: str) -> Iterator[Complaint]:
    if method in ("CONNECT", "TRACE"):
        yield path, f"{method} is never forwarded"


# -- whom it lets in


def _caller_problems(caller: Caller, *, has_token: bool) -> Iterator[Complaint]:
    names = caller.service_account, caller.namespace, caller.identity
    if caller == Caller():
        yield "", 'it names nobody; every workload of the mesh is {namespace: "*"}'
    if caller.service_account is not None:
        yield from _name_problems("serviceAccount", caller.service_account, SERVICE_ACCOUNT, "a service account")
    if caller.namespace is not None:
        yield from _name_problems("namespace", caller.namespace, NAMESPACE, "a namespace")
    if caller.identity is not None and not _is_identity(caller.identity):
        shape = "spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>, or its beginning and one * behind the trust domain"
        yield "identity", f"{caller.identity[:100]!r} is not of the form {shape}"
    if caller.source is not None:
        yield from network_problems("source", caller.source)
        if any(name is not None for name in names):
            yield "source", "it is about plaintext callers, which have no identity; write two entries"
    if caller.claims and not has_token:
        yield "claims", "they are a token's, and the rule has no `jwt: {issuer, audiences}`"
    for claim, values in caller.claims.items():
        if not values:
            yield f"claims.{claim[:100]}", "it has no values, so no token could hold one of them"


def _name_problems(path: str, name: str, whole: re.Pattern[str], what: str) -> Iterator[Complaint]:
    if name.count("*") > 1 or "*" in name[1:-1]:
        yield path, f"{name!r}: write one * at most, at the beginning or at the end"
    elif not (_PART if "*" in name else whole).fullmatch(name.strip("*")):
        yield path, f"{name!r} is no name of {what}; write a whole name, web-*, *-web, or * for any"


def _is_identity(text: str) -> bool:
    try:
        return bool(_IDENTITY_BEGINNING.fullmatch(text) or identity.parse(text))
    except ValueError:
        return False


# -- what the pod's own sidecar does


def _fault_problems(fault: Fault) -> Iterator[Complaint]:
    if fault == Fault():
        yield "", "it names neither `delay` nor `abort`"
    if fault.delay is not None:
        yield from duration_problems("delay.for", fault.delay.for_, most="10m")


def header_problems(edit: HeaderEdit, *, is_request: bool) -> Iterator[Complaint]:
    for field, names in (("set", edit.set), ("add", edit.add), ("remove", edit.remove)):
        for i, name in enumerate(names):
            path = f"remove[{i}]" if field == "remove" else f"{field}.{name}"
            if name.lower() == "host" and is_request:
                yield path, "Host is what the request was judged by; to change what the application sees write `rewrite: {hostname: NAME}`"
            elif "_" in name:
                yield path, f'"{name}": names with _ are never forwarded, since applications mix them up with those with -'
            elif has_owner(name):
                yield path, f'"{name}" is the mesh\'s own, written anew for every message; no rule may set, add or remove it'


def _answer_problems(rule: RouteRule) -> Iterator[Complaint]:
    """Of redirect, direct response and rewrite, what the sidecar has no reason to refuse."""
    answers = [name for name, value in (("redirect", rule.redirect), ("directResponse", rule.direct_response)) if value is not None]
    forwards = [name for name, value in (("rewrite", rule.rewrite), ("backends", rule.backends), ("mirror", rule.mirror)) if value]
    if answers and forwards:
        yield answers[0], f"what {answers[0]} answers is not forwarded, so {forwards[0]} never counts; remove one of the two"
    if rule.rewrite == Rewrite():
        yield "rewrite", "it changes nothing; name a path, a prefix or a hostname"


# -- what the callers' sidecars do


def retries_problems(retries: Retries) -> Iterator[Complaint]:
    if not retries.on:
        yield "on", "name at least one thing that is worth another attempt, such as connect-failure"
    if not retries.methods:
        yield "methods", "name at least one method, or leave methods out"
    for i, method in enumerate(retries.methods if retries.methods != "any" else ()):
        yield from _method_problems(f"methods[{i}]", method)
    yield from duration_problems("attemptTimeout", retries.attempt_timeout)
    yield from duration_problems("backoff", retries.backoff, most="1m")


def _backend_problems(rule: RouteRule) -> Iterator[Complaint]:
    named = [(f"backends[{i}].service", backend.service) for i, backend in enumerate(rule.backends)]
    if rule.mirror is not None:
        named.append(("mirror.service", rule.mirror.service))
    for path, service in named:
        if not NAMESPACE.fullmatch(service):
            yield path, f"{service!r} is no name of a Service; write the plain name of one in the pod's own namespace"
    if rule.backends and sum(backend.weight for backend in rule.backends) == 0:
        yield "backends", "all weights are 0, so no request could go anywhere"
    pairs = [(backend.service, backend.port) for backend in rule.backends]
    for i, pair in enumerate(pairs):
        if pair in pairs[:i]:
            yield f"backends[{i}]", f"{pair[0]} with port {pair[1]} is there twice; add the weights"
