import math
from typing import Any

import pytest

from injector.cluster.objects import Object, Pod, addresses, at, is_port, mapping, objects, selects, text, texts
from sidecar.model.errors import ConfigError
from tests.injector.pods import ingress_gateway


@pytest.mark.parametrize(
    ("read", "empty", "good", "bad"),
    [
        (mapping, {}, {"a": 1}, [3, "x", []]), (objects, [], [{}], [{}, "x", [1], [None]]), (text, "", "x", [3, [], {}]),
        (texts, [], ["x"], ["x", [1], {}]),
    ],
)
def test_a_field_of_the_wrong_type_is_refused_by_name(read: Any, empty: object, good: object, bad: list[object]) -> None:
    assert read(None, "spec.x") == empty
    assert read(good, "spec.x") == good
    for value in bad:
        with pytest.raises(ConfigError, match=r"spec\.x: expected"):
            read(value, "spec.x")


@pytest.mark.parametrize(("written", "expected"), [("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"), (None, ""), (7, "")])
def test_when_it_was_created(written: object, expected: str) -> None:
    assert Object({"metadata": {"creationTimestamp": written}}).created == expected


def test_at() -> None:
    assert at({"a": {"b": {"c": 1}}}, "a", "b") == {"c": 1}
    assert at({"a": None}, "a", "b") == {}
    with pytest.raises(ConfigError, match=r"a\.b"):
        at({"a": {"b": 3}}, "a", "b")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "FD00::1"}]}, ("10.0.0.1", "fd00::1")),
        ({"phase": "Running", "podIP": "10.0.0.1"}, ("10.0.0.1",)),
        ({"phase": "Running", "podIPs": [{"ip": "::ffff:10.0.0.1"}]}, ("10.0.0.1",)),
        ({"phase": "Succeeded", "podIP": "10.0.0.1"}, ()), ({"phase": "Failed", "podIP": "10.0.0.1"}, ()), ({}, ()), (None, ()),
    ],
)
def test_addresses_of_a_pod(status: object, expected: tuple[str, ...]) -> None:
    assert Pod({"status": status}).addresses == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"phase": "Running"}, True), ({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}, True),
        ({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}, False), ({"phase": "Pending"}, False), ({}, False),
    ],
)
def test_readiness_of_a_pod(status: object, expected: bool) -> None:
    assert Pod({"status": status}).is_ready is expected


def test_when_a_pod_ends() -> None:
    assert Pod({}).ends_at == math.inf
    for written in ("2027-01-15T08:00:30Z", "2027-01-15T08:00:30", "2027-01-15T09:00:30+01:00"):
        assert Pod({"metadata": {"deletionTimestamp": written}}).ends_at == 1_800_000_030
    with pytest.raises(ConfigError, match="deletionTimestamp"):
        _ = Pod({"metadata": {"deletionTimestamp": "soon"}}).ends_at


def test_ports_by_number_and_name() -> None:
    ports = [{"name": "dns", "containerPort": 53, "protocol": "UDP"},
             {"name": "web", "containerPort": 8080}, {"name": "x", "containerPort": 0}]
    pod = Pod({"spec": {"containers": [{"ports": ports}]}})
    assert [pod.port(target) for target in (80, "web", "dns", "x", "none", 0, 70000, True, None)] == [80, 8080] + [None] * 7
    assert pod.tcp_ports == {8080}
    assert is_port(65535)
    assert not is_port(True)


def test_the_controller_is_the_owner() -> None:
    references = [{"kind": "A", "name": "a"}, {"kind": "ReplicaSet", "name": "r", "controller": True}]
    assert Object({"metadata": {"ownerReferences": references}}).owner == ("ReplicaSet", "r")
    assert Object({}).owner is None


def test_selectors_and_addresses() -> None:
    assert selects({"a": "1"}, {"a": "1", "b": "2"})
    assert not selects({"a": "1"}, {"b": "2"})
    assert addresses(["None", "10.0.0.1", "FD00::1"], "x") == ["10.0.0.1", "fd00::1"]


def test_what_is_an_ingress_gateway() -> None:
    """Its account, in the control plane's namespace: no label, no name, and nobody else's account of that name."""
    found = Pod(ingress_gateway())
    assert (found.is_ingress_gateway, found.is_meshed, found.has_sidecar) == (True, True, False)
    assert found.proxy == {"name": "gateway", "image": "bartizan:0.1.0"}
    elsewhere = ingress_gateway()
    elsewhere["metadata"]["namespace"] = "shop"
    for other in (elsewhere, ingress_gateway(serviceAccountName="default"), ingress_gateway(hostNetwork=True)):
        assert (Pod(other).is_ingress_gateway, Pod(other).is_meshed, Pod(other).proxy) == (False, False, None)
