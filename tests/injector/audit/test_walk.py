"""Whatever is done to countersigned evidence is found, and evidence that nobody touched is sound."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from injector.audit.verify import verify
from injector.audit.walk import Report
from injector.countersign import Signer
from injector.ledger_store import Store
from sidecar.model.chain import FIRST, hash_of
from sidecar.model.errors import ConfigError
from sidecar.model.ledger import Entry
from sidecar.telemetry.ledger import Ledger

NOW = 1_700_000_000.0
FILE = "shop/web-1.uid-1.jsonl"


class World:
    """A sidecar's ledger and the store that it was shipped to, every ten seconds."""

    def __init__(self, folder: Path, *, file_bytes: int = 1 << 20) -> None:
        self.now = NOW
        self.own, self.folder = folder / "own", folder / "ledger"
        self.ledger = Ledger(str(self.own), 1 << 20, lambda: self.now)
        self.store = Store(self.folder, file_bytes=file_bytes)
        self.signer = Signer.open(folder / "countersign.key", self.folder)
        self.is_anew = False

    def live(self, rounds: int, *, ship_every: int = 1) -> None:
        for number in range(1, rounds + 1):
            for _ in range(3):
                self.ledger.add(Entry("connection", requests=number))
                self.now += 10 / 3
            if number % ship_every == 0:
                self.ship()

    def ship(self) -> None:
        batch = self.ledger.unshipped(1 << 20)
        assert batch is not None
        chain = self.store.chain("uid-1", "shop", "web-1")
        if self.is_anew:
            self.store.begin(chain)
            self.is_anew = False
        path = self.store.append(chain, batch.lines, batch.first, batch.last, batch.head, self.now)
        signed = self.signer.sign("uid-1", batch.head, batch.last, self.now)
        self.store.synced({path}, {"uid-1": signed})
        self.ledger.shipped(signed)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    World(folder).live(4)
    return folder / "ledger"


@pytest.fixture
def store(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "ledger"))


def lines_of(store: Path) -> list[bytes]:
    return (store / FILE).read_bytes().splitlines(keepends=True)


def wrong(report: Report) -> list[str]:
    return [str(finding) for finding in report.findings if not finding.is_sound]


def relinked(lines: list[bytes]) -> list[bytes]:
    """Hashes that fit again, whatever the lines say."""
    made, head = [], FIRST
    for line in lines:
        entry = msgspec.json.decode(line, type=Entry)
        entry.previous = head
        made.append(msgspec.json.encode(entry) + b"\n")
        head = hash_of(made[-1][:-1])
    return made


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_nobody_touched_is_sound(what: str, store: Path) -> None:
    report = verify([str(store if what == "folder" else store / FILE)])
    assert (report.findings, report.files, report.lines, report.countersigned) == ([], 1, 16, 16)


@pytest.mark.parametrize(("change", "line"), [
    (lambda lines: [*lines[:3], lines[3].replace(b"10.", b"11."), *lines[4:]], 0),
    (lambda lines: [*lines[:3], lines[3].replace(b'"requests":1', b'"requests":7'), *lines[4:]], 4),
    (lambda lines: [lines[0].replace(b"17", b"18", 1), *lines[1:]], 1),
    (lambda lines: [*lines[:-1], lines[-1].replace(b'"requests":4', b'"requests":5')], -1),
    (lambda lines: [*lines[:5], *lines[6:]], 6),
    (lambda lines: lines[1:], 1),
    (lambda lines: [*lines[:5], lines[6], lines[5], *lines[7:]], 6),
    (lambda lines: [*lines[:5], lines[4], *lines[5:]], 6),
    (lambda lines: [*lines[:5], b"{}\n", *lines[5:]], 6),
    (lambda lines: [*lines[:5], b"\n", *lines[5:]], 6),
    (lambda lines: [*lines[:5], b"\0" + lines[5], *lines[6:]], 6),
    (lambda lines: [*lines[:-1], lines[-1][:-1]], 16),
    (lambda lines: [*lines[:-1], lines[-1][:-5]], 16),
])
def test_the_first_line_that_cannot_be_true_is_named(change: Callable[[list[bytes]], list[bytes]], line: int, store: Path) -> None:
    before = lines_of(store)
    changed = change(before)
    (store / FILE).write_bytes(b"".join(changed))
    report = verify([str(store)])
    if changed == before:
        assert report.is_sound
        return
    found, = [finding for finding in report.findings if not finding.is_sound]
    if line < 0:    # the last line: it is heads.json that knows it
        assert "rebuilt" in found.what
    else:
        assert found.line == line, found.what


