"""Files on a real disk, looked at under the virtual clock."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from sidecar.model.errors import ConfigError
from sidecar.net.files import LOOK_EVERY_S, follow_files, read_file


class Follower:
    """Takes the files' texts joined; one that ends in `!` is none."""

    def __init__(self, nursery: trio.Nursery, *paths: Path) -> None:
        self.taken: list[str] = []
        self._paths = tuple(str(path) for path in paths)
        nursery.start_soon(follow_files, self._paths, self._take)

    def _take(self) -> None:
        text = b"+".join(read_file(path, "where") for path in self._paths).decode()
        if text.endswith("!"):
            raise ConfigError("where", "half-written")
        self.taken.append(text)


async def look() -> None:
    await trio.sleep(1.5 * LOOK_EVERY_S)


async def test_each_change_is_taken_once(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    follower = Follower(nursery, path)
    await look()
    assert follower.taken == []         # as it was at the start, somebody else has taken it
    path.write_text("other")
    await look()
    await look()
    assert follower.taken == ["other"]
    (tmp_path / "b").write_text("third")
    (tmp_path / "b").rename(path)       # as careful writers replace a file
    await look()
    assert follower.taken == ["other", "third"]


async def test_a_half_written_file_leaves_the_previous_in_force(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    follower = Follower(nursery, path)
    await trio.testing.wait_all_tasks_blocked()
    path.write_text("half!")
    await look()
    await look()
    assert follower.taken == []
    assert capsys.readouterr().err.count("kept the previous version: where: half-written") == 1
    path.write_text("half and half")
    await look()
    assert follower.taken == ["half and half"]


async def test_any_of_several(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    one, other = tmp_path / "chain", tmp_path / "key"
    one.write_text("a")
    other.write_text("b")
    follower = Follower(nursery, one, other)
    await trio.testing.wait_all_tasks_blocked()
    other.write_text("bb")
    await look()
    one.write_text("aa")
    await look()
    assert follower.taken == ["a+bb", "aa+bb"]


async def test_a_file_that_goes_and_comes_back(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    follower = Follower(nursery, path)
    await trio.testing.wait_all_tasks_blocked()
    path.unlink()
    await look()
    assert "cannot read" in capsys.readouterr().err
    path.write_text("two")
    await look()
    assert follower.taken == ["two"]


async def test_a_link_that_is_switched(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    """So the kubelet replaces the files of a Secret, all at once."""
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(f"version {name}")
    (tmp_path / "data").symlink_to("1")
    follower = Follower(nursery, tmp_path / "data" / "a")
    await trio.testing.wait_all_tasks_blocked()
    (tmp_path / "new").symlink_to("2")
    (tmp_path / "new").rename(tmp_path / "data")
    await look()
    assert follower.taken == ["version 2"]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^identity.keyFile: cannot read .*/none: No such file or directory$"):
        read_file(str(tmp_path / "none"), "identity.keyFile")
    with pytest.raises(ConfigError, match="Is a directory"):
        read_file(str(tmp_path), "")
