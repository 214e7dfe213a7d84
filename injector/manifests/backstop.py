"""ValidatingAdmissionPolicies: what the API server refuses by itself in namespaces of the mesh, whoever of us is away.

They stand behind the webhook, which patches and explains; what it lets through passes here, and what never reached it does not:

    pods        a new pod has our parts as they are rendered, and no other container can get round them; or it may opt out
    running     our containers and words stay as they were admitted; debugging containers are held to the same demands
    entering    nobody enters our containers
    tokens      nobody but a kubelet asks for a token that is good for a sidecar's certificate
    binding     who puts a pod on a node writes no words of ours on it on the way

Mirror pods show what a node runs anyway; they are the kubelets' alone. Of new pods it must be known what MeshPolicies allow, and which
roots are the mesh's: from the ConfigMap of `injector/opt_outs.py`. Without that ConfigMap, or before the leader has written it, no pod
is admitted. Pod Security at `baseline` cannot be had in these namespaces, because of the interception's NET_ADMIN: `theirs.py` asks
what concerns the network of every other container instead.

Trust: requests come from whoever may make them, also while no webhook answers; what CEL cannot evaluate is refused. The level `strict`
of a MeshPolicy is the webhook's alone. Attacked by tests/e2e/kubernetes/test_backstop.py, on a real API server.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from injector import documents
from injector.cluster.objects import INTERCEPTION, SIDECAR
from injector.containers import CONTAINERS
from injector.opt_outs import EXCLUSIONS, OPT_OUT, ROOTS, UDP, opt_outs_of
from injector.review import SETTLED
from injector.settings import SYSTEM, Settings
from sidecar.model.passage import EXCLUDE_NETWORK

from .cel import cel, either
from .injector import rendered_by
from .ours import part_demands
from .parts import Manifest, metadata
from .plan import Plan
from .theirs import Validation, absence_demands, containers_demands, pod_demands
from .webhooks import HAS_SIDECAR, NO_MIRROR, OUR_TOKEN, OURS_ENTERED, rule, selector

_KEPT = (documents.STATUS, documents.ROOTS, *SETTLED)       # words that nobody changes on a running pod
_OURS = cel(list(CONTAINERS))
UNCLAIMED = "bartizan-unclaimed"
BARE = ("the pod has no sidecar where it belongs. The webhook of its namespace's revision puts it there: does it answer, and is the "
        "namespace's label bartizan.dev/rev, if it has one, right? bartizan check")


def backstop(plan: Plan) -> list[Manifest]:
    settings, running = rendered_by(plan), ["pods", "pods/status", "pods/resize", "pods/ephemeralcontainers"]
    parameters = {"name": opt_outs_of(plan.revision), "namespace": SYSTEM, "parameterNotFoundAction": "Deny"}
    return [
        *_policy(plan, "pods", [rule(["CREATE"], ["pods"])], {**_POD_VARIABLES, "amounts": _amounts(settings)},
                 _pod_demands(settings), [NO_MIRROR], parameters),
        *_policy(plan, "running", [rule(["UPDATE"], running)], _RUNNING_VARIABLES, _running_demands(), [HAS_SIDECAR]),
        *_policy(plan, "entering", [rule(["CONNECT"], ["pods/exec", "pods/attach", "pods/portforward"])], {}, [
            Validation(f"!({OURS_ENTERED})", cel("nobody enters a container of the mesh, which holds the pod's key; use another")),
        ]),
        *_policy(plan, "tokens", [rule(["CREATE"], ["serviceaccounts/token"])], {}, [
            Validation(f"!({OUR_TOKEN})", cel("a token for this audience is good for a sidecar's certificate, and for kubelets alone")),
        ]),
        *_policy(plan, "binding", [rule(["CREATE"], ["pods/binding", "bindings"])], {}, [
            Validation(f"!object.metadata.?{of}.orValue({{}}).exists(word, word.startsWith('bartizan.dev/'))",
                       cel(f"a binding gives its {of} to the pod; those of the mesh are settled when the pod is created"))
            for of in ("annotations", "labels")
        ]),
        *unclaimed(),
    ]


def unclaimed() -> list[Manifest]:
    """Of all revisions: a namespace of the mesh whose revision is not there has neither webhook nor policy of its own, and gets no pods."""
    has_sidecar = either([
        f"object.spec.?{field}.orValue([]).exists(one, one.name == {cel(SIDECAR)})" for field in ("initContainers", "containers")
    ])
    is_out = f"object.metadata.?labels.orValue({{}})[?{cel(documents.INJECTION)}] == optional.of('disabled')"
    return _in_force(metadata(UNCLAIMED, "injector", namespace=""), {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "matchPolicy": "Equivalent", "namespaceSelector": selector(None), "resourceRules": [rule(["CREATE"], ["pods"])],
        },
        "matchConditions": [{"name": "ours-0", "expression": NO_MIRROR}],
        "validations": [Validation(either([has_sidecar, is_out]), cel(BARE)).manifest],
    }, {})


# -- new pods


def _first_line(key: str) -> str:
    """What the first line that selects the pod allows; empty where none does."""
    text = f"(has(params.data) && {cel(key)} in params.data ? params.data[{cel(key)}] : '')"
    lines = f"{text}.split('\\n').filter(line, line != '').map(line, line.split('\\t'))"
    is_here = "line[0] == '' || request.namespace in line[0].split(',')"
    pair = "pair.split('=')"
    is_labelled = f"line[1] == '' || line[1].split(',').all(pair, variables.labels[?{pair}[0]] == optional.of({pair}[1]))"
    return f"{lines}.filter(line, ({is_here}) && ({is_labelled})).map(line, line[2])"


_FIRST = "{0}.size() > 0 ? {0}[0] : ''"
_POD_VARIABLES: Mapping[str, str] = {
    "spec": "object.spec",
    "labels": "object.metadata.?labels.orValue({})",
    "annotations": "object.metadata.?annotations.orValue({})",
    "inner": "object.spec.?initContainers.orValue([])",
    "outer": "object.spec.containers",
    "older": f"variables.annotations[?{cel(documents.NATIVE_SIDECAR)}].orValue('true') == 'false'",
    "wantsApi": f"{cel(documents.WORKLOAD_API)} in variables.annotations",
    "isOut": f"variables.labels[?{cel(documents.INJECTION)}].orValue('') == 'disabled'",
    "optOuts": _first_line(OPT_OUT),
    "interception": "variables.inner.size() > 0 ? variables.inner[0] : {}",
    "sidecar": "variables.older ? variables.outer[0] : variables.inner.size() > 1 ? variables.inner[1] : {}",
    "uid": "variables.sidecar.?securityContext.?runAsUser.orValue(0)",
    # Those that bear our names where these do not belong are others, too.
    "others": f"(variables.inner + variables.outer).filter(one, !(one.name in {_OURS}))",
    "arguments": "variables.interception.?args.orValue([]).join(' ')",
    "exemption": "'intercept --exempt-uid ' + string(variables.uid)",
    # An argument that holds a space is one option here and none there: the interception fails, and the pod does not start.
    "passing": "variables.arguments.replace(variables.exemption, '', 1).split(' --').filter(word, word != '').map(word, '--' + word)",
    "datagrams": _first_line(UDP),
    "exclusions": _first_line(EXCLUSIONS),
    "allowed": f"(({_FIRST.format('variables.datagrams')}) + ',' + ({_FIRST.format('variables.exclusions')})).split(',')",
    "roots": f"variables.annotations[?{cel(documents.ROOTS)}].orValue('').split('-----END CERTIFICATE-----')"
             ".map(part, part.trim()).filter(part, part != '')",
}


def _amounts(settings: Settings) -> str:
    """JSON, which is CEL; spelt as Helm spells it."""
    return json.dumps(settings.resources, sort_keys=True, separators=(",", ":"))


def _pod_demands(settings: Settings) -> list[Validation]:
    in_mesh = [
        Validation(
            f"variables.interception.?name.orValue('') == {cel(INTERCEPTION)} && variables.sidecar.?name.orValue('') == {cel(SIDECAR)}",
            cel(BARE)),
        Validation(
            f"(variables.inner + variables.outer).filter(one, one.name in {_OURS}).size() == 2",
            cel("a container bears a name of the mesh where that does not belong; rename it")),
        *part_demands(settings),
        *_passing_demands(),
        *_root_demands(),
        *pod_demands(),
        *containers_demands("others"),
    ]
    allowed = "variables.optOuts.size() > 0 && variables.optOuts[0] == 'true'"
    return [
        Validation(f"!variables.isOut || ({allowed})",
                   cel(f"the pod is labelled {documents.INJECTION}=disabled, but no MeshPolicy with `optOut: true` selects it")),
        *(demand.unless("!variables.isOut") for demand in absence_demands()),
        *(demand.unless("variables.isOut") for demand in in_mesh),
    ]


def _passing_demands() -> list[Validation]:
    """Each option of the interception's is one that the MeshPolicy lists; addresses may be fewer than it lists."""
    words, listed = ("word.split(' ')", "listed.split(' ')")
    is_within = (
        f"{words}.size() == 2 && {words}[0] == {cel(EXCLUDE_NETWORK)} && isCIDR({words}[1]) && variables.allowed.exists(listed, "
        f"{listed}[0] == {cel(EXCLUDE_NETWORK)} && cidr({listed}[1]).containsCIDR(cidr({words}[1])))"
    )
    refused = f"!({either(['word in variables.allowed', is_within])})"
    return [Validation(
        f"!variables.passing.exists(word, {refused})",
        f"'no MeshPolicy that selects the pod lets it have ' + variables.passing.filter(word, {refused})[0]")]


