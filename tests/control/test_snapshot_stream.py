"""Snapshots by stream: taken whole, kept for a restart, and asked for again with patience."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.control.snapshot_stream import keep, run_snapshot_stream
from sidecar.model.address import Address
from sidecar.model.call import Answer, Call
from sidecar.model.config import SnapshotStream
from sidecar.model.snapshot import Snapshot, Workload, digest, parse_snapshot, render_snapshot
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.watched import Watched
from tests.helpers.endpoint import HOST, URL, endpoint
from tests.helpers.mesh import tls_of
from tests.helpers.pki import WEB
from tests.helpers.runtime import FakeDialer

INJECTOR = Address(HOST, 8443)
ONE, TWO = (render_snapshot(Snapshot(Workload(WEB, "shop", pod=name))) for name in ("one", "two"))


class Fixture:
    """Answers come from `say`; None is a standing question."""

    def __init__(
        self, nursery: trio.Nursery, folder: Path | None = None, *, url: str = URL, starts: bool = True
    ) -> None:
        self.dialer = FakeDialer(nursery)
        self.tls: Watched[MeshTls | None] = Watched(tls_of(WEB))
        self.taken: list[str] = []
        self.asked: list[tuple[float, str]] = []
        self.say: Callable[[Call], Answer | None] = lambda _: None
        self.dialer.servers[INJECTOR] = endpoint(self._answer, demands_client=True)
        self.kept = folder / "snapshot.json" if folder else None
        self._config = SnapshotStream(url, str(self.kept) if self.kept else None)
        if starts:
            self.start(nursery)

    def start(self, nursery: trio.Nursery) -> None:
        nursery.start_soon(run_snapshot_stream, self._config, "uid-1", self.tls, self.dialer, self._take)

    def _answer(self, call: Call) -> Answer | None:
        assert (call.method, call.path) == ("GET", "/v1/snapshot")
        self.asked.append((trio.current_time(), call.query))
        return self.say(call)

    def _take(self, text: bytes) -> None:
        self.taken.append(parse_snapshot(text).workload.pod)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def once(*answers: Answer) -> Callable[[Call], Answer | None]:
    """Each answer for one question, in order; then silence."""
    left = list(answers)
    return lambda _: left.pop(0) if left else None


async def test_a_snapshot_is_taken_and_kept(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.say = once(Answer(200, ONE), Answer(304), Answer(200, TWO))
    await trio.sleep(2)
    assert fixture.taken == ["one", "two"]
    assert [query for _, query in fixture.asked] == [
        "pod=uid-1&seen=", *[f"pod=uid-1&seen={digest(ONE)}"] * 2, f"pod=uid-1&seen={digest(TWO)}",
    ]
    assert fixture.kept is not None
    assert fixture.kept.read_bytes() == TWO
    assert fixture.kept.stat().st_mode & 0o777 == 0o600
    assert names_in(tmp_path) == ["snapshot.json"]


async def test_a_restart_serves_on_without_the_injector(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    fixture = Fixture(nursery, tmp_path, starts=False)
    assert fixture.kept is not None
    keep(str(fixture.kept), ONE)
    del fixture.dialer.servers[INJECTOR]
    fixture.start(nursery)
    await wait_all_tasks_blocked()
    assert fixture.taken == ["one"]
    assert trio.current_time() == 0
    fixture.dialer.servers[INJECTOR] = endpoint(fixture._answer, demands_client=True)
    await trio.sleep(11)
    assert fixture.asked[0][1] == f"pod=uid-1&seen={digest(ONE)}"


@pytest.mark.parametrize("kept", [b"", b"{", ONE[:-5], b"\xff\xfe", b'{"workload": {}}'])
async def test_what_was_kept_and_is_unusable(
    kept: bytes, nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixture = Fixture(nursery, tmp_path, starts=False)
    assert fixture.kept is not None
    fixture.kept.write_bytes(kept)
    fixture.say = once(Answer(200, ONE))
    fixture.start(nursery)
    await trio.sleep(1)
    assert "the kept snapshot is unusable" in capsys.readouterr().err
    assert fixture.asked[0][1] == "pod=uid-1&seen="
    assert fixture.taken == ["one"]


@pytest.mark.parametrize("bad", [b"", b"{", TWO[:-5], b'{"workload": {}, "surprise": 1}'])
async def test_what_cannot_be_taken_leaves_the_previous_in_force(
    bad: bytes, nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.say = once(Answer(200, ONE), Answer(200, bad))
    await trio.sleep(5)
    assert fixture.taken == ["one"]
    assert fixture.kept is not None
    assert fixture.kept.read_bytes() == ONE
    assert capsys.readouterr().err.count("kept the previous snapshot") == 1
    # It is not asked for again and again: the question says that it was seen.
    assert [query.partition("seen=")[2] for _, query in fixture.asked] == ["", digest(ONE), digest(bad)]


async def test_a_snapshot_that_cannot_be_kept_counts_all_the_same(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path
) -> None:
    fixture = Fixture(nursery, tmp_path / "gone")
    fixture.say = once(Answer(200, ONE), Answer(200, TWO))
    await trio.sleep(5)
    assert fixture.taken == ["one", "two"]


async def test_patience_grows_while_the_injector_is_away(
    nursery: trio.Nursery, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    fixture = Fixture(nursery)
    fixture.say = lambda _: Answer(503, b"not now")
    await trio.sleep(60)
    times = [round(time, 3) for time, _ in fixture.asked]
    assert times == [0, 0.2, 0.6, 1.4, 3, 6.2, 12.6, 22.6, 32.6, 42.6, 52.6]
    assert "answered 503: not now" in capsys.readouterr().err
    fixture.say = once(Answer(200, ONE), Answer(503))
    await trio.sleep(10)
    times = [round(time, 3) for time, _ in fixture.asked[-3:]]
    assert times == [62.6, 62.8, 63.0]      # after a success it begins anew


async def test_a_standing_question_is_asked_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    await trio.sleep(100)
    assert [round(time, 3) for time, _ in fixture.asked] == [0, 45.2, 90.6]


async def test_an_injector_that_never_lets_a_question_stand_is_not_flooded(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    fixture = Fixture(nursery)
    fixture.say = lambda _: Answer(304)
    await trio.sleep(10)
    assert len(fixture.asked) <= 51


async def test_one_that_answers_ever_new_nonsense_neither(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    fixture.say = lambda _: Answer(200, b"nonsense %d" % len(fixture.asked))
    await trio.sleep(10)
    assert len(fixture.asked) <= 51


async def test_an_address_that_is_none_is_said_and_does_not_stop_the_rest(
    nursery: trio.Nursery, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    Fixture(nursery, url="http://10.96.0.9")
    await trio.sleep(1)
    assert "not of the form https://" in capsys.readouterr().err


async def test_without_a_certificate_it_waits(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    fixture.tls.set(None)
    await trio.sleep(7)
    assert fixture.asked == []
    fixture.tls.set(tls_of(WEB))
    await wait_all_tasks_blocked()
    assert [time for time, _ in fixture.asked] == [7]


async def test_an_injector_that_is_not_verified_is_not_asked(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery, starts=False)
    fixture.say = lambda _: Answer(200, ONE)
    fixture.dialer.servers[INJECTOR] = endpoint(fixture._answer, authority="stranger")
    fixture.start(nursery)
    await trio.sleep(5)
    assert len(fixture.dialer.dialled) > 3
    assert fixture.asked == fixture.taken == []


def test_keeping_replaces_at_once(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    (tmp_path / "kept.new").write_bytes(b"left over from a crash, and longer than what comes now")
    keep(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert names_in(tmp_path) == ["kept"]
