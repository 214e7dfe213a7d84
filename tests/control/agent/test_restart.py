"""What is kept over a restart, and what a cancelled agent leaves behind."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.control.agent import SPREAD_S
from sidecar.control.kept_identity import read_kept
from tests.control.agent.support import HOUR_S, Fixture, fingerprint, signed_by
from tests.helpers import pki
from tests.helpers.mesh import root

# -- over a restart


async def test_a_restarted_container_serves_on_without_the_issuer(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Fixture(nursery, tmp_path, keeps=True)
    before.answer(before.issue(trust=signed_by("root", 5)))
    held = (await before.wait_taken()).credentials
    before.runs.cancel()
    await trio.sleep(60)
    after = Fixture(nursery, tmp_path, keeps=True)
    await wait_all_tasks_blocked()
    assert after.tls.current is not None
    assert after.tls.current.credentials.chain == held.chain
    assert after.tls.current.credentials.key.private_numbers() == held.key.private_numbers()
    assert after.keyring.trust == signed_by("root", 5)
    assert (after.dialer.dialled, capsys.readouterr().err) == ([], "")
    # The next is asked for when the first container would have asked.
    await trio.sleep(0.45 * HOUR_S - 62)
    assert after.dialer.dialled == []
    after.answer(after.issue())
    await trio.sleep(0.1 * HOUR_S + 4)
    assert len(after.times) == 1


async def test_a_kept_identity_past_its_half_is_renewed_at_once(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    before = Fixture(nursery, tmp_path, keeps=True)
    before.answer(before.issue())
    await before.wait_taken()
    before.runs.cancel()
    await trio.sleep(0.6 * HOUR_S)
    after = Fixture(nursery, tmp_path, keeps=True)
    after.answer(after.issue())
    await wait_all_tasks_blocked()
    assert after.is_served()
    await trio.sleep(1)
    assert len(after.times) == 1


async def test_a_kept_identity_of_the_wrong_signer_is_renewed_within_seconds(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path
) -> None:
    before = Fixture(nursery, tmp_path, keeps=True)
    before.answer(before.issue(trust=signed_by("root", 1)))
    await before.wait_taken()
    before.runs.cancel()
    after = Fixture(nursery, tmp_path, keeps=True, starts=False)
    after.keyring.take_trust(signed_by("new", 2))       # by the kept snapshot
    after.answer(after.issue(trust=signed_by("new", 2), signer="new"))
    nursery.start_soon(after.run)
    await trio.sleep(SPREAD_S)
    assert len(after.times) == 1
    assert after.keyring.signer == fingerprint("new")


async def test_a_kept_identity_that_ended_leaves_its_trust(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Fixture(nursery, tmp_path, keeps=True)
    before.answer(before.issue(trust=pki.trust(root(), root("new"), version=4)))
    await before.wait_taken()
    before.runs.cancel()
    await trio.sleep(HOUR_S)
    after = Fixture(nursery, tmp_path, keeps=True)
    after.answer(after.issue(trust=pki.trust(root("new"), version=5), signer="new"), authority="new")
    await wait_all_tasks_blocked()
    assert "the kept identity is not used: its certificate ended at" in capsys.readouterr().err
    await trio.sleep(1)
    assert after.is_served()        # the roots at injection alone would not have verified this issuer


@pytest.mark.parametrize("spoil", [
    lambda path: path.write_bytes(path.read_bytes()[:-9]), lambda path: path.chmod(0o644), lambda path: path.write_bytes(b"")])
async def test_a_kept_identity_that_cannot_be_used_is_replaced(
    spoil: Callable[[Path], object], nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Fixture(nursery, tmp_path, keeps=True)
    before.answer(before.issue())
    await before.wait_taken()
    before.runs.cancel()
    spoil(before.kept)
    after = Fixture(nursery, tmp_path, keeps=True)
    after.answer(after.issue())
    held = (await after.wait_taken()).credentials
    said = capsys.readouterr().err
    assert "the kept identity is not used" in said
    assert "PRIVATE" not in said
    kept = read_kept(str(after.kept))
    assert kept is not None
    assert kept.credentials.chain == held.chain


async def test_the_newest_trust_is_kept_whoever_brought_it(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    fixture = Fixture(nursery, tmp_path, keeps=True)
    newest = pki.trust(root(), root("new"), version=9)
    fixture.keyring.take_trust(newest)
    fixture.answer(fixture.issue())
    await fixture.wait_taken()
    kept = read_kept(str(fixture.kept))
    assert kept is not None
    assert kept.trust == newest


async def test_an_identity_that_cannot_be_kept_counts_all_the_same(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixture = Fixture(nursery, tmp_path, keeps=True)
    fixture.kept.mkdir()
    fixture.answer(fixture.issue())
    await trio.sleep(10)
    assert fixture.is_served()
    assert len(fixture.times) == 1
    assert "a restarted container will need the issuer" in capsys.readouterr().err


# -- cancelled


async def test_cancelled_anywhere_it_leaves_a_whole_identity_or_none(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path
) -> None:
    outcomes = set()
    for instants in range(40):
        fixture = Fixture(nursery, tmp_path, keeps=True)
        fixture.kept.unlink(missing_ok=True)
        fixture.answer(fixture.issue(trust=signed_by("root", 3)))
        for _ in range(instants):
            await trio.lowlevel.checkpoint()
        fixture.runs.cancel()
        await wait_all_tasks_blocked()
        is_taken = fixture.tls.current is not None
        outcomes.add(is_taken)
        assert (fixture.keyring.version, fixture.agent.renewals, fixture.kept.exists()) == ((3, 1, True) if is_taken else (0, 0, False))
        assert (read_kept(str(fixture.kept)) is not None) == is_taken
        fixture.runs = trio.CancelScope()
        nursery.start_soon(fixture.run)     # and it can be run again
        if not is_taken:
            await fixture.wait_taken()
        fixture.runs.cancel()
    assert outcomes == {False, True}
