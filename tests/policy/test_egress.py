"""The judge of what leaves, as tables."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sidecar.model.address import Address, canonical
from sidecar.model.decision import Denied, Permit
from sidecar.model.egress import Alias, ClientCertificate, EgressHost, EgressRange, GatewayRef, Origination, Outbound, Waiver
from sidecar.model.message import NO_BODY, RequestHead
from sidecar.model.reason import Reason
from sidecar.model.service import Endpoint, Service
from sidecar.policy.egress import OBSERVED, Kind, OutboundTable, ToHost, holds, range_holds, why_not

NOW = 1_800_000_000.0
ID = "spiffe://example.org/ns/shop/sa/orders"


def hosts(*approvals: EgressHost) -> OutboundTable:
    return OutboundTable(Outbound(hosts=approvals))


# -- hosts


@pytest.mark.parametrize(("approved", "host", "is_meant"), [
    ("example.com", "example.com", True),
    ("example.com", "www.example.com", False),
    ("example.com", "example.com.evil.net", False),
    ("example.com", "evilexample.com", False),
    ("example.com", "example.co", False),
    ("*.example.com", "www.example.com", True),
    ("*.example.com", "a.b.example.com", True),
    ("*.example.com", "example.com", False),
    ("*.example.com", "evilexample.com", False),
    ("*.example.com", "example.com.evil.net", False),
    ("*.example.com", "*.example.com", True),   # no host that is ever asked for: the framing refuses it
    ("192.0.2.1", "192.0.2.1", True),
    ("192.0.2.1", "192.0.2.10", False),
])
def test_names(approved: str, host: str, is_meant: bool) -> None:
    assert (hosts(EgressHost(approved, "r")).named(host) is not None) is is_meant


def test_the_exact_name_before_the_wildcard_and_the_narrow_wildcard_before_the_wide() -> None:
    approvals = [EgressHost(host, host) for host in ("*.com", "*.example.com", "api.example.com", "*.api.example.com")]
    for order in (approvals, approvals[::-1]):
        table = hosts(*order)
        for host, expected in [("api.example.com", "api.example.com"), ("www.example.com", "*.example.com"),
                               ("v1.api.example.com", "*.api.example.com"), ("example.com", "*.com")]:
            found = table.named(host)
            assert found is not None
            assert found.rule == expected


@given(st.from_regex(r"\A[a-z]{1,3}(\.[a-z]{1,3}){0,4}\Z"), st.from_regex(r"\A[a-z]{1,3}(\.[a-z]{1,3}){0,2}\Z"))
def test_a_wildcard_stands_for_whole_labels(host: str, domain: str) -> None:
    """It holds exactly for the names that have the domain's labels at their end and at least one before."""
    labels, wanted = host.split("."), domain.split(".")
    expected = len(labels) > len(wanted) and labels[-len(wanted):] == wanted
    assert (hosts(EgressHost("*." + domain, "r")).named(host) is not None) is expected


@pytest.mark.parametrize(("port", "kind", "holds"), [
    (80, "plain", True), (8080, "plain", True), (443, "tls", True), (5432, "tcp", True),
    (443, "plain", False), (80, "tls", False), (8080, "tls", False), (22, "tls", False), (22, "plain", False),
    (80, "tcp", False), (5432, "plain", False), (5432, "tls", False),
])
def test_ports_are_approved_for_one_protocol_each(port: int, kind: Kind, holds: bool) -> None:
    approval = EgressHost("example.com", "partners", plain_ports=(80, 8080), tls_ports=(443,), tcp_ports=(5432,))
    judged = hosts(approval).host("example.com", port, kind, NOW)
    if holds:
        assert judged == ToHost(Permit("partners"), approval)
    else:
        assert isinstance(judged, Denied)
        assert (judged.reason, judged.rule) == (Reason.HOST_NOT_APPROVED, "partners")


def test_what_nobody_approved() -> None:
    judged = hosts().host("evil.net", 443, "tls", NOW)
    assert isinstance(judged, Denied)
    assert (judged.reason, judged.rule) == (Reason.HOST_NOT_APPROVED, "")
    assert "evil.net" in judged.detail


OBSERVING = OutboundTable(Outbound(mode="observe", observe_until=NOW + 1, hosts=(EgressHost("example.com", "partners"),)))


