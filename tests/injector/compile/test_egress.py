import base64
import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.cluster import Cluster
from injector.cluster.objects import Object
from injector.compile.egress import Asker, client_certificate, compile_egress, covers, unapproved
from injector.validate import read_egress
from sidecar.model.egress import ClientCertificate, EgressHost, EgressRange
from tests.injector.pods import egress_policy

ASKER = Asker("shop", {"team": "a"}, "web")
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def _compile(asked: str, *policies: dict[str, Any], asker: Asker = ASKER, **secrets: Object) -> tuple[list[EgressHost], list[EgressRange]]:
    reading = read_egress(asked)
    assert not reading.problems
    cluster = Cluster.of(policies)
    assert not cluster.problems
    found = compile_egress(
        reading.entries.values(), asker, cluster.egress_policies, {("shop", name): secret for name, secret in secrets.items()})
    refused = unapproved(reading.entries.values(), asker, cluster.egress_policies)
    assert len(found[0]) + len(found[1]) + len(refused) == len(reading.entries)
    return list(found[0]), list(found[1])


@pytest.mark.parametrize(
    ("approved", "host", "expected"),
    [
        ("a.example.com", "a.example.com", True), ("a.example.com", "b.example.com", False), ("a.example.com", "x.a.example.com", False),
        ("*.example.com", "a.example.com", True), ("*.example.com", "a.b.example.com", True), ("*.example.com", "example.com", False),
        ("*.example.com", "badexample.com", False), ("*.example.com", "*.example.com", True), ("*.example.com", "*.a.example.com", True),
        ("*.a.example.com", "*.example.com", False), ("a.example.com", "*.example.com", False),
        ("*.example.com", "*.badexample.com", False),
    ],
)
def test_what_an_approval_covers(approved: str, host: str, expected: bool) -> None:
    assert covers(approved, host) is expected


names = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join)


@given(names, names, names)
def test_a_wildcard_request_is_covered_only_with_every_name_below_it(approved: str, asked: str, label: str) -> None:
    if covers(f"*.{approved}", f"*.{asked}"):
        assert covers(f"*.{approved}", f"{label}.{asked}")


@pytest.mark.parametrize(
    ("subject", "is_meant"),
    [
        ({"namespace": "shop"}, True), ({"namespace": "other"}, False), ({"namespaceSelector": {}}, True),
        ({"namespaceSelector": {"matchLabels": {"team": "a"}}}, True), ({"namespaceSelector": {"matchLabels": {"team": "b"}}}, False),
        ({"namespace": "shop", "serviceAccounts": ["web"]}, True), ({"namespace": "shop", "serviceAccounts": ["api"]}, False),
        ({"namespaceSelector": {}, "serviceAccounts": ["api"]}, False),
    ],
)
def test_an_approval_is_for_its_subjects(subject: dict[str, Any], is_meant: bool) -> None:
    policy = egress_policy(subjects=[subject], ranges=[{"cidr": "10.0.0.0/8"}])
    hosts, ranges = _compile("- host: a.partner.example\n- cidr: 10.1.0.0/16", policy)
    assert (bool(hosts), bool(ranges)) == (is_meant, is_meant)


def test_an_approval_for_nobody_and_none_at_all() -> None:
    assert _compile("- host: a.partner.example", egress_policy(subjects=[])) == ([], [])
    assert _compile("- host: a.partner.example") == ([], [])


def test_a_host_takes_the_stricter_of_both_sides() -> None:
    policy = egress_policy(hosts=[
        {"host": "*.partner.example"},
        {"host": "api.partner.example", "minVersion": "1.3", "caBundle": PEM, "specialAddresses": ["10.0.0.0/8"]},
    ])
    (host, other), _ = _compile(
        "- {host: api.partner.example, tls: {port: 8443}}\n"
        "- {host: b.partner.example, tls: {minVersion: '1.3'}, ports: {plain: [8080]}}", policy)
    assert host.rule == "partners/api.partner.example"
    assert (host.tls.min_version, host.tls.roots, host.tls.port, host.special_addresses) == ("1.3", PEM, 8443, ("10.0.0.0/8",))
    assert (other.rule, other.tls.min_version, other.tls.roots) == ("partners/*.partner.example", "1.3", None)
    assert (other.plain_ports, other.tls_ports) == ((8080,), (443,))


