"""Who leads whom out, and that a caller's snapshot holds nothing that only its gateway needs."""

from typing import Any

import pytest

from injector.cluster import Cluster
from injector.cluster.directory import derived_slices
from injector.compile import Compiled, compile_workload
from injector.compile.gateway import is_gateway
from injector.compile.last_good import LastGood
from sidecar.model import ports
from sidecar.model.address import Address
from sidecar.model.egress import EgressRange, GatewayCaller, GatewayRef
from sidecar.model.snapshot import parse_snapshot, render_snapshot
from tests.injector.pods import egress_policy, namespace

GATEWAY = {"namespace": "gateways", "service": "egress"}
REF = GatewayRef("egress.gateways", 443)
ASKED = ('- host: api.partner.example\n  tls: {mode: mutual, clientCertificate: {secret: partner}}\n'
         '- cidr: 198.51.100.0/24\n  ports: [5432]\n')
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
RANGES = [{"cidr": "198.51.100.0/24"}]
SECRET = {"kind": "Secret", "metadata": {"name": "partner", "namespace": "shop"}, "stringData": {"tls.crt": "CHAIN", "tls.key": "KEY"}}


def policy(**spec: Any) -> dict[str, Any]:
    return egress_policy(**{
        "gateway": GATEWAY, "hosts": [{"host": "*.partner.example", "caBundle": PEM, "bytesPerHour": "1Mi"}], "ranges": RANGES, **spec,
    })


def pod(name: str, space: str, address: str, account: str, asked: str = "", **fields: Any) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": space, "uid": name, "labels": {"app": account},
                     "annotations": {"bartizan.dev/egress": asked} if asked else {}},
        "spec": {"serviceAccountName": account, "initContainers": [{"name": "bartizan-sidecar"}], "containers": [{"name": "app"}]},
        "status": {"phase": "Running", "podIPs": [{"ip": address}]}, **fields,
    }


def service(target: int = ports.GATEWAY, space: str = "gateways", **spec: Any) -> dict[str, Any]:
    return {"kind": "Service", "metadata": {"name": "egress", "namespace": space},
            "spec": {"clusterIP": "10.96.0.40", "selector": {"app": "egress"}, "ports": [{"port": 443, "targetPort": target}], **spec}}


GATE = pod("gate", "gateways", "10.1.0.40", "egress")
WEB = pod("web", "shop", "10.1.0.5", "web", ASKED)
WEB_ID = "spiffe://example.org/ns/shop/sa/web"


def compiled(uid: str, *objects: dict[str, Any]) -> Compiled:
    objects = (namespace(), namespace("gateways"), SECRET, *objects)
    cluster = Cluster.of([*objects, *derived_slices(objects)])
    assert not cluster.problems
    found = compile_workload(cluster, uid, "example.org", LastGood())
    assert found is not None
    assert parse_snapshot(render_snapshot(found.snapshot)) == found.snapshot
    return found


def led(*objects: dict[str, Any]) -> tuple[GatewayCaller, ...]:
    return compiled("gate", *objects).snapshot.gateway


def test_the_gateway_has_what_its_callers_were_granted_and_the_material() -> None:
    (caller,) = led(GATE, WEB, service(), policy())
    assert caller.identity == WEB_ID
    (host,) = caller.hosts
    assert (host.host, host.rule, host.gateway, host.bytes_per_hour) == ("api.partner.example", "partners/*.partner.example", None, None)
    assert host.tls is not None
    assert host.tls.client_certificate is not None
    assert (host.tls.roots, host.tls.client_certificate.chain, host.tls.client_certificate.key) == (PEM, "CHAIN", "KEY")
    assert caller.ranges == (EgressRange("198.51.100.0/24", "partners/198.51.100.0/24", (5432,)),)


def test_the_caller_has_the_way_and_no_material() -> None:
    found = compiled("web", GATE, WEB, service(), policy())
    (host,) = found.snapshot.outbound.hosts
    assert host.gateway == found.snapshot.outbound.ranges[0].gateway == REF
    assert host.bytes_per_hour == 1 << 20
    text = render_snapshot(found.snapshot)
    assert b"KEY" not in text
    assert b"CHAIN" not in text
    assert b"BEGIN" not in text
    assert found.snapshot.gateway == ()
    assert found.problems == ()
    (way,) = found.snapshot.outbound.services
    assert [Address(one.address, one.port) for one in way.endpoints] == [Address("10.1.0.40", ports.GATEWAY)]


def test_a_host_without_a_gateway_keeps_its_material() -> None:
    (host,) = compiled("web", GATE, WEB, service(), policy(gateway=None)).snapshot.outbound.hosts
    assert host.tls is not None
    assert host.tls.roots == PEM
    assert host.tls.client_certificate is not None
    assert host.tls.client_certificate.key == "KEY"


def test_one_namespace_leaves_room_for_the_others() -> None:
    """Else whoever may make pods in one could end the gateway for everybody: its sidecar takes no snapshot that is too large."""
    asked = "- {host: HOST.partner.example, tls: {mode: mutual, clientCertificate: {secret: partner}}}"
    greedy = [pod(f"greedy-{number}", "a", f"10.1.1.{number}", f"greedy-{number}", "\n".join(
        asked.replace("HOST", f"h{host}") for host in range(3))) for number in range(1, 6)]
    large = {**SECRET, "metadata": {"name": "partner", "namespace": "a"}, "stringData": {"tls.crt": "C" * 100_000, "tls.key": "K"}}
    subjects = [{"namespaceSelector": {}}]
    found = compiled("gate", GATE, WEB, *greedy, large, namespace("a"), service(), policy(subjects=subjects))
    told = [caller.identity.removeprefix("spiffe://example.org/ns/") for caller in found.snapshot.gateway]
    assert told == ["a/sa/greedy-1", "a/sa/greedy-2", "a/sa/greedy-3", "shop/sa/web"]
    assert [problem for problem in found.problems if "greedy" in problem] == [
        f"spiffe://example.org/ns/a/sa/greedy-{number} is not led out: what the workloads of namespace a may reach by this gateway has "
        "more than 1,048,576 bytes, with certificates and roots; have them ask for less" for number in (4, 5)]


