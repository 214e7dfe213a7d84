from ipaddress import ip_network

import pytest

from injector.cluster.objects import INTERCEPTION, Pod
from injector.compile.mesh import MeshSettings
from injector.documents import DatagramRange, Exclusions
from injector.exclude import exclusion_problems, passage, passing
from injector.validate import Invalid
from sidecar.model.passage import NOTHING, Passage

ALLOWED = MeshSettings(exclusions=Exclusions((9100, 9101), (5432,), ("203.0.113.0/24", "2001:db8:1::/48")))


def _wish(text: str) -> dict[str, str]:
    return {"bartizan.dev/exclude": text}


def test_what_is_asked_for_and_allowed_passes() -> None:
    text = 'inboundPorts: [9100]\noutboundPorts: [5432]\noutboundCidrs: ["203.0.113.8/30", "2001:db8:1::/48"]\n'
    assert passage(_wish(text), ALLOWED) == Passage(
        inbound_ports=(9100,), outbound_ports=(5432,), outbound_networks=(ip_network("203.0.113.8/30"), ip_network("2001:db8:1::/48")),
    )


def test_what_is_allowed_and_not_asked_for_does_not() -> None:
    assert passage({}, ALLOWED) == NOTHING
    assert passage(_wish("{}"), ALLOWED) == NOTHING


@pytest.mark.parametrize(("text", "named"), [
    ("inboundPorts: [9100, 8080]", "inboundPorts: no MeshPolicy that selects the pod lets 8080"),
    ("inboundPorts: [5432]", "5432"), ("outboundPorts: [9100]", "9100"),
    ('outboundCidrs: ["203.0.112.0/23"]', "203.0.112.0/23"), ('outboundCidrs: ["198.51.100.0/24"]', "198.51.100.0/24"),
    ('outboundCidrs: ["::ffff:203.0.113.0/120"]', "::ffff:"),
])
def test_each_value_needs_its_leave(text: str, named: str) -> None:
    [problem] = exclusion_problems(_wish(text), ALLOWED)
    assert named in str(problem)
    assert "have the platform team list it in `exclusions." in str(problem)
    with pytest.raises(Invalid):
        passage(_wish(text), ALLOWED)


def test_without_a_policy_nothing_passes() -> None:
    with pytest.raises(Invalid):
        passage(_wish("inboundPorts: [9100]"), MeshSettings())


def test_approved_datagrams_pass_without_being_asked_for() -> None:
    mesh = MeshSettings(udp=(DatagramRange("10.0.0.0/8", (123, 443)), DatagramRange("fd00::/8", (123,))))
    assert passage({}, mesh).arguments == [
        "--allow-udp", "10.0.0.0/8:123", "--allow-udp", "10.0.0.0/8:443", "--allow-udp", "fd00::/8:123",
    ]


def _pod(*arguments: str) -> Pod:
    return Pod({"spec": {"initContainers": [{"name": INTERCEPTION, "args": ["intercept", "--exempt-uid", "50001", *arguments]}]}})


def test_what_passes_is_read_from_the_interception() -> None:
    both = _pod("--exclude-inbound", "9100", "--allow-udp", "10.0.0.0/8:123")
    assert passing(both) == ["UDP to 10.0.0.0/8 port 123", "TCP into port 9100"]
    assert passing(_pod()) == []
    [unknown] = passing(_pod("--exclude-inbound", "all"))
    assert "none of ours" in unknown
