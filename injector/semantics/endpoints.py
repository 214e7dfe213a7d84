"""What the types cannot say of `bartizan.dev/endpoints`."""

from collections.abc import Iterator

from injector.documents.endpoints import BalancingPolicy, EndpointsRule

from .text import Complaint, below, duration_problems


def endpoints_problems(rule: EndpointsRule) -> Iterator[Complaint]:
    if rule.balancing is not None:
        yield from below("balancing", _balancing_problems(rule.balancing))
    yield from duration_problems("slowStart", rule.slow_start, most="1h")
    yield from duration_problems("connectTimeout", rule.connect_timeout)
    if rule.ejection is not None and rule.ejection != "off":
        yield from duration_problems("ejection.for", rule.ejection.for_)


def _balancing_problems(balancing: BalancingPolicy) -> Iterator[Complaint]:
    on = balancing.hash_on
    if balancing.policy == "ConsistentHash" and on is None:
        yield "policy", "ConsistentHash needs `hashOn`: {header: NAME}, {cookie: NAME} or {query: NAME}"
    if balancing.policy != "ConsistentHash" and on is not None:
        yield "hashOn", f"it does not count with {balancing.policy}; write `policy: ConsistentHash` or remove it"
    if on is not None and sum(value is not None for value in (on.header, on.cookie, on.query)) != 1:
        yield "hashOn", "name one of header, cookie and query"
