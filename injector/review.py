"""An AdmissionReview in, its answer out. Pure: nothing is asked and nothing is changed, so that a dry run is the same thing.

Trust: the body comes from whoever reaches the webhook, the object from whoever may create one. A body that is no review is
answered 400; a review is always answered with its own uid, and what is wrong with the object is said all at once. Attacked by
tests/injector/test_review.py.
"""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec

from sidecar.model import ports
from sidecar.model.call import Answer
from sidecar.model.errors import ConfigError

from . import documents
from .cluster import Cluster
from .cluster.objects import TEMPLATES, Object, Pod, at, text, texts
from .compile.egress import Asker, unapproved
from .compile.mesh import mesh_settings
from .containers import AUDIENCE, CONTAINERS, VOLUMES
from .decide import MIRROR, Refuse, Skip, decide, exempt_uid
from .edge_review import KINDS as EDGE_KINDS
from .edge_review import mistakes, not_in_force
from .exclude import exclusion_problems
from .form import costs
from .hardening import container_reasons, left_open, left_open_by
from .json_patch import pointer
from .json_text import read_json
from .patch import patch_ephemeral, patch_pod
from .settings import UNMESHED, Settings
from .validate import Invalid, Problem, annotation_problems, name_problems, read_egress, read_policy

API_VERSION = "admission.k8s.io/v1"
MAX_BODY_BYTES = 6 * 1024 * 1024    # two objects of the API server's largest size
MOST_WORDS_BYTES = 16 * 1024        # of a refusal
MOST_PARTS = 1000       # of a pod: containers of each kind, volumes
MOST_WARNINGS = 20      # the API server shows 4 KiB of them
SETTLED = (documents.WORKLOAD_API, documents.EXCLUDE, documents.NATIVE_SIDECAR)       # annotations that count when a pod is created


NODES = "system:nodes"      # the kubelets' group: the API server gives it to nobody else

Operations = list[dict[str, Any]]       # of a JSON Patch
Warnings = tuple[str, ...]
_ROOTS_PATH = pointer(("metadata", "annotations", documents.ROOTS))


@dataclass(frozen=True, slots=True)
class Request:
    """
    Args:
        kind: of the object, `Pod`.
        subresource: `ephemeralcontainers`, `status`, `resize`, or empty.
        old: the object as it was, on UPDATE.
        groups: of who asks.
    """

    uid: str
    kind: str
    subresource: str
    operation: str
    namespace: str
    object: Mapping[str, Any]
    old: Mapping[str, Any]
    groups: tuple[str, ...]


def review(body: bytes, settings: Settings, cluster: Cluster, *, may_patch: bool = True) -> Answer:
    """The HTTP answer to one call of the webhook.

    Args:
        may_patch: whether the API server would heed a patch. Where it would not, an object that needs one is refused.
    """
    try:
        request = _parse(body)
    except ConfigError as exc:
        return Answer.error(400, f"not an AdmissionReview of {API_VERSION}: {exc}")
    response: dict[str, Any] = {"uid": request.uid, "allowed": True}
    try:
        operations, warnings = _judge(request, settings, cluster)
        if not may_patch:
            _refuse_if(_unpatched_problems(operations))
        elif operations:
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(msgspec.json.encode(operations)).decode()}
        if warnings:
            more = [f"... and {len(warnings) - MOST_WARNINGS} more"] if len(warnings) > MOST_WARNINGS else []
            response["warnings"] = [f"bartizan: {warning}" for warning in (*warnings[:MOST_WARNINGS], *more)]
    except (Invalid, ConfigError) as exc:
        response |= {"allowed": False, "status": {"code": 403, "reason": "Forbidden", "message": _words(exc)}}
    return Answer(200, msgspec.json.encode({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}))


def _words(refusal: Exception) -> str:
    text = f"bartizan: {refusal}".encode()
    return text[:MOST_WORDS_BYTES].decode(errors="ignore") + (" ... and more" if len(text) > MOST_WORDS_BYTES else "")


