from typing import Any

import msgspec
import pytest
import trio
from hypothesis import event, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from injector.cluster import Cluster
from injector.cluster.directory import derived_slices
from injector.compile import Compiled, compile_workload
from injector.compile.last_good import LastGood
from injector.documents import TokenIssuer
from injector.validate import read_routes
from sidecar.model.address import Address
from sidecar.model.decision import Denied
from sidecar.model.egress import DnsLimits, GatewayRef, Outbound
from sidecar.model.reason import Reason
from sidecar.model.route import Caller
from sidecar.model.snapshot import PortMode, parse_snapshot, render_snapshot
from sidecar.model.trust import Revoked, Trust
from sidecar.net.service import MAX_ANSWER_BYTES
from sidecar.policy.egress import OutboundTable
from sidecar.policy.rules import Rules
from tests.certs import support as keys
from tests.helpers.exchange import GET, OK
from tests.helpers.mesh import arrive, call, http_app, meshed
from tests.injector.compile import edge_objects
from tests.injector.pods import ROUTES, egress_policy, ingress_gateway, mesh_policy, namespace


def _pod(uid: str = "u", status: dict[str, Any] | None = None, owner: str | None = None, **annotations: str) -> dict[str, Any]:
    references = [{"kind": "Deployment", "name": owner, "controller": True}] if owner else []
    return {
        "kind": "Pod",
        "metadata": {"name": f"orders-{uid}", "namespace": "shop", "uid": uid, "labels": {"app": "orders"}, "ownerReferences": references,
                     "annotations": {f"bartizan.dev/{name}": text for name, text in annotations.items()}},
        "spec": {"serviceAccountName": "orders", "initContainers": [{"name": "bartizan-sidecar"}],
                 "containers": [{"ports": [{"containerPort": 5432}, {"containerPort": 8080}]}]},
        "status": status or {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]},
    }


def _deployment(**annotations: str) -> dict[str, Any]:
    return {"kind": "Deployment", "metadata": {"name": "orders", "namespace": "shop",
                                               "annotations": {f"bartizan.dev/{name}": text for name, text in annotations.items()}}}


def _compile(*objects: dict[str, Any], last_good: LastGood | None = None, uid: str = "u") -> Compiled:
    compiled = compile_workload(Cluster.of([namespace(), *objects]), uid, "example.org", last_good or LastGood())
    assert compiled is not None
    assert parse_snapshot(render_snapshot(compiled.snapshot)) == compiled.snapshot
    return compiled


def test_the_snapshot_says_who_the_pod_is() -> None:
    workload = _compile(_pod()).snapshot.workload
    assert workload.identity == "spiffe://example.org/ns/shop/sa/orders"
    assert (workload.namespace, workload.pod, workload.addresses) == ("shop", "orders-u", ("10.0.0.1",))


@pytest.mark.parametrize("status", [{"phase": "Succeeded", "podIP": "10.0.0.1"}, {"phase": "Failed"}])
def test_a_pod_that_has_ended_gets_none(status: dict[str, Any]) -> None:
    assert compile_workload(Cluster.of([_pod(status=status)]), "u", "example.org", LastGood()) is None
    assert compile_workload(Cluster.of([_pod()]), "another", "example.org", LastGood()) is None


def test_callers_without_a_namespace_are_of_the_pods_own() -> None:
    routes = _compile(_pod(routes=ROUTES)).snapshot.inbound.routes
    assert routes is not None
    assert [(route.name, route.port, route.allow) for route in routes] == [("read", 8080, (Caller("web", "shop"),))]


def test_no_annotation_is_not_the_same_as_one_without_rules() -> None:
    assert _compile(_pod()).snapshot.inbound.routes is None
    assert _compile(_pod(routes="[]")).snapshot.inbound.routes == ()


def test_an_annotation_that_was_never_readable_lets_nobody_in() -> None:
    compiled = _compile(_pod(routes="{"))
    assert compiled.snapshot.inbound.routes == ()
    assert "bartizan.dev/routes: line" in compiled.problems[0]


def test_the_workloads_annotation_is_read_live() -> None:
    other = ROUTES.replace("name: read", "name: live")
    compiled = _compile(_deployment(routes=other), _pod(owner="orders", routes=ROUTES, ports="9: opaque"))
    assert [route.name for route in compiled.snapshot.inbound.routes or ()] == ["live"]
    assert compiled.snapshot.inbound.ports[9] == "opaque"


