from injector.compile.balancing import balancing
from injector.documents import EndpointsRule
from injector.documents.endpoints import BalancingPolicy, Ejection
from sidecar.model import service
from sidecar.model.service import Balancing, HashOn, Limits


def test_what_is_left_out_stays_as_it_is() -> None:
    assert balancing(EndpointsRule()) == Balancing()


def test_every_field() -> None:
    rule = EndpointsRule(
        BalancingPolicy("ConsistentHash", HashOn(cookie="session")), False, "30s", "500ms", Ejection(3, "10s", 20), Limits(1, 2, 3),
    )
    assert balancing(rule) == Balancing(
        "ConsistentHash", HashOn(cookie="session"), False, 30.0, 0.5, service.Ejection(3, 10.0, 20), Limits(1, 2, 3),
    )


def test_ejection_as_it_is_by_default_and_off() -> None:
    assert balancing(EndpointsRule(ejection=Ejection())) == Balancing()
    assert balancing(EndpointsRule(ejection="off")).ejection is None
