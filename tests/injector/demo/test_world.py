import json
from pathlib import Path

import pytest

from injector.demo import settings
from injector.demo.errors import DemoError
from injector.demo.world import json_lines, read_manifests, replace_json


def test_the_examples_hold_what_the_checks_speak_of() -> None:
    found = {(item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]) for item in read_manifests(settings.EXAMPLES)}
    assert {("Deployment", "shop", "web"), ("Deployment", "shop", "orders"), ("Deployment", "shop", "thief"),
            ("Deployment", "legacy", "legacy"), ("Service", "shop", "orders"), ("EgressPolicy", "", "partners"),
            ("MeshPolicy", "", "default")} <= found


def test_a_folder_without_manifests_and_one_with_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="needs a checkout"):
        read_manifests(tmp_path)
    (tmp_path / "a.yaml").write_text("a: [")
    with pytest.raises(DemoError, match=r"a\.yaml"):
        read_manifests(tmp_path)


def test_json_lines_are_read_past_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('bartizan: ready\n{"a": 1}\n[2]\n{"b":')
    assert json_lines(tmp_path / "log") == [{"a": 1}]
    assert json_lines(tmp_path / "absent") == []
    replace_json(tmp_path / "x.json", {"a": 1})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1}
    assert len(list(tmp_path.iterdir())) == 2
