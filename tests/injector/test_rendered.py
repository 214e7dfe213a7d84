import copy
from typing import Any

import pytest

from injector.containers import interception, sidecar
from injector.rendered import is_rendered
from injector.settings import Settings
from sidecar.model.passage import NOTHING

SETTINGS = Settings(resources={"requests": {"cpu": "0.5"}, "limits": {"memory": "1Gi"}})
OURS = [interception(SETTINGS, 50001, NOTHING), sidecar(SETTINGS, 50001, {})]
TOKEN = {"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}


def _changed(one: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(one), **fields}


@pytest.mark.parametrize("one", OURS, ids=lambda one: str(one["name"]))
def test_it_is_what_was_rendered_and_what_the_api_server_adds(one: dict[str, Any]) -> None:
    assert is_rendered(one, one)
    assert is_rendered(_changed(one, volumeMounts=[*one.get("volumeMounts", []), TOKEN]), one)
    assert is_rendered(_changed(one, imagePullPolicy="Always"), one)
    bounded = {"requests": {"cpu": "500m", "ephemeral-storage": "1Gi"}, "limits": {"memory": "1024Mi", "cpu": "2"}}
    assert is_rendered(_changed(one, resources=bounded), one)


@pytest.mark.parametrize("resources", [
    {}, {"requests": {"cpu": "50m"}, "limits": {"memory": "1Gi"}}, {"requests": {"cpu": "0.5"}, "limits": {"memory": "1G"}},
    {"requests": {"cpu": "0.5"}, "limits": {}}, {**SETTINGS.resources, "claims": [{"name": "gpu"}]},
    {"requests": {"cpu": None}, "limits": {"memory": "1Gi"}}, {"requests": {"cpu": "x" * 40}, "limits": {"memory": "1Gi"}},
])
def test_other_amounts_than_ours_are_another_container(resources: dict[str, Any]) -> None:
    assert not is_rendered(_changed(OURS[1], resources=resources), OURS[1])


def test_what_we_say_nothing_about_is_not_ours_to_compare() -> None:
    silent = sidecar(Settings(resources={}), 50001, {})
    assert is_rendered(_changed(silent, resources={"limits": {"cpu": "1"}}), silent)


@pytest.mark.parametrize("one", OURS, ids=lambda one: str(one["name"]))
def test_any_other_difference_is_another_container(one: dict[str, Any]) -> None:
    for field in one:
        if field == "volumeMounts":
            continue
        assert not is_rendered({key: value for key, value in one.items() if key != field}, one), field
    assert not is_rendered(_changed(one, imagePullPolicy="Never"), one)
    assert not is_rendered(_changed(one, volumeMounts=[*one.get("volumeMounts", []), {"name": "x", "mountPath": "/bin"}]), one)
    for more in ("command", "lifecycle", "envFrom", "ports", "workingDir", "stdin", "tty", "volumeDevices"):
        assert not is_rendered(_changed(one, **{more: None}), one), more
