"""Each check of an installation fails with its cause, and not without."""

import base64
from typing import Any

import pytest

from injector.cli.checks.control_plane import admission, existence, identity, leading
from injector.status import Status
from tests.helpers import pki

from .support import FORBIDDEN, NOW, PART, SYSTEM, Fake, wrong

Json = dict[str, Any]
ROOT = pki.issue(None, subject="root", is_ca=True, ends=365 * 24 * pki.HOUR)
BUNDLE = base64.b64encode(ROOT.chain_pem.encode()).decode()
DEFAULT = {**PART, "app.kubernetes.io/name": "bartizan-injector", "bartizan.dev/rev": ""}
BEGAN = ROOT.chain[0].not_valid_before_utc.timestamp()
ENDS = ROOT.chain[0].not_valid_after_utc.timestamp()


def part(name: str, replicas: int = 2, ready: int = 2) -> Json:
    labels = DEFAULT if "injector" in name else {**PART, "app.kubernetes.io/name": "bartizan-issuer"}
    return {"kind": "StatefulSet", "metadata": {"name": name, "namespace": SYSTEM, "labels": labels},
            "spec": {"replicas": replicas}, "status": {"readyReplicas": ready}}


def crd(name: str, status: str = "True") -> Json:
    return {"kind": "CustomResourceDefinition", "metadata": {"name": f"{name}.bartizan.dev"},
            "status": {"conditions": [{"type": "Established", "status": status}]}}


def hooks(kind: str, bundle: str = BUNDLE, failure_policy: str = "Fail") -> Json:
    hook = {"name": "pods.bartizan.dev", "clientConfig": {"caBundle": bundle}, "failurePolicy": failure_policy}
    return {"kind": f"{kind}WebhookConfiguration", "metadata": {"name": "bartizan-injector", "labels": DEFAULT}, "webhooks": [hook]}


def guard(name: str = "bartizan-pods", **labels: str) -> Json:
    return {"kind": "ValidatingAdmissionPolicy", "metadata": {"name": name, "labels": {**DEFAULT, **labels}}}


def binding(name: str = "bartizan-pods", action: str = "Deny") -> Json:
    return {"kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name, "labels": DEFAULT},
            "spec": {"policyName": name, "validationActions": [action]}}


def roots(text: str) -> Json:
    return {"kind": "ConfigMap", "metadata": {"name": "bartizan-roots", "namespace": SYSTEM}, "data": {"roots.pem": text}}


def lease(renewed: str = "2027-01-15T07:59:50Z", holder: str = "bartizan-injector-0") -> Json:
    return {"kind": "Lease", "metadata": {"name": "bartizan-injector", "namespace": SYSTEM},
            "spec": {"holderIdentity": holder, "renewTime": renewed}}


def pod(reason: str) -> Json:
    return {"kind": "Pod", "metadata": {"name": "bartizan-issuer-0", "namespace": SYSTEM, "labels": PART},
            "status": {"containerStatuses": [{"state": {"waiting": {"reason": reason}}}]}}


WELL = (
    {"kind": "Namespace", "metadata": {"name": SYSTEM}}, part("bartizan-injector"), part("bartizan-issuer"), crd("egresspolicies"),
    crd("meshpolicies"), hooks("Mutating"), hooks("Validating"), guard(), binding(), roots(ROOT.chain_pem), lease(),
)
STATUS = Status("0.1.0", NOW, (), BEGAN + 86400 * 2)


def with_(*changed: Json, without: tuple[tuple[str, str], ...] = ()) -> Fake:
    def key(one: Json) -> tuple[str, str]:
        return one["kind"], one["metadata"]["name"]

    gone = {*map(key, changed), *without}
    return Fake(objects=(*(one for one in WELL if key(one) not in gone), *changed))


def all_of(fake: Fake, now: float = BEGAN + 86400, status: Status | None = STATUS) -> dict[str, tuple[str, ...]]:
    return wrong([*existence(fake), leading(fake, NOW), *admission(fake), *identity(fake, now, status)])


def test_nothing_is_wrong() -> None:
    assert all_of(Fake(objects=WELL)) == {}


