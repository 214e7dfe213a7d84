"""Who is asked about what, as it is printed. tests/e2e/kubernetes/test_webhooks.py shows who is asked in truth."""

from typing import Any

from injector.manifests.webhooks import webhooks

from .support import PLANS


def _hooks(plan: str = "default") -> dict[tuple[str, str], dict[str, Any]]:
    return {(made["kind"].removesuffix("WebhookConfiguration"), hook["name"].partition(".")[0]): hook
            for made in webhooks(PLANS[plan]) for hook in made["webhooks"]}


def test_who_does_not_answer_admits_nothing() -> None:
    for (kind, _), hook in _hooks().items():
        assert (hook["failurePolicy"], hook["timeoutSeconds"], hook["sideEffects"]) == ("Fail", 5, "None")
        assert hook["matchPolicy"] == "Equivalent"
        assert hook["clientConfig"] == {"service": {
            "namespace": "bartizan-system", "name": "bartizan-injector", "port": 443,
            "path": "/mutate" if kind == "Mutating" else "/validate",
        }}
        assert hook.get("reinvocationPolicy") == ("IfNeeded" if kind == "Mutating" else None)


def test_what_needs_no_answer_is_never_asked() -> None:
    """Outside of the mesh only a pod that asks for a sidecar there, our labels on namespaces, our policies, and what we serve."""
    for (_, name), hook in _hooks("revision").items():
        if name in ("policies", "namespaces"):
            assert {rule["scope"] for rule in hook["rules"]} == {"Cluster"}
            continue
        *rest, never = hook["namespaceSelector"]["matchExpressions"]
        assert never == {"key": "kubernetes.io/metadata.name", "operator": "NotIn",
                         "values": ["bartizan-system", "kube-system", "kube-node-lease"]}
        if name == "edge":
            assert rest == []
            assert len(hook["matchConditions"]) == 2
        elif name == "apart":
            assert hook["objectSelector"] == {"matchLabels": {"bartizan.dev/injection": "enabled"}}
        else:
            assert {"key": "bartizan.dev/rev", "operator": "In", "values": ["v2"]} in rest
            assert hook["matchConditions"]


def test_what_is_asked_about() -> None:
    asked = {key: sorted({one for rule in hook["rules"] for one in rule["resources"]}) for key, hook in _hooks().items()}
    assert asked["Mutating", "pods"] == asked["Validating", "pods"] == ["pods"]
    assert asked["Mutating", "debugging"] == ["pods/ephemeralcontainers"]
    assert asked["Validating", "running"] == ["pods", "pods/resize", "pods/status"]
    assert asked["Validating", "entering"] == ["pods/attach", "pods/exec", "pods/portforward"]
    assert asked["Validating", "tokens"] == ["serviceaccounts/token"]
    assert asked["Validating", "workloads"] == ["cronjobs", "daemonsets", "deployments", "jobs", "replicasets", "statefulsets"]
    assert asked["Validating", "edge"] == ["httproutes", "ingresses"]
    assert asked["Validating", "policies"] == ["egresspolicies", "meshpolicies"]
    assert all("DELETE" not in rule["operations"] for hook in _hooks().values() for rule in hook["rules"])
