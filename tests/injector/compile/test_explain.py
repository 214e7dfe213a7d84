"""What the control plane says of a question: who asks, with which line, and what approves it or what that lacks."""

from typing import Any

import pytest

from injector.cluster import Cluster
from injector.cluster.objects import Pod
from injector.compile.declared import declared
from injector.compile.explain import asked_steps, find_pod, pod_step
from injector.compile.last_good import LastGood
from sidecar.model.errors import ConfigError
from sidecar.model.explanation import Question, Step

ASKS = "- cidr: 198.51.100.0/24\n  ports: [5432]\n- host: api.partner.example\n- host: '*.store.example'\n- host: eu.store.example\n"


def pod(name: str = "web-1", *, asks: str = ASKS, owner: str = "", sidecar: bool = True, phase: str = "Running") -> dict[str, Any]:
    owners = [{"kind": "Deployment", "name": owner, "controller": True}] if owner else []
    return {
        "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "uid": name, "annotations": {"bartizan.dev/egress": asks}, "ownerReferences": owners,
        },
        "spec": {"serviceAccountName": "web", "initContainers": [{"name": "bartizan-sidecar"}] if sidecar else []},
        "status": {"phase": phase, "podIP": "10.0.0.1"},
    }


def policy(name: str, *hosts: str, account: str = "web", cidrs: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "EgressPolicy", "metadata": {"name": name},
        "spec": {
            "subjects": [{"namespace": "shop", "serviceAccounts": [account]}], "hosts": [{"host": host} for host in hosts],
            "ranges": [{"cidr": cidr} for cidr in cidrs],
        },
    }


def deployment(name: str, asks: str = "") -> dict[str, Any]:
    annotations = {"bartizan.dev/egress": asks} if asks else {}
    return {"kind": "Deployment", "metadata": {"name": name, "namespace": "shop", "annotations": annotations}}


def say(question: Question, *objects: dict[str, Any], is_service: bool = False, is_observed: bool = False) -> tuple[Step, Step]:
    cluster = Cluster.of([pod(), *objects] if not any(one["kind"] == "Pod" for one in objects) else objects)
    found = next(iter(cluster.pods.values()))
    requests = declared(found, cluster, LastGood()).egress
    first, second = asked_steps(found, cluster, requests, question, is_service=is_service, is_observed=is_observed)
    return first, second


def test_a_gateway_that_is_not_there_is_said_where_it_is_named() -> None:
    gated = policy("gated", "api.partner.example")
    gated["spec"]["gateway"] = {"namespace": "gateways", "service": "egres"}
    _, found = say(Question("api.partner.example", 80), gated)
    assert (found.outcome, found.code) == ("refused", "BZ0214")
    assert "may leave through the gateway egres.gateways alone, which is no Service" in found.words


def test_no_line_of_an_annotation_that_has_only_one() -> None:
    one_line = pod(asks='[{"host":"a.example"},{"host":"api.partner.example"}]')
    request, _ = say(Question("api.partner.example", 80), one_line)
    assert request.facts["entry"] == "2 of the annotation on Pod web-1"


@pytest.mark.parametrize(("host", "entry", "line"), [
    ("api.partner.example", 2, 3), ("API.partner.example.", 2, 3), ("us.store.example", 3, 4), ("a.b.store.example", 3, 4),
    ("eu.store.example", 4, 5), ("198.51.100.7", 1, 1),
])
def test_the_line_that_asks(host: str, entry: int, line: int) -> None:
    request, _ = say(Question(host, 5432))
    assert request.outcome == "ok"
    assert request.facts["entry"] == f"{entry}, in line {line} of the annotation on Pod web-1"


@pytest.mark.parametrize("host", ["partner.example", "xapi.partner.example", "store.example", "203.0.113.1"])
def test_what_nobody_asks_for(host: str) -> None:
    request, request_policy = say(Question(host, 80), policy("partners", "partner.example", "store.example", cidrs=("203.0.113.0/24",)))
    assert (request.outcome, request.code) == ("refused", "BZ0201")
    assert (request_policy.outcome == "ok") is (host != "xapi.partner.example")
    assert "once it is asked for" in request_policy.words or request_policy.outcome == "refused"


def test_the_workloads_annotation_counts() -> None:
    request, _ = say(Question("late.example", 80), pod(owner="web"), deployment("web", "# new\n- host: late.example\n"))
    assert request.facts["entry"] == "1, in line 2 of the annotation on Deployment web"


def test_which_policies_look_at_the_workload() -> None:
    _, found = say(Question("api.partner.example", 80), policy("a", "api.partner.example", account="other"), policy("b", "other.example"))
    assert (found.outcome, found.facts) == ("refused", {"policies for this workload": "b"})
    assert "service account web of namespace shop" in found.words
    _, found = say(Question("api.partner.example", 80), policy("a", "api.partner.example"))
    assert (found.outcome, found.facts) == ("ok", {"policies for this workload": "a"})


def test_what_is_observed_is_not_refused() -> None:
    steps = say(Question("new.example", 80), is_observed=True)
    assert [one.outcome for one in steps] == ["unknown", "unknown"]
    assert all("observed" in one.words for one in steps)


def test_a_service_needs_neither() -> None:
    assert [one.outcome for one in say(Question("orders", 80), is_service=True)] == ["ok", "ok"]


@pytest.mark.parametrize(("changed", "outcome"), [({}, "ok"), ({"sidecar": False}, "refused"), ({"phase": "Succeeded"}, "failed")])
def test_the_pod_itself(changed: dict[str, Any], outcome: str) -> None:
    assert pod_step(Pod(pod(**changed))).outcome == outcome


def test_a_pod_by_its_name_or_its_workloads() -> None:
    cluster = Cluster.of([pod("web-1", owner="web", phase="Failed"), pod("web-2", owner="web"), deployment("web")])
    assert [find_pod(cluster, f"shop/{name}").name for name in ("web-1", "web-2", "web")] == ["web-1", "web-2", "web-2"]
    for name in ("shop/wep", "web-1", "shopping/web-1", "", "/"):
        with pytest.raises(ConfigError):
            find_pod(cluster, name)
    with pytest.raises(ConfigError, match="did you mean 'web'"):
        find_pod(cluster, "shop/wep")
