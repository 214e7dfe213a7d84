"""A certificate in time: asked for, renewed, and asked for ever more patiently while nobody answers."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from trio.testing import MockClock

from sidecar.control.agent import RETRY_MOST_S
from sidecar.model.address import Address
from sidecar.model.call import Answer
from sidecar.net.clock import utc_text
from tests.control.agent.support import HOUR_S, ISSUER, SHORT_S, Fixture, issued, names_in
from tests.helpers.pki import WEB


async def test_the_first_certificate(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.answer(issued)
    taken = (await fixture.wait_taken()).credentials
    assert taken.identity == WEB
    assert taken.key.public_key() == taken.chain[0].public_key()
    assert isinstance(taken.key.curve, ec.SECP256R1)
    (_, call) = fixture.asked[0]
    assert (call.method, call.path, call.headers["authorization"]) == ("POST", "/v1/svid", "Bearer the-token")
    assert set(json.loads(call.body)) == {"csr"}
    assert b"PRIVATE" not in call.body
    assert names_in(tmp_path) == ["roots", "token"]     # the key is in memory only


async def test_renewal_at_half_life_with_a_new_key(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.answer(fixture.issue())
    first = await fixture.wait_taken()
    second = await fixture.wait_taken(first)
    await fixture.wait_taken(second)
    assert first.credentials.key.public_key() != second.credentials.key.public_key()
    assert len(fixture.times) == 3
    for before, after in pairwise(fixture.times):
        assert 0.45 * HOUR_S <= after - before <= 0.55 * HOUR_S
    assert fixture.agent.renewals == 3


async def test_rotation_on_demand(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.answer(issued)
    first = await fixture.wait_taken()
    await trio.sleep(5)
    fixture.agent.rotate()
    await fixture.wait_taken(first)
    assert fixture.times == [0, 5]


async def test_patience_grows_while_nobody_answers(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixture, times = Fixture(nursery, tmp_path), []
    connect = fixture.dialer.connect

    async def noted(to: Address) -> object:
        times.append(trio.current_time())
        return await connect(to)

    fixture.dialer.connect = noted      # type: ignore[method-assign, assignment]
    await trio.sleep(300)
    pauses = [after - before for before, after in pairwise(times)]
    for i, pause in enumerate(pauses):
        most = min(0.2 * 2 ** i, 30)
        assert most / 2 <= pause <= most
    assert len(pauses) > 10
    assert "no certificate from" in capsys.readouterr().err
    fixture.answer(issued)
    await fixture.wait_taken()
    del fixture.dialer.servers[ISSUER]      # after a success it begins anew, in haste
    times.clear()
    fixture.agent.rotate()
    await trio.sleep(1)
    assert times[1] - times[0] <= 0.2


async def test_an_issuer_that_is_silent(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.answer(lambda _: None)
    await trio.sleep(40)
    (first, second, third) = fixture.times
    assert first == 0
    assert 15.1 <= second <= 15.2
    assert 30.3 <= third <= 30.6


async def test_the_token_goes_to_a_verified_issuer_only(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.answer(issued, authority="stranger")
    await trio.sleep(10)
    assert len(fixture.dialer.dialled) > 3
    assert fixture.asked == []
    assert fixture.tls.current is None


async def test_a_token_that_is_not_there_yet(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixture = Fixture(nursery, tmp_path, has_token=False)
    fixture.answer(issued)
    await trio.sleep(1)
    assert "identity.tokenFile: cannot read" in capsys.readouterr().err
    (tmp_path / "token").write_text("late")
    await fixture.wait_taken()


# -- while the issuer is away


async def test_outages_shorter_and_longer_than_the_certificate(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    fixture = Fixture(nursery, tmp_path)
    answer = fixture.issue(SHORT_S)
    fixture.answer(answer)
    first = await fixture.wait_taken()
    del fixture.dialer.servers[ISSUER]
    await trio.sleep(0.56 * SHORT_S)
    assert fixture.is_served()
    overdue = fixture.agent.gauges()["bartizan_identity_renewal_overdue_seconds"]
    assert 0 < overdue < 0.11 * SHORT_S     # the warning, long before the end
    assert fixture.agent.failures > 2
    await trio.sleep(0.3 * SHORT_S)
    fixture.answer(answer)
    second = await fixture.wait_taken(first)
    assert fixture.is_served()
    assert fixture.agent.overdue_s == 0

    ends = second.credentials.not_after
    del fixture.dialer.servers[ISSUER]
    await trio.sleep(ends - fixture.wall() - 1)
    assert fixture.is_served()
    await trio.sleep(2)
    assert not fixture.is_served()
    why = fixture.agent.why_none()
    assert why.startswith(f"no valid certificate: the last one ended at {utc_text(ends)}; the issuer: ")
    assert "Connection refused" in why
    await trio.sleep(HOUR_S)
    assert not fixture.is_served()
    assert fixture.agent.overdue_s > HOUR_S
    fixture.answer(answer)
    await trio.sleep(RETRY_MOST_S)
    assert fixture.is_served()
    assert fixture.agent.overdue_s == 0
    assert fixture.keyring.signer


async def test_what_is_said_before_the_first_answer(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    fixture = Fixture(nursery, tmp_path, starts=False)
    assert fixture.agent.why_none() == "no valid certificate: none was issued yet; the issuer: no answer yet"
    assert fixture.agent.gauges() == {
        "bartizan_identity_renewals_total": 0, "bartizan_identity_renewal_failures_total": 0,
        "bartizan_identity_renewal_overdue_seconds": 0, "bartizan_clock_skew_seconds": 0,
    }


# -- cancelled


async def test_no_key_is_told_to_anybody(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixture = Fixture(nursery, tmp_path, keeps=True)
    fixture.answer(fixture.issue())
    key = (await fixture.wait_taken()).credentials.key
    fixture.answer(lambda _: Answer(500, b"no"))
    fixture.agent.rotate()
    await trio.sleep(10)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    secret = f"{key.private_numbers().private_value:x}"
    told = [
        *capsys.readouterr(), fixture.agent.problem, fixture.agent.why_none(), repr(fixture.agent.renewal()), repr(fixture.agent.gauges()),
        repr(fixture.keyring.credentials), *(call.body.decode() for _, call in fixture.asked), *(repr(call) for _, call in fixture.asked),
    ]
    for text in told:
        assert "PRIVATE" not in text
        assert secret not in text
        assert pem.splitlines()[1] not in text
    assert names_in(tmp_path) == ["identity.json", "roots", "token"]