def _root_demands() -> list[Validation]:
    """Who is told to trust another root has another control plane, which `hostAliases` can lead it to."""
    known = f"(has(params.data) && {cel(ROOTS)} in params.data ? params.data[{cel(ROOTS)}] : '')"
    return [
        Validation("variables.roots.size() > 0", cel(f"the annotation {documents.ROOTS} is missing; the webhook writes it")),
        Validation(f"variables.roots.all(part, {known}.contains(part))",
                   cel(f"the annotation {documents.ROOTS} holds a root that is none of the mesh's; remove it, and the webhook writes it")),
    ]


# -- running pods

_RUNNING_VARIABLES: Mapping[str, str] = {
    "spec": "object.spec",
    "uid": f"(object.spec.?initContainers.orValue([]) + object.spec.containers).filter(one, one.name == {cel(SIDECAR)})"
           ".map(one, one.?securityContext.?runAsUser.orValue(0))[0]",
    "before": "oldObject.spec.?ephemeralContainers.orValue([])",
    "debugging": "object.spec.?ephemeralContainers.orValue([]).filter(one, !(one in variables.before))",
}


def _running_demands() -> list[Validation]:
    def ours(what: str, field: str) -> str:
        return f"{what}.spec.?{field}.orValue([]).filter(one, one.name in {_OURS})"

    def word(what: str, name: str) -> str:
        return f"{what}.metadata.?annotations.orValue({{}})[?{cel(name)}]"

    return [
        *(Validation(f"{ours('object', field)} == {ours('oldObject', field)}",
                     cel("a container of the mesh would change; create the pod anew instead"))
          for field in ("initContainers", "containers")),
        *(Validation(f"{word('object', name)} == {word('oldObject', name)}",
                     cel(f"{name} is settled when the pod is created; leave it as it is")) for name in _KEPT),
        *containers_demands("debugging"),
    ]


