import json
from pathlib import Path

import pytest
import yaml

from injector.cli import inject, uninject
from tests.injector.pods import namespace, pod
from tests.injector.test_unpatch import Json


def deployment(template: Json) -> Json:
    return {"kind": "Deployment", "metadata": {"name": "orders", "namespace": "shop"}, "spec": {"replicas": 2, "template": template}}


def bare() -> Json:
    data = pod()
    del data["metadata"]["annotations"], data["apiVersion"], data["kind"]
    data["spec"]["containers"][0]["readinessProbe"]["httpGet"]["scheme"] = "HTTP"
    return data


def test_there_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.yaml"
    job = {"spec": {"template": bare()}}
    cron = {"kind": "CronJob", "metadata": {"name": "nightly", "namespace": "shop"}, "spec": {"jobTemplate": job}}
    objects = [namespace(), deployment(bare()), {"apiVersion": "v1", "kind": "Pod", **bare()}, cron]
    path.write_text(yaml.safe_dump_all(objects))
    (tmp_path / "settings.json").write_text(json.dumps({"image": "bartizan:1"}))
    assert inject.main(["-f", str(path), "--settings", str(tmp_path / "settings.json")]) == 0
    injected = capsys.readouterr().out
    assert injected.count("bartizan-sidecar\n") >= 3
    path.write_text(injected)
    assert uninject.main(["-f", str(path)]) == 0
    assert list(yaml.safe_load_all(capsys.readouterr().out)) == objects


def test_a_list_is_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"kind": "List", "items": [namespace(), deployment(bare())]}))
    assert uninject.main(["-f", str(tmp_path / "x.json")]) == 0
    assert list(yaml.safe_load_all(capsys.readouterr().out)) == [namespace(), deployment(bare())]
