"""Trust as the injector follows it: newer versions only, kept before they count, and never lost by a restart."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from injector.trust import RETRY_FIRST_S, TrustWatch
from sidecar.model.address import Address
from sidecar.model.call import Answer, Call
from sidecar.model.errors import ConfigError
from sidecar.model.trust import Revoked, Trust
from tests.helpers import pki
from tests.helpers.endpoint import HOST, URL, endpoint
from tests.helpers.mesh import root
from tests.helpers.pki import WEB
from tests.helpers.runtime import FakeDialer

ISSUER = Address(HOST, 8443)
ROOTS = pki.pem([root().certificate])
THIEF = Revoked(identities=(WEB,))


class Fixture:
    """The issuer says what `say` returns; None is a standing question."""

    def __init__(self, nursery: trio.Nursery, folder: Path) -> None:
        self.folder = folder
        self.dialer = FakeDialer(nursery)
        self.asked: list[tuple[float, str]] = []
        self.say: Callable[[Call], Answer | None] = lambda _: None
        self.serve("root")
        self.roots = folder / "roots.pem"
        self.roots.write_text(ROOTS)

    def serve(self, authority: str) -> None:
        self.dialer.servers[ISSUER] = endpoint(self._answer, authority=authority)

    def watch(self) -> TrustWatch:
        return TrustWatch(URL, self.folder, str(self.roots), self.dialer)

    def _answer(self, call: Call) -> Answer | None:
        assert (call.method, call.path) == ("GET", "/v1/trust")
        self.asked.append((trio.current_time(), call.query))
        return self.say(call)


@pytest.fixture
def fixture(nursery: trio.Nursery, tmp_path: Path) -> Fixture:
    return Fixture(nursery, tmp_path)


def answers(*said: Trust | Answer) -> Callable[[Call], Answer | None]:
    """Each for one question, in order; then silence."""
    left = [one if isinstance(one, Answer) else Answer(200, msgspec.json.encode(one)) for one in said]
    return lambda _: left.pop(0) if left else None


async def test_the_first_time_the_roots_file_counts(fixture: Fixture) -> None:
    assert fixture.watch().current == Trust(0, ROOTS)


async def test_what_the_issuer_says_is_taken_and_kept(nursery: trio.Nursery, autojump_clock: MockClock, fixture: Fixture) -> None:
    watch = fixture.watch()
    seen = watch.anchors.current
    fixture.say = answers(Trust(5, ROOTS, revoked=THIEF), Answer(304), Trust(6, ROOTS))
    nursery.start_soon(watch.run)
    await watch.anchors.wait_change(seen)
    assert watch.current == Trust(5, ROOTS, revoked=THIEF)
    assert fixture.watch().current == watch.current      # what a restart begins with
    kept = fixture.folder / "trust.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    await trio.sleep(1)
    assert watch.current.version == fixture.watch().current.version == 6
    assert [query for _, query in fixture.asked] == ["seen=0", "seen=5", "seen=5", "seen=6"]


@pytest.mark.parametrize("version", [0, 4, 5])
async def test_a_withdrawn_name_does_not_come_back_by_an_older_version(
    version: int, nursery: trio.Nursery, autojump_clock: MockClock, fixture: Fixture, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = fixture.watch()
    assert watch.take(Trust(5, ROOTS, revoked=THIEF))
    fixture.say = answers(Trust(version, ROOTS))
    nursery.start_soon(watch.run)
    await trio.sleep(1)
    assert watch.current.revoked == fixture.watch().current.revoked == THIEF
    assert f"version {version}, which is not newer than 5" in capsys.readouterr().err


@pytest.mark.parametrize("bad", [
    Answer(200, b""), Answer(200, b"{"), Answer(200, b'{"version": 9}'), Answer(200, b'{"version": -1, "roots": ""}'), Answer(500),
    Answer(200, msgspec.json.encode(Trust(9, "no PEM"))), Answer(200, msgspec.json.encode(Trust(9, ROOTS, revoked=Revoked(keys=("x",))))),
])
async def test_what_is_no_trust_changes_nothing(
    bad: Answer, nursery: trio.Nursery, autojump_clock: MockClock, fixture: Fixture, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = fixture.watch()
    fixture.say = answers(bad, Trust(7, ROOTS))
    nursery.start_soon(watch.run)
    await trio.sleep(RETRY_FIRST_S / 2)
    assert watch.current == fixture.watch().current == Trust(0, ROOTS)
    assert "no news of trust from" in capsys.readouterr().err
    await trio.sleep(1)
    assert watch.current.version == 7       # and it is asked again


async def test_trust_that_cannot_be_kept_does_not_count(fixture: Fixture) -> None:
    """A restart would forget it."""
    watch = fixture.watch()
    (fixture.folder / "trust.json").mkdir()
    with pytest.raises(ConfigError):
        watch.take(Trust(5, ROOTS))
    assert watch.current.version == 0


async def test_who_is_not_the_issuer_is_not_believed(
    nursery: trio.Nursery, autojump_clock: MockClock, fixture: Fixture, capsys: pytest.CaptureFixture[str]
) -> None:
    fixture.serve("another root")
    fixture.say = answers(Trust(5, ROOTS))
    watch = fixture.watch()
    nursery.start_soon(watch.run)
    await trio.sleep(1)
    assert watch.current.version == 0
    assert fixture.asked == []


async def test_the_next_question_trusts_the_roots_that_came_with_the_last_answer(
    nursery: trio.Nursery, autojump_clock: MockClock, fixture: Fixture
) -> None:
    watch = fixture.watch()
    fixture.say = answers(Trust(5, ROOTS + pki.pem([root("next root").certificate])))
    nursery.start_soon(watch.run)
    await trio.sleep(1)
    fixture.serve("next root")
    fixture.say = answers(Trust(6, pki.pem([root("next root").certificate])))
    await trio.sleep(60)
    assert watch.current.version == 6


async def test_patience_grows_while_nobody_answers(
    nursery: trio.Nursery, autojump_clock: MockClock, fixture: Fixture, capsys: pytest.CaptureFixture[str]
) -> None:
    del fixture.dialer.servers[ISSUER]
    nursery.start_soon(fixture.watch().run)
    await trio.sleep(60)
    assert 8 < len(fixture.dialer.dialled) < 14


async def test_a_question_that_nobody_ends_is_asked_anew(nursery: trio.Nursery, autojump_clock: MockClock, fixture: Fixture) -> None:
    nursery.start_soon(fixture.watch().run)
    await trio.sleep(100)
    await wait_all_tasks_blocked()
    assert [round(time) for time, _ in fixture.asked] == [0, 45, 91]


@pytest.mark.parametrize("kept", [b"", b"{", b'{"version": 5, "roots": "none"}', b'{"version": 5}'])
async def test_what_was_kept_and_is_unusable_is_not_passed_over(kept: bytes, fixture: Fixture) -> None:
    (fixture.folder / "trust.json").write_bytes(kept)
    with pytest.raises(ConfigError, match=r"trust\.json is unusable"):
        fixture.watch()