def _parse(body: bytes) -> Request:
    data = read_json(body, MAX_BODY_BYTES)
    if not isinstance(data, dict):
        raise ConfigError("", "expected an object")
    if data.get("kind") != "AdmissionReview" or data.get("apiVersion") != API_VERSION:
        raise ConfigError("", f"kind {data.get('kind')!r}, apiVersion {data.get('apiVersion')!r}")
    request = at(data, "request")
    uid = text(request.get("uid"), "request.uid")
    if not uid:
        raise ConfigError("request.uid", "it is missing")
    return Request(
        uid=uid,
        kind=text(at(request, "kind").get("kind"), "request.kind.kind"),
        subresource=text(request.get("subResource"), "request.subResource"),
        operation=text(request.get("operation"), "request.operation"),
        namespace=text(request.get("namespace"), "request.namespace"),
        object=at(request, "object"),
        old=at(request, "oldObject"),
        groups=tuple(texts(at(request, "userInfo").get("groups"), "request.userInfo.groups")),
    )


def _judge(request: Request, settings: Settings, cluster: Cluster) -> tuple[Operations, Warnings]:
    """Raises Invalid or ConfigError to refuse."""
    if request.operation == "DELETE":
        return [], ()
    if request.operation not in ("CREATE", "UPDATE", "CONNECT"):
        raise ConfigError("request.operation", f"{request.operation!r} is none that is known here")
    if request.kind in ("PodExecOptions", "PodAttachOptions", "PodPortForwardOptions"):
        _refuse_if(_entering_problems(request))
    elif not request.object:
        raise ConfigError("request.object", "it is missing")
    elif request.kind == "Pod" and request.subresource == "ephemeralcontainers":
        return _judge_ephemeral(request, settings, cluster)
    elif request.kind == "Pod" and request.subresource in ("status", "resize"):     # they take annotations and resources along
        _refuse_if(_update_problems(Pod(request.object), Pod(request.old)))
    elif request.kind == "Pod" and not request.subresource:
        return _judge_pod(request, settings, cluster)
    elif request.kind in TEMPLATES and not request.subresource:
        return _judge_workload(Object({**request.object, "kind": request.kind}), request.namespace, settings, cluster)
    elif request.kind in ("EgressPolicy", "MeshPolicy"):
        read_policy({**request.object, "kind": request.object.get("kind", request.kind)})
    elif request.kind in EDGE_KINDS and not request.subresource:
        return _judge_edge(request, cluster)
    elif request.kind == "TokenRequest":
        _refuse_if(_token_problems(request))
    elif request.kind == "Namespace":
        _refuse_if(namespace_problems(Object(request.object)))
    return [], ()


def _refuse_if(problems: Iterable[Problem]) -> None:
    if found := tuple(problems):
        raise Invalid(found)


def _judge_pod(request: Request, settings: Settings, cluster: Cluster) -> tuple[Operations, Warnings]:
    pod = Pod(request.object)
    _require_few(pod)
    if request.operation == "UPDATE":
        _refuse_if(_update_problems(pod, Pod(request.old)))
        return [], ()
    if request.namespace not in cluster.namespaces:
        raise ConfigError(f"namespace {request.namespace}", "it is not known here yet; try again in a moment")
    labels = cluster.namespace_labels(request.namespace)
    mesh = mesh_settings(cluster.mesh_policies, request.namespace, pod.labels)
    decision = decide(pod, request.namespace, labels, mesh=mesh, settings=settings)
    problems = user_problems(pod)
    if MIRROR in pod.annotations and NODES not in request.groups:
        problems.append(Problem(MIRROR, "only a node's kubelet shows its static pods in this way; remove it"))
    if isinstance(decision, Refuse):
        problems += [Problem("pod", reason) for reason in decision.reasons]
    if isinstance(decision, Skip):
        _refuse_if(problems)
        is_meant = documents.INJECTION in pod.labels or labels.get(documents.INJECTION) == "enabled"
        return [], (f"no sidecar: {decision.reason}",) if is_meant else ()
    problems += coverage_problems(pod, Asker.of(pod, request.namespace, cluster), cluster)
    problems += exclusion_problems(pod.annotations, mesh)
    _refuse_if(problems)
    patch = patch_pod(request.object, request.namespace, settings, mesh)
    patched = Pod(patch.value)
    return patch.operations, (*costs(patched), *left_open(patched))


