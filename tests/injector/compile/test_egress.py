import base64
import ipaddress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from injector.cluster import Cluster
from injector.cluster.objects import Object, Pod
from injector.compile.egress import Approvals, Asker, client_certificate, compile_egress, unapproved
from injector.compile.last_good import LastGood
from injector.compile.services import compile_services
from injector.documents import (
    ApprovedHost,
    EgressPolicySpec,
    EgressRequest,
    GatewayService,
    HostPorts,
    HostRequest,
    SecretRef,
    Subject,
    TlsRequest,
)
from injector.semantics.egress import egress_problems
from injector.validate import read_egress
from sidecar.model.address import SPECIAL_RANGES
from sidecar.model.egress import ClientCertificate, EgressHost, EgressRange, GatewayRef, Origination, Outbound, Waiver
from sidecar.model.snapshot import Snapshot, Workload, parse_snapshot, render_snapshot
from sidecar.policy.egress import OutboundTable, ToHost
from tests.injector.pods import egress_policy, mesh_policy, namespace

ASKER = Asker("shop", {"team": "a"}, "web")
PIN = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def _asked(text: str) -> list[EgressRequest]:
    reading = read_egress(text)
    assert not reading.problems, reading.problems
    return list(reading.entries.values())


def _cluster(*objects: dict[str, Any]) -> Cluster:
    cluster = Cluster.of(objects)
    assert not cluster.problems, cluster.problems
    return cluster


def _compile(asked: str, *objects: dict[str, Any], asker: Asker = ASKER) -> tuple[list[EgressHost], list[EgressRange]]:
    requests, cluster = _asked(asked), _cluster(*objects)
    hosts, ranges, problems = compile_egress(requests, asker, cluster)
    refused = unapproved(requests, asker, cluster.egress_policies)
    assert len(hosts) + len(ranges) + len(refused) == len(requests)
    assert problems == ()
    snapshot = Snapshot(Workload("spiffe://example.org/ns/shop/sa/web", "shop"), outbound=Outbound(hosts=hosts, ranges=ranges))
    assert parse_snapshot(render_snapshot(snapshot)) == snapshot
    return list(hosts), list(ranges)


def _secret(name: str, namespace: str = "shop") -> dict[str, Any]:
    return {"kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "stringData": {"tls.crt": "C", "tls.key": "K"}}


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
    hosts, _ = _compile(f"- host: '{host}'", egress_policy(hosts=[{"host": approved}]))
    assert bool(hosts) is expected


def _covers(approved: str, host: str) -> bool:
    policies = {"p": EgressPolicySpec((Subject("shop"),), (ApprovedHost(approved),))}
    return bool(Approvals(ASKER, policies).hosts(HostRequest(host)))


names = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join)


@given(names, names, names)
def test_a_wildcard_request_is_covered_only_with_every_name_below_it(approved: str, asked: str, label: str) -> None:
    if _covers(f"*.{approved}", f"*.{asked}"):
        assert _covers(f"*.{approved}", f"{label}.{asked}")
    assert _covers(f"*.{approved}", asked) == asked.endswith(f".{approved}")


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
        {"host": "*.partner.example", "ports": [443, 8080]},
        {"host": "api.partner.example", "minVersion": "1.3", "caBundle": PEM, "specialAddresses": ["10.0.0.0/8"],
         "ports": [80, 443, 8443]},
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


def test_of_ranges_the_narrowest_that_approves_the_whole_counts() -> None:
    policies = (
        egress_policy("a", ranges=[{"cidr": "10.0.0.0/8", "ports": [1, 2]}, {"cidr": "10.1.0.0/16", "ports": [1], "bytesPerHour": 5}]),
        egress_policy("b", ranges=[{"cidr": "10.1.0.0/16", "ports": [1]}]),
    )
    _, ranges = _compile("- {cidr: 10.1.2.0/24, ports: [1]}\n- {cidr: 10.1.3.0/24, ports: [1, 2]}", *policies)
    assert [(one.rule, one.bytes_per_hour) for one in ranges] == [("a/10.1.0.0/16", 5), ("a/10.0.0.0/8", None)]


networks = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(lambda one: ipaddress.ip_network(one, strict=False))


