"""What may be given to be verified, and what is said of it."""

from pathlib import Path

import msgspec
import pytest

from injector.audit.verify import as_text, verify
from injector.cli import audit
from sidecar.model.ledger import Entry
from tests.certs.test_log import path as log_path  # noqa: F401 -- a fixture

from .test_walk import FILE, World, kept, lines_of, store  # noqa: F401 -- fixtures


def main(args: list[str]) -> int:
    return audit.main(["verify", *args])


def test_a_sidecars_own_folder(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.live(40)
    world.ledger.close()
    pem = str(world.folder / "countersign.pem")
    report = verify([str(world.own)], key=pem)
    assert report.is_sound
    assert report.countersigned == 160
    path = sorted(world.own.glob("*.jsonl"))[0]
    path.write_bytes(path.read_bytes().replace(b'"requests":7', b'"requests":8', 1))
    assert not verify([str(world.own)], key=pem).is_sound
    assert not verify([str(path)], key=pem).is_sound


def test_an_issuance_log(log_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811 -- the fixture
    assert main([str(log_path)]) == 0
    assert "ends with the hash" in capsys.readouterr().out
    log_path.write_text(log_path.read_text().replace("uid-1", "uid-9"))
    assert main([str(log_path)]) == 1
    assert "line 3 does not follow" in capsys.readouterr().out


def test_exit_statuses_and_outputs(store: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    assert main([str(store)]) == 0
    assert capsys.readouterr().out == "sound: 1 files, 16 lines, 16 countersigned, 0 shed, 0 clock jumps\n"
    (store / FILE).write_bytes(lines_of(store)[0])
    assert main([str(store), "-o", "json"]) == 1
    said = msgspec.json.decode(capsys.readouterr().out)
    assert said["isSound"] is False
    assert "tail was cut" in said["findings"][0]["what"]
    assert main([str(store / "nothing")]) == 2
    assert main([str(store), "--key", str(store / "heads.json")]) == 2
    assert main([str(store), "--heads", str(store / "none.json")]) == 2
    with pytest.raises(SystemExit, match="2"):
        main([])


def test_nothing_of_a_file_reaches_the_terminal_as_it_is(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.ledger.add(Entry("clock", detail="\x1b[2J\nWRONG"))
    world.ship()
    assert "\x1b" not in as_text(verify([str(world.folder)]))
    assert as_text(verify([str(world.folder)])).count("\n") == 2