def test_of_equal_approvals_the_first_policy_by_name_counts() -> None:
    (host,), _ = _compile("- host: a.partner.example", egress_policy("b"), egress_policy("a"))
    assert host.rule == "a/*.partner.example"


@pytest.mark.parametrize(
    ("approved", "asked", "expected"),
    [
        ({"cidr": "10.0.0.0/8"}, "{cidr: 10.1.0.0/16}", ()), ({"cidr": "10.0.0.0/8"}, "{cidr: 10.1.0.0/16, ports: [1]}", (1,)),
        ({"cidr": "10.0.0.0/8", "ports": [1, 2]}, "{cidr: 10.0.0.0/8, ports: [2]}", (2,)),
        ({"cidr": "10.0.0.0/8", "ports": [1]}, "{cidr: 10.0.0.0/8, ports: [1, 2]}", None),
        ({"cidr": "10.0.0.0/8", "ports": [1]}, "{cidr: 10.0.0.0/8}", None), ({"cidr": "10.0.0.0/8"}, "{cidr: 0.0.0.0/0}", None),
        ({"cidr": "10.0.0.0/8"}, "{cidr: 11.0.0.0/16}", None), ({"cidr": "::/0"}, "{cidr: 10.0.0.0/8}", None),
        ({"cidr": "2001:db8::/32"}, "{cidr: '2001:db8:1::/48'}", ()),
    ],
)
def test_a_range_stays_within_its_approval(approved: dict[str, Any], asked: str, expected: tuple[int, ...] | None) -> None:
    _, ranges = _compile(f"- {asked}", egress_policy(ranges=[approved]))
    assert [one.ports for one in ranges] == ([] if expected is None else [expected])
    if expected is not None:
        assert ranges[0].rule == f"partners/{approved['cidr']}"


networks = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(lambda one: ipaddress.ip_network(one, strict=False))


@given(networks, networks)
def test_no_address_outside_of_the_approval_is_let_through(approved: ipaddress.IPv4Network, asked: ipaddress.IPv4Network) -> None:
    _, ranges = _compile(f"- cidr: {asked}", egress_policy(ranges=[{"cidr": str(approved)}]))
    assert bool(ranges) == asked.subnet_of(approved)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        ({"data": {"tls.crt": _encoded("C"), "tls.key": _encoded("K")}}, ("C", "K")),
        ({"stringData": {"tls.crt": "C", "tls.key": "K"}}, ("C", "K")),
        ({"data": {"tls.crt": _encoded("C")}}, (None, None)), ({"data": {"tls.crt": "%", "tls.key": _encoded("K")}}, (None, None)),
        ({"data": {"tls.crt": _encoded("é"), "tls.key": _encoded("K")}}, (None, None)), ({}, (None, None)), (None, (None, None)),
    ],
)
def test_the_client_certificate_is_whole_or_missing(secret: dict[str, Any] | None, expected: tuple[str | None, str | None]) -> None:
    found = client_certificate("s", Object(secret) if secret is not None else None)
    assert found == ClientCertificate("s", *expected)


def test_mutual_tls_without_its_secret_stays_mutual() -> None:
    asked = "- {host: a.partner.example, tls: {mode: mutual, clientCertificate: {secret: mine}}}"
    (host,), _ = _compile(asked, egress_policy())
    assert host.tls.client_certificate == ClientCertificate("mine")
    (host,), _ = _compile(asked, egress_policy(), mine=Object({"stringData": {"tls.crt": "C", "tls.key": "K"}}))
    assert host.tls.client_certificate == ClientCertificate("mine", "C", "K")
