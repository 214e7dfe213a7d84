from sidecar.model.address import Address
from sidecar.model.message import NO_BODY, RequestHead
from sidecar.model.route import Caller, Route
from sidecar.model.snapshot import EgressRange, Inbound, Outbound, Snapshot, Workload
from sidecar.policy.rules import Rules

WORKLOAD = Workload("spiffe://example.org/ns/shop/sa/orders", "shop")
REQUEST = RequestHead(b"GET", b"/", b"orders", None, [], NO_BODY, False)


def test_the_tables_are_the_snapshots() -> None:
    route = Route("r", (Caller("web", "shop"),))
    snapshot = Snapshot(WORKLOAD, inbound=Inbound(routes=(route,)), outbound=Outbound(ranges=(EgressRange("192.0.2.0/24", "db"),)))
    rules = Rules.of(snapshot, "abc")
    assert (rules.snapshot, rules.digest, rules.trust_domain) == (snapshot, "abc", "example.org")
    assert rules.routes.find(80, REQUEST) is route
    assert rules.outbound.range(Address("192.0.2.1", 5432)) is not None


def test_none_where_none_were_declared() -> None:
    assert Rules.of(Snapshot(WORKLOAD), "abc").routes.find(80, REQUEST) is None