@given(networks, networks)
def test_no_address_outside_of_the_approval_is_let_through(approved: ipaddress.IPv4Network, asked: ipaddress.IPv4Network) -> None:
    _, ranges = _compile(f"- cidr: {asked}", egress_policy(ranges=[{"cidr": str(approved)}]))
    is_meant = all(approved.subnet_of(one) for one in SPECIAL_RANGES if one.version == 4 and asked.subnet_of(one))  # type: ignore[arg-type]
    assert bool(ranges) == (asked.subnet_of(approved) and is_meant)


@pytest.mark.parametrize(("approved", "asked", "unmeant"), [
    ("0.0.0.0/0", "169.254.169.254/32", "169.254.0.0/16"), ("0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/8"), ("::/0", "fd00::/8", "fc00::/7"),
    ("10.0.0.0/8", "10.96.0.0/16", "10.96.0.0/12"), ("10.0.0.0/8", "10.96.0.1/32", "10.96.0.0/12"),
    ("0.0.0.0/0", "203.0.113.0/24", None), ("0.0.0.0/0", "0.0.0.0/0", None), ("10.96.0.0/12", "10.96.0.0/16", None),
    ("10.0.0.0/8", "10.1.0.0/16", None), ("169.254.0.0/16", "169.254.169.254/32", None),
])
def test_a_special_range_is_meant_by_the_policy_and_not_by_who_asks(approved: str, asked: str, unmeant: str | None) -> None:
    """Else an approval of everything would be one of the metadata service to whoever names it, and one of 10/8 of the cluster."""
    policy = egress_policy(ranges=[{"cidr": approved}])
    cluster = _cluster(namespace(), mesh_policy(clusterRanges=["10.96.0.0/12"]), policy)
    asker = Asker.of(Pod({"spec": {"serviceAccountName": "web"}}), "shop", cluster)
    _, ranges, _ = compile_egress(_asked(f"- cidr: {asked}"), asker, cluster)
    refused = unapproved(_asked(f"- cidr: {asked}"), asker, cluster.egress_policies)
    assert [one.cidr for one in ranges] == ([asked] if unmeant is None else [])
    assert [f"but not addresses of {unmeant}, " in one.text for one in refused] == ([] if unmeant is None else [True])


WHO = "service account web of namespace shop"


@pytest.mark.parametrize(("entry", "asked", "lacks"), [
    ({}, "{host: a.example.com, tls: {port: 8443}}", "port 8443 (ports: 80, 443); ask"),
    ({}, "{host: a.example.com, ports: {plain: [80, 8080], tls: [443, 9443]}}", "ports 8080, 9443 (ports: 80, 443)"),
    ({"ports": [80]}, "{host: a.example.com, ports: {tls: []}}", "port 443 (ports: 80)"),       # where TLS is originated to
    ({"ports": [80], "allowPlaintext": True}, "{host: a.example.com, ports: {tls: []}, tls: {mode: none}}", None),
    ({"ports": [443]}, "{host: a.example.com, protocol: tls}", None),
    ({"ports": [443]}, "{host: a.example.com}", "port 80 (ports: 443)"),
    ({"protocols": ["tls"]}, "{host: a.example.com}", "protocol http (protocols: tls)"),
    ({"protocols": ["http"]}, "{host: a.example.com, protocol: tls}", "protocol tls (protocols: http)"),
    ({"ports": [5432]}, "{host: a.example.com, protocol: tcp, ports: {tcp: [5432]}}", "protocol tcp (protocols: http, tls)"),
    ({"ports": [5432], "protocols": ["tcp"]}, "{host: a.example.com, protocol: tcp, ports: {tcp: [5432]}}", None),
    ({"protocols": ["tcp"]}, "{host: a.example.com, protocol: tcp, ports: {tcp: [5432]}}", "port 5432 (ports: 80, 443)"),
    ({"methods": ["GET"]}, "{host: a.example.com, protocol: tls}", "protocol tls, which would hide"),
    ({"paths": ["/a"]}, "{host: a.example.com, protocol: tls}", "protocol tls, which would hide"),
    ({"subjectAltNames": ["b.example.com"]}, "{host: a.example.com, protocol: tls}", "protocol tls, which would hide"),
    ({"keyPins": [PIN]}, "{host: a.example.com, protocol: tls}", "protocol tls, which would hide"),
    ({}, "{host: a.example.com, tls: {mode: none}}", "plaintext (tls: {mode: none}; its allowPlaintext is false)"),
    ({"allowPlaintext": True}, "{host: a.example.com, tls: {mode: none}}", None),
    ({}, "{host: a.example.com, tls: {mode: mutual}}", "mode mutual without a certificate: write clientCertificate"),
    ({"clientCertificate": {"secret": "theirs"}}, "{host: a.example.com, tls: {mode: mutual}}", None),
    ({"ports": [80]}, "{host: a.example.com, tls: {mode: none}}", "port 443 (ports: 80), and not plaintext"),
])
def test_what_a_request_lacks_is_said(entry: dict[str, Any], asked: str, lacks: str | None) -> None:
    policy = egress_policy(hosts=[{"host": "*.example.com", **entry}])
    hosts, _ = _compile(f"- {asked}", policy)
    problems = unapproved(_asked(f"- {asked}"), ASKER, _cluster(policy).egress_policies)
    assert (bool(hosts), bool(problems)) == (lacks is None, lacks is not None)
    if lacks is not None:
        beginning = f'no EgressPolicy approves the whole of host "a.example.com" for {WHO}: '
        assert problems[0].text.startswith(f"{beginning}policy partners approves *.example.com, but not {lacks}")


