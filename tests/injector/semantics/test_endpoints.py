import pytest

from injector.documents import EndpointsRule
from injector.documents.endpoints import BalancingPolicy, Ejection
from injector.semantics.endpoints import endpoints_problems
from sidecar.model.service import HashOn


@pytest.mark.parametrize(("rule", "paths"), [
    (EndpointsRule(BalancingPolicy("ConsistentHash", HashOn(header="x-user")), False, "30s", "2s", Ejection(3, "10s", 20)), []),
    (EndpointsRule(BalancingPolicy("RoundRobin"), ejection="off"), []),
    (EndpointsRule(BalancingPolicy("ConsistentHash")), ["balancing.policy"]),
    (EndpointsRule(BalancingPolicy("LeastRequest", HashOn(cookie="c"))), ["balancing.hashOn"]),
    (EndpointsRule(BalancingPolicy("ConsistentHash", HashOn())), ["balancing.hashOn"]),
    (EndpointsRule(BalancingPolicy("ConsistentHash", HashOn("x", "y"))), ["balancing.hashOn"]),
    (EndpointsRule(slow_start="0s"), ["slowStart"]),
    (EndpointsRule(slow_start="61m"), ["slowStart"]),
    (EndpointsRule(connect_timeout="0ms"), ["connectTimeout"]),
    (EndpointsRule(ejection=Ejection(for_="0s")), ["ejection.for"]),
])
def test_endpoints(rule: EndpointsRule, paths: list[str]) -> None:
    assert [path for path, _ in endpoints_problems(rule)] == paths
