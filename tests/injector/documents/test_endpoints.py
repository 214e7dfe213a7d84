from injector.documents.endpoints import BalancingPolicy, EndpointsRule, combined


def test_parts_make_one_rule() -> None:
    parts = EndpointsRule(BalancingPolicy("RoundRobin")), EndpointsRule(zone_preference=False), EndpointsRule(ejection="off")
    assert combined(parts) == EndpointsRule(BalancingPolicy("RoundRobin"), False, ejection="off")
    assert combined([]) == EndpointsRule()
