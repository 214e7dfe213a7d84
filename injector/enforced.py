"""What a declared rule asks of the pod's own sidecar. The other half, what it asks of callers, is `injector/compile/routes.py`.

Pure. Durations and sizes become numbers here, and the namespaces of callers are filled in.
"""

from sidecar.model.route import Caller, Fault, RateLimit, Route

from .documents import routes as documents
from .documents.routes import RouteRule
from .documents.text import in_bytes, seconds


def route(rule: RouteRule, namespace: str) -> Route:
    """
    Args:
        namespace: the pod's.
    """
    return Route(
        name=rule.name,
        allow=tuple(_caller(one, namespace) for one in rule.allow),
        port=rule.port,
        matches=rule.matches,
        hosts=rule.hosts,
        deny=tuple(_caller(one, namespace) for one in rule.deny),
        jwt=rule.jwt,
        rate_limit=_rate_limit(rule.rate_limit) if rule.rate_limit is not None else None,
        concurrency=rule.concurrency,
        max_body_bytes=in_bytes(rule.max_body) if rule.max_body is not None else None,
        fault=_fault(rule.fault) if rule.fault is not None else None,
        request_headers=rule.request_headers,
        response_headers=rule.response_headers,
        rewrite=rule.rewrite,
        redirect=rule.redirect,
        direct_response=rule.direct_response,
        upgrades=rule.upgrades,
        request_s=seconds(rule.timeouts.request) if rule.timeouts.request is not None else None,
        idle_s=seconds(rule.timeouts.idle) if rule.timeouts.idle is not None else None,
    )


def _caller(caller: documents.Caller, namespace: str) -> Caller:
    own = namespace if caller.service_account is not None else "*"
    return Caller(caller.service_account or "*", caller.namespace or own, caller.identity, caller.source, caller.claims)


def _rate_limit(limit: documents.RateLimit) -> RateLimit:
    return RateLimit(limit.requests, seconds(limit.per), limit.by, limit.header, limit.burst)


def _fault(fault: documents.Fault) -> Fault:
    delay, abort = fault.delay, fault.abort
    return Fault(
        delay_s=seconds(delay.for_) if delay is not None else 0.0,
        delay_percent=delay.percent if delay is not None else 0.0,
        abort_status=abort.status if abort is not None else None,
        abort_percent=abort.percent if abort is not None else 0.0,
    )
