"""Evidence reaches the control plane: caught up with, countersigned, and a break is said."""

import base64
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

import msgspec
import pytest
import trio
from trio.testing import MockClock

from sidecar.control.ledger_shipping import MAX_BODY_BYTES, Shipping
from sidecar.model.address import Address
from sidecar.model.call import Answer, Call
from sidecar.model.chain import FIRST, follow
from sidecar.model.config import SnapshotStream
from sidecar.model.ledger import Countersignature, Entry
from sidecar.model.worker import ALONE, Worker
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.watched import Watched
from sidecar.telemetry.ledger import Ledger
from tests.helpers.endpoint import HOST, URL, endpoint
from tests.helpers.mesh import tls_of
from tests.helpers.pki import WEB
from tests.helpers.runtime import FakeDialer

INJECTOR = Address(HOST, 8443)
SIGNATURE = base64.b64encode(b"\x30" + bytes(69)).decode()


class Injector:
    """Keeps chains as the control plane does; `instead` answers in its place."""

    def __init__(self) -> None:
        self.chains: list[list[bytes]] = [[]]
        self.head = FIRST
        self.pod = "uid-1"
        self.asked: list[tuple[float, int, bool]] = []
        self.workers: set[str] = set()
        self.instead: Callable[[Call], Answer | None] | None = None

    def answer(self, call: Call) -> Answer | None:
        assert (call.method, call.path) == ("POST", "/v1/ledger")
        assert len(call.body) <= MAX_BODY_BYTES
        query = parse_qs(call.query)
        assert query["pod"] == ["uid-1"]
        first, is_anew = int(query["from"][0]), "anew" in query
        self.workers.add(query.get("worker", [""])[0])
        self.asked.append((trio.current_time(), first, is_anew))
        if self.instead is not None:
            return self.instead(call)
        lines = call.body.splitlines(keepends=True)
        previous = msgspec.json.decode(lines[0], type=Entry).previous
        if is_anew:
            self.chains.append([])
            self.before = first - 1
        elif (first, previous) != (self.count + 1, self.head):
            return Answer(409, msgspec.json.encode({"count": self.count, "head": self.head}))
        for _, self.head in follow(lines, Entry, head=previous):
            pass
        self.chains[-1] += lines
        return Answer(200, msgspec.json.encode(self.signed()))

    before = 0

    @property
    def count(self) -> int:
        return self.before + len(self.chains[-1])

    def signed(self) -> Countersignature:
        return Countersignature(self.pod, self.head, self.count, 1.0, "ab" * 32, SIGNATURE)

    def kinds(self) -> list[str]:
        return [msgspec.json.decode(line, type=Entry).kind for line in self.chains[-1]]


class Fixture:
    def __init__(self, nursery: trio.Nursery, folder: Path, *, is_present: bool = True, most_bytes: int = 8 << 20,
                 process: Worker = ALONE) -> None:
        self.ledger = Ledger(str(folder), most_bytes, lambda: 1000.0 + trio.current_time())
        self.injector = Injector()
        self.injector.pod = process.chain_of("uid-1")
        self.dialer = FakeDialer(nursery)
        self.tls: Watched[MeshTls | None] = Watched(tls_of(WEB))
        if is_present:
            self.come()
        self.shipping = Shipping(SnapshotStream(URL), "uid-1", self.ledger, self.tls, self.dialer, process)

    def come(self) -> None:
        self.dialer.servers[INJECTOR] = endpoint(self.injector.answer, demands_client=True, max_body_bytes=1 << 20)

    def add(self, number: int = 1) -> None:
        for _ in range(number):
            self.ledger.add(Entry("connection", id="ab" * 32, peer=WEB))


async def test_every_ten_seconds_if_there_is_something_new(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path
) -> None:
    fixture = Fixture(nursery, tmp_path)
    nursery.start_soon(fixture.shipping.run)
    await trio.sleep(11)
    assert fixture.injector.asked == [(10, 1, False)]
    await trio.sleep(20)
    assert len(fixture.injector.asked) == 1     # its own countersignature is nothing new
    fixture.add(2)
    await trio.sleep(10)
    assert fixture.injector.asked[1:] == [(40, 2, False)]
    assert fixture.injector.kinds() == ["start", "head", "connection", "connection"]
    line = msgspec.json.decode(fixture.injector.chains[0][1], type=Entry)
    assert line.countersignature is not None
    assert line.countersignature.count == 1


