import io
import json
from pathlib import Path

import pytest

from injector.demo import cli
from injector.demo.modes import ROOT

LINES = [
    {"say": "pods are ready"},
    {"check": {"name": "a", "passed": True, "detail": "200"}},
    {"check": {"name": "b", "passed": False, "detail": "expected 403, got 200"}},
    {"end": 1},
]


def lines(*messages: object) -> io.StringIO:
    return io.StringIO("".join(f"{item if isinstance(item, str) else json.dumps(item)}\n" for item in messages))


def test_the_tour(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._follow(lines(*LINES), cli._Tour(ROOT)) == 1
    out = capsys.readouterr().out
    assert out.startswith("bartizan demo, as root")
    assert "FAIL  b\n      expected 403, got 200\n1 passed, 1 failed\n" in out


def test_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._follow(lines(*LINES), cli._Quiet(ROOT)) == 1
    result = json.loads(capsys.readouterr().out)
    assert (result["mode"], result["passed"], result["failed"]) == ("root", 1, 1)
    assert result["checks"] == [item["check"] for item in LINES if "check" in item]


@pytest.mark.parametrize("messages", [[{"failed": "no bridge"}], [{"say": "x"}], []])
def test_a_world_that_does_not_come_up_is_a_failed_check(messages: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._follow(lines(*messages), cli._Quiet(ROOT)) is None
    result = json.loads(capsys.readouterr().out)
    assert (result["passed"], result["failed"], result["checks"][0]["passed"]) == (0, 1, False)


def test_what_is_no_message_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._follow(lines("Traceback (most recent call last):", {"end": 0}), cli._Quiet(ROOT)) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["failed"] == 0
    assert "Traceback" in captured.err


@pytest.mark.parametrize("argv", [["--stop"], ["exec", "web", "--", "true"]])
def test_without_a_world_the_cure_is_named(
    argv: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert cli.main(argv) == 1
    assert "start one with: bartizan demo --keep" in capsys.readouterr().err


def test_exec_without_a_command_is_wrong_usage() -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["exec", "web"])