def test_a_tail_that_was_cut(store: Path) -> None:
    (store / FILE).write_bytes(b"".join(lines_of(store)[:-1]))
    assert wrong(verify([str(store)])) == [f"{store / FILE}: ends with line 15 of 16 that heads.json knows: its tail was cut"]
    (store / FILE).write_bytes(b"")
    assert "ends with line 0 of 16" in wrong(verify([str(store)]))[0]
    (store / FILE).unlink()
    with pytest.raises(ConfigError, match="no ledger"):
        verify([str(store)])


def test_a_file_that_is_gone(store: Path) -> None:
    shutil.copy(store / FILE, store / "shop" / "web-2.uid-2.jsonl")
    (store / FILE).unlink()
    assert any("has no ledger of the pod uid-1, whose line 16" in each for each in wrong(verify([str(store)])))


def test_a_chain_that_was_rebuilt_contradicts_its_countersignatures(store: Path) -> None:
    lines = lines_of(store)
    lines[6] = lines[6].replace(b'"requests":2', b'"requests":9')
    (store / FILE).write_bytes(b"".join(relinked(lines)))
    found, = wrong(verify([str(store)]))
    assert "was rebuilt" in found
    assert "from line 5 on" in found     # as far as line 4 the countersignature holds


def test_one_without_countersignatures_contradicts_heads_json(store: Path) -> None:
    """Padded to the length that is known."""
    lines = [line for line in lines_of(store) if b'"kind":"head"' not in line]
    (store / FILE).write_bytes(b"".join(relinked([*lines, *lines[-3:]])))
    found, = wrong(verify([str(store)]))
    assert "was rebuilt" in found
    assert "heads.json knows" in found


def test_a_rebuilt_chain_needs_the_heads_that_were_kept_elsewhere(store: Path, tmp_path: Path) -> None:
    """Who cuts the tail and puts an older head in heads.json is contradicted by a copy of the newer one only."""
    shutil.copy(store / "heads.json", tmp_path / "copy.json")
    lines = lines_of(store)
    older = next(entry for line in reversed(lines) if (entry := msgspec.json.decode(line, type=Entry)).kind == "head").countersignature
    assert older is not None
    (store / FILE).write_bytes(b"".join(lines[:older.count]))
    (store / "heads.json").write_bytes(msgspec.json.encode({"uid-1": older}))
    assert verify([str(store)]).is_sound
    assert "tail was cut" in wrong(verify([str(store)], heads=str(tmp_path / "copy.json")))[0]


def test_forged_countersignatures(store: Path, tmp_path: Path) -> None:
    """The whole chain anew, with a key of one's own: the key tells."""
    forged = World(tmp_path / "forged")
    forged.live(4)
    shutil.copy(forged.folder / FILE, store / FILE)
    shutil.copy(forged.folder / "heads.json", store / "heads.json")
    assert "none of the control plane's" in wrong(verify([str(store)]))[0]
    (store / "countersign.pem").unlink()
    assert "nobody can verify" in wrong(verify([str(store)]))[0]
    assert verify([str(store)], key=str(forged.folder / "countersign.pem")).is_sound


def test_the_ledger_of_one_pod_is_none_of_another(store: Path) -> None:
    shutil.copy(store / FILE, store / "shop" / "web-2.uid-2.jsonl")
    heads = msgspec.json.decode((store / "heads.json").read_bytes())
    (store / "heads.json").write_bytes(msgspec.json.encode(heads | {"uid-2": heads["uid-1"]}))
    assert ["is of another pod" in each for each in wrong(verify([str(store)]))] == [True]


def test_without_heads_nothing_says_that_the_tail_is_whole(store: Path) -> None:
    (store / "heads.json").unlink()
    assert ["nothing says that its tail is whole" in each for each in wrong(verify([str(store)]))] == [True]