def test_every_policy_that_falls_short_is_named() -> None:
    policies = _cluster(egress_policy("b", hosts=[{"host": "a.example.com", "ports": [80]}]), egress_policy("a", hosts=[
        {"host": "*.example.com"}, {"host": "a.example.com", "ports": [443]}])).egress_policies
    (problem,) = unapproved(_asked("- {host: a.example.com, ports: {plain: [80], tls: [8443]}}"), ASKER, policies)
    assert problem.text.partition("shop: ")[2] == (
        "policy a approves a.example.com, but not ports 80, 8443 (ports: 443); policy b approves a.example.com, but not ports 443, 8443 "
        "(ports: 80); policy a approves *.example.com, but not port 8443 (ports: 80, 443); ask for less, or have it approved")


@pytest.mark.parametrize(("asked", "subjects", "expected"), [
    ("{host: '*.partner.example', protocol: tls, ports: {tls: [9443]}}", [{"namespace": "shop"}],
     f'no EgressPolicy approves the whole of host "*.partner.example" for {WHO}: policy partners approves *.partner.example, '
     "but not port 9443 (ports: 80, 443); ask for less, or have it approved"),
    ("{host: a.partner.example}", [{"namespace": "other"}],
     f'no EgressPolicy approves host "a.partner.example" for {WHO}: policies c, partners name it for other subjects; '
     "be made one of them, or remove the entry"),
    ("{host: b.example.net}", [{"namespace": "shop"}],
     f'no EgressPolicy approves host "b.example.net" for {WHO}: none names it; have one approve it, or remove the entry'),
    ("{cidr: 10.1.0.0/16, ports: [1, 2]}", [{"namespace": "shop"}],
     f"no EgressPolicy approves the whole of 10.1.0.0/16 port 1, 2 for {WHO}: policy partners approves 10.0.0.0/8, but not port 2 "
     "(ports: 1); ask for less, or have it approved"),
    ("{cidr: 10.1.0.0/16}", [{"namespace": "shop"}],
     f"no EgressPolicy approves the whole of 10.1.0.0/16 with every port for {WHO}: policy partners approves 10.0.0.0/8, "
     "but not every port (ports: 1); ask for less, or have it approved"),
    ("{cidr: 10.1.0.0/16, ports: [1]}", [{"namespace": "shop", "serviceAccounts": ["api"]}],
     f"no EgressPolicy approves 10.1.0.0/16 port 1 for {WHO}: policy partners names it for other subjects; "
     "be made one of them, or remove the entry"),
])
def test_no_policy_at_all_and_one_for_others(asked: str, subjects: list[Any], expected: str) -> None:
    policies = _cluster(
        egress_policy(subjects=subjects, ranges=[{"cidr": "10.0.0.0/8", "ports": [1]}]), egress_policy("c", subjects=[{"namespace": "c"}]),
    ).egress_policies
    assert [problem.text for problem in unapproved(_asked(f"- {asked}"), ASKER, policies)] == [expected]


