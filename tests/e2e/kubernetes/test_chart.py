"""Helm renders of the chart what `bartizan install` prints for the same values, and refuses what it refuses."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from injector.manifests import manifests
from injector.manifests.plan import Plan, read_plan, values_of
from injector.yaml_text import read_all
from sidecar.model.errors import ConfigError
from tests.injector.manifests.support import PLANS

from .programs import program

CHART = Path(__file__).parents[3] / "chart" / "bartizan"
BIG = 8 << 20
DIGEST = "bartizan.dev/config"
Objects = dict[tuple[str, str, str], dict[str, Any]]


def helm(*arguments: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    given = ["-f", "-"] if values is not None else []
    command = [str(program("helm")), *arguments, str(CHART), *given]
    return subprocess.run(command, input=json.dumps(values or {}), capture_output=True, text=True, check=False, timeout=60)


def rendered(values: dict[str, Any]) -> Objects:
    done = helm("template", "bartizan", "--namespace", "anywhere", "--kube-version", "1.36.0", values=values)
    assert done.returncode == 0, done.stderr
    return by_key([document.data for document in read_all(done.stdout, BIG) if document.data is not None])


def by_key(objects: list[Any]) -> Objects:
    return {(made["kind"], made["metadata"].get("namespace", ""), made["metadata"]["name"]): made for made in objects}


def comparable(objects: Objects) -> Objects:
    """Configurations as what they say, and without the digests of their texts: Helm writes JSON otherwise."""
    objects = copy.deepcopy(objects)
    for made in objects.values():
        if made["kind"] == "ConfigMap":
            made["data"] = {name: json.loads(text) for name, text in made["data"].items()}
        if made["kind"] == "StatefulSet":
            del made["spec"]["template"]["metadata"]["annotations"][DIGEST]
    return objects


@pytest.mark.parametrize("plan", [
    *PLANS.values(), read_plan(sets=["persistence.size=1Gi", "revision=v-3"]),
    read_plan(sets=["secretNamespaces=[shop]", "revision=v3", "csrSigner=true", "netRaw=true", "resources.sidecar.requests={}"]),
    read_plan(sets=["addressUncheckedBecause='<a> & \"b\": {c} # d'", "apiServerPorts=[443]", "priorityClassName=''"]),
])
def test_it_renders_what_install_prints(plan: Plan) -> None:
    found, expected = rendered(values_of(plan)), by_key(json.loads(json.dumps(manifests(plan))))
    assert found.keys() == expected.keys()
    for key, made in comparable(expected).items():
        assert comparable(found)[key] == made


def test_the_values_that_are_there_are_the_plans_own() -> None:
    assert comparable(rendered({})) == comparable(by_key(json.loads(json.dumps(manifests(Plan())))))


def test_one_amount_leaves_the_others_as_they_are() -> None:
    plan = read_plan(sets=["resources.injector.limits.memory=2Gi"])
    said = {"resources": {"injector": {"limits": {"memory": "2Gi"}}}}
    assert comparable(rendered(said)) == comparable(by_key(json.loads(json.dumps(manifests(plan)))))


def test_another_configuration_makes_pods_anew() -> None:
    def digests(values: dict[str, Any]) -> dict[str, str]:
        return {name: made["spec"]["template"]["metadata"]["annotations"][DIGEST]
                for (kind, _, name), made in rendered(values).items() if kind == "StatefulSet"}

    before, after = digests({}), digests({"learningDays": 14})
    assert before["bartizan-injector"] != after["bartizan-injector"]
    assert before["bartizan-issuer"] == after["bartizan-issuer"]


@pytest.mark.parametrize("values", [
    {"replica": 3}, {"replicas": "3"}, {"replicas": 0}, {"persistence": {"sise": "1Gi"}}, {"revision": "replicas"}, {"revision": "V2"},
    {"trustDomain": "a b"}, {"apiServerPorts": []}, {"imagePullPolicy": "Sometimes"}, {"lifetimeS": 10},
])
def test_what_install_refuses_the_schema_refuses(values: dict[str, Any]) -> None:
    done = helm("template", "bartizan", values=values)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr
    with pytest.raises(ConfigError):
        read_plan(sets=[f"{name}={json.dumps(value)}" for name, value in values.items()])


def test_helm_finds_nothing_to_complain_of() -> None:
    done = helm("lint", "--strict", "--kube-version", "1.36.0")
    assert done.returncode == 0, done.stdout + done.stderr