def _judge_edge(request: Request, cluster: Cluster) -> tuple[Operations, Warnings]:
    """What waits for other objects, or is another's, is a warning: it may come, or go."""
    found = Object({**request.object, "kind": request.kind, "metadata": {**at(request.object, "metadata"), "namespace": request.namespace}})
    _refuse_if([*name_problems(found.annotations, found.labels), *mistakes(found, cluster)])
    return [], tuple(not_in_force(found, cluster))


def _require_few(pod: Pod) -> None:
    for field, found in (
        ("initContainers", pod.init_containers), ("containers", pod.containers), ("ephemeralContainers", pod.ephemeral_containers),
        ("volumes", pod.volumes),
    ):
        if len(found) > MOST_PARTS:
            raise ConfigError(f"spec.{field}", f"{len(found):,} are more than the {MOST_PARTS:,} that are read")


def _judge_ephemeral(request: Request, settings: Settings, cluster: Cluster) -> tuple[Operations, Warnings]:
    pod, old = Pod(request.object), Pod(request.old)
    _require_few(pod)
    _require_few(old)
    if not old.has_sidecar and not pod.has_sidecar:
        return [], ()
    level = mesh_settings(cluster.mesh_policies, request.namespace, old.labels).hardening
    uid = exempt_uid(pod, request.namespace, settings)
    new = [container for container in pod.ephemeral_containers if container not in old.ephemeral_containers]
    _refuse_if([Problem("pod", reason) for container in new for reason in container_reasons(container, pod, level, uid)])
    patch = patch_ephemeral(request.object, old, level)
    patched = Pod(patch.value)
    warnings = [left_open_by(container, patched) for container in patched.ephemeral_containers if container not in old.ephemeral_containers]
    return patch.operations, tuple(chain.from_iterable(warnings))


def _judge_workload(workload: Object, namespace: str, settings: Settings, cluster: Cluster) -> tuple[Operations, Warnings]:
    """Its pods are judged when they are made, by what they are then: what stands against them already is a warning here."""
    _refuse_if(workload_problems(workload, namespace, cluster))
    template, labels = workload.template, cluster.namespace_labels(namespace)
    if template is None or labels.get(documents.INJECTION) != "enabled":
        return [], ()
    _require_few(template)
    mesh = mesh_settings(cluster.mesh_policies, namespace, template.labels)
    decision = decide(template, namespace, labels, mesh=mesh, settings=settings)
    if isinstance(decision, Refuse):
        return [], tuple(f"its pods will be refused: {reason}" for reason in decision.reasons)
    if isinstance(decision, Skip):
        return [], (f"its pods get no sidecar: {decision.reason}",)
    return [], tuple(costs(template))


def namespace_problems(namespace: Object) -> list[Problem]:
    """What is wrong with the names and labels of ours on a namespace."""
    problems = name_problems(namespace.annotations, namespace.labels)
    if namespace.name in UNMESHED and documents.INJECTION in namespace.labels:
        cause = f"{namespace.name} is never in the mesh: what a cluster needs to get well must not depend on it"
        problems.append(Problem(documents.INJECTION, f"{cause}; kubectl label namespace {namespace.name} {documents.INJECTION}-"))
    if namespace.labels.get(documents.REVISION) == "":
        cause = "an empty one is no control plane's, not even the default's: pods there would run without a sidecar"
        problems.append(Problem(documents.REVISION, f"{cause}; kubectl label namespace {namespace.name} {documents.REVISION}-"))
    return problems


def user_problems(found: Object) -> list[Problem]:
    """What is wrong with our names and the users' annotations on any object but a namespace."""
    problems = [*name_problems(found.annotations, found.labels), *annotation_problems(found.annotations)]
    if documents.REVISION in found.labels:
        problems.append(Problem(documents.REVISION, "it is read from namespaces; kubectl label namespace NAMESPACE "
                                                    f"{documents.REVISION}={found.labels[documents.REVISION]}"))
    return problems


