from typing import Any

import msgspec

from injector.compile.routes import ANY_METHOD, call_rules, missing_services
from injector.documents import RouteRule
from sidecar.model.route import Match
from sidecar.model.service import Backend, CallRule, Mirror, Retries

KNOWN = {("orders.shop", 80), ("orders-v2.shop", 80), ("orders-v3.other", 80)}


def _rule(**fields: Any) -> RouteRule:
    return msgspec.convert({"name": "r", "allow": [], **fields}, RouteRule)


def _call_rules(*rules: RouteRule, port: int = 8080) -> tuple[CallRule, ...]:
    return call_rules({rule.name: rule for rule in rules}, port, "shop", KNOWN)


def test_every_field_that_callers_carry_out() -> None:
    rule = _rule(
        port=8080, hosts=["orders.shop"], matches=[{"method": "GET"}], timeouts={"request": "3s", "idle": "1m"},
        retries={"attempts": 2, "on": ["reset", 503, "503"], "methods": ["POST"], "attemptTimeout": "1s", "backoff": "50ms",
                 "budgetPercent": 5},
        backends=[{"service": "orders", "port": 80, "weight": 9}, {"service": "orders-v2", "port": 80}],
        mirror={"service": "orders-v2", "port": 80, "percent": 5},
    )
    assert _call_rules(rule) == (CallRule(
        "r", ("orders.shop",), (Match(method="GET"),), 3.0, 60.0, Retries(2, ("reset", "503"), ("POST",), 1.0, 0.05, 5.0),
        (Backend("orders.shop", 80, 9), Backend("orders-v2.shop", 80)), Mirror("orders-v2.shop", 80, 5.0), names_port=True,
    ),)


def test_retries_as_they_are_by_default_and_of_any_method() -> None:
    assert _call_rules(_rule(retries={}))[0].retries == Retries()
    assert _call_rules(_rule(retries={"methods": "any"}))[0].retries == Retries(methods=ANY_METHOD)


def test_a_rule_that_asks_nothing_still_decides_before_one_that_does() -> None:
    plain, slow = _rule(name="plain", matches=[{"path": {"value": "/a/b"}}]), _rule(name="slow", timeouts={"request": "3s"})
    assert [rule.name for rule in _call_rules(plain, slow)] == ["plain", "slow"]
    assert _call_rules(plain) == ()


def test_rules_of_another_port_stay_out() -> None:
    here, there, everywhere = (_rule(name=name, retries={}, **port) for name, port in
                               (("here", {"port": 8080}), ("there", {"port": 9090}), ("everywhere", {})))
    assert [(rule.name, rule.names_port) for rule in _call_rules(here, there, everywhere)] == [("here", True), ("everywhere", False)]
    assert _call_rules(there) == ()


def test_a_service_that_is_not_there_gets_nothing_and_is_named() -> None:
    rule = _rule(backends=[{"service": "orders", "port": 80}, {"service": "orders-v3", "port": 80}, {"service": "orders", "port": 81}],
                 mirror={"service": "gone", "port": 80}, timeouts={"request": "3s"})
    compiled = _call_rules(rule)[0]
    assert (compiled.backends, compiled.mirror) == ((Backend("orders.shop", 80),), None)
    assert [text.partition(";")[0] for text in missing_services({"r": rule}, "shop", KNOWN)] == [
        f'the rule "r": {where}: namespace shop has no Service {service} that selects pods'
        for where, service in
        (("backends[1]", "orders-v3 with port 80"), ("backends[2]", "orders with port 81"), ("mirror", "gone with port 80"))
    ]


def test_a_split_of_which_nothing_is_left_is_none() -> None:
    gone = _rule(backends=[{"service": "gone", "port": 80}, {"service": "orders", "port": 80, "weight": 0}])
    assert _call_rules(gone) == ()