@pytest.mark.parametrize(("host", "port", "kind", "rule"), [
    ("example.com", 80, "plain", "partners"), ("evil.net", 80, "plain", OBSERVED), ("example.com", 8080, "plain", OBSERVED),
    ("evil.net", 8443, "tls", OBSERVED),
])
def test_observed_is_what_nobody_approved_until_the_observation_ends(host: str, port: int, kind: Kind, rule: str) -> None:
    judged = OBSERVING.host(host, port, kind, NOW)
    assert isinstance(judged, ToHost)
    assert judged.permit.rule == rule
    assert (judged.approval.tls is None) is (rule == OBSERVED), "as the application speaks"
    assert isinstance(OBSERVING.host("evil.net", port, kind, NOW + 1), Denied)
    assert isinstance(OBSERVING.host("evil.net", port, "tcp", NOW), Denied), "a synthetic address is only given for what was approved"


@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_an_observation_leads_round_no_gateway(kind: Kind) -> None:
    led = EgressHost("example.com", "partners", plain_ports=(80,), tls_ports=(), gateway=GatewayRef("egress.out", 443))
    table = OutboundTable(Outbound(mode="observe", observe_until=NOW + 1, hosts=(led,)))
    assert isinstance(table.host("example.com", 8443, kind, NOW), Denied)
    assert isinstance(table.host("evil.net", 8443, kind, NOW), ToHost)


@pytest.mark.parametrize(("method", "path", "may"), [
    (b"GET", b"/v1", True), (b"GET", b"/v1/charges", True), (b"POST", b"/v1/%40charges?a=/x", True), (b"HEAD", b"/v1/", True),
    (b"DELETE", b"/v1/charges", False), (b"GET", b"/v10", False), (b"GET", b"/", False), (b"get", b"/v1", False), (b"OPTIONS", b"*", False),
])
def test_methods_and_paths(method: bytes, path: bytes, may: bool) -> None:
    approval = EgressHost("example.com", "partners", methods=("GET", "HEAD", "POST", "OPTIONS"), paths=("/v1/",))
    denied = why_not(approval, RequestHead(method, path, b"example.com", None, [], NO_BODY, False))
    assert (denied is None) is may
    assert denied is None or (denied.reason, denied.rule) == (Reason.REQUEST_NOT_APPROVED, "partners")
    assert why_not(EgressHost("example.com", "r"), RequestHead(method, path, b"example.com", None, [], NO_BODY, False)) is None


# -- where an approved name may lead


@pytest.mark.parametrize(("special", "address", "may"), [
    ((), "203.0.113.1", True),
    ((), "2001:db8::1", True),
    ((), "169.254.169.254", False),
    ((), "127.0.0.1", False),
    ((), "::ffff:127.0.0.1", False),
    ((), "10.1.2.3", False),
    ((), "fd00::1", False),
    ((), "198.51.100.1", False),                # the cluster's
    ((), "2001:db8:c::1", False),               # the cluster's
    (("10.0.0.0/8",), "10.1.2.3", True),
    (("10.0.0.0/8",), "169.254.169.254", False),
    (("10.1.0.0/16",), "10.2.0.1", False),
    (("198.51.100.0/24",), "198.51.100.1", True),
    (("fd00::/8",), "fd00::1", True),
    (("::/0",), "10.1.2.3", False),
    (("0.0.0.0/0",), "fd00::1", False),
    (("0.0.0.0/0",), "169.254.169.254", False),     # what is wider than a special range does not mean it
    (("10.0.0.0/8",), "10.96.0.1", False),          # nor the cluster's part of one
    (("10.96.0.0/16",), "10.96.0.1", True),
    (("10.0.0.0/8", "10.96.0.0/12"), "10.96.0.1", True),
])
def test_may_resolve_to(special: tuple[str, ...], address: str, may: bool) -> None:
    approval = EgressHost("example.com", "r", special_addresses=special)
    table = OutboundTable(Outbound(hosts=(approval,), cluster_ranges=("198.51.100.0/24", "2001:db8:c::/48", "10.96.0.0/12")))
    assert table.may_resolve_to(approval, canonical(address)) is may


# -- ranges


@pytest.mark.parametrize(("host", "port", "rule"), [
    ("203.0.113.0", 5432, "db"), ("203.0.113.255", 5433, "db"), ("203.0.113.7", 443, None), ("203.0.114.0", 5432, None),
    ("192.0.2.9", 1, "any"), ("192.0.2.9", 65535, "any"), ("192.0.2.8", 80, None),
    ("2001:db8::7", 5432, "six"), ("2001:db8:1::", 5432, None), ("::ffff:203.0.113.7", 5432, "db"),
])
def test_ranges(host: str, port: int, rule: str | None) -> None:
    table = OutboundTable(Outbound(ranges=(
        EgressRange("203.0.113.0/24", "db", (5432, 5433)), EgressRange("192.0.2.9/32", "any"), EgressRange("2001:db8::/48", "six"),
    )))
    assert table.range(Address(host, port)) == (Permit(rule) if rule else None)


