import base64
import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from injector.demo.apiserver import ApiServer, Object, Refused, pod_of, review_request
from injector.demo.errors import DemoError

DEPLOYMENT: Object = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app"}]}}},
}
PATCH: list[Object] = [{"op": "add", "path": "/spec/initContainers", "value": [{"name": "injected"}]},
                       {"op": "replace", "path": "/spec/containers/0/name", "value": "renamed"}]


class FakeWebhook:
    """Answers pods with a patch; remembers what it was asked."""

    def __init__(
        self, patch: list[Object] | None = None, refusal: str = "", kind: str = "JSONPatch", warnings: list[str] | None = None,
    ) -> None:
        self.asked: list[Object] = []
        self._patch, self._refusal, self._kind, self._warnings = patch, refusal, kind, warnings or []

    async def review(self, request: Object) -> Object:
        self.asked.append(copy.deepcopy(request))
        if request["kind"]["kind"] != "Pod":
            return {"uid": request["uid"], "allowed": True, "warnings": self._warnings}
        if self._refusal:
            return {"uid": request["uid"], "allowed": False, "status": {"message": self._refusal}}
        if self._patch is None:
            return {"uid": request["uid"], "allowed": True}
        patch = base64.b64encode(json.dumps(self._patch).encode()).decode()
        return {"uid": request["uid"], "allowed": True, "patchType": self._kind, "patch": patch}


class FakeKubelet:
    def __init__(self) -> None:
        self.pods: list[Object] = []

    def run(self, pod: Object) -> None:
        self.pods.append(pod)


async def apply(folder: Path, webhook: FakeWebhook) -> tuple[ApiServer, FakeKubelet, list[str]]:
    api, kubelet = ApiServer(folder / "cluster", random.Random(1), lambda: None), FakeKubelet()
    as_they_are: Any = (webhook, kubelet)
    return api, kubelet, await api.apply(DEPLOYMENT, *as_they_are)


async def test_the_kubelet_gets_the_pod_that_came_back_and_so_does_the_store(tmp_path: Path) -> None:
    webhook = FakeWebhook(PATCH)
    _, kubelet, names = await apply(tmp_path, webhook)
    assert [pod["metadata"]["name"] for pod in kubelet.pods] == names
    assert len(set(names)) == 2
    for pod in kubelet.pods:
        assert pod["spec"]["containers"] == [{"name": "renamed"}]
        assert pod["spec"]["initContainers"] == [{"name": "injected"}]
        assert json.loads((tmp_path / "cluster" / f"Pod_shop_{pod['metadata']['name']}.json").read_text())["spec"] == pod["spec"]
    assert [request["kind"]["kind"] for request in webhook.asked] == ["Deployment", "Pod", "Pod"]
    assert "initContainers" not in webhook.asked[1]["object"]["spec"]


async def test_a_refusal_stores_and_runs_nothing(tmp_path: Path) -> None:
    api, kubelet = ApiServer(tmp_path / "cluster", random.Random(1), lambda: None), FakeKubelet()
    as_they_are: Any = (FakeWebhook(refusal="bartizan.dev/routes: line 3"), kubelet)
    with pytest.raises(Refused, match=r"namespace shop was refused: bartizan\.dev/routes: line 3"):
        await api.apply(DEPLOYMENT, *as_they_are)
    assert not kubelet.pods
    assert not api.all("Pod")


@pytest.mark.parametrize(("webhook", "message"), [
    (FakeWebhook([{"op": "replace", "path": "/spec/absent/0", "value": 1}]), "does not fit Pod web-"),
    (FakeWebhook(PATCH, kind="MergePatch"), "of type 'MergePatch'"),
])
async def test_a_patch_that_cannot_be_applied(tmp_path: Path, webhook: FakeWebhook, message: str) -> None:
    with pytest.raises(DemoError, match=message):
        await apply(tmp_path, webhook)


async def test_an_update_keeps_uid_and_pods_and_shows_the_old_object(tmp_path: Path) -> None:
    webhook = FakeWebhook()
    api, kubelet, _ = await apply(tmp_path, webhook)
    before = api.get("Deployment", "shop", "web")
    assert before is not None
    as_they_are: Any = (webhook, kubelet)
    await api.annotate("shop", "web", {"bartizan.dev/routes": "[]"}, *as_they_are)
    after = api.get("Deployment", "shop", "web")
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["annotations"] == {"bartizan.dev/routes": "[]"}
    assert len(kubelet.pods) == 2
    assert webhook.asked[-1]["operation"] == "UPDATE"
    assert webhook.asked[-1]["oldObject"] == before


def test_a_pod_as_mutating_admission_sees_it() -> None:
    owner = {**DEPLOYMENT, "metadata": {"name": "web", "namespace": "shop", "uid": "u"}}
    pod = pod_of(owner, random.Random(1))
    assert pod["spec"]["serviceAccountName"] == "default"
    assert pod["metadata"]["generateName"] == "web-"
    assert len(pod["metadata"]["name"]) == len("web-") + 5
    assert pod["metadata"]["labels"] == {"app": "web"}
    (reference,) = pod["metadata"]["ownerReferences"]
    assert (reference["kind"], reference["uid"], reference["controller"]) == ("Deployment", "u", True)
    assert "serviceAccountName" not in owner["spec"]["template"]["spec"]
    request = review_request(pod, None)
    assert request["resource"] == {"group": "", "version": "v1", "resource": "pods"}
    assert request["operation"] == "CREATE"


def test_status_changes_are_stored_and_told(tmp_path: Path) -> None:
    told: list[int] = []
    api = ApiServer(tmp_path / "cluster", random.Random(1), lambda: told.append(1))
    api.store({"kind": "Pod", "metadata": {"name": "a", "namespace": "shop", "uid": "1"}})
    api.set_status("1", {"phase": "Running"})
    api.set_status("1", {"phase": "Running"})
    api.set_status("absent", {"phase": "Running"})
    assert len(told) == 2
    assert json.loads((tmp_path / "cluster" / "Pod_shop_a.json").read_text())["status"] == {"phase": "Running"}


@pytest.mark.parametrize("name", ["", "../x", "A", "a/b"])
def test_names_become_file_names_so_they_are_checked(tmp_path: Path, name: str) -> None:
    api = ApiServer(tmp_path / "cluster", random.Random(1), lambda: None)
    with pytest.raises(DemoError, match="no valid name"):
        api.store({"kind": "Service", "metadata": {"name": name}})


async def test_an_ingress_is_judged_with_the_default_class_and_what_is_nobodys_business_is_not(tmp_path: Path) -> None:
    api, _, _ = await apply(tmp_path, webhook := FakeWebhook())
    metadata = {"name": "web", "namespace": "shop"}
    as_they_are: Any = (webhook, None)
    webhook.asked.clear()
    await api.apply({"kind": "Ingress", "metadata": metadata, "spec": {}}, *as_they_are)
    await api.apply({"kind": "Secret", "metadata": metadata}, *as_they_are)
    (one,) = webhook.asked
    assert (one["resource"]["resource"], one["object"]["spec"]) == ("ingresses", {"ingressClassName": "bartizan"})
