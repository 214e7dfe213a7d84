"""What README and docstrings say of files is so."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from injector.cli.analyze import analyze
from sidecar.model.config import parse_config
from sidecar.model.snapshot import parse_snapshot

from .sources import PACKAGES, ROOT, sources

FILES = [source.name for source in sources(*PACKAGES)]
README = (ROOT / "README.md").read_text()
# Names with a folder, relative to the root or to one of the packages.
PATH = re.compile(r"`?((?:[a-z0-9_]+/)+[a-z0-9_]+\.(?:py|md|json|yaml))`?")


def is_there(path: str) -> bool:
    return any((base / path).exists() for base in (ROOT, ROOT / "sidecar", ROOT / "injector", ROOT / "certs"))


@pytest.mark.parametrize("file", ["README.md", *FILES])
def test_files_that_are_named_exist(file: str) -> None:
    named = set(PATH.findall((ROOT / file).read_text()))
    assert {path for path in named if not is_there(path)} == set()


def test_the_reading_path_for_auditors_is_complete() -> None:
    table = README.partition("| file | question |")[2].partition("\n\n")[0]
    trusted = {file for file in FILES if "\nTrust:" in (ROOT / file).read_text()}
    assert set(PATH.findall(table)) == trusted


UNITS = {"": 1, "bytes": 1, "KiB": 1024, "s": 1, "bytes/s": 1}
LIMIT = re.compile(r"^\|.*\| ([0-9]+) ?(\S*) \| `([A-Z0-9_]+)` in `([a-z0-9_/]+)\.py` \|$", re.MULTILINE)


def test_the_limits_of_the_table_are_those_of_the_code() -> None:
    table = README.partition("| what | how much | constant |\n|---|---|---|\n")[2].partition("\n\n")[0]
    limits = LIMIT.findall(table)
    assert len(limits) == len(table.splitlines()) > 20
    for number, unit, constant, file in limits:
        assert getattr(import_module(file.replace("/", ".")), constant) == int(number) * UNITS[unit], constant


def test_admission_accepts_the_examples_of_the_readme(tmp_path: Path) -> None:
    annotated, policy = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    pod = annotated.replace("metadata:\n", "metadata:\n  name: orders\n  namespace: shop\n")
    spec = "spec: {serviceAccountName: orders, containers: [{name: orders, image: orders}]}"
    (tmp_path / "readme.yaml").write_text(f"apiVersion: v1\nkind: Pod\n{pod}{spec}\n---\n{policy}")
    assert analyze([str(tmp_path / "readme.yaml")]) == []


def test_the_standalone_example_is_valid() -> None:
    folder = ROOT / "examples" / "standalone"
    assert parse_snapshot((folder / "snapshot.json").read_bytes()).inbound.routes
    assert parse_config((folder / "sidecar.json").read_bytes()).identity
