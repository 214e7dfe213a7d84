"""What is compiled, asked by the sidecar's own code, is what the documentation says of the same manifests."""

import ipaddress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from injector.cluster import Cluster
from injector.cluster.directory import read_file
from injector.cluster.objects import Json
from injector.compile import Compiled, compile_workload
from injector.compile.last_good import LastGood
from injector.compile.network_book import MOST_BYTES, NetworkBook
from sidecar.model.network import Block, Isolation, NetworkRule, PortRange
from sidecar.model.snapshot import parse_snapshot, render_snapshot
from sidecar.policy.network import Network
from tests.helpers.network_policy_oracle import Oracle
from tests.injector.compile.network_policies import (
    CASES,
    NAMESPACES,
    NUMBERS,
    OUTSIDE,
    PODS,
    SIX,
    UNREADABLE,
    WORLD,
    Case,
    pod,
    policy,
)
from tests.injector.pods import egress_policy, mesh_policy

ACCEPTANCE = Path(__file__).parents[2] / "vectors" / "acceptance"
Directions = tuple[Network | None, Network | None]


def compiled(cluster: Cluster, name: str, policies: NetworkBook | None = None) -> Compiled:
    namespace, _, plain = name.partition("/")
    found = compile_workload(cluster, f"u-{namespace}-{plain}", "mesh", LastGood(), policies=policies)
    assert found is not None
    assert parse_snapshot(render_snapshot(found.snapshot)) == found.snapshot
    return found


class Product:
    """Every pod's snapshot, and its sidecar's answer."""

    def __init__(self, manifests: list[dict[str, Any]]) -> None:
        self.cluster, book = Cluster.of(manifests), NetworkBook("mesh")
        self._names: dict[str, str] = {}
        self._said: dict[str, tuple[str | None, Directions]] = {}
        for one in self.cluster.pods.values():
            if one.addresses and not one.spec.get("hostNetwork"):
                name = f"{one.namespace}/{one.name}"
                snapshot = compiled(self.cluster, name, book).snapshot
                both = snapshot.inbound.isolation, snapshot.outbound.isolation
                inbound, outbound = (Network(one) if one is not None else None for one in both)
                self._said[name] = snapshot.workload.identity if one.has_sidecar else None, (inbound, outbound)
                self._names |= dict.fromkeys(one.addresses, name)

    def may_reach(self, source: str, target: str, port: int) -> bool:
        here, there = self._names.get(source), self._names.get(target)
        if here == there and here is not None:
            return True
        return self._lets(there, 0, source, port) and self._lets(here, 1, target, port)

    def _lets(self, of: str | None, direction: int, other: str, port: int) -> bool:
        network = self._said[of][1][direction] if of is not None else None
        name = self._names.get(other)
        identity = self._said[name][0] if name is not None else None
        return network is None or network.why_let(ipaddress.ip_address(other), port, identity) is not None


def questions(text: str) -> list[tuple[str, str, int]]:
    found = []
    for one in filter(None, (part.strip() for part in text.split(","))):
        source, _, rest = one.partition(" ")
        target, _, port = rest.rpartition(":")
        found.append((address(source), address(target), int(port)))
    return found


def address(name: str) -> str:
    return PODS[name][0] if name in PODS else name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_as_the_documentation_says(case: Case) -> None:
    product, oracle = Product(case.manifests), Oracle(case.manifests)
    for judge in (product, oracle):
        for text, expected in ((case.yes, True), (case.no, False)):
            for question in questions(text):
                assert judge.may_reach(*question) is expected, (type(judge).__name__, question)
    assert differences(product, oracle) == []


def test_there_are_as_many_cases_as_there_should_be() -> None:
    assert len(CASES) >= 60
    assert sum(len(questions(case.yes)) + len(questions(case.no)) for case in CASES) > 200
    assert len({case.name for case in CASES}) == len(CASES)


