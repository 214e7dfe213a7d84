import copy
from typing import Any

import jsonpatch
import pytest

from injector.cluster.objects import INTERCEPTION, SIDECAR, Pod
from injector.form import NATIVE, OLDER, costs, is_ours, places
from injector.patch import patch_pod
from injector.settings import Settings
from injector.validate import Invalid

from .pods import container, pod

SETTINGS = Settings(roots="PEM")


def _older(**spec: Any) -> dict[str, Any]:
    data = pod(**spec)
    data["metadata"]["annotations"]["bartizan.dev/native-sidecar"] = "false"
    return data


def _patched(data: dict[str, Any]) -> dict[str, Any]:
    patch = patch_pod(data, "shop", SETTINGS)
    found: dict[str, Any] = jsonpatch.apply_patch(copy.deepcopy(data), patch.operations)
    assert found == patch.value
    return found


def _names(data: dict[str, Any]) -> tuple[list[str], list[str]]:
    inner, outer = ([one["name"] for one in data["spec"].get(field) or []] for field in ("initContainers", "containers"))
    return inner, outer


@pytest.mark.parametrize(("value", "where"), [(None, NATIVE), ("true", NATIVE), ("false", OLDER), ("no", NATIVE)])
def test_the_annotation_chooses(value: str | None, where: object) -> None:
    assert places({} if value is None else {"bartizan.dev/native-sidecar": value}) is where


def test_a_name_is_ours_where_it_belongs() -> None:
    assert is_ours("initContainers", {"name": SIDECAR}, NATIVE)
    assert not is_ours("initContainers", {"name": SIDECAR}, OLDER)
    assert is_ours("containers", {"name": SIDECAR}, OLDER)
    assert not is_ours("containers", {"name": SIDECAR}, NATIVE)
    assert not is_ours("containers", {"name": INTERCEPTION}, OLDER)
    assert not is_ours("initContainers", {"name": 3}, NATIVE)


def test_native_the_users_init_containers_come_after_ours() -> None:
    assert _names(_patched(pod(initContainers=[container(name="migrate")]))) == ([INTERCEPTION, SIDECAR, "migrate"], ["app"])


def test_older_nothing_of_the_users_runs_uncaptured() -> None:
    found = _patched(_older(initContainers=[container(name="migrate")]))
    assert _names(found) == ([INTERCEPTION, "migrate"], [SIDECAR, "app"])
    assert "restartPolicy" not in found["spec"]["containers"][0]
    assert Pod(found).has_sidecar
    assert '"form":"older","costs":["init containers (migrate) have no network' in found["metadata"]["annotations"]["bartizan.dev/status"]


def test_older_twice_is_once_and_ours_move_to_the_front() -> None:
    once = _patched(_older())
    assert patch_pod(once, "shop", SETTINGS).operations == []
    once["spec"]["containers"].insert(0, container(name="vault", securityContext={"capabilities": {"drop": ["ALL"]}}))
    assert _names(_patched(once)) == ([INTERCEPTION], [SIDECAR, "vault", "app"])


@pytest.mark.parametrize("change", [{"image": "evil"}, {"restartPolicy": "Always"}, {"args": ["sleep"]}])
def test_older_a_look_alike_is_refused(change: dict[str, Any]) -> None:
    once = _patched(_older())
    once["spec"]["containers"][0] |= change
    with pytest.raises(Invalid, match="bartizan-sidecar: the name is ours"):
        patch_pod(once, "shop", SETTINGS)


def test_one_form_is_no_other() -> None:
    """The annotation taken away, or written later, leaves ours where they do not belong."""
    older, native = _patched(_older()), _patched(pod())
    del older["metadata"]["annotations"]["bartizan.dev/native-sidecar"]
    native["metadata"]["annotations"]["bartizan.dev/native-sidecar"] = "false"
    for data in (older, native):
        with pytest.raises(Invalid, match="bartizan-"):
            patch_pod(data, "shop", SETTINGS)


def test_another_word_is_refused() -> None:
    data = pod()
    data["metadata"]["annotations"]["bartizan.dev/native-sidecar"] = "False"
    with pytest.raises(Invalid, match='did you mean "false"'):
        patch_pod(data, "shop", SETTINGS)


def test_what_the_older_form_costs() -> None:
    assert list(costs(Pod(_patched(pod(restartPolicy="Never"))))) == []
    [ends] = costs(Pod(_patched(_older())))
    assert "may start before its sidecar" in ends
    waits, _, job = costs(Pod(_patched(_older(restartPolicy="OnFailure", initContainers=[container(name="migrate")]))))
    assert "init containers (migrate) have no network" in waits
    assert "never completes" in job
    assert "remove bartizan.dev/native-sidecar" in job
