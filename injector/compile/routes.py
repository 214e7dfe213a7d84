"""What a declared rule asks of callers' sidecars: timeouts, retries, splits, mirrors. The other half is `injector/enforced.py`.

Pure. Durations become numbers here, plain names of Services `name.namespace`.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import get_args

from injector.documents import routes as documents
from injector.documents.routes import RouteRule
from injector.documents.text import seconds
from sidecar.model.service import Backend, CallRule, Mirror, Retries, RetryOn

# Those that applications use; CONNECT and TRACE are never forwarded.
ANY_METHOD = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH")

_ON: Mapping[str, RetryOn] = {word: word for word in get_args(RetryOn)}     # statuses may be written as numbers

ServicePorts = Collection[tuple[str, int]]      # (`orders.shop`, port) of every Service in the mesh


def call_rules(rules: Mapping[str, RouteRule], port: int, namespace: str, known: ServicePorts) -> tuple[CallRule, ...]:
    """How callers carry out requests to one port of an application; nothing if no rule says anything of it.

    If any does, all are needed: one that asks for nothing still decides before a less specific one that does.

    Args:
        port: the application's.
        namespace: the pods'.
    """
    about = [rule for rule in rules.values() if rule.port in (None, port)]
    compiled = tuple(_call_rule(rule, namespace, known) for rule in about)
    is_asking = any(rule != CallRule(rule.name, rule.hosts, rule.matches, names_port=rule.names_port) for rule in compiled)
    return compiled if is_asking else ()


def _call_rule(rule: RouteRule, namespace: str, known: ServicePorts) -> CallRule:
    backends = tuple(Backend(f"{one.service}.{namespace}", one.port, one.weight) for one in rule.backends)
    backends = tuple(one for one in backends if (one.service, one.port) in known)
    mirror = rule.mirror and Mirror(f"{rule.mirror.service}.{namespace}", rule.mirror.port, rule.mirror.percent)
    return CallRule(
        name=rule.name,
        hosts=rule.hosts,
        matches=rule.matches,
        request_s=seconds(rule.timeouts.request) if rule.timeouts.request is not None else None,
        idle_s=seconds(rule.timeouts.idle) if rule.timeouts.idle is not None else None,
        retries=retries_of(rule.retries) if rule.retries is not None else None,
        backends=backends if any(one.weight for one in backends) else (),
        mirror=mirror if mirror is not None and (mirror.service, mirror.port) in known else None,
        names_port=rule.port is not None,
    )


def retries_of(retries: documents.Retries) -> Retries:
    return Retries(
        attempts=retries.attempts,
        on=tuple(dict.fromkeys(_ON[str(one)] for one in retries.on)),
        methods=ANY_METHOD if retries.methods == "any" else retries.methods,
        attempt_s=seconds(retries.attempt_timeout) if retries.attempt_timeout is not None else None,
        backoff_s=seconds(retries.backoff),
        budget_percent=retries.budget_percent,
    )


def missing_services(rules: Mapping[str, RouteRule], namespace: str, known: ServicePorts) -> Iterator[str]:
    """One text for each Service that a rule names and that is not there."""
    for rule in rules.values():
        named = [(f"backends[{i}]", one.service, one.port) for i, one in enumerate(rule.backends)]
        if rule.mirror is not None:
            named.append(("mirror", rule.mirror.service, rule.mirror.port))
        for where, service, port in named:
            if (f"{service}.{namespace}", port) not in known:
                yield (f'the rule "{rule.name}": {where}: namespace {namespace} has no Service {service} with port {port} '
                       "that selects pods; nothing is sent there")
