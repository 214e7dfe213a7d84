import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from injector.cli.inject import main
from injector.cli.kubectl import KubectlError
from injector.patch import patch_pod
from injector.settings import Settings
from sidecar.model.errors import ConfigError
from tests.injector.pods import container, mesh_policy, namespace, pod

from .conftest import Program


def _inject(tmp_path: Path, capsys: pytest.CaptureFixture[str], *objects: dict[str, Any], **settings: str) -> list[dict[str, Any]]:
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    assert main(["-f", str(path), "--settings", str(tmp_path / "settings.json")]) == 0
    return list(yaml.safe_load_all(capsys.readouterr().out))


def _deployment(template: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "Deployment", "metadata": {"name": "orders", "namespace": "shop"}, "spec": {"replicas": 2, "template": template}}


def test_templates_and_pods_are_patched_and_the_rest_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = {**pod(), "metadata": {**pod()["metadata"], "namespace": "shop"}}
    found = _inject(tmp_path, capsys, namespace(), _deployment(pod()), bare, image="registry.example/bartizan:1")
    settings = Settings(image="registry.example/bartizan:1")
    assert found == [
        namespace(), _deployment(patch_pod(pod(), "shop", settings).value), patch_pod(bare, "shop", settings).value,
    ]


def test_injecting_twice_is_injecting_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    once = _inject(tmp_path, capsys, _deployment(pod()))
    assert _inject(tmp_path, capsys, *once) == once


def test_the_mesh_policies_are_those_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = mesh_policy(exclusions={"inboundPorts": [9100]}, hardening="strict")
    data = pod(securityContext={"runAsUser": 1000})
    data["metadata"]["annotations"] = {"bartizan.dev/exclude": "inboundPorts: [9100]"}
    spec = _inject(tmp_path, capsys, policy, _deployment(data))[1]["spec"]["template"]["spec"]
    assert spec["initContainers"][0]["args"][3:] == ["--exclude-inbound", "9100"]
    assert spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False
    with pytest.raises(ConfigError, match="no MeshPolicy that selects the pod lets 9100 be excluded"):
        _inject(tmp_path, capsys, _deployment(data))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pod(hostNetwork=True), "hostNetwork"), (pod(containers=[container(name="bartizan-sidecar")]), "rename it"),
        (pod(initContainers=[container(name="bartizan-sidecar")]), "name is ours"),
    ],
)
def test_what_admission_would_refuse_is_refused(
    data: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=words):
        _inject(tmp_path, capsys, _deployment(data))


@pytest.mark.parametrize(("text", "words"), [("{", "settings"), ('{"bypas": 1}', "bypas"), ('{"mark": 0}', "mark")])
def test_settings_are_judged(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(ConfigError, match=words):
        main(["-f", "x", "--settings", str(tmp_path / "settings.json")])


def test_a_file_that_is_no_yaml(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: [")
    settings = tmp_path / "settings.json"
    settings.write_text("{}")
    with pytest.raises(ConfigError, match="line"):
        main(["-f", str(tmp_path / "x.yaml"), "--settings", str(settings)])


# -- whose settings

CONFIG = {
    "directory": "/d", "trustDomain": "example.org", "issuerUrl": "https://issuer", "streamUrl": "https://stream", "stateDirectory": "/s",
    "tokenFile": "/t", "image": "bartizan:7", "netRaw": True,
}


def test_those_of_an_injectors_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "roots.pem").write_text("ROOTS")
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "rootsFile": str(tmp_path / "roots.pem")}))
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(_deployment(pod())))
    assert main(["-f", str(tmp_path / "x.yaml"), "--config", str(tmp_path / "config.json")]) == 0
    settings = Settings(image="bartizan:7", issuer_url="https://issuer", stream_url="https://stream", roots="ROOTS", net_raw=True)
    assert yaml.safe_load(capsys.readouterr().out) == _deployment(patch_pod(pod(), "shop", settings).value)


def test_those_of_the_cluster(program: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = {"data": {"config.json": json.dumps({**CONFIG, "rootsFile": "/r"})}}
    policies = {"items": [mesh_policy(hardening="strict")]}
    for name, found in (("config", config), ("roots", {"data": {"roots.pem": "ROOTS"}}), ("policies", policies)):
        (tmp_path / name).write_text(json.dumps(found))
    program(f"""
case "$*" in
*bartizan-injector-canary*) cat {tmp_path}/config ;;
*bartizan-roots*) cat {tmp_path}/roots ;;
*meshpolicies*) cat {tmp_path}/policies ;;
*) echo 'Error from server (NotFound): configmaps "bartizan-injector" not found' >&2; exit 1 ;;
esac""")
    data = pod(securityContext={"runAsUser": 1000})
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(_deployment(data)))
    assert main(["-f", str(tmp_path / "x.yaml"), "--revision", "canary"]) == 0
    spec = yaml.safe_load(capsys.readouterr().out)["spec"]["template"]["spec"]
    assert spec["initContainers"][1]["image"] == "bartizan:7"
    assert spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False
    with pytest.raises(KubectlError, match="or give --config or --settings"):
        main(["-f", str(tmp_path / "x.yaml")])