@pytest.mark.parametrize(("cidr", "host", "is_allowed"), [
    ("0.0.0.0/0", "203.0.113.7", True),
    ("0.0.0.0/0", "169.254.169.254", False),
    ("0.0.0.0/0", "10.1.2.3", False),
    ("::/0", "fd00:ec2::254", False),
    ("::/0", "2a00::1", True),
    ("169.254.169.254/32", "169.254.169.254", True),
    ("192.168.1.0/24", "192.168.1.9", True),
    ("10.0.0.0/8", "10.1.2.3", True),
    ("10.0.0.0/8", "10.244.0.5", False),     # of the cluster, which is narrower
    ("10.244.0.0/24", "10.244.0.5", True),
])
def test_a_range_reaches_special_addresses_only_if_it_names_them(cidr: str, host: str, is_allowed: bool) -> None:
    table = OutboundTable(Outbound(ranges=(EgressRange(cidr, "r"),), cluster_ranges=("10.244.0.0/16",)))
    assert (table.range(Address(host, 443)) is not None) is is_allowed



def test_all_of_ipv4_is_nothing_of_ipv6() -> None:
    assert OutboundTable(Outbound(ranges=(EgressRange("0.0.0.0/0", "r"),))).range(Address("2001:db8::1", 80)) is None


# -- the mesh


def test_a_vip_means_the_service_and_a_pods_address_that_pod() -> None:
    one, other = Endpoint("10.1.0.6", 8080, ID), Endpoint("10.1.0.7", 8080, ID)
    service = Service("orders.shop", 80, ("10.96.0.9", "fd00::9"), endpoints=(one, other))
    table = OutboundTable(Outbound(services=(service,)))
    for vip in service.addresses:
        found = table.service(Address(vip, 80))
        assert found is not None
        assert (found.endpoints, found.permit) == ((one, other), Permit("service/orders.shop"))
    pod = table.service(Address("10.1.0.7", 8080))
    assert pod is not None
    assert pod.endpoints == (other,)
    for nothing in (Address("10.96.0.9", 8080), Address("10.1.0.6", 80), Address("10.1.0.8", 8080)):
        assert table.service(nothing) is None


def test_a_service_is_found_by_name_with_all_its_endpoints() -> None:
    one, other = Endpoint("10.1.0.6", 8080, ID), Endpoint("10.1.0.7", 8080, ID)
    service, single = Service("orders.shop", 80, endpoints=(one, other)), Service("orders.shop", 81, ("10.96.0.9",), endpoints=(one,))
    table = OutboundTable(Outbound(services=(service, single)))
    found = table.service_named("orders.shop", 80)
    assert found is not None
    assert (found.service, found.endpoints, found.only) == (service, (one, other), None)
    assert table.service_named("orders.shop", 82) is table.service_named("orders", 80) is None
    at_vip, at_pod = table.service(Address("10.96.0.9", 81)), table.service(Address("10.1.0.6", 8080))
    assert at_vip is not None
    assert at_vip.only is None      # one endpoint, but not for its own sake
    assert at_pod is not None
    assert at_pod.only == one


def test_a_service_without_endpoints_is_of_the_mesh_all_the_same() -> None:
    """Else its address would fall through to the ranges, in plaintext."""
    table = OutboundTable(Outbound(services=(Service("orders.shop", 80, ("10.96.0.9",)),)))
    found = table.service(Address("10.96.0.9", 80))
    assert found is not None
    assert found.endpoints == ()


# -- what was begun under one approval, under the next


def approval(**changed: Any) -> EgressHost:
    of_tls = {name: changed.pop(name) for name in list(changed) if name in Origination.__struct_fields__}
    return EgressHost("a.example", **{"rule": "r", "tls": Origination(**of_tls)} | changed)


