"""Whatever is done to the lines of a chain, it is told, and what stood before it still counts."""

from pathlib import Path

import msgspec
import pytest

from injector.audit.chains import MOST_BYTES, Chain, Stretch
from sidecar.model.chain import hash_of
from sidecar.model.ledger import Countersignature, Entry

from .support import chained

LINES = chained([Entry("shed", time=float(number), count=number) for number in range(1, 8)])
HEADS = [hash_of(line[:-1]) for line in LINES]


def known(count: int, head: str | None = None) -> Countersignature:
    return Countersignature("uid", HEADS[count - 1] if head is None else head, count, 0.0, "", "")


def read(path: Path, lines: list[bytes], head: Countersignature | None = None) -> tuple[Chain, list[tuple[int, bool]]]:
    path.joinpath("a.jsonl").write_bytes(b"".join(lines))
    return read_parts([Stretch(path / "a.jsonl")], head)


def read_parts(parts: list[Stretch], head: Countersignature | None = None) -> tuple[Chain, list[tuple[int, bool]]]:
    chain = Chain("a")
    return chain, [(entry.count, is_sound) for entry, is_sound in chain.read(parts, Entry, head)]


def test_a_chain_that_holds(tmp_path: Path) -> None:
    chain, found = read(tmp_path, LINES, known(5))
    assert found == [(number, True) for number in range(1, 8)]
    assert (chain.is_whole, chain.lines, chain.countersigned, chain.is_torn) == (True, 7, 5, False)


@pytest.mark.parametrize(("lines", "broken", "sound", "doubtful"), [
    ([*LINES[:2], LINES[2].replace(b'"count":3', b'"count":9'), *LINES[3:]], 4, [1, 2], [9, 4, 5, 6, 7]),        # edited
    ([*LINES[:2], *LINES[3:]], 3, [1], [2, 4, 5, 6, 7]),                                                        # removed
    ([*LINES[:2], LINES[3], LINES[2], *LINES[4:]], 3, [1], [2, 4, 3, 5, 6, 7]),                                 # reordered
    ([*LINES[:3], LINES[1], *LINES[3:]], 4, [1, 2], [3, 2, 4, 5, 6, 7]),                                        # repeated
    (LINES[1:], 1, [], [2, 3, 4, 5, 6, 7]),                                                                     # the first one gone
    ([*LINES[:2], b"{}\n", *LINES[2:]], 3, [1], [2, 3, 4, 5, 6, 7]),
    ([*LINES[:2], b"\xff\xfe\n", *LINES[2:]], 3, [1], [2, 3, 4, 5, 6, 7]),
    ([*LINES[:2], b"[" * 100_000 + b"\n", *LINES[2:]], 3, [1], [2, 3, 4, 5, 6, 7]),
    ([*LINES[:2], b"x" * (MOST_BYTES + 5) + b"\n", *LINES[2:]], 3, [1], [2, 3, 4, 5, 6, 7]),
], ids=["edited", "removed", "reordered", "repeated", "beheaded", "no entry", "no text", "nested", "endless"])
def test_a_break_is_told_and_what_follows_is_marked(
    tmp_path: Path, lines: list[bytes], broken: int, sound: list[int], doubtful: list[int],
) -> None:
    chain, found = read(tmp_path, lines)
    assert (chain.is_whole, chain.broken_line) == (False, broken)
    assert chain.cause
    assert [count for count, is_sound in found if is_sound] == sound
    assert [count for count, is_sound in found if not is_sound] == doubtful


def test_a_last_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    chain, found = read(tmp_path, [*LINES[:3], LINES[3][:-1]])
    assert [count for count, _ in found] == [1, 2, 3]
    assert chain.is_torn
    assert chain.is_whole


def test_an_end_that_was_cut_off(tmp_path: Path) -> None:
    chain, found = read(tmp_path, LINES[:4], known(5))
    assert (chain.is_cut, chain.is_rebuilt, chain.is_whole) == (True, False, False)
    assert [is_sound for _, is_sound in found] == [True] * 4      # what is left is true all the same


def test_a_chain_that_was_written_anew(tmp_path: Path) -> None:
    anew = chained([Entry("shed", count=number) for number in range(9)])
    chain, _ = read(tmp_path, anew, known(5))
    assert (chain.is_cut, chain.is_rebuilt, chain.countersigned) == (False, True, 0)


def parts(tmp_path: Path, *pieces: tuple[int, list[bytes], str]) -> list[Stretch]:
    found = []
    for number, (first, lines, removed_head) in enumerate(pieces):
        found.append(Stretch(tmp_path / f"{number}", first, removed_head))
        found[-1].path.write_bytes(b"".join(lines))
    return found


def test_a_chain_in_several_files(tmp_path: Path) -> None:
    chain, found = read_parts(parts(tmp_path, (1, LINES[:3], ""), (4, LINES[3:4], ""), (5, LINES[4:], "")), known(7))
    assert found == [(number, True) for number in range(1, 8)]
    assert (chain.is_whole, chain.countersigned) == (True, 7)


def test_a_beginning_that_was_removed_and_written_down(tmp_path: Path) -> None:
    chain, found = read_parts(parts(tmp_path, (4, LINES[3:], HEADS[2])), known(7))
    assert found == [(number, True) for number in range(4, 8)]
    assert (chain.is_whole, chain.removed, chain.lines) == (True, 3, 7)


@pytest.mark.parametrize("pieces", [
    [(4, LINES[3:], "")],                                   # removed, and nobody wrote it down
    [(4, LINES[3:], HEADS[3])],                             # written down with another hash
    [(1, LINES[:3], ""), (5, LINES[4:], "")],               # a file between is gone
    [(1, LINES[:3], ""), (4, LINES[4:], "")],
    [(1, LINES[:3], ""), (5, LINES[4:], HEADS[3])],         # a removal explains a beginning only
    [(1, LINES[:3], ""), (1, LINES[:2], "")],               # the sidecar began anew
])
def test_a_file_that_does_not_follow_from_the_one_before(tmp_path: Path, pieces: list[tuple[int, list[bytes], str]]) -> None:
    chain, found = read_parts(parts(tmp_path, *pieces))
    assert chain.breaks == 1
    assert found[-1][1] is False


def test_other_chains_are_read_alike(tmp_path: Path) -> None:
    class Other(msgspec.Struct):
        previous: str
        name: str

    path = tmp_path / "log"
    path.write_bytes(b"".join(chained([Other("", "a"), Other("", "b")])))
    assert [entry.name for entry, _ in Chain("log").read([Stretch(path)], Other)] == ["a", "b"]
