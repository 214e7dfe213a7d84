"""What is in force where. tests/e2e/kubernetes/test_backstop.py attacks it."""

from injector.manifests.backstop import UNCLAIMED, backstop, unclaimed

from .support import PLANS, one

POLICY, BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"


def test_each_policy_is_in_force_and_fails_closed() -> None:
    made = [one for one in backstop(PLANS["revision"]) if one["metadata"]["name"] != UNCLAIMED]
    names = {found["metadata"]["name"] for found in made if found["kind"] == POLICY}
    assert names == {f"bartizan-injector-v2-{name}" for name in ("pods", "running", "entering", "tokens", "binding")}
    for name in names:
        policy, binding = one(made, POLICY, name)["spec"], one(made, BINDING, name)["spec"]
        assert (policy["failurePolicy"], binding["policyName"], binding["validationActions"]) == ("Fail", name, ["Deny"])
        assert ("paramKind" in policy) == ("paramRef" in binding)


def test_it_holds_the_namespaces_of_its_revision_and_never_those_that_a_cluster_gets_well_by() -> None:
    for name, operator in (("default", {"operator": "DoesNotExist"}), ("revision", {"operator": "In", "values": ["v2"]})):
        for policy in (found for found in backstop(PLANS[name]) if found["kind"] == POLICY and found not in unclaimed()):
            enabled, revision, never = policy["spec"]["matchConstraints"]["namespaceSelector"]["matchExpressions"]
            assert enabled == {"key": "bartizan.dev/injection", "operator": "In", "values": ["enabled"]}
            assert revision == {"key": "bartizan.dev/rev", **operator}
            assert never["values"] == ["bartizan-system", "kube-system", "kube-node-lease"]


def test_without_what_the_leader_writes_no_pod_is_admitted_and_the_rest_goes_on() -> None:
    made = backstop(PLANS["revision"])
    assert {found["metadata"]["name"]: found["spec"]["paramRef"] for found in made if "paramRef" in found["spec"]} == {
        "bartizan-injector-v2-pods": {"name": "bartizan-opt-outs-v2", "namespace": "bartizan-system", "parameterNotFoundAction": "Deny"},
    }


def test_a_namespace_of_a_revision_that_is_not_there_is_held_by_all() -> None:
    made = [found for found in backstop(PLANS["revision"]) if found["metadata"]["name"] == UNCLAIMED]
    assert made == unclaimed() == [found for found in backstop(PLANS["default"]) if found["metadata"]["name"] == UNCLAIMED]
    enabled, never = one(made, POLICY, UNCLAIMED)["spec"]["matchConstraints"]["namespaceSelector"]["matchExpressions"]
    assert (enabled["values"], never["operator"]) == (["enabled"], "NotIn")
    assert "bartizan.dev/rev" not in made[0]["metadata"]["labels"]      # the end of one revision takes it from nobody
