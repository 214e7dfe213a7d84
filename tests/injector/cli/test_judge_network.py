"""Each finding once with its cause there, and not without."""

from typing import Any

import pytest

from injector.cli.judge import judge
from injector.cli.manifests import live
from injector.cluster import Cluster
from tests.injector.pods import mesh_policy, namespace

Json = dict[str, Any]


def policy(name: str = "one", of: str = "shop", suppress: str = "", **spec: Any) -> Json:
    annotations = {"bartizan.dev/analyze-suppress": suppress} if suppress else {}
    metadata = {"name": name, "namespace": of, "annotations": annotations}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": {"podSelector": {}, **spec}}


def pod(name: str = "web", *, has_sidecar: bool = True, phase: str = "Running", **spec: Any) -> Json:
    containers = [{"name": "app", "ports": [{"name": "http", "containerPort": 8080}]}]
    return {
        "kind": "Pod", "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
        "spec": {"containers": containers, "initContainers": [{"name": "bartizan-sidecar"}] if has_sidecar else [], **spec},
        "status": {"phase": phase, "podIP": "10.0.0.1"},
    }


SERVICE = {"kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80}]}}
RANGES = mesh_policy(clusterRanges=["10.0.0.0/16", "10.96.0.0/12"])
DNS = {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}
IN, OUT = {"policyTypes": ["Ingress"]}, {"policyTypes": ["Egress"]}


def found(*objects: Json, but: str = "BZ0722") -> list[str]:
    """As `BZ0701 Error text`, of NetworkPolicies."""
    manifests = [live(one) for one in objects if one["kind"] == "NetworkPolicy"]
    cluster = Cluster.of([*objects, *(() if any(one["kind"] == "Namespace" for one in objects) else [namespace()])])
    return [f"{one.finding.code} {one.level} {one.text}" for one in judge(manifests, cluster, 0) if one.finding.code not in but.split()]


def test_nothing_is_wrong_with_a_plain_policy() -> None:
    spec = {"ports": [{"port": "http"}], "from": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}
    assert found(pod(), policy(ingress=[spec]), SERVICE, RANGES) == []


@pytest.mark.parametrize(("spec", "beginning"), [
    ({"ingress": [{"from": [{}]}]}, "BZ0701 Error spec.ingress[0].from[0]: an empty item"),
    ({"ingress": "all"}, "BZ0701 Error spec.ingress: expected a list"),
    ({"podSelector": {"matchLabels": {"app": "wbe"}}}, "BZ0714 Warning it selects no pod, and no workload"),
    ({"ingress": [{"ports": [{"port": "grpc"}]}]}, 'BZ0713 Warning no pod that it selects has a TCP port called "grpc"'),
    ({"egress": [{"ports": [{"port": "grpc"}]}, {"to": [{"namespaceSelector": {}}]}]},
     'BZ0713 Warning no pod that is there has a TCP port called "grpc"'),
    ({"ingress": [{"ports": [{"port": 9, "protocol": "SCTP"}, {"port": 9, "protocol": "UDP"}]}]},
     "BZ0720 Info SCTP and UDP: a sidecar judges"),
    ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.7.0/24"}}]}]}, "BZ0723 Warning 10.0.7.0/24 holds addresses of the cluster alone"),
    ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.96.0.7/32"}}]}]}, "BZ0723 Warning 10.96.0.7/32 is the address of Service shop/web"),
    ({"egress": [{"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"port": 443}]}]}, "BZ0724 Info it isolates what leaves"),
    ({"egress": []}, "BZ0725 Warning `egress` counts for nothing: an empty list is none"),
    ({**IN, "egress": [{}]}, "BZ0725 Warning `egress` counts for nothing: policyTypes does not name Egress"),
    ({**OUT, "egress": [{}], "ingress": []}, "BZ0725 Warning `ingress` counts for nothing: policyTypes does not name Ingress"),
])
def test_each_once(spec: Json, beginning: str) -> None:
    said = found(pod(), policy(**spec), SERVICE, RANGES)
    assert len(said) == 1
    assert said[0].startswith(beginning)
    code = beginning[:6]
    assert found(pod(), policy(suppress=code, **spec), SERVICE, RANGES) == []
    if code != "BZ0701":
        assert found(pod(), policy(**spec), SERVICE, RANGES, namespace(x="elsewhere")) == []    # nobody's business


def other(space: str, app: str) -> Json:
    return {"kind": "Deployment", "metadata": {"name": app, "namespace": space},
            "spec": {"template": {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "app"}]}}}}


@pytest.mark.parametrize(("peer", "words"), [
    ({"namespaceSelector": {"matchLabels": {"name": "shop"}}}, "no namespace that is known here (ops, shop) has its labels; "),
    ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ops"}}}, ""),
    ({"namespaceSelector": {}}, ""),
    ({"podSelector": {"matchLabels": {"app": "web"}}}, ""),
    ({"podSelector": {"matchLabels": {"app": "metrics"}}},
     "it means no pod of namespace shop, and no workload that would make one; of another namespace (ops has one) only with a "),
    ({"podSelector": {"matchLabels": {"app": "wbe"}}}, "it means no pod of namespace shop, and no workload that would make one"),
    ({"podSelector": {"matchLabels": {"app": "web"}}, "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ops"}}},
     "it means no pod of namespace ops, and no workload that would make one"),
    ({"podSelector": {"matchLabels": {"app": "web"}}, "namespaceSelector": {}}, ""),
])
def test_peers_that_are_nobody(peer: Json, words: str) -> None:
    ops = {"kind": "Namespace", "metadata": {"name": "ops"}}
    said = found(pod(), policy(ingress=[{"from": [peer]}]), other("ops", "metrics"), namespace(), ops)
    assert [text.startswith(f"BZ0714 Warning {words}") for text in said] == [True] * bool(words)


