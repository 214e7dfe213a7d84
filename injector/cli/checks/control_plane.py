"""What an installation must be: its objects, its replicas, its admission with the right roots, certificates that last."""

import base64
import binascii
from collections.abc import Iterator, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from injector.cli.installed import INJECTORS, PART
from injector.cli.kubectl import Json, Kubectl, KubectlError, NotFound
from injector.cli.live import POLICIES
from injector.cli.terminal import ago
from injector.cluster.objects import Object, Pod, at
from injector.documents import REVISION
from injector.leader import LEASE_S
from injector.settings import INJECTOR, ISSUER, ROOTS, ROOTS_KEY, SYSTEM
from injector.status import Status
from sidecar.model.errors import ConfigError, MeshError

from . import Check, failed, judged
from .before import seconds

SOON_S = 60 * 86400.0       # for a root, whose change wants somebody's time
CERTIFICATE_SOON_S = 3600.0     # of ours, which are renewed at half of their life by themselves
RENEWED_S = 2.0 * LEASE_S
_KINDS = "mutatingwebhookconfigurations.admissionregistration.k8s.io,validatingwebhookconfigurations.admissionregistration.k8s.io"
_BACKSTOP = "validatingadmissionpolicies.admissionregistration.k8s.io,validatingadmissionpolicybindings.admissionregistration.k8s.io"


def existence(kubectl: Kubectl) -> Iterator[Check]:
    """If the first of these fails, there is nothing to look at."""
    try:
        kubectl.get("namespace", SYSTEM)
        sets = [Object(one) for one in kubectl.list("statefulsets.apps", SYSTEM, PART)]
    except NotFound:
        yield failed("the control plane's namespace exists", "namespace", f"there is no {SYSTEM}; bartizan install | kubectl apply -f -")
        return
    except KubectlError as exc:
        yield failed("the control plane's namespace exists", "namespace", str(exc))
        return
    yield Check("the control plane's namespace exists", "namespace")
    yield judged("injector and issuer are installed", "installed", (
        f"{SYSTEM} has no StatefulSet {name}; bartizan install | kubectl apply -f -"
        for name in (INJECTOR, ISSUER) if not any(one.name == name or one.name.startswith(f"{name}-") for one in sets)
    ))
    yield _crds(kubectl)
    for one in sets:
        yield _replicas(one)
    yield judged("each part has two replicas", "replicas", (
        f"{one.name} has {one.spec.get('replicas', 1)}; while it restarts, no pod is admitted and nothing is renewed"
        for one in sets if one.spec.get("replicas", 1) < 2
    ), "warning")
    yield _pods(kubectl)


def _crds(kubectl: Kubectl) -> Check:
    description, anchor = "the API server knows EgressPolicy and MeshPolicy", "crds"
    wrong = []
    for name in POLICIES:
        try:
            found = kubectl.get("customresourcedefinitions.apiextensions.k8s.io", name)
        except NotFound:
            wrong.append(f"it does not know {name}; bartizan schema crd | kubectl apply -f -")
        except KubectlError as exc:
            return failed(description, anchor, str(exc), result="warning")
        else:
            conditions = at(found, "status").get("conditions") or []
            if not any(one.get("type") == "Established" and one.get("status") == "True" for one in conditions):
                wrong.append(f"{name} is not established; kubectl describe crd {name}")
    return judged(description, anchor, wrong)


def _replicas(one: Object) -> Check:
    wanted, ready = one.spec.get("replicas", 1), at(one.data, "status").get("readyReplicas") or 0
    wrong = [f"{ready} of {wanted} are ready; kubectl -n {SYSTEM} get pods -l {PART}"] if ready < wanted else []
    return judged(f"all replicas of {one.name} are ready", "ready", wrong, "error" if not ready else "warning")


def _pods(kubectl: Kubectl) -> Check:
    description, anchor = "none of its containers restarts again and again", "restarts"
    try:
        pods = [Pod(one) for one in kubectl.list("pods", SYSTEM, PART)]
    except KubectlError as exc:
        return failed(description, anchor, str(exc), result="warning")
    return judged(description, anchor, (
        f"{pod.name}: {waiting['reason']}; kubectl -n {SYSTEM} logs {pod.name} --previous"
        for pod in pods for one in at(pod.data, "status").get("containerStatuses") or ()
        if (waiting := at(one, "state", "waiting")).get("reason") in ("CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull")
    ))


# -- admission


def admission(kubectl: Kubectl) -> Iterator[Check]:
    try:
        hooks = [Object(one) for one in kubectl.list(_KINDS, selector=PART)]
        revisions = {str(Object(one).labels.get(REVISION, "")) for one in kubectl.list("statefulsets.apps", SYSTEM, INJECTORS)}
        guards = [Object(one) for one in kubectl.list(_BACKSTOP, selector=PART)]
        roots = _roots(kubectl)
    except MeshError as exc:
        yield failed("webhook configurations exist", "webhooks", str(exc))
        return
    there = {(one.kind, str(one.labels.get(REVISION, ""))) for one in hooks}
    yield judged("webhook configurations exist", "webhooks", (
        f"there is no {kind} of {_called(revision)}: nobody patches, or judges, its pods"
        for revision in sorted(revisions) for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
        if (kind, revision) not in there
    ))
    yield judged("no webhook lets pods pass while the control plane is away", "failure-policy", (
        f"{one.kind} {one.name}: {hook.get('name')} says failurePolicy: {hook.get('failurePolicy')}"
        for one in hooks for hook in one.data.get("webhooks") or () if hook.get("failurePolicy", "Fail") != "Fail"
    ), "warning")
    yield judged("the API server verifies the webhooks by the mesh's roots", "ca-bundle", (
        f"{one.kind} {one.name}: {hook.get('name')}: {why}"
        for one in hooks for hook in one.data.get("webhooks") or () if (why := _bundle_lacks(hook, roots))
    ))
    yield _backstop(guards, revisions)


