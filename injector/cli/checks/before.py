"""What must hold before an installation: an API server that is new enough, rights, clocks, Pod Security, and no other mesh in the way."""

import json
import re
from collections.abc import Iterator
from datetime import datetime

from injector.cli.installed import PART
from injector.cli.kubectl import Forbidden, Json, Kubectl, KubectlError, KubectlMissing, NotFound
from injector.cluster.objects import Object
from injector.documents import INJECTION
from injector.settings import SYSTEM

from . import Check, failed, judged

OLDEST = (1, 30)        # ValidatingAdmissionPolicy v1; native sidecars
SKEW_S = 5.0            # a certificate is valid from a moment before it was issued
SILENT_S = 60.0         # a node that is ready renews its Lease each ten seconds
ENFORCE = "pod-security.kubernetes.io/enforce"
OTHERS = {
    "istio": "istio-injection", "linkerd": "linkerd.io/inject", "consul": "consul.hashicorp.com/connect-inject",
    "kuma": "kuma.io/sidecar-injection", "osm": "openservicemesh.io/sidecar-injection",
}
_ADMISSION, _RBAC = "admissionregistration.k8s.io", "rbac.authorization.k8s.io"
RIGHTS: tuple[tuple[str, str, str], ...] = (      # resource, group, namespace
    ("namespaces", "", ""), ("customresourcedefinitions", "apiextensions.k8s.io", ""),
    ("clusterroles", _RBAC, ""), ("clusterrolebindings", _RBAC, ""),
    ("mutatingwebhookconfigurations", _ADMISSION, ""), ("validatingwebhookconfigurations", _ADMISSION, ""),
    ("validatingadmissionpolicies", _ADMISSION, ""), ("validatingadmissionpolicybindings", _ADMISSION, ""),
    ("serviceaccounts", "", SYSTEM), ("configmaps", "", SYSTEM), ("services", "", SYSTEM), ("statefulsets", "apps", SYSTEM),
    ("roles", _RBAC, SYSTEM), ("rolebindings", _RBAC, SYSTEM), ("poddisruptionbudgets", "policy", SYSTEM),
    ("networkpolicies", "networking.k8s.io", SYSTEM),
)


def kubernetes_api(kubectl: Kubectl) -> Iterator[Check]:
    """If the first of these fails, nothing more can be looked at."""
    try:
        version = json.loads(kubectl.raw("/version"))
    except (KubectlError, ValueError) as exc:
        anchor = "kubectl" if isinstance(exc, KubectlMissing) else "k8s-api"
        yield failed("can query the Kubernetes API", anchor, str(exc))
        return
    yield Check("can query the Kubernetes API", "k8s-api")
    said = str(version.get("gitVersion", ""))
    found = re.match(r"v(\d+)\.(\d+)", said)
    is_enough = found is not None and (int(found[1]), int(found[2])) >= OLDEST
    least = ".".join(map(str, OLDEST))
    wrong = () if is_enough else (f"it says {said or 'nothing'}; the backstop and native sidecars need {least}",)
    yield judged(f"is running the minimum Kubernetes version ({said or '?'} >= {least})", "k8s-version", wrong)


def pre_install(kubectl: Kubectl, now: float) -> Iterator[Check]:
    """
    Args:
        now: of this machine, Unix seconds.
    """
    yield _fresh(kubectl)
    yield _rights(kubectl)
    yield from _clocks(kubectl, now)
    yield pod_security(kubectl)
    yield other_meshes(kubectl)


def _fresh(kubectl: Kubectl) -> Check:
    description, anchor = "no control plane is there already", "pre-fresh"
    try:
        there = kubectl.list("statefulsets.apps", SYSTEM, PART)
    except NotFound:
        return Check(description, anchor)
    except KubectlError as exc:
        return failed(description, anchor, str(exc), result="warning")
    names = ", ".join(sorted({str(one["metadata"]["name"]) for one in there}))
    return judged(description, anchor, [f"{SYSTEM} has {names}; see: bartizan upgrade --help"] if there else [], "warning")