def differences(product: Product, oracle: Oracle) -> list[tuple[str, str, int, bool]]:
    """Every pair of ends and every port."""
    ends = [*(said[0] for name, said in PODS.items() if name not in ("shop/old", "shop/node")), SIX, *OUTSIDE]
    return [
        (source, target, port, mine)
        for source in ends for target in ends for port in NUMBERS
        if (mine := product.may_reach(source, target, port)) is not oracle.may_reach(source, target, port)
    ]


# -- any policies: for each pair of ends and each port, what is compiled and asked is what the documentation says

LABELS = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["web", "api", "db", "front", "back"]), max_size=2)
OF_NAMESPACES = st.dictionaries(
    st.sampled_from(["team", "env", "kubernetes.io/metadata.name"]), st.sampled_from(["a", "prod", "bank", "shop"]), max_size=1,
)


def selectors(labels: st.SearchStrategy[dict[str, str]], keys: list[str], values: list[str]) -> st.SearchStrategy[Any]:
    with_values = st.fixed_dictionaries({
        "key": st.sampled_from(keys), "operator": st.sampled_from(["In", "NotIn"]),
        "values": st.lists(st.sampled_from(values), min_size=1, max_size=2),
    })
    without = st.fixed_dictionaries({"key": st.sampled_from(keys), "operator": st.sampled_from(["Exists", "DoesNotExist"])})
    return st.fixed_dictionaries({}, optional={"matchLabels": labels, "matchExpressions": st.lists(with_values | without, max_size=2)})


POD_SELECTORS = selectors(LABELS, ["app", "tier"], ["web", "api", "db", "front", "back"])
NAMESPACE_SELECTORS = selectors(OF_NAMESPACES, ["team", "env", "kubernetes.io/metadata.name"], ["a", "b", "prod", "bank", "void"])
BLOCKS = st.sampled_from([
    {"cidr": "0.0.0.0/0"}, {"cidr": "::/0", "except": ["fd00::/8"]}, {"cidr": "10.0.0.0/8", "except": ["10.0.2.0/24", "10.0.1.2/32"]},
    {"cidr": "203.0.113.0/24", "except": ["203.0.113.128/25"]}, {"cidr": "10.0.2.1/32"},
    {"cidr": "10.9.0.0/16"}, {"cidr": "fd00::/64", "except": None},
])
PEERS = (
    st.fixed_dictionaries({"podSelector": POD_SELECTORS}) | st.fixed_dictionaries({"namespaceSelector": NAMESPACE_SELECTORS})
    | st.fixed_dictionaries({"podSelector": POD_SELECTORS, "namespaceSelector": NAMESPACE_SELECTORS})
    | st.fixed_dictionaries({"ipBlock": BLOCKS})
)
POLICY_PORTS = st.sampled_from([
    {}, {"port": 80}, {"port": "http"}, {"port": "metrics"}, {"port": "sql", "protocol": "TCP"}, {"port": "nobodys"},
    {"protocol": "UDP", "port": 53}, {"port": 8000, "endPort": 8081}, {"protocol": "TCP"}, {"protocol": "SCTP", "port": 80},
    {"port": "dns"}, {"port": 443},
])


def rules(end: str) -> st.SearchStrategy[Any]:
    return st.lists(st.fixed_dictionaries({}, optional={
        end: st.lists(PEERS, max_size=2) | st.none(), "ports": st.lists(POLICY_PORTS, max_size=2) | st.none(),
    }), max_size=2)


SPECS = st.fixed_dictionaries({}, optional={
    "podSelector": POD_SELECTORS, "ingress": rules("from"), "egress": rules("to"),
    "policyTypes": st.lists(st.sampled_from(["Ingress", "Egress"]), max_size=2, unique=True),
})
POLICIES = st.lists(st.tuples(SPECS, st.sampled_from(sorted(NAMESPACES))), min_size=1, max_size=3)
MORE_PODS = st.lists(st.tuples(
    st.sampled_from(sorted(NAMESPACES)), LABELS,
    st.dictionaries(st.sampled_from(["http", "sql", "metrics"]), st.sampled_from(NUMBERS), max_size=2),
), max_size=2)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(POLICIES, MORE_PODS)
def test_any_policies_mean_what_the_documentation_says(
    found: list[tuple[Json, str]], more: list[tuple[str, dict[str, str], dict[str, int]]],
) -> None:
    pods = [pod(f"{namespace}/more{i}", ("10.0.1.4", "10.9.0.9")[i], labels, ports) for i, (namespace, labels, ports) in enumerate(more)]
    manifests = [*WORLD, *pods, *(policy(dict(spec), f"p{i}", namespace) for i, (spec, namespace) in enumerate(found))]
    wrong = differences(Product(manifests), Oracle(manifests))
    assert wrong == []
    for spec, _ in found:
        event(f"named egress: {'to' in str(spec.get('egress')) and 'http' in str(spec.get('egress'))}")


