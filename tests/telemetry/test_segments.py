"""Lines in files: within the bound, oldest first, and no crash or full disk leaves half a line in their midst."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar.model.errors import ConfigError
from sidecar.telemetry.segments import Segments

MOST = 8000     # so that a file takes ten lines


def line(number: int) -> bytes:
    return b"line %094d\n" % number


def filled(folder: Path, lines: int) -> Segments:
    segments = Segments(str(folder), MOST)
    for number in range(1, lines + 1):
        assert segments.append(line(number), MOST)
    return segments


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that takes so much of a file, as the kernel has it."""
    old_limit, old_handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old_limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_handler)


def test_files_are_named_by_their_first_line_and_ours_alone(tmp_path: Path) -> None:
    segments = filled(tmp_path / "ledger", 25)
    assert {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "ledger").iterdir()} == dict.fromkeys(
        ["000000000001.jsonl", "000000000011.jsonl", "000000000021.jsonl"], 0o600)
    assert (tmp_path / "ledger").stat().st_mode & 0o777 == 0o700
    assert list(segments.lines(1)) == [line(number) for number in range(1, 26)]
    assert list(segments.lines(20)) == [line(number) for number in range(20, 26)]
    assert list(segments.lines(26)) == []


def test_what_was_shipped_makes_room_and_nothing_else_does(tmp_path: Path) -> None:
    segments = filled(tmp_path, 80)
    assert not segments.append(line(81), MOST)
    segments.shipped = 9
    assert not segments.append(line(81), MOST)      # the first file holds line 10
    segments.shipped = 10
    assert segments.append(line(81), MOST)
    assert (segments.first, segments.count) == (11, 81)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= MOST
    for number in range(82, 400):
        segments.shipped = number - 2
        assert segments.append(line(number), MOST)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= MOST
    assert list(segments.lines(segments.first)) == [line(number) for number in range(segments.first, 400)]


def test_a_start_goes_on(tmp_path: Path) -> None:
    filled(tmp_path, 25).close()
    segments = Segments(str(tmp_path), MOST)
    assert (segments.first, segments.count, segments.shipped) == (1, 25, 0)
    assert segments.append(line(26), MOST)
    assert list(segments.lines(1)) == [line(number) for number in range(1, 27)]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("lines", [1, 10, 11])
@pytest.mark.parametrize("left", [1, 50, 100])
def test_a_torn_last_line_is_moved_aside_and_said(
    lines: int, left: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(tmp_path, lines).close()
    last = max(tmp_path.iterdir())
    whole = last.read_bytes()
    last.write_bytes(whole[:-100] + line(lines)[:left - 1] + b"x")
    segments = Segments(str(tmp_path), MOST)
    assert segments.count == lines - 1
    aside, = tmp_path.glob("*.torn-*")
    assert aside.read_bytes() == line(lines)[:left - 1] + b"x"
    assert f"moved to {aside}" in capsys.readouterr().err
    assert segments.append(line(lines), MOST)
    assert list(segments.lines(1)) == [line(number) for number in range(1, lines + 1)]


def test_a_full_disk_takes_no_line_and_leaves_the_others_whole(tmp_path: Path) -> None:
    segments = filled(tmp_path, 5)
    with files_of_at_most(550):
        assert not segments.append(line(6), MOST)
    assert (tmp_path / "000000000001.jsonl").stat().st_size == 550    # torn, as the disk left it
    assert segments.append(b"short\n", MOST)
    assert (tmp_path / "000000000001.jsonl").read_bytes() == b"".join(map(line, range(1, 6))) + b"short\n"
    assert segments.count == 6


def test_a_disk_that_takes_no_new_file(tmp_path: Path) -> None:
    segments = filled(tmp_path / "ledger", 10)
    (tmp_path / "ledger").rename(tmp_path / "gone")
    assert not segments.append(line(11), MOST)
    (tmp_path / "gone").rename(tmp_path / "ledger")
    assert segments.append(line(11), MOST)
    assert list(segments.lines(10)) == [line(10), line(11)]


def test_only_one_writes(tmp_path: Path) -> None:
    segments = filled(tmp_path, 1)
    with pytest.raises(ConfigError, match="another process"):
        Segments(str(tmp_path), MOST)
    segments.close()
    Segments(str(tmp_path), MOST).close()


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file"):
        Segments(str(tmp_path / "file"), MOST)


def test_lines_that_are_gone_are_no_end(tmp_path: Path) -> None:
    segments = filled(tmp_path, 5)
    (tmp_path / "000000000001.jsonl").write_bytes(line(1))
    with pytest.raises(OSError, match="line 2 is gone"):
        list(segments.lines(1))


def test_what_cannot_be_read_on_is_put_aside(tmp_path: Path) -> None:
    segments = filled(tmp_path, 25)
    segments.forget()
    assert (segments.first, segments.count) == (1, 0)
    assert segments.append(line(1), MOST)
    assert list(segments.lines(1)) == [line(1)]
    assert len(list(tmp_path.glob("*.broken"))) == 3
    segments.forget()
    assert len(list(tmp_path.glob("*.broken"))) == 1
