"""Evidence: chained, continued over restarts, never in anybody's way, and no gap is silent."""

from pathlib import Path

import msgspec
import pytest

from sidecar.model.chain import FIRST, follow
from sidecar.model.ledger import Countersignature, Entry
from sidecar.telemetry.ledger import MAX_LINE_BYTES, REFUSALS_A_SECOND, Batch, Ledger

from .test_segments import files_of_at_most

MOST = 65536
NOW = 1_700_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def connection(number: int = 1) -> Entry:
    return Entry("connection", id=f"{number:064x}", direction="inbound", security="mtls", dst="10.0.0.1:80", requests=number)


def entries(folder: Path) -> list[Entry]:
    """All that the folder holds, as one chain."""
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines(keepends=True)]
    previous = msgspec.json.decode(lines[0], type=Entry).previous
    return [entry for entry, _ in follow(lines, Entry, head=previous)]


def signed(batch: Batch | None) -> Countersignature:
    assert batch is not None
    return Countersignature("uid-1", batch.head, batch.last, NOW, "key", "signature")


def test_a_chain_from_start_to_end(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), MOST, Clock())
    ledger.add(connection())
    ledger.close()
    ledger.add(connection())
    ledger.close()
    found = entries(tmp_path)
    assert [entry.kind for entry in found] == ["start", "connection", "end"]
    assert found[0].previous == FIRST
    assert {entry.time for entry in found} == {NOW}
    assert ledger.count == 3


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    ledger = Ledger(None, MOST, Clock())
    ledger.add(connection())
    assert (ledger.count, ledger.shed, ledger.has_news, ledger.unshipped(1000)) == (0, 0, False, None)
    ledger.close()


def test_a_restart_goes_on_in_the_chain(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), MOST, Clock())
    ledger.add(connection())
    ledger.shipped(signed(ledger.unshipped(MOST)))
    ledger.add(connection(2))
    ledger.close()
    again = Ledger(str(tmp_path), MOST, Clock())
    assert [entry.kind for entry in entries(tmp_path)] == ["start", "connection", "head", "connection", "end", "start"]
    batch = again.unshipped(MOST)
    assert batch is not None
    assert batch.first == 3     # what was countersigned is not shipped again
    assert again.has_news


def test_a_restart_after_many_files_finds_the_last_countersignature(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), MOST, Clock())
    for number in range(100):
        ledger.add(connection(number))
    ledger.shipped(signed(ledger.unshipped(1 << 20)))
    for number in range(100):
        ledger.add(connection(number))
    ledger.close()
    assert len(list(tmp_path.glob("*.jsonl"))) > 4
    batch = Ledger(str(tmp_path), MOST, Clock()).unshipped(1 << 20)
    assert batch is not None
    assert (batch.first, batch.last) == (102, 204)
    assert [entry.kind for entry in entries(tmp_path)].count("connection") == 200


def test_a_crash_in_the_midst_of_a_line(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), MOST, Clock())
    ledger.add(connection(1))
    ledger.add(connection(2))
    path, = tmp_path.glob("*.jsonl")
    ledger.close()
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:2]) + whole[2][:40])
    again = Ledger(str(tmp_path), MOST, Clock())
    assert [entry.requests for entry in entries(tmp_path)] == [0, 1, 0]
    assert again.count == 3


def test_a_chain_that_does_not_hold_is_put_aside_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger(str(tmp_path), MOST, Clock())
    ledger.add(connection(1))
    ledger.close()
    path, = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"10.0.0.1", b"10.0.0.9"))
    again = Ledger(str(tmp_path), MOST, Clock())
    assert "the ledger is broken, and begins anew: line 3 does not follow" in capsys.readouterr().err
    assert [entry.kind for entry in entries(tmp_path)] == ["start"]
    assert (again.count, entries(tmp_path)[0].previous) == (1, FIRST)


def test_a_file_that_is_missing_is_a_break(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger(str(tmp_path), MOST, Clock())
    for number in range(150):
        ledger.add(connection(number))
    ledger.close()
    sorted(tmp_path.glob("*.jsonl"))[1].unlink()
    Ledger(str(tmp_path), MOST, Clock())
    assert "the ledger is broken" in capsys.readouterr().err


def test_no_room_is_counted_and_told_as_soon_as_there_is_some(tmp_path: Path) -> None:
    clock = Clock()
    ledger = Ledger(str(tmp_path), MOST, clock)
    while not ledger.shed:
        ledger.add(connection(7))
    written = ledger.count
    for _ in range(9):
        ledger.add(connection(8))
    assert (ledger.count, ledger.shed) == (written, 10)
    clock.now += 1
    ledger.shipped(signed(ledger.unshipped(1 << 20)))
    ledger.add(connection(9))
    found = entries(tmp_path)
    assert [(entry.kind, entry.count) for entry in found[-3:]] == [("shed", 10), ("head", 0), ("connection", 0)]
    assert ledger.shed == 10
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= MOST


def test_the_end_and_a_countersignature_always_find_room(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), MOST, Clock())
    while not ledger.shed:
        ledger.add(connection())
    ledger.close()
    assert [entry.kind for entry in entries(tmp_path)[-2:]] == ["shed", "end"]


