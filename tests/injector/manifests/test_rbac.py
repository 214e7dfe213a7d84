"""Verb by verb: what issuer and injector may, and that they may no more. tests/e2e/kubernetes asks a real API server."""

from typing import Any

import pytest

from injector.manifests.plan import Plan, read_plan
from injector.manifests.rbac import injector_roles, issuer_roles, rbac
from injector.opt_outs import opt_outs_of

from .support import PLANS, one


def rules(objects: list[dict[str, Any]], kind: str, name: str) -> set[tuple[str, str, tuple[str, ...]]]:
    """(verb, resource, names)"""
    return {(verb, resource, tuple(rule.get("resourceNames", ()))) for rule in one(objects, kind, name)["rules"]
            for verb in rule["verbs"] for resource in rule["resources"]}


def test_the_issuer_reads_pods_asks_about_tokens_and_keeps_two_objects() -> None:
    made = issuer_roles(Plan())
    assert rules(made, "ClusterRole", "bartizan-issuer") == {("create", "tokenreviews", ()), ("get", "pods", ())}
    assert rules(made, "Role", "bartizan-issuer") == {
        (verb, resource, names) for verb in ("create", "get", "patch")
        for resource, names in (("secrets", ("bartizan-authority",)), ("configmaps", ("bartizan-roots",)))
    }


def test_it_signs_for_the_api_server_only_where_it_is_told_to() -> None:
    signers = ("approve", "signers", ("bartizan.dev/workload",))
    assert signers in rules(issuer_roles(PLANS["full"]), "ClusterRole", "bartizan-issuer")
    assert signers not in rules(issuer_roles(Plan()), "ClusterRole", "bartizan-issuer")


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_the_injector_changes_nothing_but_its_own(plan: Plan) -> None:
    made, name = injector_roles(plan), plan.injector
    writes = {rule for kind in ("ClusterRole", "Role") for rule in rules(made, kind, name) if rule[0] not in ("get", "list", "watch")}
    assert writes == {
        ("create", "configmaps", (opt_outs_of(plan.revision),)), ("patch", "configmaps", (opt_outs_of(plan.revision),)),
        ("create", "events", ()), ("patch", "events", ()), ("create", "leases", ()),
        ("patch", "leases", (name,)),
        ("patch", "mutatingwebhookconfigurations", (name,)), ("patch", "validatingwebhookconfigurations", (name,)),
        *(("patch", f"{told}/status", ()) for told in ("ingresses", "gatewayclasses", "gateways", "httproutes")),
    }


def test_secrets_are_read_where_the_plan_says_and_nowhere_else() -> None:
    def bound(plan: Plan) -> set[str]:
        return {made["metadata"].get("namespace", "EVERYWHERE") for made in injector_roles(plan)
                if made["kind"].endswith("RoleBinding") and made["roleRef"]["name"] == "bartizan-injector-secrets"}

    assert bound(Plan()) == set()
    assert bound(read_plan(sets=["secretNamespaces=[shop, billing]"])) == {"shop", "billing"}
    for kind in ("ClusterRole", "Role"):
        assert not {rule for rule in rules(injector_roles(Plan()), kind, "bartizan-injector") if rule[1] == "secrets"}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_no_rule_has_a_star(plan: Plan) -> None:
    for made in rbac(plan):
        for rule in made.get("rules", ()):
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])


def test_nobody_gets_a_token_by_itself() -> None:
    accounts = [made for made in rbac(Plan()) if made["kind"] == "ServiceAccount"]
    assert [made["automountServiceAccountToken"] for made in accounts] == [False, False]
