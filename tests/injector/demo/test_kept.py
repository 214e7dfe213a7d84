import json
import os
import subprocess
from pathlib import Path

import pytest

from injector.demo.kept import Kept, end, enter_argv, recall, remember, start_time, state_file


def test_a_process_is_known_by_its_start_time_too(tmp_path: Path) -> None:
    file = tmp_path / "demo.json"
    remember(file, os.getpid(), "root")
    found = recall(file)
    assert found == Kept(os.getpid(), start_time(os.getpid()) or 0, "root")
    file.write_text(json.dumps({"pid": os.getpid(), "started": 1, "mode": "root"}))   # the PID of another one now
    assert recall(file) is None
    assert not file.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": 1, "started": 2, "mode": "root", "more": 3}'])
def test_a_record_that_is_none_is_forgotten(tmp_path: Path, text: str) -> None:
    file = tmp_path / "demo.json"
    file.write_text(text)
    assert recall(file) is None
    assert not file.exists()


def test_the_end_is_the_end(tmp_path: Path) -> None:
    file = tmp_path / "demo.json"
    assert not end(file)
    with subprocess.Popen(["sleep", "60"]) as process:
        remember(file, process.pid, "root")
        assert end(file)
        assert process.wait(5) == -9
    assert not file.exists()
    assert not end(file)


def test_an_ordinary_user_enters_the_user_namespace_too() -> None:
    assert "--user" not in enter_argv(Kept(7, 1, "root"))
    assert "--user" in enter_argv(Kept(7, 1, "user-single"))


def test_the_state_is_kept_per_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert state_file() == tmp_path / "bartizan" / "demo.json"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "absent"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert state_file() == tmp_path / "home" / ".cache" / "bartizan" / "demo.json"