def test_a_name_comes_before_a_wildcard_and_what_approves_all_before_what_does_not() -> None:
    policies = (
        egress_policy("a", hosts=[{"host": "*.partner.example", "ports": [80, 443, 8443]}]),
        egress_policy("b", hosts=[{"host": "a.partner.example"}]),
        egress_policy("c", hosts=[{"host": "*.a.co.example"}, {"host": "*.co.example", "ports": [9443]}]),
    )
    asked = ("- host: a.partner.example\n- {host: b.partner.example}\n- {host: x.a.co.example, protocol: tls, ports: {tls: [9443]}}\n"
             "- {host: '*.partner.example', protocol: tls, ports: {tls: [8443]}}")
    hosts, _ = _compile(asked, *policies)
    assert [host.rule for host in hosts] == ["b/a.partner.example", "a/*.partner.example", "c/*.co.example", "a/*.partner.example"]
    (host,), _ = _compile("- {host: a.partner.example, tls: {port: 8443}}", *policies)
    assert host.rule == "a/*.partner.example"


def test_all_that_a_policy_says_is_compiled() -> None:
    policy = egress_policy(hosts=[{
        "host": "api.partner.example", "minVersion": "1.3", "caBundle": PEM, "subjectAltNames": ["b.partner.example"], "keyPins": [PIN],
        "clientCertificate": {"secret": "theirs"}, "specialAddresses": ["10.0.0.0/8"], "methods": ["GET"], "paths": ["/v1"],
        "bytesPerHour": "1KiB", "waivers": [{"check": "expiry", "until": "2026-12-31T01:00:00+01:00", "reason": "it is renewed"}],
    }])
    (host,), _ = _compile("- {host: api.partner.example, tls: {mode: mutual, clientCertificate: {secret: mine}}}",
                          policy, _secret("theirs"), _secret("mine"))
    assert host == EgressHost(
        "api.partner.example", "partners/api.partner.example", (80,), (), (),
        Origination(443, "1.3", PEM, ClientCertificate("theirs", "C", "K"), ("b.partner.example",), (PIN,),
                    (Waiver("expiry", datetime(2026, 12, 31, tzinfo=UTC).timestamp(), "it is renewed"),)),
        ("10.0.0.0/8",), ("GET",), ("/v1",), 1024,
    )


def test_ports_of_another_protocol_count_for_nothing() -> None:
    policy = egress_policy(hosts=[{"host": "*.partner.example", "ports": [443, 5432], "protocols": ["tcp", "tls"]}])
    (tls, tcp), _ = _compile(
        "- {host: a.partner.example, protocol: tls}\n- {host: b.partner.example, protocol: tcp, ports: {tcp: [5432]}, "
        "tls: {startTls: postgres}}", policy)
    assert (tls.plain_ports, tls.tls_ports, tls.tcp_ports) == ((), (443,), ())
    assert (tcp.plain_ports, tcp.tls_ports, tcp.tcp_ports, tcp.tls) == ((), (), (5432,), Origination(start_tls="postgres"))


@pytest.mark.parametrize("entry", [
    {"methods": ["GET"]}, {"paths": ["/a"]}, {"keyPins": [PIN]}, {"subjectAltNames": ["b.example.com"]}, {"protocols": ["http"]},
])
def test_tls_that_would_hide_what_is_checked_does_not_pass(entry: dict[str, Any]) -> None:
    (host,), _ = _compile("- host: a.partner.example", egress_policy(hosts=[{"host": "a.partner.example", **entry}]))
    assert (host.plain_ports, host.tls_ports) == ((80,), ())


# -- gateways


def _service(name: str = "gateways", *ports: int, **spec: Any) -> dict[str, Any]:
    return {"kind": "Service", "metadata": {"name": name, "namespace": "egress"},
            "spec": {"selector": {"app": "gateway"}, "ports": [{"port": port} for port in ports], **spec}}


GATEWAY = {"namespace": "egress", "service": "gateways"}
ASKED = "- host: a.partner.example\n- cidr: 10.1.0.0/16"


