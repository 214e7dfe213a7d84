"""Snapshots by stream: taken whole, kept for a restart, and asked for again with patience."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

import msgspec
import pytest
import trio
from cryptography.hazmat.primitives import hashes
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.control.keyring import Keyring
from sidecar.control.snapshot_stream import run_snapshot_stream
from sidecar.model.address import Address
from sidecar.model.call import Answer, Call
from sidecar.model.config import SnapshotStream
from sidecar.model.needs import Needs
from sidecar.model.snapshot import Snapshot, Workload, digest, parse_snapshot, render_snapshot
from sidecar.model.trust import Revoked, Trust
from sidecar.model.worker import ALONE, Worker
from sidecar.net import service
from sidecar.net.files import keep
from sidecar.net.watched import Watched
from tests.helpers import pki
from tests.helpers.endpoint import HOST, URL, endpoint
from tests.helpers.mesh import root, tls_of
from tests.helpers.pki import WEB
from tests.helpers.runtime import FakeDialer

INJECTOR = Address(HOST, 8443)
CREDENTIALS = tls_of(WEB).credentials
SIGNER = root().certificate.fingerprint(hashes.SHA256()).hex()
ONE, TWO = (render_snapshot(Snapshot(Workload(WEB, "shop", pod=name))) for name in ("one", "two"))


class Fixture:
    """Answers come from `say`; None is a standing question."""

    def __init__(
        self, nursery: trio.Nursery, folder: Path | None = None, *, url: str = URL, starts: bool = True, has_certificate: bool = True
    ) -> None:
        self.dialer = FakeDialer(nursery)
        self.keyring = Keyring(Watched(None))
        if has_certificate:
            self.keyring.take_issued(CREDENTIALS, pki.trust(root()))
        self.taken: list[str] = []
        self.questions: list[bytes] = []
        self.wanted: Watched[tuple[str, ...]] = Watched(())
        self.needs: list[Needs] = []
        self.asked: list[tuple[float, str]] = []
        self.say: Callable[[Call], Answer | None] = lambda _: None
        self.dialer.servers[INJECTOR] = endpoint(self._answer, demands_client=True)
        self.kept = folder / "snapshot.json" if folder else None
        self._config = SnapshotStream(url, str(self.kept) if self.kept else None)
        if starts:
            self.start(nursery)

    def start(self, nursery: trio.Nursery, process: Worker = ALONE) -> None:
        nursery.start_soon(
            run_snapshot_stream, self._config, "uid-1", self.keyring, self.dialer, self._take, self.questions.append, self.wanted, process)

    def _answer(self, call: Call) -> Answer | None:
        assert (call.method, call.path) == ("POST", "/v1/snapshot")
        self.needs.append(msgspec.json.decode(call.body, type=Needs))
        self.asked.append((trio.current_time(), call.query))
        return self.say(call)

    def _take(self, text: bytes) -> None:
        snapshot = parse_snapshot(text)
        if snapshot.trust is not None:
            self.keyring.take_trust(snapshot.trust)
        self.taken.append(snapshot.workload.pod)


def question(seen: bytes | None, trust: int = 1) -> str:
    return f"pod=uid-1&seen={digest(seen) if seen is not None else ''}&trust={trust}&signer={SIGNER}"


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
    assert [query for _, query in fixture.asked] == [question(None), question(ONE), question(ONE), question(TWO)]
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
    assert fixture.asked[0][1] == question(ONE)


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
    assert fixture.asked[0][1] == question(None)
    assert fixture.taken == ["one"]


def with_trust(text: bytes, trust: Trust) -> bytes:
    return render_snapshot(replace(parse_snapshot(text), trust=trust))


@pytest.mark.parametrize("bad", [
    b"", b"{", TWO[:-5], b'{"workload": {}, "surprise": 1}',
    with_trust(TWO, Trust(2, "no PEM")), with_trust(TWO, Trust(2, pki.pem([root().certificate])[:200])),
    with_trust(TWO, replace(pki.trust(root(), version=2), signer="nobody")),
    with_trust(TWO, pki.trust(root(), version=2, revoked=Revoked(identities=("no SPIFFE ID",)))),
])
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
    assert [query for _, query in fixture.asked] == [question(None), question(ONE), question(bad)]


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
    fixture = Fixture(nursery, has_certificate=False)
    fixture.keyring.take_trust(pki.trust(root()))
    await trio.sleep(7)
    assert fixture.asked == []
    fixture.keyring.take_credentials(CREDENTIALS)
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


# -- what is held


async def test_the_acknowledgement_is_made_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    await trio.sleep(10)
    both = pki.trust(root(), root("new"), version=2)
    fixture.keyring.take_trust(both)
    await trio.sleep(10)
    fresh = pki.credentials(pki.issue(root("new"), pki.uri(WEB)))
    fixture.keyring.take_credentials(fresh)
    signer = root("new").certificate.fingerprint(hashes.SHA256()).hex()
    fixture.dialer.servers[INJECTOR] = endpoint(fixture._answer)      # it trusts the old root alone
    await trio.sleep(10)
    assert fixture.asked == [
        (0, question(None)), (10, question(None, trust=2)), (20, question(None, trust=2).replace(SIGNER, signer)),
    ]


async def test_trust_that_comes_with_a_snapshot_is_acknowledged(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    told = with_trust(ONE, pki.trust(root(), root("new"), version=2))
    fixture.say = once(Answer(200, told))
    await trio.sleep(1)
    assert [query for _, query in fixture.asked] == [question(None), question(told, trust=2)]


async def test_a_chain_of_no_root_that_is_held_names_no_signer(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    fixture.keyring.take_trust(pki.trust(root("new"), version=2))
    fixture.dialer.servers[INJECTOR] = endpoint(fixture._answer, authority="new")
    await trio.sleep(1)
    assert fixture.asked[-1][1] == "pod=uid-1&seen=&trust=2"


async def test_an_answer_that_the_change_cut_off_is_asked_for_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Wherever the question stands when it is cancelled: no snapshot is lost, and none is taken twice."""
    for instants in range(12):
        fixture = Fixture(nursery)
        fixture.say = lambda call: Answer(200, ONE) if "seen=&" in call.query else None
        for _ in range(instants):
            await trio.lowlevel.checkpoint()
        fixture.keyring.take_trust(pki.trust(root(), root("new"), version=2))
        await trio.sleep(1)
        assert fixture.taken == ["one"]
        assert fixture.asked[-1][1] == question(ONE, trust=2)