def _called(revision: str) -> str:
    return f"the revision {revision}" if revision else "the default revision"


def _bundle_lacks(hook: Json, roots: Sequence[x509.Certificate]) -> str:
    try:
        held = x509.load_pem_x509_certificates(base64.b64decode(at(hook, "clientConfig").get("caBundle") or "", validate=True))
    except (ValueError, binascii.Error):
        return "its caBundle is empty or no certificate; the injector's leader writes it within seconds"
    prints = {one.fingerprint(hashes.SHA256()) for one in held}
    lacking = [one for one in roots if one.fingerprint(hashes.SHA256()) not in prints]
    return f"its caBundle lacks {len(lacking)} of {len(roots)} roots of the mesh; the injector's leader writes them" if lacking else ""


def _backstop(guards: Sequence[Object], revisions: set[str]) -> Check:
    """What refuses pods without sidecar while no webhook answers."""
    wrong = []
    bound = {str(one.spec.get("policyName")) for one in guards
             if one.kind == "ValidatingAdmissionPolicyBinding" and "Deny" in (one.spec.get("validationActions") or ())}
    for revision in sorted(revisions):
        own = [one for one in guards if one.kind == "ValidatingAdmissionPolicy" and one.labels.get(REVISION, "") == revision]
        if not own:
            wrong.append(f"there is no ValidatingAdmissionPolicy of {_called(revision)}")
        wrong += [f"{one.name} is bound by nothing that denies" for one in own if one.name not in bound]
    return judged("the backstop refuses pods without sidecar by itself", "backstop", wrong)


# -- identity


def identity(kubectl: Kubectl, now: float, status: Status | None) -> Iterator[Check]:
    """
    Args:
        now: Unix seconds.
        status: of the injectors; None: none has answered.
    """
    try:
        roots = _roots(kubectl)
    except MeshError as exc:
        yield failed("the mesh's roots are valid", "roots", str(exc))
        return
    yield judged("the mesh's roots are valid", "roots", (
        f"{_subject(one)} {'ended' if one.not_valid_after_utc.timestamp() <= now else 'is not valid yet'}; bartizan certs rotate"
        for one in roots if not one.not_valid_before_utc.timestamp() <= now < one.not_valid_after_utc.timestamp()
    ))
    yield judged("the mesh's roots are valid for at least 60 days", "roots-soon", (
        f"{_subject(one)} ends in {ago(one.not_valid_after_utc.timestamp() - now)}; bartizan certs rotate"
        for one in roots if now < one.not_valid_after_utc.timestamp() < now + SOON_S
    ), "warning")
    if status is None:
        yield failed("the injector's certificate is valid", "injector-certificate", "no injector answers; see the checks above",
                     result="warning")
        return
    left = status.certificate_ends - now
    wrong = [f"it {'ended' if left <= 0 else f'ends in {ago(left)}'}; kubectl -n {SYSTEM} logs {INJECTOR}-0"]
    description = "the injector's certificate is valid" + (f" (it ends in {ago(left)})" if left > 0 else "")
    yield judged(description, "injector-certificate", wrong if left < CERTIFICATE_SOON_S else (), "error" if left <= 0 else "warning")


def _subject(one: x509.Certificate) -> str:
    return f"the root {one.fingerprint(hashes.SHA256()).hex()[:8]}"


def _roots(kubectl: Kubectl) -> list[x509.Certificate]:
    """Raises KubectlError or ConfigError."""
    text = at(kubectl.get("configmap", ROOTS, SYSTEM), "data").get(ROOTS_KEY)
    try:
        return x509.load_pem_x509_certificates(str(text or "").encode())
    except ValueError as exc:
        raise ConfigError(f"ConfigMap {SYSTEM}/{ROOTS}", f"{ROOTS_KEY} holds no certificates; the issuer publishes them") from exc


# -- who leads


def leading(kubectl: Kubectl, now: float) -> Check:
    description, anchor = "one injector of each revision leads", "leader"
    try:
        leases = {Object(one).name: Object(one) for one in kubectl.list("leases.coordination.k8s.io", SYSTEM)}
        injectors = [Object(one).name for one in kubectl.list("statefulsets.apps", SYSTEM, INJECTORS)]
    except KubectlError as exc:
        return failed(description, anchor, str(exc), result="warning")
    return judged(description, anchor, (
        f"nobody leads {name}: caBundle, Events and opt-outs are not kept current" for name in injectors
        if name not in leases or not _is_held(leases[name], now)
    ), "warning")


def _is_held(lease: Object, now: float) -> bool:
    renewed = seconds(lease.spec.get("renewTime"))
    return bool(lease.spec.get("holderIdentity")) and renewed is not None and now - renewed < RENEWED_S
