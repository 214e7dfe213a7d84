"""What the types of egress cannot say."""

from typing import Any

import pytest

from sidecar.model.egress import EgressHost, EgressRange, Origination, Outbound, Waiver, check_outbound
from sidecar.model.errors import ConfigError

PIN = "sha256/" + "A" * 43 + "="


@pytest.mark.parametrize(("outbound", "where"), [
    (Outbound(hosts=(EgressHost("a.example", "r", special_addresses=("10.0.0.0",)),)), ""),
    (Outbound(hosts=(EgressHost("a.example", "r", special_addresses=("10.0.0.1/8",)),)), "outbound.hosts[0].specialAddresses[0]"),
    (Outbound(hosts=(EgressHost("a.example", "r", paths=("/v1", "v2")),)), "outbound.hosts[0].paths[1]"),
    (Outbound(hosts=(EgressHost("a.example", "r", paths=("/a/../b",)),)), "outbound.hosts[0].paths[0]"),
    (Outbound(ranges=(EgressRange("192.0.2.1/24", "r"),)), "outbound.ranges[0].cidr"),
    (Outbound(mode="observe"), "outbound.observeUntil"),
    (Outbound(mode="observe", observe_until=1.0), ""),
    (Outbound(resolvers=("10.96.0.10:0",)), "outbound.resolvers[0]"),
    (Outbound(cluster_ranges=("10.96.0.0",)), ""),
])
def test_outbound(outbound: Outbound, where: str) -> None:
    if where:
        with pytest.raises(ConfigError) as refused:
            check_outbound("outbound", outbound)
        assert refused.value.where == where
    else:
        check_outbound("outbound", outbound)


@pytest.mark.parametrize(("check", "besides", "holds"), [
    ("expiry", {}, True), ("chain", {}, False), ("chain", {"key_pins": (PIN,)}, True), ("name", {}, False),
    ("name", {"key_pins": (PIN,)}, False), ("name", {"subject_alt_names": ("b.example",)}, True),
])
def test_something_is_verified_whatever_is_waived(check: Any, besides: dict[str, Any], holds: bool) -> None:
    tls = Origination(waivers=(Waiver(check, 1.0, "because"),), **besides)
    outbound = Outbound(hosts=(EgressHost("a.example", "r", tls=tls),))
    if holds:
        check_outbound("outbound", outbound)
    else:
        with pytest.raises(ConfigError, match="waived"):
            check_outbound("outbound", outbound)
