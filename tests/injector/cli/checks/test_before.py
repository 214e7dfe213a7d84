"""Each check before an installation fails with its cause, and not without."""

from typing import Any

import pytest

from injector.cli.checks.before import kubernetes_api, pre_install
from injector.cli.kubectl import KubectlError, KubectlMissing, NoCluster
from tests.injector.pods import namespace

from .support import FORBIDDEN, NOW, PART, SYSTEM, Fake, wrong


def node(name: str = "one", ready: str = "True") -> dict[str, Any]:
    return {"kind": "Node", "metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


def lease(renewed: str, name: str = "one") -> dict[str, Any]:
    return {"kind": "Lease", "metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": {"renewTime": renewed}}


WELL = (node(), lease("2027-01-15T07:59:55.000000Z"), namespace())


def test_nothing_is_wrong() -> None:
    assert wrong([*kubernetes_api(Fake()), *pre_install(Fake(objects=WELL), NOW)]) == {}


@pytest.mark.parametrize(("error", "anchor"), [
    (NoCluster("gone"), "k8s-api"), (KubectlMissing("install it"), "kubectl"), (FORBIDDEN, "k8s-api"),
])
def test_nobody_answers(error: KubectlError, anchor: str) -> None:
    assert wrong(kubernetes_api(Fake(refusals={"*": error}))) == {anchor: (str(error),)}


@pytest.mark.parametrize(("said", "is_enough"), [
    ("v1.30.0", True), ("v1.36.2+k3s1", True), ("v2.0.0", True), ("v1.29.9", False), ("v1.9.0", False), ("", False), ("1.31", False),
])
def test_the_version(said: str, is_enough: bool) -> None:
    class Older(Fake):
        def raw(self, path: str) -> bytes:
            return f'{{"gitVersion": "{said}"}}'.encode()

    assert (wrong(kubernetes_api(Older())) == {}) is is_enough


@pytest.mark.parametrize(("fake", "anchor", "words"), [
    (Fake(objects=(*WELL, {"kind": "StatefulSet", "metadata": {"name": "bartizan-issuer", "namespace": SYSTEM, "labels": PART}})),
     "pre-fresh", "bartizan-issuer"),
    (Fake(objects=WELL, denied=frozenset(["clusterroles", "configmaps"])), "pre-rights",
     "you may not create clusterroles.rbac.authorization.k8s.io, create configmaps in the namespace bartizan-system"),
    (Fake(objects=WELL, refusals={"clock": FORBIDDEN}), "pre-clock-skew", "cannot be compared: eve may not"),
    (Fake(objects=WELL, made_at="2027-01-15T08:00:10Z"), "pre-clock-skew", "the API server's clock is +10 s from this machine's"),
    (Fake(objects=(node(), lease("2027-01-15T08:00:30.000000Z"))), "pre-clock-skew", "the clock of the node one is +30 s from the API"),
    (Fake(objects=(node(), lease("2027-01-15T07:58:00Z"))), "pre-clock-skew", "-120 s"),
    (Fake(objects=(namespace("shop", **{"bartizan.dev/injection": "enabled", "pod-security.kubernetes.io/enforce": "baseline"}),)),
     "pod-security", "kubectl label namespace shop pod-security.kubernetes.io/enforce=privileged --overwrite"),
    (Fake(objects=({"kind": "MutatingWebhookConfiguration", "metadata": {"name": "istio-sidecar-injector"}},)), "other-meshes",
     "istio is installed"),
    (Fake(objects=({"kind": "MutatingWebhookConfiguration", "metadata": {"name": "istio-sidecar-injector"}},
                   namespace("shop", **{"bartizan.dev/injection": "enabled", "istio-injection": "enabled"}))),
     "other-meshes", "namespace shop asks for istio, too"),
    (Fake(objects=WELL, refusals={"mutatingwebhookconfigurations": FORBIDDEN}), "other-meshes", "eve may not"),
    (Fake(objects=WELL, refusals={"statefulsets": FORBIDDEN}), "pre-fresh", "eve may not"),
])
def test_each_with_its_cause(fake: Fake, anchor: str, words: str) -> None:
    found = wrong(pre_install(fake, NOW))
    assert found.keys() == {anchor}
    assert words in found[anchor][0]


@pytest.mark.parametrize("objects", [
    (node(ready="False"), lease("2027-01-15T07:00:00Z")), (node(), lease("no time")), (lease("2027-01-15T07:00:00Z", "gone"),),
    (namespace("other", **{"pod-security.kubernetes.io/enforce": "restricted"}),),
    (namespace("shop", **{"bartizan.dev/injection": "enabled", "pod-security.kubernetes.io/enforce": "privileged"}),),
    ({"kind": "MutatingWebhookConfiguration", "metadata": {"name": "cosmos-hook"}},),
])
def test_what_is_well(objects: tuple[dict[str, Any], ...]) -> None:
    assert wrong(pre_install(Fake(objects=objects), NOW)) == {}
