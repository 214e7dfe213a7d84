"""Tests mirror sources one to one, so that nobody has to look for either."""

import ast

import pytest

from .sources import ROOT, Source, sources

# The floors whose every file with behaviour has its test beside it.
MIRRORED = ("model", "policy", "protocol", "telemetry", "net")
ELSEWHERE = ("architecture", "e2e", "bench", "fuzz", "helpers")


def test_every_test_has_its_source() -> None:
    homeless = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        folder = path.parent.relative_to(ROOT / "tests")
        if folder.parts[:1] and folder.parts[0] in ELSEWHERE:
            continue
        base = ROOT / folder if folder.parts[:1] in (("certs",), ("injector",)) else ROOT / "sidecar" / folder
        name = path.stem.removeprefix("test_")
        is_of_the_folder = name == folder.name      # tests/injector/compile/test_compile.py: the package as a whole
        if not ((base / f"{name}.py").exists() or (base / name).is_dir() or is_of_the_folder):
            homeless.append(str(path.relative_to(ROOT)))
    assert homeless == []


@pytest.mark.parametrize("source", sources(*(f"sidecar/{floor}" for floor in MIRRORED)), ids=lambda source: source.name)
def test_every_source_has_its_test(source: Source) -> None:
    """Save those that hold values only: no function, so nothing to try."""
    has_behaviour = any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(source.tree))
    folder, _, name = source.name.removeprefix("sidecar/").rpartition("/")
    assert not has_behaviour or (ROOT / "tests" / folder / f"test_{name}").exists()
