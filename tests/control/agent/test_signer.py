"""When the mesh signs with another root."""

import re
import socket
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from sidecar.control.agent import RETRY_MOST_S, SPREAD_S
from tests.control.agent.support import ISSUER, Fixture, fingerprint, signed_by
from tests.helpers import pki
from tests.helpers.mesh import root


async def test_a_new_signer_is_followed_within_seconds(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.answer(fixture.issue(trust=signed_by("root", 1)))
    await fixture.wait_taken()
    await trio.sleep(100)
    fixture.answer(fixture.issue(trust=signed_by("new", 2), signer="new"))
    fixture.keyring.take_trust(signed_by("new", 2))     # by the snapshot
    await trio.sleep(100)
    assert len(fixture.times) == 2
    assert 100 < fixture.times[1] < 100 + SPREAD_S
    assert fixture.keyring.signer == fingerprint("new")


async def test_a_fleet_does_not_follow_in_one_instant(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    fleet = []
    for number in range(20):
        fixture = Fixture(nursery, tmp_path, seed=number)
        fixture.answer(fixture.issue(trust=signed_by("root", 1)))
        await fixture.wait_taken()
        fleet.append(fixture)
    await trio.sleep(10)
    for fixture in fleet:
        fixture.answer(fixture.issue(trust=signed_by("new", 2), signer="new"))
        fixture.keyring.take_trust(signed_by("new", 2))
    told_at = trio.current_time()
    await trio.sleep(10)
    came = sorted(fixture.times[1] - told_at for fixture in fleet)
    assert came[-1] <= SPREAD_S
    assert came[-1] - came[0] > SPREAD_S / 2


async def test_trust_without_a_new_signer_asks_for_nothing(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.answer(fixture.issue(trust=signed_by("root", 1)))
    await fixture.wait_taken()
    for version, trust in enumerate((signed_by("root", 2), pki.trust(root(), root("new"), version=3), pki.trust(root())), start=2):
        fixture.keyring.take_trust(replace(trust, version=version))
        await trio.sleep(100)
    assert (fixture.keyring.version, fixture.times) == (4, [0])


async def test_a_root_that_is_dropped_under_us_asks_for_a_new_certificate(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path
) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.answer(fixture.issue())
    await fixture.wait_taken()
    dropped = pki.trust(root("new"), version=2)
    fixture.answer(fixture.issue(trust=dropped, signer="new"), authority="new")
    fixture.keyring.take_trust(dropped)
    await trio.sleep(10)
    assert fixture.keyring.signer == fingerprint("new")


async def test_an_issuer_that_signs_with_another_root_than_it_says_is_not_flooded(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.answer(fixture.issue(trust=signed_by("new", 1)))
    await trio.sleep(600)
    assert 20 < len(fixture.times) < 60
    assert all(after - before >= RETRY_MOST_S / 2 for before, after in pairwise(fixture.times[10:]))
    assert "signs with another root than the trust bundle names" in capsys.readouterr().err
    assert fixture.is_served()
    fixture.answer(fixture.issue(trust=signed_by("new", 1), signer="new"))
    await trio.sleep(RETRY_MOST_S)
    assert fixture.keyring.signer == fingerprint("new")


async def test_the_issuer_is_judged_by_the_newest_roots(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also before there is a certificate; and who holds too old ones says what happened and what helps."""
    fixture = Fixture(nursery, tmp_path)
    fixture.answer(fixture.issue(trust=pki.trust(root("new"), version=2), signer="new"), authority="new")
    await trio.sleep(10)
    said = capsys.readouterr().err
    assert re.search(r"certificate verify failed.*; the issuer was judged by the roots that the pod was injected with", said)
    assert "If a rotation of the root passed this pod by, restart the pod" in said
    assert "passed this pod by" in fixture.agent.why_none()
    fixture.keyring.take_trust(pki.trust(root("new"), version=1))
    await trio.sleep(10)
    assert (fixture.keyring.version, fixture.keyring.signer) == (2, fingerprint("new"))
    fixture.answer(fixture.issue())     # an authority of the old root
    fixture.agent.rotate()
    await trio.sleep(10)
    assert "by the roots of the trust bundle, version 2" in capsys.readouterr().err


async def test_what_has_nothing_to_do_with_roots_is_not_blamed_on_them(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixture = Fixture(nursery, tmp_path)

    async def hang_up(sock: socket.socket) -> None:
        sock.recv(1)

    fixture.dialer.servers[ISSUER] = hang_up
    await trio.sleep(1)
    said = capsys.readouterr().err
    assert "no certificate from" in said
    assert "rotation" not in said