def test_lines_that_were_added_behind_the_last_head(store: Path) -> None:
    lines = lines_of(store)
    more = []
    for number in range(3):
        entry = Entry("connection", previous=hash_of([*lines, *more][-1][:-1]), time=NOW + 60 + 20 * number)
        more.append(msgspec.json.encode(entry) + b"\n")
    (store / FILE).write_bytes(b"".join([*lines, *more]))
    assert "3 lines at its end that were never countersigned" in wrong(verify([str(store)]))[0]


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(["byte", "drop", "swap", "copy", "cut", "insert"]))
def test_any_change_of_a_countersigned_ledger_is_found(
    kept: Path, tmp_path_factory: pytest.TempPathFactory, rng: random.Random, how: str
) -> None:
    """Any single byte changed, line dropped, swapped or copied, or tail cut, in a countersigned ledger is found."""
    lines = lines_of(kept)
    before = list(lines)
    at = rng.randrange(len(lines))
    if how == "byte":
        line = bytearray(lines[at])
        line[rng.randrange(len(line))] ^= rng.randrange(1, 256)
        lines[at] = bytes(line)
    elif how == "drop":
        del lines[at]
    elif how == "swap":
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif how == "copy":
        lines.insert(rng.randrange(len(lines) + 1), lines[at])
    elif how == "insert":
        lines[at] = lines[at][:(cut := rng.randrange(len(lines[at])))] + rng.choice([b"\0", b"\n", b" ", b"}"]) + lines[at][cut:]
    else:
        data = b"".join(lines)
        lines = [data[:rng.randrange(len(data))]]
    folder = Path(shutil.copytree(kept, tmp_path_factory.mktemp("changed") / "ledger"))
    (folder / FILE).write_bytes(b"".join(lines))
    assert verify([str(folder)]).is_sound == (b"".join(lines) == b"".join(before))
    shutil.rmtree(folder)


# -- files, restarts, outages


def test_several_files_are_one_chain(tmp_path: Path) -> None:
    world = World(tmp_path, file_bytes=2000)
    world.live(10)
    assert len(list(world.folder.glob("shop/*"))) > 3
    report = verify([str(world.folder)])
    assert (report.findings, report.lines, report.countersigned) == ([], 40, 40)
    middle = sorted(world.folder.glob("shop/*@3-*"))[0]
    report = verify([str(middle)])      # alone it begins and ends in the midst
    assert ["those before it are not here" in each for each in wrong(report)] == [True]
    middle.unlink()
    assert ["does not follow from the file before" in each for each in wrong(verify([str(world.folder)]))] == [True]


def test_files_that_were_removed_in_order_are_no_loss(tmp_path: Path) -> None:
    world = World(tmp_path, file_bytes=2000)
    world.live(10)
    world.store._most_bytes = 3 * 4096
    world.store.make_room(world.now)
    report = verify([str(world.folder)])
    assert report.is_sound
    assert "earlier ones were removed (room)" in str(report.findings[0])
    (world.folder / "removed.jsonl").unlink()
    assert not verify([str(world.folder)]).is_sound


def test_a_sidecar_that_lost_its_chain(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.live(2)
    shutil.rmtree(world.own)
    world.ledger = Ledger(str(world.own), 1 << 20, lambda: world.now)
    world.is_anew = True
    world.live(2)
    found, = wrong(verify([str(world.folder)]))
    assert "began anew" in found
    assert "@2-1." in found


def test_an_outage_of_the_control_plane_is_a_remark(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.live(6, ship_every=6)
    world.live(1)
    report = verify([str(world.folder)])
    assert report.is_sound
    assert "was not countersigned for 60 s" in str(report.findings[0])


def test_a_quiet_hour_is_no_outage(tmp_path: Path) -> None:
    """All that waits through it is the line of the last countersignature, which is no evidence."""
    world = World(tmp_path)
    world.live(2)
    world.now += 3600
    world.live(2)
    report = verify([str(world.folder)])
    assert report.is_sound
    assert report.findings == []


def test_shed_entries_and_clocks_are_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    for _ in range(110):
        world.ledger.add(Entry("refusal"))
    world.now += 5
    world.ledger.add(Entry("clock", detail="it was set by an hour"))
    world.now -= 3600
    world.ledger.add(Entry("connection"))
    world.ship()
    report = verify([str(world.folder)])
    assert (report.is_sound, report.shed, report.clock_jumps) == (True, 10, 2)