# -- what stands in a snapshot


def isolation(manifests: list[dict[str, Any]], name: str = "shop/api") -> tuple[Isolation | None, Isolation | None]:
    snapshot = compiled(Cluster.of(manifests), name).snapshot
    return snapshot.inbound.isolation, snapshot.outbound.isolation


def test_without_policies_there_is_none() -> None:
    assert isolation(WORLD) == (None, None)


def test_what_a_sidecar_is_told() -> None:
    peers = [{"podSelector": {"matchLabels": {"tier": "front"}}}, {"ipBlock": {"cidr": "10.9.0.7/16"}}]
    spec = {"podSelector": {}, "ingress": [{"from": peers, "ports": [{"port": "http"}, {"port": 443}, {"protocol": "UDP", "port": 9}]}]}
    assert isolation([*WORLD, policy(spec)]) == (Isolation(("shop/one",), (NetworkRule(
        "shop/one", blocks=(Block("10.9.0.0/16"),), pods={"10.0.1.1": "spiffe://mesh/ns/shop/sa/web"},
        ports=(PortRange(80, 80), PortRange(443, 443)),
    ),)), None)


def test_a_pod_without_a_sidecar_proves_nothing() -> None:
    inbound, _ = isolation([*WORLD, policy({"ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "db"}}}]}]})])
    assert inbound is not None
    assert inbound.rules[0].pods == {"10.0.1.3": ""}


def test_an_ingress_gateway_proves_who_it_is_and_has_no_sidecar() -> None:
    gate = pod("bartizan-system/gate", "10.0.8.1", {}, {})
    gate["spec"] |= {"serviceAccountName": "bartizan-gateway", "initContainers": []}
    spec = {"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "bartizan-system"}}}]}]}
    inbound, _ = isolation([*WORLD, gate, policy(spec)])
    assert inbound is not None
    assert inbound.rules[0].pods == {"10.0.8.1": "spiffe://mesh/ns/bartizan-system/sa/bartizan-gateway"}


def test_of_two_pods_at_one_address_for_a_moment_one_has_to_prove_who_it_is() -> None:
    of_db = {"matchLabels": {"app": "db"}}
    for name in ("shop/aa", "shop/zz"):     # before and behind the other, which has no sidecar
        new = pod(name, PODS["shop/db"][0], {"app": "db"}, {})
        inbound, _ = isolation([*WORLD, new, policy({"ingress": [{"from": [{"podSelector": of_db}]}]})])
        assert inbound is not None
        assert inbound.rules[0].pods == {"10.0.1.3": f"spiffe://mesh/ns/shop/sa/{name[-2:]}"}


def test_a_named_port_that_differs_makes_several_rules() -> None:
    spec = {"policyTypes": ["Egress"], "egress": [{"to": [{"namespaceSelector": {}}], "ports": [{"port": "http"}]}]}
    _, outbound = isolation([*WORLD, policy(spec)], "shop/web")
    assert outbound is not None
    assert {rule.ports: sorted(rule.pods) for rule in outbound.rules} == {
        (PortRange(80, 80),): ["10.0.1.2", "10.0.2.2", SIX], (PortRange(8080, 8080),): ["10.0.1.1"], (PortRange(8081, 8081),): ["10.0.2.1"],
        (PortRange(8082, 8082),): ["10.0.3.1"],
    }


# -- whether it approves, too

NARROWS = mesh_policy(egress={"mode": "enforce", "networkPolicies": "narrow"})
OTHERS = egress_policy(subjects=[{"namespace": "shop", "serviceAccounts": ["web"]}])
BROKEN = egress_policy(subjects=[{"namespace": 7}])


@pytest.mark.parametrize(("beside", "approves"), [
    ([], True), ([OTHERS], True), ([egress_policy()], False), ([NARROWS], False), ([BROKEN], False),
    ([mesh_policy(egress={"mode": "enforce"})], True),
])
def test_it_approves_where_nobody_else_has_a_say(beside: list[dict[str, Any]], approves: bool) -> None:
    inbound, outbound = isolation([*WORLD, *beside, policy({"policyTypes": ["Ingress", "Egress"]})])
    assert inbound is not None
    assert outbound is not None
    assert (inbound.approves, outbound.approves) == (False, approves)


# -- what cannot be read

@pytest.mark.parametrize(("spec", "isolated", "why"), UNREADABLE, ids=lambda value: str(value)[-50:])
def test_what_cannot_be_read_isolates_whom_it_may_mean_and_lists_nothing(spec: Any, isolated: str, why: str) -> None:
    cluster = Cluster.of([*WORLD, policy(spec), policy({"podSelector": {"matchLabels": {"app": "nobody"}}}, "two")])
    for name in ("api", "db", "web"):
        found = compiled(cluster, f"shop/{name}")
        is_meant = name in isolated.split()
        assert found.snapshot.inbound.isolation == (Isolation(("shop/one",)) if is_meant else None)
        assert bool(found.problems) is is_meant
        if is_meant:
            assert found.problems[0].startswith("NetworkPolicy shop/one: ")
            assert "spec" in found.problems[0]
            assert why in found.problems[0]
            assert "isolated and it lists nothing" in found.problems[0]


@pytest.mark.parametrize(("spec", "outbound"), [
    ({"ingress": 1}, False), ({"ingress": 1, "egress": [{}]}, True), ({"egress": 1}, True), ({"policyTypes": ["Inwards"]}, True),
    ({"policyTypes": ["Ingress"], "egress": 1}, False), ({"policyTypes": ["Egress"], "egress": 1}, True), ("all", True),
])
def test_in_which_direction(spec: Any, outbound: bool) -> None:
    found = isolation([*WORLD, policy(spec)])
    assert (found[1] is not None) is outbound
    assert (found[0] is not None) is (spec != {"policyTypes": ["Egress"], "egress": 1})


def test_the_others_count_all_the_same() -> None:
    found, _ = isolation([*WORLD, policy({"ingress": [{"from": [{}]}]}), policy({"ingress": [{}]}, "two")])
    assert found == Isolation(("shop/one", "shop/two"), (NetworkRule("shop/two", is_for_all=True),))


def test_too_much_to_tell_is_nothing_told() -> None:
    many = [pod(f"bank/p{i}", f"10.{8 + i // 65536}.{i // 256 % 256}.{i % 256}", {"app": "many"}, {}) for i in range(MOST_BYTES // 40)]
    cluster = Cluster.of([*WORLD, *many, policy({"ingress": [{"from": [{"namespaceSelector": {}}]}]})])
    found = compiled(cluster, "shop/api")
    assert found.snapshot.inbound.isolation == Isolation(("shop/one",))
    assert "choose fewer pods" in found.problems[0]


# -- what it costs


@pytest.mark.parametrize(("spec", "reads"), [
    ({}, {"shop"}),
    ({"ingress": [{}]}, {"shop"}),
    ({"ingress": [{"from": [{"podSelector": {}}, {"ipBlock": {"cidr": "10.0.0.0/8"}}]}]}, {"shop"}),
    ({"ingress": [{"from": [{"namespaceSelector": {}}]}]}, None),
    ({"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "bank"}}}]}]}, {"shop", "bank"}),
    ({"ingress": [{"from": [{"namespaceSelector": {"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["void"]}]}}]}]}, {"shop", "void"}),
    ({"egress": [{"to": [{"podSelector": {}}], "ports": [{"port": "http"}]}]}, {"shop"}),
    ({"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": "http"}]}]}, None),
    ({"egress": [{"ports": [{"port": "http"}]}]}, None),
    ({"egress": [{"to": [{"namespaceSelector": {}}], "ports": [{"protocol": "UDP", "port": 53}]}]}, {"shop"}),
    ({"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"from": [{"namespaceSelector": {}}]}]}, {"shop"}),
])
def test_which_namespaces_it_depends_on(spec: dict[str, Any], reads: set[str] | None) -> None:
    found = compile_workload(Cluster.of([*WORLD, policy(spec)]), "u-shop-api", "mesh", LastGood(), wanted=())
    assert found is not None
    assert found.reads == reads
    assert found.snapshot.outbound.mesh_ranges != ()


def test_a_policy_is_read_once_for_each_version_of_it() -> None:
    book, cluster = NetworkBook("mesh"), Cluster.of([*WORLD, policy({"ingress": [{}]}), policy({}, "two")])
    one, two = book.policies(cluster, "shop")
    changed: dict[tuple[str, str, str], Json | None] = {("NetworkPolicy", "shop", "two"): policy({"ingress": []}, "two")}
    later = cluster.having(changed)
    assert book.policies(later, "shop")[0] is one
    assert book.policies(later, "shop")[1] is not two
    assert book.policies(later, "bank") == []
    assert [found.name for found in book.policies(cluster, "shop")] == ["shop/one", "shop/two"]


def test_what_a_selector_chooses_follows_the_pods() -> None:
    spec = {"ingress": [{"from": [{"podSelector": {"matchLabels": {"new": "1"}}}]}]}
    book, cluster = NetworkBook("mesh"), Cluster.of([*WORLD, policy(spec)])
    assert compiled(cluster, "shop/api", book).snapshot.inbound.isolation == Isolation(("shop/one",))
    changed: dict[tuple[str, str, str], Json | None] = {("Pod", "shop", "new"): pod("shop/new", "10.0.1.77", {"new": "1"}, {})}
    found = compiled(cluster.having(changed), "shop/api", book).snapshot.inbound.isolation
    assert found is not None
    assert found.rules[0].pods == {"10.0.1.77": "spiffe://mesh/ns/shop/sa/new"}


# -- the manifests that operators learn it from


ANYBODY = {"phase": "Running", "podIPs": [{"ip": "10.0.7.7"}]}


@pytest.mark.parametrize(("file", "labels", "inbound", "outbound"), [
    ("networkpolicy-restrict-egress-cidr.yaml", {"app": "backend"}, None, NetworkRule(
        "default/restrict-egress", blocks=(Block("203.0.113.0/24"),))),
    ("networkpolicy-restrict-egress-one-address.yaml", {"role": "backend"}, (), NetworkRule(
        "default/restrict-egress", blocks=(Block("34.102.136.180/32"),), ports=(PortRange(443, 443),))),
    ("networkpolicy-allow-frontend-ingress.yaml", {"role": "frontend"}, NetworkRule(
        "default/allow-frontend-ingress", blocks=(Block("0.0.0.0/0"),), ports=(PortRange(80, 80),)), None),
    ("networkpolicy-myapp-egress.yaml", {"app": "myapp"}, None, NetworkRule(
        "default/myapp-egress", blocks=(Block("192.168.1.0/24"),), ports=(PortRange(80, 80),))),
])
def test_the_usual_manifests(file: str, labels: dict[str, str], inbound: Any, outbound: Any) -> None:
    one = {**pod("default/x", "10.0.7.7", labels, {}), "status": ANYBODY}
    found = compiled(Cluster.of([one, *read_file(ACCEPTANCE / file)]), "default/x").snapshot

    def wanted(rules: Any, *, approves: bool = False) -> Isolation | None:
        if rules is None:
            return None
        name = found.inbound.isolation or found.outbound.isolation
        assert name is not None
        return Isolation(name.policies, rules if isinstance(rules, tuple) else (rules,), approves)

    assert found.inbound.isolation == wanted(inbound)
    assert found.outbound.isolation == wanted(outbound, approves=True)
