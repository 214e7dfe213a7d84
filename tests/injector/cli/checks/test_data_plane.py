"""Each check of the pods in the mesh fails with its cause, and not without."""

from typing import Any

import msgspec
import pytest

from injector.cli.checks.data_plane import MOST, data_plane
from injector.status import PodStatus, Rules, Status
from tests.injector.pods import mesh_policy, namespace

from .support import FORBIDDEN, NOW, Fake, wrong

Json = dict[str, Any]
IMAGES = {"": "bartizan:0.1.0", "canary": "bartizan:0.2.0"}


def pod(name: str = "web-1", *, has_sidecar: bool = True, ready: bool = True, image: str = "bartizan:0.1.0", **labels: str) -> Json:
    sidecar = {"name": "bartizan-sidecar", "image": image}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "labels": labels,
                     "ownerReferences": [{"kind": "Deployment", "name": "web", "controller": True}]},
        "spec": {"initContainers": [sidecar] if has_sidecar else []},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "initContainerStatuses": [{"name": "bartizan-sidecar", "ready": ready}]},
    }


WEB = {"kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"template": {"spec": {}}}}
KNOWN = PodStatus("shop", "web-1", "uid-web-1", sidecar="x", should="a", has="a", heard_at=NOW, not_after=NOW + 80000, rules=Rules(3))


def look(*objects: Json, known: tuple[PodStatus, ...] = (KNOWN,), images: dict[str, str] = IMAGES) -> dict[str, tuple[str, ...]]:
    return wrong(data_plane(Fake(objects=(namespace(), WEB, *objects)), "", Status("0.1.0", NOW, known), images))


def test_nothing_is_wrong() -> None:
    assert look(pod()) == {}
    assert look(known=()) == {}


def test_pods_that_were_there_before_are_named_with_the_command_that_cures_it() -> None:
    assert look(pod(), pod("old", has_sidecar=False)) == {"missing-sidecar": (
        "shop/old: it was there before its namespace was in the mesh", "    run: kubectl -n shop rollout restart deployment/web")}


def test_who_may_stay_outside_is_told_of() -> None:
    away = pod("away", has_sidecar=False, **{"bartizan.dev/injection": "disabled"})
    assert look(pod(), away, mesh_policy(optOut=True)).keys() == {"outside"}


@pytest.mark.parametrize(("changed", "anchor", "words"), [
    (pod(ready=False), "sidecars-ready", "kubectl -n shop logs web-1 -c bartizan-sidecar"),
    (pod(image="bartizan:0.0.9"), "sidecars-version", "has bartizan:0.0.9, and new pods get bartizan:0.1.0; kubectl -n shop rollout"),
])
def test_each_with_its_cause(changed: Json, anchor: str, words: str) -> None:
    found = look(changed)
    assert found.keys() == {anchor}
    assert words in found[anchor][0]


def test_each_revision_has_its_image() -> None:
    labels = {"bartizan.dev/injection": "enabled", "bartizan.dev/rev": "canary"}
    assert look(pod(), namespace("shop", **labels)).keys() == {"sidecars-version"}
    assert look(pod(image="bartizan:0.2.0"), namespace("shop", **labels)) == {}
    assert look(pod(image="x"), images={}) == {}


@pytest.mark.parametrize(("changed", "anchor", "words"), [
    ({"has": "b"}, "sidecars-synced", "shop/web-1 is STALE, last heard of 0s ago"),
    ({"has": "b", "refused": "too large"}, "sidecars-synced", "does not take the newest: too large"),
    ({"heard_at": 0.0}, "sidecars-synced", "is NEVER: it was never heard of"),
    ({"not_after": NOW + 60}, "sidecars-certificates", "its certificate ends in 60s"),
    ({"not_after": NOW - 60}, "sidecars-certificates", "its certificate ended"),
    ({"rules": Rules(1, 1, 2)}, "rules", "1 kept in a former version, 2 refused; bartizan describe pod web-1 -n shop"),
])
def test_each_word_of_the_control_planes(changed: dict[str, Any], anchor: str, words: str) -> None:
    found = look(pod(), known=(msgspec.structs.replace(KNOWN, **changed),))
    assert found.keys() == {anchor}
    assert words in found[anchor][0]


def test_many_are_counted() -> None:
    found = look(*(pod(f"web-{i}", ready=False) for i in range(MOST + 3)), known=())
    assert len(found["sidecars-ready"]) == MOST + 1
    assert found["sidecars-ready"][-1] == "and 3 more"


def test_what_cannot_be_asked() -> None:
    assert wrong(data_plane(Fake(objects=(namespace(), pod())), "", None, IMAGES)).keys() == {"sidecars-known"}
    assert wrong(data_plane(Fake(refusals={"pods": FORBIDDEN}), "", None, {})).keys() == {"pods"}


def test_one_malformed_object_hides_no_other() -> None:
    bad = {"kind": "Pod", "metadata": {"name": "bad", "namespace": "shop", "labels": 3}}
    assert look(bad, pod("old", has_sidecar=False)).keys() == {"missing-sidecar"}
