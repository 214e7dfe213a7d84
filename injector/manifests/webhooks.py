"""The webhook configurations of one revision: what the API server asks the injector about, and what it goes on with by itself.

With `failurePolicy: Fail` a control plane that is away stops what it would have been asked about. So little is asked: in namespaces of
the mesh (of this revision) new pods, workloads whose template or words of ours change, and of running pods only what would touch our
containers or words of ours. Kubelets' status reports, a Job's finalizers, `kubectl exec` into an application: none of them waits for us.
Outside of the mesh: a pod that asks for a sidecar there (it would run without one, in silence), labels of ours on namespaces, and our
policies, and what is to be served at the edge: Ingresses of the class `bartizan`, and where `bartizan.dev/edge` stands. Never anything in
our own namespace, kube-system or kube-node-lease.

Each webhook has its conditions in CEL, which the API server evaluates before it calls. They save calls and are no protection by
themselves: what they leave out is judged by `backstop.py`. `caBundle` is not here: the control plane writes it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from injector.cluster import NAME_OF_NAMESPACE
from injector.cluster.kinds import OLD_CLASS
from injector.cluster.objects import TEMPLATES
from injector.containers import AUDIENCE, CONTAINERS
from injector.decide import MIRROR
from injector.documents import EDGE, INJECTION, REVISION
from injector.review import NODES
from injector.settings import INGRESS_CLASS, SYSTEM, UNMESHED
from sidecar.model import ports

from .cel import cel, either
from .parts import Manifest, metadata
from .plan import Plan

TIMEOUT_S = 5

# -- conditions, in CEL

NO_MIRROR = f"!({cel(MIRROR)} in object.metadata.?annotations.orValue({{}}) && {cel(NODES)} in request.userInfo.groups)"
OURS_ENTERED = either([
    f"object.?container.orValue('') in {cel(list(CONTAINERS))}",
    f"object.?ports.orValue([]).exists(one, one in {cel(sorted(ports.OWN))})",
])
OUR_TOKEN = f"{cel(AUDIENCE)} in object.spec.?audiences.orValue([]) && !({cel(NODES)} in request.userInfo.groups)"


def _words_change(of: str) -> str:
    """Whether any annotation or label of ours comes, goes, or gets another value."""
    now, before = f"object.metadata.?{of}.orValue({{}})", f"(oldObject == null ? {{}} : oldObject.metadata.?{of}.orValue({{}}))"
    comes = f"{now}.exists(word, word.startsWith('bartizan.dev/') && (!(word in {before}) || {before}[word] != {now}[word]))"
    return f"({comes} || {before}.exists(word, word.startsWith('bartizan.dev/') && !(word in {now})))"


def _ours_change(field: str) -> str:
    now, before = (
        f"{what}.spec.?{field}.orValue([]).filter(one, one.name in {cel(list(CONTAINERS))})" for what in ("object", "oldObject")
    )
    return f"{now} != {before}"


WORDS_CHANGE = either([_words_change("annotations"), _words_change("labels")])      # a new object without any is not asked about
RUNNING_CHANGES = either([
    _words_change("annotations"), _words_change("labels"), _ours_change("initContainers"), _ours_change("containers"),
])
HAS_SIDECAR = either([
    f"oldObject.spec.?{field}.orValue([]).exists(one, one.name in {cel(list(CONTAINERS))})" for field in ("initContainers", "containers")
])
_ANNOTATIONS = "object.metadata.?annotations.orValue({})"
OF_THE_EDGE = either([
    f"{cel(EDGE)} in {_ANNOTATIONS}", f"object.spec.?ingressClassName.orValue('') == {cel(INGRESS_CLASS)}",
    f"{_ANNOTATIONS}[?{cel(OLD_CLASS)}].orValue('') == {cel(INGRESS_CLASS)}",
])
EDGE_CHANGES = either(["oldObject == null", WORDS_CHANGE, "object.spec != oldObject.spec"])
TEMPLATE_CHANGES = either([
    "oldObject == null", WORDS_CHANGE, *(f"object.spec.?{field} != oldObject.spec.?{field}" for field in ("template", "jobTemplate")),
])


# -- the configurations


def webhooks(plan: Plan) -> list[Manifest]:
    here = {"namespaceSelector": selector(plan.revision)}
    pods = [rule(["CREATE"], ["pods"])]
    debugging = [rule(["UPDATE"], ["pods/ephemeralcontainers"])]
    workloads = [
        rule(["CREATE", "UPDATE"], [f"{kind.lower()}s" for kind in TEMPLATES if (kind in ("Job", "CronJob")) == (group == "batch")], group)
        for group in ("apps", "batch")
    ]
    apart = {"objectSelector": {"matchLabels": {INJECTION: "enabled"}}, "namespaceSelector": {"matchExpressions": [
        {"key": INJECTION, "operator": "NotIn", "values": ["enabled"]}, _NEVER,
    ]}}
    return [
        _configuration(plan, "Mutating", [
            _webhook(plan, "mutate", "pods", pods, [NO_MIRROR], {**here, "reinvocationPolicy": "IfNeeded"}),
            _webhook(plan, "mutate", "debugging", debugging, [HAS_SIDECAR], {**here, "reinvocationPolicy": "IfNeeded"}),
        ]),
        _configuration(plan, "Validating", [
            _webhook(plan, "validate", "pods", pods, [NO_MIRROR], here),
            _webhook(plan, "validate", "debugging", debugging, [HAS_SIDECAR], here),
            _webhook(plan, "validate", "running", [rule(["UPDATE"], ["pods", "pods/status", "pods/resize"])], [RUNNING_CHANGES], here),
            _webhook(plan, "validate", "entering", [rule(["CONNECT"], ["pods/exec", "pods/attach", "pods/portforward"])],
                     [OURS_ENTERED], here),
            _webhook(plan, "validate", "tokens", [rule(["CREATE"], ["serviceaccounts/token"])], [OUR_TOKEN], here),
            _webhook(plan, "validate", "workloads", workloads, [TEMPLATE_CHANGES], here),
            _webhook(plan, "validate", "apart", pods, [], apart),
            _webhook(plan, "validate", "policies", [rule(
                ["CREATE", "UPDATE"], ["egresspolicies", "meshpolicies"], "bartizan.dev", version="v1alpha1", scope="Cluster")], [], {}),
            _webhook(plan, "validate", "edge", [
                rule(["CREATE", "UPDATE"], ["ingresses"], "networking.k8s.io"),
                rule(["CREATE", "UPDATE"], ["httproutes"], "gateway.networking.k8s.io"),
            ], [OF_THE_EDGE, EDGE_CHANGES], {"namespaceSelector": {"matchExpressions": [_NEVER]}}),
            _webhook(plan, "validate", "namespaces", [rule(["CREATE", "UPDATE"], ["namespaces"], scope="Cluster")], [WORDS_CHANGE], {}),
        ]),
    ]


_NEVER = {"key": NAME_OF_NAMESPACE, "operator": "NotIn", "values": list(UNMESHED)}


def selector(revision: str | None) -> Manifest:
    """The namespaces of the mesh that have this control plane; None: all of the mesh."""
    own: Manifest = {"operator": "In", "values": [revision]} if revision else {"operator": "DoesNotExist"}
    of = [] if revision is None else [{"key": REVISION, **own}]
    return {"matchExpressions": [{"key": INJECTION, "operator": "In", "values": ["enabled"]}, *of, _NEVER]}


def rule(
    operations: Sequence[str], resources: Sequence[str], group: str = "", *, version: str = "v1", scope: str = "Namespaced",
) -> Manifest:
    return {
        "apiGroups": [group], "apiVersions": [version], "operations": list(operations), "resources": list(resources), "scope": scope,
    }


def _configuration(plan: Plan, kind: str, hooks: list[Manifest]) -> Manifest:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": f"{kind}WebhookConfiguration",
        "metadata": metadata(plan.injector, "injector", namespace="", revision=plan.revision), "webhooks": hooks,
    }


def _webhook(
    plan: Plan, path: str, name: str, rules: list[Manifest], conditions: Sequence[str], more: Mapping[str, Any],
) -> Manifest:
    found: Manifest = {
        "name": f"{name}.bartizan.dev",
        "clientConfig": {"service": {"namespace": SYSTEM, "name": plan.injector, "path": f"/{path}", "port": 443}},
        "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail", "matchPolicy": "Equivalent",
        "timeoutSeconds": TIMEOUT_S, "rules": rules, **more,
    }
    if conditions:
        found["matchConditions"] = [{"name": f"ours-{i}", "expression": condition} for i, condition in enumerate(conditions)]
    return found