# -- a policy and what puts it in force


def _policy(
    plan: Plan, name: str, rules: list[Manifest], variables: Mapping[str, str], demands: Sequence[Validation],
    conditions: Sequence[str] = (), parameters: Manifest | None = None,
) -> list[Manifest]:
    about = metadata(f"{plan.injector}-{name}", "injector", namespace="", revision=plan.revision)
    spec: dict[str, Any] = {
        "failurePolicy": "Fail",
        "matchConstraints": {"matchPolicy": "Equivalent", "namespaceSelector": selector(plan.revision), "resourceRules": rules},
        "variables": [{"name": variable, "expression": expression} for variable, expression in variables.items()],
        "validations": [demand.manifest for demand in demands],
    }
    if conditions:
        spec["matchConditions"] = [{"name": f"ours-{i}", "expression": condition} for i, condition in enumerate(conditions)]
    if parameters is not None:
        spec["paramKind"] = {"apiVersion": "v1", "kind": "ConfigMap"}
    return _in_force(about, spec, {"paramRef": parameters} if parameters is not None else {})


def _in_force(about: Manifest, spec: Manifest, bound: Manifest) -> list[Manifest]:
    group = "admissionregistration.k8s.io/v1"
    binding = {"policyName": about["name"], "validationActions": ["Deny"], **bound}
    return [
        {"apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": about, "spec": spec},
        {"apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": about, "spec": binding},
    ]
