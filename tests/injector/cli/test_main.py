"""With what status a verb ends, and that each verb of the table is there; both commands are the same."""

import importlib
import sys
import tomllib
from pathlib import Path

import pytest

from injector.cli.exits import DATA, FINDINGS, UNKNOWN, USAGE
from injector.cli.main import ALIASES, HIDDEN, VERBS, main

ROOT = Path(__file__).parents[3]


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["bartizan", *words])
    return main()


@pytest.mark.parametrize(("words", "status"), [
    ([], USAGE), (["help"], 0), (["--help"], 0), (["--version"], 0), (["explain"], 0), (["chek"], USAGE), (["check", "--prox=y"], USAGE),
    (["describe"], USAGE), (["check", "--wait", "soon"], DATA), (["status", "--state", "/nowhere"], DATA),
    (["analyze", "/nowhere.yaml"], FINDINGS), (["explain", "BZ9999"], USAGE), (["check", "--help"], 0),
])
def test_how_it_ends(words: list[str], status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, *words) == status
    assert "Traceback" not in capsys.readouterr().err


def test_what_could_not_be_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(monkeypatch, "status", "-A", "--context", "x") == UNKNOWN
    assert "install it" in capsys.readouterr().err


def test_the_nearest_verb_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, "analyse")
    assert "did you mean 'analyze'?" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [*VERBS, *HIDDEN])
def test_every_verb_is_there(verb: str) -> None:
    name, _, function = {**VERBS, **HIDDEN}[verb][0].partition(":")
    assert callable(getattr(importlib.import_module(name), function or "main"))
    assert set(ALIASES.values()) <= VERBS.keys()


def test_it_is_a_plugin_of_kubectl() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["kubectl-bartizan"] == scripts["bartizan"] == "injector.cli.main:main"