@pytest.mark.parametrize(("spec", "is_told"), [
    ({"ingress": [{"ports": [{"port": 80}]}]}, True),
    ({"ingress": [{"ports": [{"port": 8080}]}]}, False),
    ({"ingress": [{"ports": [{"port": 81}]}]}, False),
    ({"ingress": [{"ports": [{"port": 80, "endPort": 9000}]}]}, False),
    ({"ingress": [{"ports": [{"port": 80}, {"port": "http"}]}]}, False),
    ({**OUT, "egress": [DNS, {"ports": [{"port": 80}], "to": [{"podSelector": {"matchLabels": {"app": "web"}}}]}]}, True),
    ({**OUT, "egress": [DNS, {"ports": [{"port": 80}], "to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}]}, False),
    ({**OUT, "egress": [DNS, {"ports": [{"port": 80}]}]}, False),
])
def test_a_port_of_the_service_where_the_pods_own_counts(spec: Json, is_told: bool) -> None:
    service = {"kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
               "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}}
    said = found(pod(), policy(**spec), service, but="BZ0720 BZ0722 BZ0724")
    assert said == ["BZ0713 Warning 80 is a port of Service shop/web, whose pods listen at 8080: write the pods' port, "
                    "which is what is judged"] * is_told


@pytest.mark.parametrize(("changed", "words"), [
    ({"has_sidecar": False}, "it selects web without a sidecar"),
    ({"has_sidecar": False, "hostNetwork": True}, "it selects web in the node's network"),
    ({"has_sidecar": False, "phase": "Succeeded"}, ""),
])
def test_pods_where_no_sidecar_enforces_it(changed: Json, words: str) -> None:
    said = found(pod(**changed), policy(ingress=[{}]))
    assert [text[:6 + len(" Warning ") + len(words)] for text in said] == ([f"BZ0721 Warning {words}"] if words else [])


def test_another_policy_may_list_the_name_server() -> None:
    one = policy(**OUT, egress=[{"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}])
    assert found(pod(), one) == []      # every port
    one["spec"]["egress"][0]["ports"] = [{"port": 443}]
    assert [text[:6] for text in found(pod(), one)] == ["BZ0724"]
    assert [text[:6] for text in found(one)] == ["BZ0724"]      # where nobody is there, it stands for itself
    assert found(pod(), one, policy("dns", **OUT, egress=[DNS]), but="BZ0720 BZ0722") == []
    assert [text[:6] for text in found(pod(), one, policy("dns", podSelector={"matchLabels": {"app": "x"}}, **OUT, egress=[DNS]),
                                       but="BZ0714 BZ0720 BZ0722")] == ["BZ0724"]


def test_a_cni_is_asked_for_once() -> None:
    said = found(pod(), policy("one"), policy("two"), policy("other", of="elsewhere", suppress="BZ0722"), but="")
    assert len(said) == 1
    assert said[0].startswith("BZ0722 Info shop/one, shop/two: the sidecars of meshed pods enforce it for TCP")
    assert found(pod(), policy(suppress="BZ0722"), but="") == []
    assert found(policy(), namespace(x="elsewhere"), but="") == []
