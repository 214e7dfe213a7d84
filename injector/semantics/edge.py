"""What the types cannot say of `bartizan.dev/edge`."""

from collections.abc import Iterator

from injector.documents.edge import Canary, EdgeRule
from sidecar.model.fields import has_owner
from sidecar.model.identity import NAMESPACE

from .access import authentication_problems, authorization_problems
from .routes import header_problems, retries_problems
from .text import Complaint, below, duration_problems, network_problems


def edge_problems(rule: EdgeRule) -> Iterator[Complaint]:
    """Nothing is left that the gateway would refuse: it takes a snapshot whole or not at all, and everybody's rules are in it."""
    for i, canary in enumerate(rule.canary):
        yield from below(f"canary[{i}]", _canary_problems(canary))
    if (shares := sum(canary.weight or 0 for canary in rule.canary)) > 100:
        yield "canary", f"the weights are {shares} together, and there are 100 to share"
    if rule.authentication is not None:
        yield from below("authentication", authentication_problems(rule.authentication))
    for path, problem in authorization_problems(rule.authorization):
        yield f"authorization{path}", problem
    if rule.rate_limit is not None:
        yield from duration_problems("rateLimit.per", rule.rate_limit.per)
        if (rule.rate_limit.by == "header") != (rule.rate_limit.header is not None):
            yield "rateLimit.header", "it goes with `by: header`, and only with it"
        if rule.rate_limit.header is not None:
            yield from _field_problems("rateLimit.header", rule.rate_limit.header)
    yield from duration_problems("timeouts.request", rule.timeouts.request)
    yield from duration_problems("timeouts.idle", rule.timeouts.idle)
    if rule.retries is not None:
        yield from below("retries", retries_problems(rule.retries))
    for field, ranges in ("allowFrom", rule.allow_from), ("denyFrom", rule.deny_from):
        for i, text in enumerate(ranges):
            yield from network_problems(f"{field}[{i}]", text)
    yield from below("requestHeaders", header_problems(rule.request_headers, is_request=True))
    yield from below("responseHeaders", header_problems(rule.response_headers, is_request=False))


def _canary_problems(canary: Canary) -> Iterator[Complaint]:
    if not NAMESPACE.fullmatch(canary.service):
        yield "service", f"{canary.service!r} is no name of a Service; write the plain name of one in the object's own namespace"
    if isinstance(canary.port, str) and not any(map(str.isalpha, canary.port)):
        yield "port", f'"{canary.port}" is no name of a port; a number stands without quotes'
    if sum(way is not None for way in (canary.weight, canary.header, canary.cookie)) != 1:
        yield "", "write one of `weight`, `header` and `cookie`"
    if canary.header is not None:
        yield from _field_problems("header.name", canary.header.name)


def _field_problems(path: str, name: str) -> Iterator[Complaint]:
    if has_owner(name):
        yield path, f'"{name}" is not for rules: it speaks of the connection or of the caller, or never arrives'
