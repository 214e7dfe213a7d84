from typing import Any

import pytest

from injector.cluster import Cluster
from injector.compile.network_book import NetworkBook
from injector.compile.reach import Reach, Side, find_source, find_targets, reach
from sidecar.model.errors import ConfigError
from tests.helpers.network_policy_oracle import Oracle
from tests.injector.compile.network_policies import CASES, PODS, SIX, WORLD, Case, pod, policy

OF_API = {"podSelector": {"matchLabels": {"app": "api"}}}
FROM_WEB = policy({**OF_API, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 80}]}]})
SERVICE = {
    "kind": "Service", "metadata": {"name": "all", "namespace": "shop"},
    "spec": {"selector": {"tier": "back"}, "clusterIP": "10.96.0.1", "ports": [{"port": 8000, "targetPort": 80}, {"port": 5432}]},
}
OWNED = {**pod("shop/job-x1", "10.0.1.9", {"app": "job"}, {"http": 7000})}
OWNED["metadata"]["ownerReferences"] = [{"kind": "Deployment", "name": "job", "controller": True}]
JOB = {"kind": "Deployment", "metadata": {"name": "job", "namespace": "shop"}}


def asked(manifests: list[dict[str, Any]], source: str, target: str, port: int | None = None) -> list[Reach]:
    cluster, book = Cluster.of(manifests), NetworkBook("mesh")
    begin = find_source(cluster, source)
    return [reach(cluster, begin, end, number, book, "mesh") for end, number in find_targets(cluster, target, port)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_says_what_the_documentation_says(case: Case) -> None:
    oracle = Oracle(case.manifests)
    for text in filter(None, map(str.strip, f"{case.yes}, {case.no}".split(","))):
        source, _, rest = text.partition(" ")
        target, _, port = rest.rpartition(":")
        addresses = [PODS[name][0] if name in PODS else name for name in (source, target)]
        if len({":" in one for one in addresses}) == 1:     # else it finds addresses by which they could meet
            (found,) = asked(case.manifests, source, target, int(port))
            assert found.may is oracle.may_reach(addresses[0], addresses[1], int(port)), text


def test_by_which_policy() -> None:
    (found,) = asked([*WORLD, FROM_WEB], "shop/web", "shop/api", 80)
    assert found == Reach("shop/web", "shop/api", "10.0.1.2", 80, (
        Side("out", may=True, words="no NetworkPolicy selects shop/web for Egress"),
        Side("in", may=True, words="shop/one lists it", policies=("shop/one",), by="shop/one"),
    ))
    (found,) = asked([*WORLD, FROM_WEB, policy(OF_API, "two")], "shop/web", "shop/api", 443)
    assert found.sides[1] == Side(
        "in", may=False, words="isolated by shop/one, shop/two, and none lists shop/web at port 443",
        policies=("shop/one", "shop/two"), code="BZ0112",
    )


def test_what_it_approves_besides() -> None:
    spec = {**OF_API, "policyTypes": ["Egress"], "egress": [{"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}]}
    (found,) = asked([*WORLD, policy(spec)], "shop/api", "203.0.113.7", 443)
    assert (found.may, found.sides[0].approves) == (True, True)
    assert found.sides[1].words == "203.0.113.7 is no pod: NetworkPolicies say nothing of it"
    (found,) = asked([*WORLD, policy(spec)], "shop/api", "198.51.100.9", 443)
    assert (found.may, found.sides[0].code) == (False, "BZ0216")


@pytest.mark.parametrize(("source", "target", "words"), [
    ("shop/web", "shop/db", "shop/one lists it; shop/db has no sidecar: only a CNI enforces it"),
    ("bank/web", "shop/db", "isolated by shop/one, and none lists bank/web at port 5432; shop/db has no sidecar: only a CNI enforces it"),
    ("shop/web", "shop/node", "shop/node is in the node's network: NetworkPolicies do not isolate it"),
])
def test_who_does_not_enforce_it(source: str, target: str, words: str) -> None:
    manifests = [*WORLD, policy({"ingress": [{"from": [{"podSelector": {}}]}]})]
    assert asked(manifests, source, target, 5432)[0].sides[1].words == words


def test_a_policy_that_cannot_be_read_is_the_reason() -> None:
    (found,) = asked([*WORLD, policy({"ingress": [{"from": [{}]}]})], "shop/web", "shop/api", 80)
    assert not found.may
    assert "spec.ingress[0].from[0]: an empty item" in found.sides[1].words


def test_ends_by_name() -> None:
    manifests = [*WORLD, SERVICE, OWNED, JOB, FROM_WEB]
    assert [(one.source, one.to, one.port) for one in asked(manifests, "shop/job", "shop/web")] == [
        ("shop/job-x1", "shop/web", 8080), ("shop/job-x1", "shop/web", 9090)]
    assert [(one.to, one.port, one.may) for one in asked(manifests, "10.0.2.1", "shop/all", 8000)] == [
        ("shop/api", 80, False), ("shop/db", 80, True)]
    assert [(one.to, one.port) for one in asked(manifests, "shop/web", "10.96.0.1", 5432)] == [("shop/api", 5432), ("shop/db", 5432)]
    assert len(asked(manifests, "shop/web", "shop/all")) == 4
    assert asked(manifests, "shop/web", "10.0.1.1", 1)[0].sides == ()       # itself


def test_pods_meet_by_addresses_of_one_family() -> None:
    (found,) = asked(WORLD, "bank/pay", "shop/api", 80)
    assert found.address == "10.0.1.2"
    (found,) = asked(WORLD, SIX, "2001:db8::7", 80)
    assert (found.source, found.may) == ("bank/pay", True)
    (found,) = asked(WORLD, "shop/api", "2001:db8::7", 80)      # of manifests nobody knows the addresses
    assert (found.address, found.may) == ("2001:db8::7", True)


@pytest.mark.parametrize(("source", "target", "port", "why"), [
    ("shop/wbe", "shop/api", 80, "did you mean 'web'"), ("shop/web", "shop/nobody", 80, "no pod or workload is called"),
    ("shop/web", "203.0.113.7", None, "say the port"), ("shop/old", "shop/api", 80, "it does not run"),
    ("shop/web", "shop/all", 1, "no pod that runs is behind that port"), ("shop/web", "shop/bare", None, "lists no port"),
])
def test_who_is_not_there(source: str, target: str, port: int | None, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        asked([*WORLD, SERVICE, pod("shop/bare", "10.0.1.8", {}, {})], source, target, port)