@pytest.mark.parametrize(("policy", "expected"), [
    ({"gateway": GATEWAY, "ranges": [{"cidr": "10.0.0.0/8"}]}, [8443, 8443]),
    ({"gateway": {**GATEWAY, "port": 9443}, "ranges": [{"cidr": "10.0.0.0/8", "gateway": GATEWAY}]}, [9443, 8443]),
    ({"hosts": [{"host": "*.partner.example", "gateway": GATEWAY}], "ranges": [{"cidr": "10.0.0.0/8"}]}, [8443, None]),
])
def test_the_only_way_there(policy: dict[str, Any], expected: list[int | None]) -> None:
    (host,), (item,) = _compile(ASKED, egress_policy(**policy), _service("gateways", 8443, 9443))
    ways = [None if port is None else GatewayRef("gateways.egress", port) for port in expected]
    assert [host.gateway, item.gateway] == ways


@pytest.mark.parametrize(("service", "why"), [
    (None, "is no Service with a selector and a TCP port"), (_service("others", 8443), "is no Service"),
    (_service("gateways", 8443), "has no port 9443 (ports: 8443)"), (_service("gateways", 9443, selector={}), "is no Service"),
    (_service("gateways", 9443, type="ExternalName"), "is no Service"),
])
def test_without_its_gateway_an_entry_leads_nowhere_even_if_another_policy_has_none(service: dict[str, Any] | None, why: str) -> None:
    """Never a direct way: the most specific approval counts, reachable or not. It stays in the table, where an observation finds it."""
    cluster = _cluster(
        egress_policy("a", hosts=[{"host": "a.partner.example"}], ranges=[{"cidr": "10.1.0.0/16"}], gateway={**GATEWAY, "port": 9443}),
        egress_policy("b", ranges=[{"cidr": "10.0.0.0/8"}]), *([service] if service else []))
    hosts, ranges, problems = compile_egress(_asked(ASKED), ASKER, cluster)
    assert [one.gateway for one in (*hosts, *ranges)] == [GatewayRef("gateways.egress", 9443)] * 2
    services = compile_services(cluster, "egress", "example.org", LastGood()).found
    table = OutboundTable(Outbound(services=services, hosts=hosts, ranges=ranges, mode="observe", observe_until=9.0))
    judged = table.host("a.partner.example", 80, "plain", 1.0)
    assert isinstance(judged, ToHost)
    assert judged.permit.rule == "a/a.partner.example"
    assert table.service_named("gateways.egress", 9443) is None
    assert [problem.partition(" may leave")[0] for problem in problems] == [
        "EgressPolicy a: a.partner.example", "EgressPolicy a: 10.1.0.0/16"]
    assert all(why in problem for problem in problems)


# -- nothing of a request widens an approval

versions = st.sampled_from(["1.2", "1.3"])
secret_refs = st.none() | st.sampled_from(["mine", "theirs"]).map(SecretRef)
tls_ports = st.sampled_from([443, 8443])
plaintext = st.just(TlsRequest("none"))
asked_tls = st.builds(TlsRequest, st.just("simple"), tls_ports, versions)
asked_tls |= st.builds(TlsRequest, st.just("mutual"), tls_ports, versions, secret_refs)
added_tls = st.builds(TlsRequest, st.just("mutual"), st.just(443), versions, secret_refs, st.none() | st.just("postgres"))
asked_ports = st.builds(HostPorts, st.sampled_from([(), (80,), (25, 80)]), st.sampled_from([(443,), (443, 8443)]))
asked_names = st.sampled_from(["a.example.com", "*.example.com", "a.b.example.com"])
requests = (
    st.builds(HostRequest, asked_names, asked_tls | plaintext, asked_ports, st.just("http"))
    | st.builds(HostRequest, asked_names, ports=asked_ports, protocol=st.just("tls"))
    | st.builds(HostRequest, asked_names, added_tls | plaintext, st.just(HostPorts(tcp=(5432,))), st.just("tcp"))
)
ports = st.sampled_from([(80, 443), (80, 443, 8443), (443, 5432), (25, 80, 443, 5432, 8443)])


@given(requests)
def test_these_are_what_admission_lets_through(request_: HostRequest) -> None:
    assert list(egress_problems(request_)) == []



