"""Which categories are looked at, how long, and with what status it ends. Each check: tests/injector/cli/checks."""

import argparse
import json
from typing import Any

import pytest
import trio

from injector.cli.check import AGAIN_S, look, main, seconds, wait_until_well
from injector.cli.checks import Category, Check, failed
from injector.cli.exits import FINDINGS
from injector.cli.kubectl import NoCluster
from injector.manifests.gateway import gateway
from injector.manifests.plan import read_plan
from sidecar.model.errors import ConfigError

from .checks.support import Fake
from .checks.test_control_plane import WELL
from .conftest import Program

Json = dict[str, Any]


def categories(fake: Fake, **args: Any) -> list[str]:
    given = argparse.Namespace(**{"pre": False, "proxy": False, "namespace": "", **args})
    return [name for name, _ in look(fake, given)]


def test_which_are_looked_at() -> None:
    fake = Fake(objects=WELL)
    assert categories(fake, pre=True) == ["kubernetes-api", "pre-install"]
    whole = ["kubernetes-api", "bartizan-existence", "bartizan-control-plane", "bartizan-admission", "bartizan-identity"]
    assert categories(fake) == whole
    assert categories(fake, proxy=True) == [*whole, "bartizan-data-plane"]
    with_gateway = Fake(objects=(*WELL, *gateway(read_plan(sets=["gateway.ingress=true"]))))
    assert categories(with_gateway) == [*whole, "bartizan-gateway"]


def test_what_could_only_say_the_same_is_left_out() -> None:
    assert categories(Fake(refusals={"*": NoCluster("gone")})) == ["kubernetes-api"]
    assert categories(Fake()) == ["kubernetes-api", "bartizan-existence"]


GOOD: list[Category] = [("a", [Check("b", "c")])]
BAD: list[Category] = [("a", [failed("b", "c", "why")])]


@pytest.mark.parametrize(("most_s", "looks", "ends_well"), [(0, 1, False), (AGAIN_S, 2, False), (10 * AGAIN_S, 3, True)])
async def test_it_waits_until_all_is_well(most_s: float, looks: int, ends_well: bool, autojump_clock: trio.testing.MockClock) -> None:
    count = 0

    def run() -> list[Category]:
        nonlocal count
        count += 1
        return GOOD if count == 3 else BAD

    found = await wait_until_well(run, most_s)
    assert (count, found == GOOD) == (looks, ends_well)
    assert trio.current_time() == (looks - 1) * AGAIN_S


@pytest.mark.parametrize(("text", "value"), [("0s", 0), ("90s", 90), ("5m", 300), ("1h", 3600)])
def test_times(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "5", "m", "-1s", "5d", "1e3s"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ConfigError, match="--wait"):
        seconds(text)


def test_how_it_ends(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    program("echo 'The connection to the server x was refused' >&2; exit 1")
    assert main(["-o", "json"]) == FINDINGS
    assert json.loads(capsys.readouterr().out)["success"] is False
    assert main(["--pre"]) == FINDINGS
    assert capsys.readouterr().out.splitlines()[-1] == "Status check results are ×"