def test_a_broken_rule_keeps_its_version_for_every_pod_of_the_workload() -> None:
    memory = LastGood()
    _compile(_deployment(routes=ROUTES), _pod(owner="orders"), last_good=memory)
    broken = ROUTES.replace("port", "prot") + "- {name: new, allow: []}\n"
    compiled = _compile(_deployment(routes=broken), _pod("v", owner="orders"), last_good=memory, uid="v")
    assert {route.name: route.port for route in compiled.snapshot.inbound.routes or ()} == {"read": 8080, "new": None}
    assert 'did you mean "port"' in compiled.problems[0]


def test_of_an_entry_that_cannot_be_read_the_sidecar_knows_that() -> None:
    """Who tries the host is told so; but of hosts that nobody approves nothing is said, and what was in force once stays so."""
    broken = "- {host: a.partner.example, tls: {verify: no}}\n- {host: b.elsewhere.example, tls: {verify: no}}\n- {host: A B, x: 1}"
    memory = LastGood()
    hosts = _compile(_pod(egress=broken), egress_policy(), last_good=memory).snapshot.outbound.hosts
    assert [(host.host, host.rule) for host in hosts] == [("a.partner.example", "partners/*.partner.example")]
    assert "verify" in hosts[0].unreadable
    table = OutboundTable(Outbound(hosts=hosts))
    for port, kind in ((80, "plain"), (443, "tls"), (5432, "tcp")):
        judged = table.host("a.partner.example", port, kind, 0.0)  # type: ignore[arg-type]
        assert isinstance(judged, Denied)
        assert judged.reason is Reason.ENTRY_UNREADABLE
    _compile(_pod(egress="- host: a.partner.example"), egress_policy(), last_good=memory)
    (kept,) = _compile(_pod(egress=broken), egress_policy(), last_good=memory).snapshot.outbound.hosts
    assert kept.unreadable == ""


def test_egress_is_what_is_asked_and_approved() -> None:
    compiled = _compile(_pod(egress="- host: a.partner.example\n- host: b.elsewhere.example"), egress_policy())
    assert [(host.host, host.rule) for host in compiled.snapshot.outbound.hosts] == [("a.partner.example", "partners/*.partner.example")]
    assert "b.elsewhere.example" in compiled.problems[0]


def test_a_remembered_request_still_needs_its_approval() -> None:
    memory = LastGood()
    asked = "- {host: a.partner.example}\n- {cidr: 10.9.0.0/16}"
    policy = egress_policy(ranges=[{"cidr": "10.9.0.0/16"}])
    assert _compile(_pod(egress=asked), policy, last_good=memory).snapshot.outbound.ranges
    kept = _compile(_pod(egress="{"), policy, last_good=memory).snapshot.outbound
    assert (len(kept.hosts), len(kept.ranges)) == (1, 1)
    gone = _compile(_pod(egress="{"), last_good=memory).snapshot.outbound
    assert (gone.hosts, gone.ranges) == ((), ())


def _service(name: str = "orders", **port: Any) -> dict[str, Any]:
    return {"kind": "Service", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"selector": {"app": "orders"}, "ports": [{"port": 80, "targetPort": 8080, **port}]}}