@pytest.mark.parametrize(("begun", "now", "tls", "tcp"), [
    ({}, {}, True, True),
    ({}, {"rule": "another"}, True, True),
    ({"client_certificate": ClientCertificate("s")}, {"client_certificate": ClientCertificate("s", "chain", "key")}, True, True),
    ({}, {"client_certificate": ClientCertificate("s", "chain", "key")}, True, False),
    ({}, {"gateway": GatewayRef("egress.gateways", 443)}, False, False),
    ({"gateway": GatewayRef("egress.gateways", 443)}, {}, False, False),
    ({"special_addresses": ("10.0.0.0/8",)}, {}, False, False),
    ({}, {"special_addresses": ("10.0.0.0/8",)}, True, True),
    ({}, {"key_pins": ("sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",)}, True, False),
    ({}, {"subject_alt_names": ("b.example",)}, True, False),
    ({}, {"roots": "other"}, True, False),
    ({}, {"min_version": "1.3"}, True, False),
    ({}, {"port": 8443}, True, False),
    ({"waivers": (Waiver("expiry", NOW),)}, {}, True, False),
    ({"tls": None}, {}, True, False),
])
def test_what_holds_under_the_next_approval(begun: dict[str, Any], now: dict[str, Any], tls: bool, tcp: bool) -> None:
    kinds: tuple[Kind, ...] = ("tls", "tcp", "plain")
    assert [holds(approval(**begun), approval(**now), kind) for kind in kinds] == [tls, tcp, tcp]


PIN, OTHER_PIN = (f"sha256/{letter * 43}=" for letter in "AB")
BEGUN = EgressHost(
    "example.com", "partners", tls=Origination(key_pins=(PIN,)), methods=("GET",), paths=("/v1",), special_addresses=("10.0.0.0/8",),
    bytes_per_hour=1000,
)


@pytest.mark.parametrize(("changed", "may"), [
    ({}, True),
    ({"rule": "other", "bytes_per_hour": None}, True),
    ({"tls": None}, False),
    ({"tls": Origination()}, False),
    ({"tls": Origination(key_pins=(OTHER_PIN,))}, False),
    ({"tls": Origination(key_pins=(PIN,), roots="others")}, False),
    ({"tls": Origination(key_pins=(PIN,), waivers=(Waiver("expiry", NOW),))}, False),
    ({"tls": Origination(key_pins=(PIN,), client_certificate=ClientCertificate("ours"))}, False),
    ({"methods": ("GET", "POST")}, True), ({"methods": ()}, True), ({"methods": ("POST",)}, False),
    ({"paths": ("/v1", "/v2")}, True), ({"paths": ()}, True), ({"paths": ("/v2",)}, False),
    ({"special_addresses": ("10.0.0.0/8", "127.0.0.1/32")}, True), ({"special_addresses": ()}, False),
    ({"bytes_per_hour": 2000}, True), ({"bytes_per_hour": 999}, False), ({"rule": "other"}, False),
    ({"gateway": GatewayRef("egress.out", 443)}, False),
])
def test_what_was_begun_goes_on_where_no_more_is_asked_of_it(changed: dict[str, Any], may: bool) -> None:
    assert holds(BEGUN, replace(BEGUN, **changed), "plain") is may


def test_all_methods_are_more_than_some() -> None:
    assert not holds(replace(BEGUN, methods=()), BEGUN, "plain")
    assert not holds(replace(BEGUN, bytes_per_hour=None), BEGUN, "plain")


def test_who_renews_a_certificate_ends_nothing() -> None:
    before, after = (replace(BEGUN, tls=Origination(client_certificate=ClientCertificate("ours", text, text))) for text in "ab")
    assert holds(before, after, "plain")


def test_how_the_sidecar_verifies_is_nothing_to_the_applications_own_tls() -> None:
    assert holds(BEGUN, replace(BEGUN, tls=None), "tls")


@pytest.mark.parametrize(("changed", "may"), [
    ({}, True), ({"ports": (1, 2)}, True), ({"bytes_per_hour": None}, True), ({"bytes_per_hour": 2000}, True),
    ({"bytes_per_hour": 999}, False), ({"gateway": GatewayRef("egress.out", 443)}, False),
])
def test_what_goes_to_a_range_likewise(changed: dict[str, Any], may: bool) -> None:
    begun = EgressRange("203.0.113.0/24", "lan", bytes_per_hour=1000)
    assert range_holds(begun, replace(begun, **changed)) is may


# -- ExternalName Services


@pytest.mark.parametrize(("host", "found"), [
    ("db", "db.shop"), ("db.shop", "db.shop"), ("db.shop.svc", "db.shop"), ("db.shop.svc.cluster.local", "db.shop"),
    ("pay", None), ("pay.money", "pay.money"), ("db.money", None), ("x.db.shop", None), ("db.shop.svc.evil.example", None),
    ("approved.shop", None),        # an approval of the very name is what was meant
])
def test_which_alias_a_name_means(host: str, found: str | None) -> None:
    aliases = Alias("db.shop", "db.example"), Alias("pay.money", "pay.example"), Alias("approved.shop", "x.example")
    alias = OutboundTable(Outbound(hosts=(EgressHost("approved.shop", "r"),), aliases=aliases)).alias(host, "shop")
    assert (alias.name if alias else None) == found
