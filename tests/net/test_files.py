import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from sidecar.model.errors import ConfigError
from sidecar.net.files import LOOK_EVERY_S, follow_files, keep, read_file


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    with pytest.raises(ConfigError, match=r"snapshot\.path: cannot read .*snapshot\.json: No such file"):
        read_file(str(path), "snapshot.path")
    path.write_bytes(b"{}")
    assert read_file(str(path), "snapshot.path") == b"{}"


def _write(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)


@pytest.mark.parametrize("change", [
    lambda path: _write(path, "two"),
    lambda path: path.write_text("longer"),
    lambda path: path.unlink(),
])
async def test_each_change_is_taken_once(change: Callable[[Path], None], tmp_path: Path, autojump_clock: MockClock) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("one")
    taken: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow_files, (str(one), str(other)), lambda: taken.append(trio.current_time()))
        began = trio.current_time()
        await trio.sleep(1.5 * LOOK_EVERY_S)
        assert taken == []
        change(one)
        await trio.sleep(2 * LOOK_EVERY_S)
        assert taken == [pytest.approx(began + 2 * LOOK_EVERY_S)]
        other.write_text("it is there now")
        await trio.sleep(2 * LOOK_EVERY_S)
        assert len(taken) == 2
        nursery.cancel_scope.cancel()


async def test_what_cannot_be_taken_is_reported_once_and_followed_on(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "snapshot.json"
    taken: list[str] = []

    def take() -> None:
        text = path.read_text()
        if text == "half":
            raise ConfigError("snapshot", "half written")
        taken.append(text)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow_files, (str(path),), take)
        await trio.testing.wait_all_tasks_blocked()
        _write(path, "half")
        await trio.sleep(4 * LOOK_EVERY_S)
        assert capsys.readouterr().err == "bartizan: kept the previous version: snapshot: half written\n"
        _write(path, "whole")
        await trio.sleep(2 * LOOK_EVERY_S)
        nursery.cancel_scope.cancel()
    assert taken == ["whole"]


def test_keeping_replaces_at_once(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    left = tmp_path / "kept.new"
    left.write_bytes(b"left over from a crash, and longer than what comes now")
    left.chmod(0o644)
    keep(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_keeping_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"somebody's")
    (tmp_path / "kept.new").symlink_to(tmp_path / "elsewhere")
    keep(str(tmp_path / "kept"), b"new")
    assert (tmp_path / "elsewhere").read_bytes() == b"somebody's"
    assert (tmp_path / "kept").read_bytes() == b"new"


def test_what_cannot_be_kept_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()     # nothing can be renamed to it
    with pytest.raises(OSError, match="Is a directory"):
        keep(str(tmp_path / "kept"), b"new")
    assert list(tmp_path.iterdir()) == [tmp_path / "kept"]