def _seldom(value: object) -> st.SearchStrategy[Any]:
    return st.sampled_from([(), (), (), (value,)])


approvals = st.builds(
    ApprovedHost, st.sampled_from(["a.example.com", "*.example.com", "*.b.example.com"]), ports,
    st.sampled_from([("http",), ("http", "tls"), ("tls",), ("tcp",), ("http", "tls", "tcp")]), versions, st.none() | st.just(PEM),
    _seldom("b.example.com"), _seldom(PIN), secret_refs, _seldom("10.0.0.0/8"), _seldom("GET"), _seldom("/a"),
    st.none() | st.just("1KiB"), st.booleans(), gateway=st.none() | st.just(GatewayService("egress", "gateways")),
)
entries = st.lists(approvals, min_size=1, max_size=3, unique_by=lambda one: one.host).map(tuple)
policies_of_shop = st.dictionaries(st.sampled_from(["a", "b"]), st.builds(
    EgressPolicySpec, st.just((Subject("shop"),)), entries, gateway=st.none() | st.just(GatewayService("egress", "gateways", 8443)),
), min_size=1)
BASE = _cluster(_service("gateways", 8443, 9443))


@settings(max_examples=400)
@given(requests, policies_of_shop)
def test_nothing_of_a_request_widens_the_entry_that_approves_it(request_: HostRequest, policies: dict[str, EgressPolicySpec]) -> None:
    hosts, _, _ = compile_egress([request_], ASKER, replace(BASE, egress_policies=policies))
    assert bool(hosts) != bool(unapproved([request_], ASKER, policies))
    event(f"{request_.protocol}, {request_.tls.mode}: {'approved' if hosts else 'refused'}")
    for host in hosts:
        policy, _, name = host.rule.partition("/")
        (entry,) = [one for one in policies[policy].hosts if one.host == name]
        assert host.host == request_.host
        assert {*host.plain_ports, *host.tls_ports, *host.tcp_ports} <= set(entry.ports)
        assert not host.plain_ports or "http" in entry.protocols
        assert not host.tcp_ports or "tcp" in entry.protocols
        assert not host.tls_ports or ("tls" in entry.protocols and not (
            entry.methods or entry.paths or entry.subject_alt_names or entry.key_pins))
        assert (host.methods, host.paths, host.special_addresses) == (entry.methods, entry.paths, entry.special_addresses)
        assert not (host.tcp_ports and (entry.methods or entry.paths))
        assert host.bytes_per_hour == (None if entry.bytes_per_hour is None else 1024)
        assert (host.gateway is None) == (entry.gateway is None and policies[policy].gateway is None)
        if host.tls is None:
            assert entry.allow_plaintext
            continue
        assert not host.plain_ports or host.tls.port in entry.ports
        assert host.tls.min_version >= entry.min_version
        assert (host.tls.roots, host.tls.subject_alt_names, host.tls.key_pins, host.tls.waivers) == (
            entry.ca_bundle, entry.subject_alt_names, entry.key_pins, ())
        if entry.client_certificate is not None:
            assert host.tls.client_certificate == ClientCertificate(entry.client_certificate.secret)


# -- client certificates


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
    (host,), _ = _compile(asked, egress_policy(), _secret("mine", namespace="other"))
    assert host.tls is not None
    assert host.tls.client_certificate == ClientCertificate("mine")
    (host,), _ = _compile(asked, egress_policy(), _secret("mine"))
    assert host.tls is not None
    assert host.tls.client_certificate == ClientCertificate("mine", "C", "K")


@pytest.mark.parametrize("tls", ["{}", "{mode: mutual}", "{mode: mutual, clientCertificate: {secret: mine}}"])
def test_the_certificate_of_a_policy_is_presented_whatever_is_asked_for(tls: str) -> None:
    policy = egress_policy(hosts=[{"host": "a.partner.example", "clientCertificate": {"secret": "theirs"}}])
    (host,), _ = _compile(f"- {{host: a.partner.example, tls: {tls}}}", policy, _secret("mine"), _secret("theirs"))
    assert host.tls is not None
    assert host.tls.client_certificate == ClientCertificate("theirs", "C", "K")