def _rights(kubectl: Kubectl) -> Check:
    missing = []
    for resource, group, namespace in RIGHTS:
        try:
            if not kubectl.may("create", resource, group, namespace):
                where = f" in the namespace {namespace}" if namespace else ""
                missing.append(f"create {f'{resource}.{group}' if group else resource}{where}")
        except KubectlError as exc:
            return failed("can create what an installation consists of", "pre-rights", str(exc))
    wrong = [f"you may not {', '.join(missing)}"] if missing else []
    return judged("can create what an installation consists of", "pre-rights", wrong)


def _clocks(kubectl: Kubectl, now: float) -> Iterator[Check]:
    description = "no clock skew is detected"
    try:
        # Nothing is made: the API server writes its own time on what it would make.
        made = kubectl.json("create", "--dry-run=server", "--validate=false", "-f", "-", "-o", "json", stdin=json.dumps(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "bartizan-check-"}}).encode())
        servers = seconds(made.get("metadata", {}).get("creationTimestamp"))
        leases = kubectl.list("leases.coordination.k8s.io", "kube-node-lease")
        ready = {Object(node).name for node in kubectl.list("nodes") if _is_ready(node)}
    except KubectlError as exc:
        yield failed(description, "pre-clock-skew", f"the clocks cannot be compared: {exc}", result="warning")
        return
    wrong = []
    if servers is not None and abs(servers - now) > SKEW_S + 1:     # it tells whole seconds
        wrong.append(f"the API server's clock is {servers - now:+.0f} s from this machine's")
    for one in map(Object, leases):
        renewed = seconds(one.spec.get("renewTime"))
        if servers is not None and renewed is not None and one.name in ready and not -SKEW_S - 1 <= servers - renewed <= SILENT_S:
            wrong.append(f"the clock of the node {one.name} is {renewed - servers:+.0f} s from the API server's")
    yield judged(description, "pre-clock-skew", wrong, "warning")


def _is_ready(node: Json) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def seconds(written: object) -> float | None:
    try:
        return datetime.fromisoformat(written).timestamp() if isinstance(written, str) else None
    except ValueError:
        return None


def pod_security(kubectl: Kubectl) -> Check:
    """A namespace of the mesh cannot enforce `baseline`, because of the interception's NET_ADMIN."""
    description, anchor = "namespaces of the mesh take the interception's NET_ADMIN", "pod-security"
    try:
        namespaces = [Object(one) for one in kubectl.list("namespaces", selector=f"{INJECTION}=enabled")]
    except KubectlError as exc:
        return failed(description, anchor, str(exc), result="warning")
    return judged(description, anchor, (
        f"namespace {one.name} enforces Pod Security {one.labels[ENFORCE]}, which refuses every pod with a sidecar; "
        f"kubectl label namespace {one.name} {ENFORCE}=privileged --overwrite"
        for one in namespaces if one.labels.get(ENFORCE) in ("baseline", "restricted")
    ))


def other_meshes(kubectl: Kubectl) -> Check:
    description, anchor = "no other mesh injects into the same namespaces", "other-meshes"
    try:
        hooks = [Object(one).name for one in kubectl.list("mutatingwebhookconfigurations.admissionregistration.k8s.io")]
        namespaces = [Object(one) for one in kubectl.list("namespaces", selector=f"{INJECTION}=enabled")]
    except Forbidden as exc:
        return failed(description, anchor, str(exc), result="warning")
    except KubectlError as exc:
        return failed(description, anchor, str(exc))
    there = {mesh: word for mesh, word in OTHERS.items() if any(re.search(rf"\b{mesh}\b", hook) for hook in hooks)}
    both = [f"namespace {one.name} asks for {mesh}, too: remove {word}, or {INJECTION}"
            for one in namespaces for mesh, word in there.items()
            if {**one.labels, **one.annotations}.get(word) in ("enabled", "true", "ingress")]
    if both:
        return failed(description, anchor, *both)
    wrong = [f"{', '.join(sorted(there))} is installed; label no namespace for both"] if there else []
    return judged(description, anchor, wrong, "warning")
