"""The webhook configurations of one revision.

`caBundle` is not among what is printed: the injector's leader writes it, and who applies this again does not take it away. Until it
is there the API server verifies nobody, and refuses (`failurePolicy: Fail`).
"""

from injector.settings import INJECTION_LABEL, REVISION_LABEL, SYSTEM

from .parts import Manifest, metadata
from .plan import Plan

TIMEOUT_S = 5
_PODS = ["pods", "pods/ephemeralcontainers", "pods/resize"]
_CONNECT = ["pods/exec", "pods/attach", "pods/portforward"]


def webhooks(plan: Plan) -> list[Manifest]:
    rules = [
        _rule(["CREATE", "UPDATE"], _PODS), _rule(["UPDATE"], ["pods/status"]), _rule(["CONNECT"], _CONNECT),
        _rule(["CREATE"], ["serviceaccounts/token"]),
    ]
    return [
        _configuration(plan, "MutatingWebhookConfiguration", "mutate", {"rules": rules, "reinvocationPolicy": "IfNeeded"}),
        _configuration(plan, "ValidatingWebhookConfiguration", "validate", {"rules": rules}),
    ]


def _configuration(plan: Plan, kind: str, path: str, rest: Manifest) -> Manifest:
    revision = {"key": REVISION_LABEL, **({"operator": "In", "values": [plan.revision]} if plan.revision else {"operator": "DoesNotExist"})}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
        "metadata": metadata(plan.injector, "injector", namespace="", revision=plan.revision),
        "webhooks": [{
            "name": f"{path}.bartizan.dev",
            "clientConfig": {"service": {"namespace": SYSTEM, "name": plan.injector, "path": f"/{path}", "port": 443}},
            "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail", "matchPolicy": "Equivalent",
            "timeoutSeconds": TIMEOUT_S,
            "namespaceSelector": {"matchExpressions": [{"key": INJECTION_LABEL, "operator": "In", "values": ["enabled"]}, revision]},
            **rest,
        }],
    }


def _rule(operations: list[str], resources: list[str]) -> Manifest:
    return {"apiGroups": [""], "apiVersions": ["v1"], "operations": operations, "resources": resources, "scope": "Namespaced"}
