import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from injector.cli import asking, audit, egress_propose
from injector.cli.state import STATE, add_arguments, state_of
from injector.demo import kept
from sidecar.model.errors import ConfigError

EXAMPLES = Path(__file__).parents[3] / "examples" / "identity"


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_the_default_is_where_the_examples_have_it() -> None:
    for name in ("injector.json", "injector-files.json"):
        assert json.loads((EXAMPLES / name).read_text())["stateDirectory"] == STATE
    assert state_of(parsed()) == Path(STATE)
    assert state_of(parsed("--state", "/x")) == Path("/x")


@pytest.mark.parametrize("add", [asking.add_arguments, egress_propose.add_arguments])
def test_every_verb_that_asks_has_the_same(add: Callable[[argparse.ArgumentParser], None]) -> None:
    parser = argparse.ArgumentParser()
    add(parser)
    assert state_of(parser.parse_args([])) == Path(STATE)


def test_so_have_the_audits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert f"{STATE}/ledger" == audit.STORE
    with pytest.raises(ConfigError, match="bartizan demo --keep"):
        audit._places(audit._parser().parse_args(["egress", "--demo"]))


def test_the_demos_is_that_of_the_kept_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match="bartizan demo --keep"):
        state_of(parsed("--demo"))
    kept.remember(kept.state_file(), os.getpid(), "root")
    assert state_of(parsed("--demo")) == Path(f"/proc/{os.getpid()}/root/run/world/state")
