"""What `status` prints of a fixed state."""

import json
from pathlib import Path

import msgspec
import pytest

from injector.cli.status import as_json, as_table, main, version_of
from injector.cli.terminal import Paint
from injector.status import SILENT_S, PodStatus, Rules, Status

from .conftest import Program

NOW = 1_800_000_000.0
SYNCED = PodStatus(
    "shop", "web-1", "u-1", sidecar="bartizan:0.1.0", should="a", has="a", heard_at=NOW, not_after=NOW + 23 * 3600, rules=Rules(3))
STALE = PodStatus(
    "shop", "orders-1", "u-2", sidecar="bartizan:0.1.0", revision="canary", should="a", has="b", heard_at=NOW - 130,
    refused="too\x1b[2J large", not_after=NOW - 1, permissive_until=NOW + 9,
    rules=Rules(1, 1, 2), problems=("bartizan.dev/routes: line 2: no",))
NEVER = PodStatus("shop", "new-1", "u-3", sidecar="bartizan@sha256:0123456789abcdef", should="a")
BARE = PodStatus("bank", "bare", "u-4")
STATUS = Status("0.1.0", NOW, (BARE, NEVER, STALE, SYNCED))


def test_the_table() -> None:
    assert as_table(STATUS, Paint()) == [
        "NAME            VERSION        SNAPSHOT     CERT    MTLS         RULES",
        "bare.bank       -              NO SIDECAR   -       -            -",
        "new-1.shop      0123456789ab   NEVER        -       strict       none",
        "orders-1.shop   canary/0.1.0   STALE (2m)   ended   permissive   1 in force, 1 kept, 2 refused",
        "web-1.shop      0.1.0          SYNCED       23h     strict       3 in force",
        r"orders-1.shop: its sidecar does not take the newest snapshot: too\x1b[2J large",
        "orders-1.shop: bartizan.dev/routes: line 2: no",
    ]


def test_colours_change_nothing_but_the_state() -> None:
    painted = as_table(STATUS, Paint(True))
    assert [line.count("\x1b[") for line in painted[:5]] == [0, 2, 2, 2, 2]


@pytest.mark.parametrize(("image", "version"), [
    ("bartizan:0.1.0", "0.1.0"), ("host:5000/a/bartizan:1", "1"), ("bartizan", "bartizan"), ("host:5000/bartizan", "bartizan"),
])
def test_which_version_an_image_is(image: str, version: str) -> None:
    assert version_of(PodStatus("a", "b", "c", sidecar=image)) == version


def test_as_json_for_programs() -> None:
    found = as_json(STATUS)
    pods = json.loads(json.dumps(found))["pods"]
    assert [pod["state"] for pod in pods] == ["NO SIDECAR", "NEVER", "STALE", "SYNCED"]
    assert pods[2]["refused"] == "too\x1b[2J large"      # JSON escapes it by itself


def test_from_the_cluster(program: Program, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    answer = {"status": 200, "body": msgspec.to_builtins(STATUS)}
    program(f"""
case "$1 $2" in
"get pods") case "$*" in
    *tier=web*) echo '{{"items": [{{"metadata": {{"namespace": "shop", "name": "web-1"}}}}]}}' ;;
    *) echo '{{"items": [{{"metadata": {{"name": "bartizan-injector-0"}}, "status": {{"phase": "Running"}}}}]}}' ;;
    esac ;;
exec*) cat > {tmp_path}/body; echo '{json.dumps(answer)}' ;;
esac""")
    assert main(["-A"]) == 0
    assert capsys.readouterr().out.splitlines() == as_table(STATUS, Paint())
    assert (tmp_path / "body").read_text() == "{}"
    assert main(["-n", "shop", "-l", "tier=web", "-o", "json"]) == 0
    assert [pod["name"] for pod in json.loads(capsys.readouterr().out)["pods"]] == ["web-1"]
    assert (tmp_path / "body").read_text() == '{"namespace":"shop"}'


def test_where_nothing_is_meshed(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"status": 200, "body": {"version": "1", "now": NOW, "pods": []}}
    listed = '{"items": [{"metadata": {"name": "bartizan-injector-0"}, "status": {"phase": "Running"}}]}'
    program(f"[ $1 = get ] && echo '{listed}' || {{ cat > /dev/null; echo '{json.dumps(answer)}'; }}")
    assert main(["-A"]) == 0
    assert "no pod in any namespace has a sidecar" in capsys.readouterr().out


def test_a_word_just_before_the_limit_counts() -> None:
    assert msgspec.structs.replace(SYNCED, heard_at=NOW - SILENT_S + 1).state(NOW) == "SYNCED"
