"""What `bartizan install` prints, and what it says besides."""

import json

import pytest

from injector.cli.install import main
from injector.manifests import manifests
from injector.manifests.plan import Plan, read_plan
from injector.yaml_text import read_all
from sidecar.model.errors import ConfigError

BIG = 8 << 20


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[str, str]:
    assert main(list(argv)) == 0
    out, err = capsys.readouterr()
    return out, err


def test_yaml_and_json_are_the_same_manifests(capsys: pytest.CaptureFixture[str]) -> None:
    as_yaml, as_json = printed(capsys)[0], printed(capsys, "-o", "json")[0]
    objects = json.loads(as_json)["items"]
    assert [document.data for document in read_all(as_yaml, BIG)] == objects == json.loads(json.dumps(manifests(Plan())))


def test_values_come_from_files_and_words(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    (tmp_path / "values.yaml").write_text("replicas: 3")
    out, _ = printed(capsys, "-f", str(tmp_path / "values.yaml"), "--set", "trustDomain=mesh.example", "--revision", "v2", "-o", "json")
    assert json.loads(out)["items"] == json.loads(json.dumps(manifests(read_plan(
        sets=["replicas=3", "trustDomain=mesh.example", "revision=v2"]))))


def test_who_installs_is_told_what_to_know(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = printed(capsys)
    assert "pod-security.kubernetes.io/enforce: privileged" in err
    assert "gone with their pod" in err
    assert "gone with their pod" not in printed(capsys, "--set", "persistence.size=1Gi")[1]


def test_an_unknown_word_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        main(["--set", "replica=3"])
    assert capsys.readouterr().out == ""
