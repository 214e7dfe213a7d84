from pathlib import Path

import pytest

from injector.cli import bench


@pytest.mark.parametrize("argv", [["--rounds", "0"], ["--seconds", "x"], ["--only", "http3"], ["surplus"]])
def test_wrong_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        bench.main(argv)
    assert "usage: bartizan bench" in capsys.readouterr().err


def test_what_is_missing_is_named_with_the_cure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(bench, "TOOLS", ("h2load-of-nobody",))
    assert bench.main([]) == 2
    assert "missing h2load-of-nobody; `.ci/setup bench` installs it" in capsys.readouterr().err
