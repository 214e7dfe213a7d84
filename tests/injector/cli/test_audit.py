import csv
import io
import json
from pathlib import Path

import pytest

from injector.cli.audit import main
from tests.injector.audit.support import ORDERS, WEB, World, issuance

PERIOD = ["--since", "2026-05-28T00:00Z", "--until", "2026-05-29T00:00Z"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "store")
    world.mtls(WEB, ORDERS)
    world.plaintext(ORDERS)
    world.egress(WEB, "api.stripe.com")
    world.store()
    return world


def run(verb: str, world: World, *args: str) -> int:
    return main([verb, "--store", str(world.folder), *PERIOD, *args])


def test_the_table_is_for_people(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("mtls", world) == 0
    assert "50.00 % of 2 connections were mTLS" in capsys.readouterr().out


def test_json_says_it_all(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("mtls", world, "-o", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["summary"].startswith("50.00 %")
    assert told["warnings"]
    assert (told["report"]["total"]["connections"], told["report"]["total"]["bothEnds"]) == (2, 1)
    assert [path["source"] for path in told["report"]["paths"]] == ["10.0.9.9"]
    assert {ledger["name"] for ledger in told["report"]["ledgers"]} == {"shop/web-1", "shop/orders-1"}


def test_csv_is_one_table(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("mtls", world, "-o", "csv") == 0
    assert [row["Connections"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))] == ["1", "1"]
    assert run("mtls", world, "-o", "csv", "--table", "paths") == 0
    assert [row["From"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))] == ["10.0.9.9"]
    assert run("mtls", world, "-o", "csv", "--table", "nothing") == 2
    assert "pairs, paths" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["mtls", "egress", "certs"])
def test_html_is_a_page(world: World, verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(verb, world, "-o", "html", "--issuance", issuance(tmp_path / "log")) == 0
    assert capsys.readouterr().out.startswith("<!doctype html>")


def test_no_evidence_is_no_good_news(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    long_ago = ["--since", "2020-01-01T00:00Z", "--until", "2020-01-02T00:00Z"]
    for asked, status in (([], 0), (["--fail-on", "plaintext"], 2)):
        assert main(["mtls", "--store", str(world.folder), *long_ago, *asked]) == status
        told = capsys.readouterr()
        assert "nothing is proved" in told.out
        assert "every connection between workloads was mTLS" not in told.out
        assert ("nothing was recorded" in told.err) == bool(asked)


@pytest.mark.parametrize(("verb", "what", "expected"), [
    ("mtls", "plaintext", 1), ("mtls", "one-sided", 0), ("mtls", "contradictory", 0), ("mtls", "broken", 0), ("mtls", "unexplained", 0),
    ("mtls", "passthrough", 0), ("mtls", "doubtful", 0), ("mtls", "shed", 0),
    ("egress", "plaintext", 0), ("egress", "unverified", 0), ("egress", "refused", 0), ("egress", "broken", 0),
    ("certs", "alarm", 1), ("certs", "never-issued", 1), ("certs", "revoked", 0), ("certs", "application-held", 0), ("certs", "broken", 0),
])
def test_it_fails_on_what_must_not_be(world: World, verb: str, what: str, expected: int, tmp_path: Path) -> None:
    log = issuance(tmp_path / "log", but=(WEB,))
    assert run(verb, world, "--fail-on", what, *(("--issuance", log) if verb == "certs" else ())) == expected


def test_a_broken_chain_fails_and_is_told_at_the_top(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    path = world.path("shop/web-1")
    path.write_bytes(path.read_bytes().replace(b"api.stripe.com", b"api.tripes.com"))
    assert run("egress", world, "--fail-on", "broken") == 1
    assert capsys.readouterr().out.startswith("WARNING  The chain of shop/web-1 does not hold")


@pytest.mark.parametrize("args", [
    ["mtls", "--store", "/nowhere"], ["mtls", "--since", "soon"], ["mtls", "--since", "1h", "--until", "2h"],
])
def test_where_nothing_can_be_said_it_says_so(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*args, "--fail-on", "plaintext"]) == 2
    assert capsys.readouterr().err.startswith("bartizan: ")


def test_a_wrong_command_is_refused() -> None:
    for args in ([], ["mtls", "--fail-on", "revoked"], ["certs"], ["mtls", "-o", "pdf"]):
        with pytest.raises(SystemExit) as told:
            main(args)
        assert told.value.code == 2