async def test_the_newest_trust_counts_after_a_restart(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    fixture = Fixture(nursery, tmp_path, starts=False)
    assert fixture.kept is not None
    keep(str(fixture.kept), with_trust(ONE, pki.trust(root(), version=3)))
    newest = pki.trust(root(), version=4, revoked=Revoked(pods=("u-1",)))
    fixture.keyring.take_trust(newest)      # was kept with the identity
    fixture.start(nursery)
    await trio.sleep(1)
    assert fixture.taken == ["one"]
    assert fixture.keyring.trust == newest
    assert "&trust=4&" in fixture.asked[0][1]


async def test_a_question_is_handed_on(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    fixture.say = once(Answer(200, ONE), Answer(202, b"a question"), Answer(200, TWO))
    await trio.sleep(2)
    assert (fixture.questions, fixture.taken) == ([b"a question"], ["one", "two"])
    assert [query for _, query in fixture.asked][1:3] == [question(ONE)] * 2       # what is held stays as it was


async def test_a_wish_is_told_at_once_and_repeated(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    await trio.sleep(5)
    fixture.wanted.set(("10.0.0.1",))
    await wait_all_tasks_blocked()
    fixture.wanted.set(("10.0.0.1", "pay.money"))
    await wait_all_tasks_blocked()
    assert [at for at, _ in fixture.asked] == [0, 5, 5]
    assert [needs.wanted for needs in fixture.needs] == [(), ("10.0.0.1",), ("10.0.0.1", "pay.money")]


async def test_a_snapshot_that_is_not_taken_is_refused_with_its_reason(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    fixture.say = once(Answer(200, b"{}"), Answer(200, ONE))
    await trio.sleep(2)
    assert fixture.taken == ["one"]
    first, refused, mended = (needs.refused for needs in fixture.needs)
    assert (first, mended) == ("", "")
    assert "workload" in refused


async def test_a_snapshot_that_is_too_large_is_refused_with_its_reason(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_ANSWER_BYTES", len(ONE))
    fixture = Fixture(nursery)
    fixture.say = once(Answer(200, ONE), Answer(200, TWO + b" " * 10), Answer(304))
    await trio.sleep(2)
    assert fixture.taken == ["one"]
    assert [needs.refused for needs in fixture.needs] == ["", "", f"the answer has more than {len(ONE)} bytes", ""]
    assert [query for _, query in fixture.asked] == [question(None), *[question(ONE)] * 3]     # what is held stays as it was


async def test_a_process_of_a_gateway_says_which(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery, starts=False)
    fixture.start(nursery, Worker(2, 3))
    await wait_all_tasks_blocked()
    assert parse_qs(fixture.asked[0][1])["worker"] == ["2/3"]