NOT_READY = {"phase": "Running", "podIPs": [{"ip": "10.1.0.40"}], "conditions": [{"type": "Ready", "status": "False"}]}


@pytest.mark.parametrize(("objects", "count"), [
    ((GATE, WEB, service(), policy()), 1),
    (({**GATE, "status": NOT_READY}, WEB, service(), policy()), 1),     # it must know before it is ready
    ((GATE, WEB, service(8443), policy()), 0),                                  # the port is not a gateway's
    ((GATE, WEB, service(selector={"app": "other"}), policy()), 0),             # the Service does not select the pod
    ((GATE, WEB, service(), service(space="shop"), policy(gateway={"namespace": "shop", "service": "egress"})), 0),     # another one
    ((GATE, WEB, service(), policy(gateway=None)), 0),                          # nobody named it
    ((GATE, WEB, service(), policy(subjects=[{"namespace": "other"}])), 0),     # not approved
    ((GATE, pod("web", "shop", "10.1.0.5", "web"), service(), policy()), 0),    # not asked for
    ((GATE, {**WEB, "spec": {**WEB["spec"], "initContainers": []}}, service(), policy()), 0),       # no sidecar: no identity
    ((GATE, {**WEB, "status": {"phase": "Succeeded"}}, service(), policy()), 0),
])
def test_who_is_led(objects: tuple[dict[str, Any], ...], count: int) -> None:
    assert len(led(*objects)) == count


@pytest.mark.parametrize(("objects", "is_one"), [
    ((service(), policy()), True), ((service(), policy(gateway=None, ranges=[], hosts=[{"host": "a.example", "gateway": GATEWAY}])), True),
    ((service(), policy(gateway=None)), False), ((service(8443), policy()), False), ((service(selector={"app": "other"}), policy()), False),
    ((service(), service(space="shop"), policy(gateway={"namespace": "shop", "service": "egress"})), False),
])
def test_whose_word_about_callers_counts(objects: tuple[dict[str, Any], ...], is_one: bool) -> None:
    cluster = Cluster.of([GATE, *objects])
    (gate,) = cluster.pods.values()
    assert is_gateway(gate, cluster) is is_one


def test_a_pod_makes_itself_no_gateway() -> None:
    """Neither by a label of the gateway's in another namespace, nor by a Service of that name there."""
    thief = pod("thief", "shop", "10.1.0.66", "egress")
    found = compiled("thief", GATE, thief, WEB, service(), service(space="shop"), policy())
    assert found.snapshot.gateway == ()


def test_each_identity_has_its_own() -> None:
    api = pod("api", "shop", "10.1.0.6", "api", "- host: other.partner.example\n")
    found = {one.identity: [host.host for host in one.hosts] for one in led(GATE, WEB, api, service(), policy())}
    assert found == {WEB_ID: ["api.partner.example"], "spiffe://example.org/ns/shop/sa/api": ["other.partner.example"]}


def test_pods_of_one_identity_are_merged() -> None:
    later = ASKED.replace("mode: mutual,", "mode: mutual, ").replace("\n- cidr", "\n  ports: {plain: [80, 8080], tls: [443]}\n- cidr")
    both = pod("web2", "shop", "10.1.0.6", "web", later + "- host: b.partner.example\n")
    spec = policy(hosts=[{"host": "*.partner.example", "ports": [80, 443, 8080]}])
    found = compiled("gate", GATE, WEB, both, service(), spec)
    (caller,) = found.snapshot.gateway
    assert [(host.host, host.plain_ports, host.tls_ports) for host in caller.hosts] == [
        ("api.partner.example", (80, 8080), (443,)), ("b.partner.example", (80,), (443,)),
    ]
    assert len(caller.ranges) == 1
    assert found.problems == ()


def test_where_they_disagree_the_first_counts_and_it_is_told() -> None:
    other = pod("web2", "shop", "10.1.0.6", "web", "- host: api.partner.example\n  tls: {minVersion: '1.3'}\n")
    found = compiled("gate", GATE, WEB, other, service(), policy())
    ((host,),) = [one.hosts for one in found.snapshot.gateway]
    assert host.tls is not None
    assert host.tls.min_version == "1.2"
    assert found.problems == (f"shop/web2 asks for api.partner.example otherwise than another pod of {WEB_ID}, which counts",)


def test_a_service_that_leads_to_no_gateway_is_told() -> None:
    (problem,) = compiled("web", GATE, WEB, service(8443), policy()).problems
    assert problem.startswith("the egress gateway egress.gateways leads from port 443 to port 8443 of its pods")
    assert "targetPort: 15008" in problem


def test_a_gateways_own_egress_is_its_own() -> None:
    """What is granted to callers is not granted to the pod's application, nor to other callers of the mesh."""
    snapshot = compiled("gate", GATE, WEB, service(), policy()).snapshot
    assert snapshot.outbound.hosts == ()
    assert snapshot.outbound.ranges == ()