async def test_many_lines_in_several_bodies(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    fixture = Fixture(nursery, tmp_path, most_bytes=64 << 20)
    fixture.add(4000)
    assert await fixture.shipping.ship_once()
    assert len(fixture.injector.asked) > 3
    assert fixture.injector.kinds().count("connection") == 4000


async def test_nothing_is_lost_while_the_injector_is_away(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixture = Fixture(nursery, tmp_path, is_present=False)
    nursery.start_soon(fixture.shipping.run)
    for _ in range(10):
        fixture.add(3)
        await trio.sleep(10)
    assert capsys.readouterr().err.count("the ledger could not be shipped") == 1     # once, not each time
    fixture.come()
    await trio.sleep(10)
    assert fixture.injector.kinds().count("connection") == 30
    assert fixture.ledger.shed == 0


@pytest.mark.parametrize("answer", [
    Answer(503, b"not now"),
    Answer(200, b""),
    Answer(200, b"{}"),
    Answer(409, b"[]"),
    None,
])
async def test_answers_that_are_none(
    answer: Answer | None, nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.injector.instead = lambda _: answer
    assert not await fixture.shipping.ship_once()
    assert "the ledger could not be shipped" in capsys.readouterr().err
    fixture.injector.instead = None
    assert await fixture.shipping.ship_once()
    assert fixture.injector.kinds() == ["start"]


@pytest.mark.parametrize("change", [
    {"pod": "uid-2"}, {"count": 2}, {"head": "00" * 32}, {"key": "ab"}, {"signature": "%%%"}, {"signature": ""},
    {"signature": base64.b64encode(bytes(70)).decode()}, {"signature": base64.b64encode(b"\x30" * 5000).decode()},
])
async def test_a_countersignature_that_is_none_of_this_chain(
    change: dict[str, object], nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path
) -> None:
    fixture = Fixture(nursery, tmp_path)
    good = Countersignature("uid-1", fixture.ledger.head, 1, 1.0, "ab" * 32, SIGNATURE)
    fixture.injector.instead = lambda _: Answer(200, msgspec.json.encode(msgspec.structs.replace(good, **change)))
    assert not await fixture.shipping.ship_once()
    assert fixture.ledger.count == 1
    fixture.injector.instead = lambda _: Answer(200, msgspec.json.encode(good))
    assert await fixture.shipping.ship_once()
    assert fixture.ledger.count == 2


async def test_an_answer_that_was_lost_is_caught_up_with(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    fixture = Fixture(nursery, tmp_path)
    kept = fixture.injector.answer

    def lose(call: Call) -> Answer | None:
        fixture.injector.instead = None
        kept(call)
        return None

    fixture.injector.instead = lose
    assert not await fixture.shipping.ship_once()
    fixture.add()
    assert await fixture.shipping.ship_once()
    assert [(first, is_anew) for _, first, is_anew in fixture.injector.asked] == [(1, False), (1, False), (1, False), (2, False)]
    assert fixture.injector.kinds() == ["start", "connection"]


async def test_a_chain_that_the_control_plane_does_not_know_is_shipped_anew_and_said(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sidecar that lost its folder."""
    fixture = Fixture(nursery, tmp_path / "one")
    fixture.add(5)
    assert await fixture.shipping.ship_once()
    again = Fixture(nursery, tmp_path / "two")
    again.injector = fixture.injector
    again.come()
    assert await again.shipping.ship_once()
    assert "the chain was never at line 6 " in capsys.readouterr().err
    assert [len(chain) for chain in fixture.injector.chains] == [6, 1]
    again.add()
    assert await again.shipping.ship_once()
    assert [len(chain) for chain in fixture.injector.chains] == [6, 3]
    assert [is_anew for _, _, is_anew in fixture.injector.asked] == [False, False, True, False]


async def test_a_control_plane_that_lost_its_store_gets_what_is_here(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.add(5)
    assert await fixture.shipping.ship_once()
    fixture.injector.chains, fixture.injector.head = [[]], FIRST
    fixture.add()
    assert await fixture.shipping.ship_once()
    assert fixture.injector.kinds() == ["start", *["connection"] * 5, "head", "connection"]
    assert "never" not in capsys.readouterr().err


@pytest.mark.parametrize("held", [{"count": 7, "head": "cd" * 32}, {"count": 0, "head": FIRST}])
async def test_one_that_always_disagrees_is_no_endless_loop(
    held: dict[str, object], nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path
) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.injector.instead = lambda _: Answer(409, msgspec.json.encode(held))
    assert not await fixture.shipping.ship_once()
    assert len(fixture.injector.asked) <= 3


async def test_files_that_are_gone_are_said(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixture = Fixture(nursery, tmp_path)
    (tmp_path / "000000000001.jsonl").unlink()
    assert not await fixture.shipping.ship_once()
    assert "No such file" in capsys.readouterr().err


async def test_without_a_certificate_nothing_is_shipped(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.tls.set(None)
    assert not await fixture.shipping.ship_once()
    assert fixture.dialer.dialled == []
    fixture.tls.set(tls_of(WEB))
    assert await fixture.shipping.ship_once()


async def test_the_last_line_is_shipped_after_the_end(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.add()
    fixture.ledger.close()
    assert await fixture.shipping.ship_once()
    assert fixture.injector.kinds() == ["start", "connection", "end"]


async def test_a_process_of_a_gateway_says_which(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    """And takes a word for its own chain alone."""
    fixture = Fixture(nursery, tmp_path, process=Worker(2, 3))
    fixture.add()
    assert await fixture.shipping.ship_once()
    assert fixture.injector.workers == {"2/3"}
    fixture.add()
    fixture.injector.pod = "uid-1"
    assert not await fixture.shipping.ship_once()
