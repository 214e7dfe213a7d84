from typing import Any

import pytest

from injector.bare import bare, restart, why_bare
from injector.cluster import Cluster
from injector.cluster.objects import Pod
from injector.patch import patch_pod
from injector.settings import Settings

from .pods import mesh_policy, namespace, pod

SETTINGS = Settings()
DEPLOYMENT = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "shop", "name": "orders"}, "spec": {"template": pod()},
}


def _running(labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    data = pod(**spec)
    data["metadata"] = {"namespace": "shop", "name": "orders-1", "labels": labels or {}, "annotations": annotations or {}}
    return data


def _why(data: dict[str, Any], *more: dict[str, Any], meshed: bool = True) -> str | None:
    found = namespace() if meshed else namespace("shop", x="y")
    return why_bare(Pod(data), Cluster.of([found, data, *more]), SETTINGS)


def test_who_has_one_or_needs_none_is_not_spoken_of() -> None:
    assert _why(patch_pod(_running(), "shop", SETTINGS).value) is None
    assert _why(_running(), meshed=False) is None
    assert _why({**_running(), "status": {"phase": "Succeeded"}}) is None


def test_who_was_there_before_the_label() -> None:
    assert _why(_running()) == ("it was there before its namespace was in the mesh; "
                                "kubectl -n shop get pod orders-1 -o yaml | kubectl replace --force -f -")
    owned = _running()
    owned["metadata"]["ownerReferences"] = [{"kind": "Deployment", "name": "orders", "controller": True}]
    assert "kubectl -n shop rollout restart deployment/orders" in str(_why(owned, DEPLOYMENT))


@pytest.mark.parametrize(("data", "more", "words"), [
    (_running(annotations={"kubernetes.io/config.mirror": "x"}), [], "static pod of its node"),
    (_running({"bartizan.dev/injection": "disabled"}), [mesh_policy(optOut=True)], "its MeshPolicy allows that"),
    (_running({"bartizan.dev/injection": "disabled"}), [], "would be refused today: the pod is labelled"),
    (_running(hostNetwork=True), [], "would be refused today: the pod sets hostNetwork"),
])
def test_the_reason_is_admissions(data: dict[str, Any], more: list[dict[str, Any]], words: str) -> None:
    assert words in str(_why(data, *more))


def test_who_may_stay_outside_needs_no_cure() -> None:
    away = _running({"bartizan.dev/injection": "disabled"})
    found = bare(Pod(away), Cluster.of([namespace(), away, mesh_policy(optOut=True)]), SETTINGS)
    assert found is not None
    assert (found.is_meant, found.cure) == (True, "")


@pytest.mark.parametrize(("owner", "command"), [
    (("StatefulSet", "db"), "kubectl -n shop rollout restart statefulset/db"), (("Job", "once"), "kubectl -n shop delete pod p"),
    (None, "kubectl -n shop get pod p -o yaml | kubectl replace --force -f -"),
])
def test_the_command_that_makes_it_anew(owner: tuple[str, str] | None, command: str) -> None:
    references = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else []
    pod = {"kind": "Pod", "metadata": {"name": "p", "namespace": "shop", "ownerReferences": references}}
    made = {"kind": owner[0], "metadata": {"name": owner[1], "namespace": "shop"}, "spec": {}} if owner else namespace()
    assert restart(Pod(pod), Cluster.of([pod, made])) == command