@pytest.mark.parametrize(("fake", "anchor", "words"), [
    (with_(without=(("StatefulSet", "bartizan-issuer"),)), "installed", "no StatefulSet bartizan-issuer"),
    (with_(crd("egresspolicies", "False")), "crds", "egresspolicies.bartizan.dev is not established"),
    (with_(without=(("CustomResourceDefinition", "meshpolicies.bartizan.dev"),)), "crds", "does not know meshpolicies"),
    (with_(part("bartizan-issuer", 2, 1)), "ready", "1 of 2 are ready"),
    (with_(part("bartizan-issuer", 1, 1)), "replicas", "bartizan-issuer has 1"),
    (with_(pod("CrashLoopBackOff")), "restarts", "kubectl -n bartizan-system logs bartizan-issuer-0 --previous"),
    (with_(without=(("MutatingWebhookConfiguration", "bartizan-injector"),)), "webhooks", "no MutatingWebhookConfiguration of the default"),
    (with_(hooks("Mutating", failure_policy="Ignore")), "failure-policy", "says failurePolicy: Ignore"),
    (with_(hooks("Validating", "")), "ca-bundle", "caBundle is empty"),
    (with_(hooks("Validating", base64.b64encode(pki.authority("other").chain_pem.encode()).decode())), "ca-bundle", "lacks 1 of 1 roots"),
    (with_(hooks("Validating", "%%%")), "ca-bundle", "no certificate"),
    (with_(without=(("ValidatingAdmissionPolicy", "bartizan-pods"),)), "backstop", "no ValidatingAdmissionPolicy of the default revision"),
    (with_(without=(("ValidatingAdmissionPolicyBinding", "bartizan-pods"),)), "backstop", "bartizan-pods is bound by nothing"),
    (with_(binding(action="Audit")), "backstop", "bound by nothing that denies"),
    (with_(guard("bartizan-more")), "backstop", "bartizan-more is bound by nothing"),
    (with_(lease("2027-01-15T07:00:00Z")), "leader", "nobody leads bartizan-injector"),
    (with_(lease(holder="")), "leader", "nobody leads"),
    (with_(without=(("Lease", "bartizan-injector"),)), "leader", "nobody leads"),
])
def test_each_with_its_cause(fake: Fake, anchor: str, words: str) -> None:
    found = all_of(fake)
    assert found.keys() == {anchor}
    assert words in found[anchor][0]


@pytest.mark.parametrize(("fake", "anchors"), [
    (Fake(), {"namespace"}), (Fake(objects=WELL, refusals={"namespace": FORBIDDEN}), {"namespace"}),
])
def test_without_a_namespace_there_is_nothing_more_to_look_at(fake: Fake, anchors: set[str]) -> None:
    assert wrong(existence(fake)).keys() == anchors
    assert len(list(existence(fake))) == 1


@pytest.mark.parametrize("text", ["", "no certificate"])
def test_roots_that_are_none(text: str) -> None:
    assert all_of(with_(roots(text))).keys() == {"webhooks", "roots"}


@pytest.mark.parametrize(("now", "anchors"), [
    (BEGAN - 9, {"roots"}), (ENDS, {"roots"}), (ENDS - 60, {"roots-soon"}), (ENDS - 61 * 86400, set()),
], ids=["not yet", "ended", "within a minute", "in 61 days"])
def test_roots_end(now: float, anchors: set[str]) -> None:
    status = Status("1", now, (), now + 86400)
    assert wrong(identity(Fake(objects=WELL), now, status)).keys() == anchors


@pytest.mark.parametrize(("left", "result"), [(-1, "error"), (60, "warning"), (86400, "success")])
def test_the_injectors_certificate_ends(left: float, result: str) -> None:
    last = list(identity(Fake(objects=WELL), NOW, Status("1", NOW, (), NOW + left)))[-1]
    assert (last.anchor, last.result) == ("injector-certificate", result)


def test_of_an_injector_that_does_not_answer_nothing_is_known() -> None:
    assert "no injector answers" in wrong(identity(Fake(objects=WELL), NOW, None))["injector-certificate"][0]


def test_each_revision_has_its_admission() -> None:
    canary = part("bartizan-injector-canary")
    canary["metadata"]["labels"] = {**DEFAULT, "bartizan.dev/rev": "canary"}
    found = all_of(with_(canary))
    assert [line for line in found["webhooks"] if "the revision canary" in line] == list(found["webhooks"])
    assert len(found["webhooks"]) == 2
    assert found["backstop"] == ("there is no ValidatingAdmissionPolicy of the revision canary",)
