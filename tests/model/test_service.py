"""What the types of a caller's rules refuse."""

import msgspec
import pytest

from sidecar.model.service import Backend, Balancing, CallRule, Ejection, HashOn, Limits, Retries, Service


@pytest.mark.parametrize(("kind", "value"), [
    (Retries, {"attempts": 0}),
    (Retries, {"attempts": 11}),
    (Retries, {"on": ["200"]}),
    (Backend, {"service": "a.b", "port": 0}),
    (Backend, {"service": "a.b", "port": 80, "weight": -1}),
    (Balancing, {"policy": "Random"}),
    (Balancing, {"connectS": 0}),
    (Ejection, {"mostPercent": 101}),
    (Limits, {"pending": 0}),
    (HashOn, {"header": "a b"}),
    (CallRule, {"name": "r", "requestS": -1}),
    (Service, {"name": "a.b", "port": 80, "protocol": "h2"}),
])
def test_refused(kind: type, value: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(value, kind)


def test_the_least_that_is_said() -> None:
    assert msgspec.convert({"name": "a.b", "port": 80}, Service) == Service("a.b", 80)
