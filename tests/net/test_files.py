"""Files that change. No socket here, so the clock is virtual; whoever writes does it as careless and as careful writers do."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.errors import ConfigError
from sidecar.net.files import LOOK_EVERY_S, follow_files, read_file


@asynccontextmanager
async def following(take: Callable[[], None], *paths: Path) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow_files, tuple(map(str, paths)), take)
        await wait_all_tasks_blocked()
        yield
        nursery.cancel_scope.cancel()


async def look() -> None:
    await trio.sleep(LOOK_EVERY_S + 0.01)


async def test_each_change_is_taken_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    path, taken = tmp_path / "snapshot.json", []
    path.write_text("1")
    async with following(lambda: taken.append(path.read_text()), path):
        await look()
        assert taken == []
        path.write_text("22")
        await look()
        await look()
        assert taken == ["22"]
        (tmp_path / "new").write_text("33")
        os.rename(tmp_path / "new", path)
        await look()
        assert taken == ["22", "33"]


async def test_one_that_appears_late(tmp_path: Path, autojump_clock: MockClock) -> None:
    path, taken = tmp_path / "later", []
    async with following(lambda: taken.append(path.read_text()), path):
        await look()
        path.write_text("here")
        await look()
    assert taken == ["here"]


async def test_a_change_of_any_of_them(tmp_path: Path, autojump_clock: MockClock) -> None:
    chain, key = tmp_path / "chain", tmp_path / "key"
    taken = []
    async with following(lambda: taken.append(1), chain, key):
        key.write_text("k")
        await look()
        chain.write_text("c")
        await look()
    assert taken == [1, 1]


async def test_what_cannot_be_taken_is_said_once_and_tried_again_when_it_changes(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    path, taken = tmp_path / "snapshot.json", []

    def take() -> None:
        text = path.read_text()
        if not text.endswith("}"):
            raise ConfigError("snapshot", "is cut short")
        taken.append(text)

    async with following(take, path):
        path.write_text('{"half')
        await look()
        await look()
        assert taken == []
        assert capsys.readouterr().err == "bartizan: kept the previous version: snapshot: is cut short\n"
        path.write_text('{"half": 1}')
        await look()
        path.unlink()
        path.write_text("")
        await look()
    assert taken == ['{"half": 1}']


def test_reading(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xff\x00")
    assert read_file(str(tmp_path / "token"), "identity.tokenFile") == b"\xff\x00"
    for name in ("none", "."):
        with pytest.raises(ConfigError, match="cannot read") as caught:
            read_file(str(tmp_path / name), "identity.tokenFile")
        assert caught.value.where == "identity.tokenFile"
