"""What README and docstrings say of files is so."""

import re

import pytest

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


def test_the_standalone_example_is_valid() -> None:
    folder = ROOT / "examples" / "standalone"
    assert parse_snapshot((folder / "snapshot.json").read_bytes()).inbound.routes
    assert parse_config((folder / "sidecar.json").read_bytes()).identity
