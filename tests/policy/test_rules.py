import pytest

from sidecar.model.address import Address
from sidecar.model.egress import EgressRange, Outbound
from sidecar.model.errors import ConfigError
from sidecar.model.message import NO_BODY, RequestHead
from sidecar.model.route import Caller, Match, PathMatch, Route
from sidecar.model.snapshot import Inbound, Snapshot, Workload
from sidecar.policy.rules import Rules

WORKLOAD = Workload("spiffe://example.org/ns/shop/sa/orders", "shop")
REQUEST = RequestHead(b"GET", b"/", b"orders", None, [], NO_BODY, False)


def test_the_tables_are_the_snapshots() -> None:
    route = Route("r", (Caller("web", "shop"),))
    snapshot = Snapshot(WORKLOAD, inbound=Inbound(routes=(route,)), outbound=Outbound(ranges=(EgressRange("192.0.2.0/24", "db"),)))
    rules = Rules.of(snapshot, "abc")
    assert (rules.snapshot, rules.digest, rules.trust_domain) == (snapshot, "abc", "example.org")
    found = rules.routes.find(80, REQUEST)
    assert found is not None
    assert found.rule is route
    assert rules.outbound.range(Address("192.0.2.1", 5432)) is not None


def test_none_where_none_were_declared() -> None:
    assert Rules.of(Snapshot(WORKLOAD), "abc").routes.find(80, REQUEST) is None


def test_one_bad_expression_refuses_the_whole() -> None:
    bad = Route("bad", (), matches=(Match(), Match(PathMatch("/(", "RegularExpression"))))
    with pytest.raises(ConfigError) as caught:
        Rules.of(Snapshot(WORKLOAD, inbound=Inbound(routes=(Route("good", ()), bad))), "abc")
    assert caught.value.where == "bad.matches[1].path.value"