def test_a_full_disk_ends_nothing(tmp_path: Path) -> None:
    clock = Clock()
    ledger = Ledger(str(tmp_path), MOST, clock)
    with files_of_at_most(sum(path.stat().st_size for path in tmp_path.iterdir()) + 50):
        for _ in range(3):
            ledger.add(connection(1))
    assert ledger.shed == 3
    clock.now += 1
    ledger.add(connection(2))
    assert [(entry.kind, entry.count, entry.requests) for entry in entries(tmp_path)] == [
        ("start", 0, 0), ("shed", 3, 0), ("connection", 0, 2),
    ]


def test_a_flood_of_refusals_does_not_push_out_connections(tmp_path: Path) -> None:
    """In one second, and over many."""
    clock = Clock()
    ledger = Ledger(str(tmp_path), MOST, clock)
    for _ in range(1000):
        ledger.add(Entry("refusal", detail="x"))
    assert ledger.count == 1 + REFUSALS_A_SECOND
    assert ledger.shed == 1000 - REFUSALS_A_SECOND
    for _ in range(1000):
        clock.now += 1
        for _ in range(50):
            ledger.add(Entry("refusal", detail="x"))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= MOST // 2
    before = ledger.shed
    for number in range(20):
        ledger.add(connection(number))
    assert ledger.shed == before
    refusals = sum(entry.kind == "refusal" for entry in entries(tmp_path))
    assert refusals + ledger.shed == 1000 + 1000 * 50


def test_told_once_a_second_not_before_every_line(tmp_path: Path) -> None:
    clock = Clock()
    ledger = Ledger(str(tmp_path), MOST, clock)
    for _ in range(REFUSALS_A_SECOND + 1):
        ledger.add(Entry("refusal"))
    for _ in range(10):
        ledger.add(connection())
        ledger.add(Entry("refusal"))
    kinds = [entry.kind for entry in entries(tmp_path)]
    assert "shed" not in kinds
    clock.now -= 3600       # a clock that was set back does not silence it
    ledger.add(connection())
    assert [(entry.kind, entry.count) for entry in entries(tmp_path)][-2:] == [("shed", 11), ("connection", 0)]


@pytest.mark.parametrize("text", ["\n{}\x00\x1b[2J\r\u2028", "\ud800", "x" * 100_000, "\x00" * 20_000, "\ud800" * 20_000])
def test_whatever_a_peer_chose_is_one_line(text: str, tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), 1 << 20, Clock())
    ledger.add(Entry("refusal", host=text, detail=text, source=text, rules={text: 1}))
    ledger.add(connection())
    found = entries(tmp_path)
    assert [entry.kind for entry in found] == ["start", "refusal", "connection"]
    assert found[1].host[:1] in (text[:1], "?")
    assert all(len(line) <= MAX_LINE_BYTES for path in tmp_path.iterdir() for line in path.read_bytes().split(b"\n"))


def test_batches_are_bounded_and_continue_each_other(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), MOST, Clock())
    for number in range(100):
        ledger.add(connection(number))
    last = ledger.head
    taken = b""
    while (batch := ledger.unshipped(5000)) is not None and batch.last <= 101:
        assert len(batch.lines) <= 5000
        assert batch.lines.count(b"\n") == batch.last - batch.first + 1
        taken += batch.lines
        head = batch.head
        ledger.rewind(batch.last, batch.head)
    assert head == last
    assert taken == b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir()))
    assert ledger.unshipped(5000) is None
    ledger.ship_all()
    one = ledger.unshipped(1)
    assert one is not None
    assert (one.first, one.last) == (1, 1)


def test_its_own_countersignature_is_no_news(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), MOST, Clock())
    assert ledger.has_news
    ledger.shipped(signed(ledger.unshipped(MOST)))
    assert not ledger.has_news
    assert ledger.unshipped(MOST) is not None
    ledger.add(connection())
    assert ledger.has_news


def test_rewinding_to_what_the_control_plane_has(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), MOST, Clock())
    heads = [(0, FIRST), (1, ledger.head)]
    for number in range(100):
        ledger.add(connection(number))
        heads.append((ledger.count, ledger.head))
    for count, head in heads:
        assert ledger.rewind(count, head)
        batch = ledger.unshipped(1)
        assert batch.first == count + 1 if batch else count == ledger.count
    assert ledger.unshipped(1) is None
    assert not ledger.rewind(50, heads[49][1])
    assert not ledger.rewind(102, ledger.head)
    assert not ledger.rewind(0, heads[1][1])
    assert ledger.unshipped(1) is None


def test_the_end_can_be_shipped(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), MOST, Clock())
    ledger.close()
    batch = ledger.unshipped(MOST)
    assert batch is not None
    assert batch.lines.endswith(b"\n")
    ledger.shipped(signed(batch))
    assert ledger.unshipped(MOST) is None