def workload_problems(workload: Object, namespace: str, cluster: Cluster) -> list[Problem]:
    """What is wrong with the annotations on a workload itself and on its template, whose account the egress is judged for."""
    template = workload.template
    if template is None:
        return user_problems(workload)
    problems = [*user_problems(workload), *user_problems(template)]
    for name in SETTLED:
        if name in workload.annotations:
            problems.append(Problem(name, "it is read from pods; write it into the template's metadata"))
    if cluster.namespace_labels(namespace).get(documents.INJECTION) == "enabled":
        asker = Asker.of(template, namespace, cluster)
        problems += [*coverage_problems(workload, asker, cluster), *coverage_problems(template, asker, cluster)]
        problems += exclusion_problems(template.annotations, mesh_settings(cluster.mesh_policies, namespace, template.labels))
    return list(dict.fromkeys(problems))


def coverage_problems(found: Object, asker: Asker, cluster: Cluster) -> list[Problem]:
    """The entries of the egress annotation that no EgressPolicy approves."""
    asked = found.annotations.get(documents.EGRESS)
    if not isinstance(asked, str):
        return []
    reading = read_egress(asked)
    return unapproved(reading.entries.values(), asker, cluster.egress_policies, reading.lines)


def _update_problems(pod: Pod, old: Pod) -> list[Problem]:
    """Who finishes a pod off must not stumble over words that stand there already, from before its namespace was in the mesh."""
    has_other_words = (pod.annotations, pod.labels) != (old.annotations, old.labels)
    return [*(user_problems(pod) if has_other_words else ()), *_changed_problems(pod, old)]


def _changed_problems(pod: Pod, old: Pod) -> list[Problem]:
    """Ours stay as they were admitted: an image swapped on a running pod is another program under our name."""
    problems = []
    for what, names, now, before in (
        ("container", CONTAINERS, (*pod.init_containers, *pod.containers), (*old.init_containers, *old.containers)),
        ("volume", VOLUMES, pod.volumes, old.volumes),
    ):
        if [part for part in now if part.get("name") in names] != [part for part in before if part.get("name") in names]:
            text = f"a {what} of the sidecar's would change ({', '.join(names)}); create the pod anew instead"
            problems.append(Problem("pod", text))
    if old.has_sidecar:
        for name in (documents.STATUS, documents.ROOTS):
            if pod.annotations.get(name) != old.annotations.get(name):
                problems.append(Problem(name, "it is written at injection and nobody else's; leave it as it is"))
        for name in SETTLED:
            if pod.annotations.get(name) != old.annotations.get(name):
                problems.append(Problem(name, "it counts when a pod is created; create the pod anew instead"))
    return problems


def _entering_problems(request: Request) -> list[Problem]:
    """Of exec, attach and port-forward. The API server knows the ports of the latter only where a WebSocket's URL names them; those
    that it does not know arrive at listeners that serve nobody without an original destination.
    """
    container, asked = request.object.get("container"), request.object.get("ports")
    problems = []
    if container in CONTAINERS:
        problems.append(Problem("pod", f"nobody enters {container}, which holds the pod's key; use another container"))
    if own := sorted(ports.OWN & {port for port in asked if isinstance(port, int)} if isinstance(asked, list) else ()):
        problems.append(Problem("pod", f"port {own[0]} is the sidecar's, and serves nobody who comes this way; forward the application's"))
    return problems


def _token_problems(request: Request) -> list[Problem]:
    """A token for the mesh is good for a pod's certificate: the kubelet asks for it, to put it before the sidecar, and nobody else."""
    audiences = texts(at(request.object, "spec").get("audiences"), "spec.audiences")
    if AUDIENCE in audiences and NODES not in request.groups:
        return [Problem("spec.audiences", f"a token for {AUDIENCE} is good for a sidecar's certificate, and for kubelets alone; "
                                          "use another audience")]
    return []


def _unpatched_problems(operations: Operations) -> list[Problem]:
    """The roots may have been changed since the patch; another difference is a part that is missing."""
    if [one for one in operations if one["path"] != _ROOTS_PATH]:
        cause = "it lacks parts of the mesh, which /mutate gives it"
        return [Problem("pod", f"{cause}; register that webhook for pods and pods/ephemeralcontainers, with reinvocationPolicy IfNeeded")]
    return []
