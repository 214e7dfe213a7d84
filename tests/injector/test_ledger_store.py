"""Files of ledgers: their names, what a start finds in them, and what is written down when they go. See test_collect.py, too."""

from pathlib import Path

import pytest

from injector.countersign import Signer
from injector.ledger_store import MOST_REMOVED_BYTES, Part, Store, read_removed
from sidecar.model.chain import hash_of
from sidecar.model.errors import ConfigError
from tests.injector.test_collect import NOW, chain_of, head_of

LINES = chain_of(1200)


def kept(folder: Path, first: int, last: int, *, is_signed: bool = True) -> Store:
    """A store that was sent these lines of LINES at once."""
    store = Store(folder)
    chain = store.chain("uid-1", "shop", "web-1")
    lines = LINES[first - 1:last]
    path = store.append(chain, b"".join(lines), first, last, head_of(lines), NOW)
    if is_signed:
        signer = Signer.open(folder / "countersign.key", folder)
        store.synced({path}, {"uid-1": signer.sign("uid-1", head_of(lines), last, NOW)})
    return store


@pytest.mark.parametrize(("name", "found"), [
    ("web-1.uid-1.jsonl", ("uid-1", 1, 1)),
    ("web.v2.uid-1.jsonl", ("uid-1", 1, 1)),
    ("web-1@3-5001.uid-1.jsonl", ("uid-1", 3, 5001)),
    ("web-1.jsonl", None),
    ("web-1@x.uid-1.jsonl", None),
    ("web-1.uid-1.jsonl.new", None),
    ("000000000001.jsonl", None),
])
def test_names(name: str, found: tuple[str, int, int] | None) -> None:
    named = Part.named(Path(name))
    assert (named and (named[0], named[1].number, named[1].first)) == found


def test_files_are_ours_alone(tmp_path: Path) -> None:
    kept(tmp_path, 1, 5)
    assert {path.stat().st_mode & 0o077 for path in tmp_path.rglob("*")} == {0} | {(tmp_path / "shop").stat().st_mode & 0o077}
    assert (tmp_path / "shop").stat().st_mode & 0o777 == 0o700


def test_a_start_finds_the_head_far_from_the_end(tmp_path: Path) -> None:
    """Much was received after the last answer, as when the disk was slow."""
    kept(tmp_path, 1, 5)
    with next(tmp_path.glob("*/*.jsonl")).open("ab") as file:
        file.write(b"".join(LINES[5:]))
    assert sum(map(len, LINES[5:])) > 3 * 65536
    chain = Store(tmp_path).chain("uid-1", "shop", "web-1")
    assert (chain.count, chain.head) == (1200, hash_of(LINES[-1][:-1]))


def test_lines_behind_the_head_that_do_not_follow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(tmp_path, 1, 5)
    path = next(tmp_path.glob("*/*.jsonl"))
    with path.open("ab") as file:
        file.write(LINES[5] + LINES[8])
    store = Store(tmp_path)
    chain = store.chain("uid-1", "shop", "web-1")
    assert chain.count == 6
    assert "is broken behind line 6" in capsys.readouterr().err
    assert store.append(chain, LINES[6], 7, 7, hash_of(LINES[6][:-1]), NOW) != path


def test_a_chain_whose_beginning_never_came(tmp_path: Path) -> None:
    kept(tmp_path, 501, 600, is_signed=False)
    assert [path.name for path in tmp_path.glob("*/*")] == ["web-1@1-501.uid-1.jsonl"]
    chain = Store(tmp_path).chain("uid-1", "shop", "web-1")
    assert (chain.count, chain.head) == (600, hash_of(LINES[599][:-1]))


def test_a_long_name_is_cut(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.append(store.chain("u" * 36, "shop", "p" * 253), LINES[0], 1, 1, hash_of(LINES[0][:-1]), NOW)
    assert path.exists()
    assert Part.named(path) is not None


@pytest.mark.parametrize("text", [b"", b"[]", b'{"uid-1": {}}', b"\xff"])
def test_heads_that_are_none(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "heads.json").write_bytes(text)
    with pytest.raises(ConfigError, match="heads"):
        Store(tmp_path)


def test_what_was_removed_is_written_down_within_a_bound(tmp_path: Path) -> None:
    store = kept(tmp_path, 1, 5)
    (tmp_path / "removed.jsonl").write_bytes(b"nonsense\n" * (MOST_REMOVED_BYTES // 9 + 1))
    store.make_room(NOW + 8 * 86400)
    removal, = read_removed(tmp_path)
    assert (removal.why, removal.file, removal.first, removal.last) == ("age", "shop/web-1.uid-1.jsonl", 1, 5)
    assert removal.head == hash_of(LINES[4][:-1])
    assert (tmp_path / "removed.jsonl").stat().st_size < 1000
    assert list(tmp_path.glob("*/*.jsonl")) == []


def test_a_file_that_was_removed_before_the_disk_had_it(tmp_path: Path) -> None:
    store = kept(tmp_path, 1, 5)
    path = next(tmp_path.glob("*/*.jsonl"))
    path.unlink()
    store.synced({path}, {})