def _slice(zone: str = "a") -> dict[str, Any]:
    target = {"kind": "Pod", "name": "orders-u", "namespace": "shop"}
    return {"kind": "EndpointSlice", "metadata": {"name": "x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "orders"}},
            "ports": [{"port": 8080}], "endpoints": [{"addresses": ["10.0.0.1"], "targetRef": target, "zone": zone}]}


def test_what_is_declared_reaches_the_pod_and_its_callers() -> None:
    routes = "- {name: read, allow: [{serviceAccount: web}], timeouts: {request: 3s}, maxBody: 1KiB}"
    snapshot = _compile(_pod(routes=routes, endpoints="connectTimeout: 1s"), _service(), _slice()).snapshot
    assert [route.max_body_bytes for route in snapshot.inbound.routes or ()] == [1024]
    service = snapshot.outbound.services[0]
    assert ([rule.request_s for rule in service.rules], service.balancing.connect_s) == ([3], 1)
    assert (service.endpoints[0].zone, snapshot.workload.zone) == ("a", "a")


def test_what_a_service_says_of_a_port_reaches_the_pod() -> None:
    service = _service(appProtocol="grpc")
    assert _compile(_pod(), service).snapshot.inbound.ports == {5432: "opaque", 8080: "http2"}
    assert _compile(_pod(ports="8080: http1"), service).snapshot.inbound.ports == {5432: "opaque", 8080: "http1"}


PATHS = "/", "/a/", "/a/b", "/a//b", "/a;b", "/%41", "/%2e", "/caf\u00e9", "a", "(", "/a(b|c)", "/(a{500}){9}"
NAMES = "x-a", "host", "X-Forwarded-For", "a_b", "traceparent", "te", "x a"
CALLERS = (
    {}, {"serviceAccount": "w*"}, {"namespace": "*b*"}, {"identity": "spiffe://example.org/ns/*"}, {"identity": "spiffe://a*"},
    {"source": "10.0.0.0/8"}, {"source": "10.0.0.1/8"}, {"claims": {"a": ["b"]}}, {"source": "10.0.0.0/8", "namespace": "a"},
)
TYPES = "Exact", "PathPrefix", "RegularExpression"
VALUES: dict[str, list[Any]] = {     # good ones and bad ones
    "allow": [[one] for one in CALLERS],
    "deny": [[one] for one in CALLERS],
    "matches": [
        *([{"path": {"value": value, "type": kind}}] for value in PATHS for kind in TYPES),
        *([{"headers": [{"name": name, "value": "("}]}] for name in NAMES),
        [{"method": "GET"}], [{"method": "get"}], [{"query": [{"name": "a", "value": "(", "type": "RegularExpression"}]}],
    ],
    "requestHeaders": [{"set": {name: "a"}} for name in NAMES],
    "responseHeaders": [{"remove": [name]} for name in NAMES],
    "hosts": [["orders"], ["*.shop"], ["a*b"], ["10.0.0.1"], ["127.1"]],
    "timeouts": [{"request": "3s"}, {"request": "0s"}, {"idle": "99999h"}],
    "retries": [{}, {"backoff": "1ms"}, {"backoff": "2m"}, {"on": [503]}, {"methods": "any"}, {"attemptTimeout": "25h"}],
    "rateLimit": [{"requests": 1}, {"requests": 1, "by": "header"}, {"requests": 1, "per": "48h"}, {"requests": 10**17}],
    "rewrite": [{"path": "/a"}, {"prefix": "/a"}, {"prefix": ""}, {"hostname": "A"}],
    "redirect": [{}, {"path": "/a"}, {"prefix": "/"}],
    "directResponse": [{"status": 204, "body": "a"}, {"status": 200}],
    "fault": [{"delay": {"for": "11m"}}, {"delay": {"for": "1ms"}}],
    "jwt": [{"issuer": "a", "audiences": audiences, "header": name} for audiences in ([], ["b"]) for name in NAMES],
    "maxBody": ["1MiB", -1, "999999999GiB", "9999999999GiB", 10**17],
}
FIELDS = st.sampled_from(sorted(VALUES)).flatmap(lambda field: st.tuples(st.just(field), st.sampled_from(VALUES[field])))
RULES = st.lists(FIELDS, max_size=3).map(lambda fields: {"name": "r", "allow": [], **dict(fields)})


@settings(max_examples=300, deadline=None)
@given(RULES)
def test_what_admission_accepts_every_sidecar_takes(rule: dict[str, Any]) -> None:
    """A sidecar takes its snapshot whole or not at all, and callers' snapshots hold the rule, too: else one team could stop another's."""
    text = msgspec.json.encode([rule]).decode()
    problems = read_routes(text).problems
    event(problems[0].text.partition(": ")[0] if problems else "accepted")
    snapshot = _compile(_pod(routes=text), _service(), _slice()).snapshot       # parses it, too
    Rules.of(snapshot, "")      # expressions are compiled here
    assert (snapshot.inbound.routes == ()) is bool(problems)


def test_a_split_to_a_service_that_is_not_there_is_told() -> None:
    routes = "- {name: read, allow: [], backends: [{service: orders, port: 80}, {service: orders-v2, port: 80}]}"
    compiled = _compile(_pod(routes=routes), _service(), _slice())
    assert [one.service for one in compiled.snapshot.outbound.services[0].rules[0].backends] == ["orders.shop"]
    assert compiled.problems == (
        'the rule "read": backends[1]: namespace shop has no Service orders-v2 with port 80 that selects pods; nothing is sent there',
    )


def test_callers_see_the_last_good_version_too() -> None:
    memory = LastGood()
    _compile(_pod(routes="- {name: read, allow: [], timeouts: {request: 3s}}"), _service(), _slice(), last_good=memory)
    compiled = _compile(_pod(routes="- {name: read, alow: [], timeouts: {request: 3s}}"), _service(), _slice(), last_good=memory)
    assert [rule.request_s for rule in compiled.snapshot.outbound.services[0].rules] == [3]


def test_pods_that_differ_are_told_to_these_pods_only() -> None:
    other = {**_pod("v", status={"phase": "Running", "podIPs": [{"ip": "10.0.0.2"}]}, endpoints="connectTimeout: 9s")}
    stranger = {**_pod("w", status={"phase": "Running", "podIPs": [{"ip": "10.0.0.3"}]})}
    stranger["metadata"] = {**stranger["metadata"], "labels": {}}
    objects = [_pod(), other, stranger, _service()]
    objects += derived_slices(objects)
    assert ["those of orders-u count" in str(_compile(*objects, uid=uid).problems) for uid in "uvw"] == [True, True, False]


JWKS = '{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
TOKENS = "- {name: read, allow: [{serviceAccount: web}], jwt: {issuer: 'https://a', audiences: [shop]}}"


def test_the_keys_of_the_issuers_that_are_asked_for() -> None:
    policy = mesh_policy(tokenIssuers=[{"issuer": "https://a", "jwks": JWKS}, {"issuer": "https://b", "jwks": JWKS}])
    compiled = _compile(_pod(routes=TOKENS), policy)
    assert [one.issuer for one in compiled.snapshot.inbound.issuers] == ["https://a"]
    assert "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" in compiled.snapshot.inbound.issuers[0].keys
    assert compiled.problems == ()
    assert _compile(_pod(routes=ROUTES), policy).snapshot.inbound.issuers == ()


async def test_from_annotation_and_policy_to_the_answer(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A token counts if the rule names its issuer and the MeshPolicy that issuer's keys; each way through what the pod is sent."""
    routes = """
        - {name: read, allow: [{serviceAccount: web, claims: {role: [buyer]}}], jwt: {issuer: 'https://a', audiences: [shop]}}"""
    policy = mesh_policy(tokenIssuers=[{"issuer": "https://a", "jwks": keys.JWKS.decode()}])
    snapshot = parse_snapshot(render_snapshot(_compile(_pod(routes=routes), policy).snapshot))
    pod = meshed(nursery, Rules.of(snapshot, "digest"), snapshot.workload.identity)
    at = Address("10.0.0.1", 8080)
    pod.dialer.servers[at] = http_app([], OK)
    stream = await call(arrive(nursery, pod, at))

    async def status(**claims: str) -> bytes:
        token = keys.token({"iss": "https://a", "aud": "shop", "exp": pod.wall + 60, "role": "buyer", **claims})
        await stream.send_all(GET[:-2] + f"authorization: Bearer {token}\r\n\r\n".encode())
        return (await stream.receive_some()).split()[1]

    assert await status() == b"200"
    assert [await status(**wrong) for wrong in ({"iss": "https://b"}, {"aud": "bank"}, {"role": "guest"})] == [b"401", b"401", b"403"]
    stream.close()


def test_an_issuer_that_nobody_trusts_is_told() -> None:
    compiled = _compile(_pod(routes=TOKENS))
    assert compiled.snapshot.inbound.issuers == ()
    assert compiled.problems == (
        'the rule "read" asks for tokens of https://a, which no MeshPolicy names among its tokenIssuers; it refuses every request',
    )


def test_keys_that_are_elsewhere_are_told_until_they_are_here() -> None:
    cluster = Cluster.of([namespace(), _pod(routes=TOKENS), mesh_policy(
        tokenIssuers=[{"issuer": "https://a", "jwksUri": "https://a.example/keys"}])])
    without = compile_workload(cluster, "u", "example.org", LastGood())
    assert without is not None
    assert without.snapshot.inbound.issuers == ()
    assert "the keys of the token issuer https://a are not here yet" in without.problems[0]
    issuer = TokenIssuer("https://a", jwks_uri="https://a.example/keys")
    there = compile_workload(cluster, "u", "example.org", LastGood(), {issuer: JWKS})
    assert there is not None
    assert (there.problems, there.snapshot.inbound.issuers[0].keys) == ((), JWKS)


def test_http10_is_accepted_where_a_policy_says_so() -> None:
    assert _compile(_pod(), mesh_policy(acceptHttp10=True)).snapshot.accept_http10 is True
    assert _compile(_pod()).snapshot.accept_http10 is False


def test_ports_are_those_declared_and_those_known() -> None:
    assert _compile(_pod()).snapshot.inbound.ports == {5432: "opaque"}
    assert _compile(_pod(ports="5432: http\n8080: opaque")).snapshot.inbound.ports == {5432: "http", 8080: "opaque"}


def test_the_mesh_policy_is_in_it() -> None:
    policy = mesh_policy(
        mtls={"mode": "permissive", "until": "2026-12-31T00:00:00Z"}, withoutRoutes="nothing", resolvers=["10.96.0.10"],
        clusterDomain="cluster.example", clusterRanges=["10.0.0.0/8"],
    )
    snapshot = _compile(_pod(), policy).snapshot
    inbound = snapshot.inbound
    assert (inbound.mode, inbound.permissive_until, inbound.without_routes) == ("permissive", 1798675200, "nothing")
    assert inbound.port_modes == {}
    outbound = snapshot.outbound
    assert (outbound.resolvers, outbound.cluster_domain, outbound.cluster_ranges) == (("10.96.0.10",), "cluster.example", ("10.0.0.0/8",))


def test_what_may_be_observed_and_asked_is_in_it() -> None:
    compiled = _compile(_pod(), mesh_policy(egress={"mode": "observe", "until": "1970-01-02T00:00:00Z"}, dns={"perS": 3}))
    assert (compiled.snapshot.outbound.mode, compiled.snapshot.outbound.observe_until) == ("observe", 86400)
    assert compiled.snapshot.outbound.dns == DnsLimits(per_s=3)
    assert parse_snapshot(render_snapshot(compiled.snapshot)) == compiled.snapshot
    assert _compile(_pod()).snapshot.outbound.mode == "enforce"


def test_a_gateway_that_is_missing_is_told() -> None:
    policy = egress_policy(gateway={"namespace": "egress", "service": "gateways"})
    compiled = _compile(_pod(egress="- host: a.partner.example"), policy)
    assert [host.gateway for host in compiled.snapshot.outbound.hosts] == [GatewayRef("gateways.egress", 15008)]
    assert compiled.problems[0].startswith("EgressPolicy partners: *.partner.example may leave through the gateway gateways.egress alone")


@pytest.mark.parametrize("observes", [{}, {"egress": {"mode": "observe", "until": "2099-01-01T00:00:00Z"}}])
def test_who_asks_for_more_than_a_snapshot_holds_gets_nothing(observes: dict[str, Any]) -> None:
    """A sidecar refuses a snapshot that is too large and keeps the one before, with approvals that may be withdrawn by now."""
    asked = "- {host: HOST.partner.example, tls: {mode: mutual, clientCertificate: {secret: large}}}"
    material = {"tls.crt": "C" * 500_000, "tls.key": "K"}
    secret = {"kind": "Secret", "metadata": {"name": "large", "namespace": "shop"}, "stringData": material}

    def compiled(count: int) -> Compiled:
        text = "\n".join(asked.replace("HOST", f"h{number}") for number in range(count)) + "\n- {cidr: 10.1.0.0/16}"
        return _compile(_pod(egress=text), egress_policy(ranges=[{"cidr": "10.0.0.0/8"}]), secret, mesh_policy(**observes))

    few, many = compiled(8), compiled(20)
    assert (len(few.snapshot.outbound.hosts), len(few.snapshot.outbound.ranges), few.problems) == (8, 1, ())
    assert (many.snapshot.outbound.hosts, many.snapshot.outbound.ranges, many.snapshot.outbound.mode) == ((), (), "enforce")
    assert len(render_snapshot(few.snapshot)) < MAX_ANSWER_BYTES
    assert [problem.partition(";")[0] for problem in many.problems] == [
        "bartizan.dev/egress: what is approved of it has more than 4,194,304 bytes, with certificates and roots: all of it is refused"]


def test_modes_of_ports() -> None:
    ports = {"8080": {"mode": "permissive", "until": "2026-12-31T00:00:00Z"}, "90": {"mode": "strict"}}
    inbound = _compile(_pod(), mesh_policy(mtls={"mode": "strict", "ports": ports})).snapshot.inbound
    assert (inbound.mode, inbound.permissive_until) == ("strict", None)
    assert inbound.port_modes == {90: PortMode("strict"), 8080: PortMode("permissive", 1798675200)}


def test_a_narrower_policy_replaces_the_modes_of_ports_as_well() -> None:
    wide = mesh_policy("wide", mtls={"mode": "strict", "ports": {"8080": {"mode": "permissive", "until": "2026-12-31T00:00:00Z"}}})
    narrow = mesh_policy("narrow", selector={"namespaces": ["shop"]}, mtls={"mode": "strict"})
    assert _compile(_pod(), wide, narrow).snapshot.inbound.port_modes == {}


def test_the_trust_of_now_is_in_it() -> None:
    trust = Trust(3, "PEM", revoked=Revoked(pods=("u",)))
    compiled = compile_workload(Cluster.of([namespace(), _pod()]), "u", "example.org", LastGood(), trust=trust)
    assert compiled is not None
    assert compiled.snapshot.trust == trust


# -- the ingress gateway

AUTHORIZER = "authentication: {external: {host: auth.partner.example}}"


def _served(*objects: dict[str, Any], wanted: list[str] | None = None) -> Compiled:
    item = edge_objects.ingress("i", [edge_objects.rule("x.test", edge_objects.path("P", "/", "web"))], edge=AUTHORIZER)
    found = edge_objects.cluster_of(
        namespace(), namespace("other"), ingress_gateway(), item, edge_objects.service("web"), edge_objects.service("own"),
        edge_objects.service("far", "other"), *objects,
    )
    uid = next(pod.uid for pod in found.pods.values() if pod.is_ingress_gateway)
    compiled = compile_workload(found, uid, "example.org", LastGood(), wanted=wanted)
    assert compiled is not None
    assert parse_snapshot(render_snapshot(compiled.snapshot)) == compiled.snapshot
    return compiled


@pytest.mark.parametrize("wanted", [None, ["far.other"]])
def test_a_gateway_has_what_is_served_and_where_that_leads(wanted: list[str] | None) -> None:
    compiled = _served(wanted=wanted)
    assert compiled.snapshot.edge is not None
    assert [route.name for route in compiled.snapshot.edge.routes] == ["ingress/shop/i/0/0"]
    assert {one.name for one in compiled.snapshot.outbound.services if one.name != "far.other"} == {"web.shop"}
    assert compiled.reads is None       # whatever changes may concern it
    assert compiled.snapshot.inbound.routes is None


def test_an_authorizer_is_asked_for_as_if_the_gateway_did_and_must_be_approved() -> None:
    assert _served().snapshot.outbound.hosts == ()
    assert any('no EgressPolicy approves host "auth.partner.example"' in problem for problem in _served().problems)
    subjects = [{"namespace": "bartizan-system", "serviceAccounts": ["bartizan-gateway"]}]
    (host,) = _served(egress_policy(subjects=subjects, hosts=[{"host": "auth.partner.example"}])).snapshot.outbound.hosts
    assert (host.host, host.plain_ports, host.tls_ports) == ("auth.partner.example", (80,), ())


def test_every_pod_knows_whose_word_of_clients_counts_and_no_other_pod_serves_them() -> None:
    snapshot = _compile(_pod()).snapshot
    assert snapshot.inbound.edges == ("spiffe://example.org/ns/bartizan-system/sa/bartizan-gateway",)
    assert snapshot.edge is None
