"""The injector's certificate in time: from the issuer at half life and when another root signs, or from files."""

import random
from pathlib import Path

import msgspec
import pytest
import trio
from cryptography.hazmat.primitives import hashes
from trio.testing import MockClock

from injector.own_certificate import OwnCertificate, Renewal
from injector.trust import TrustWatch
from sidecar.model.address import Address
from sidecar.model.call import Answer, Call
from sidecar.model.errors import ConfigError
from sidecar.model.trust import Trust
from sidecar.net.tls_context import ServerCredentials
from tests.helpers import pki
from tests.helpers.endpoint import HOST, URL, endpoint
from tests.helpers.mesh import root
from tests.helpers.runtime import FakeDialer
from tests.net.test_issuance import PublicOnly, request_of

ISSUER = Address(HOST, 8443)
ROOT, NEXT = root(), root("next root")
BOTH = pki.pem([ROOT.certificate, NEXT.certificate])
HOUR_S = 3600.0


def fingerprint(holder: pki.Holder) -> str:
    return holder.certificate.fingerprint(hashes.SHA256()).hex()


class Fixture:
    def __init__(self, nursery: trio.Nursery, folder: Path) -> None:
        (folder / "token").write_text("the-token\n")
        (folder / "roots").write_text(pki.pem([ROOT.certificate]))
        self.dialer = FakeDialer(nursery)
        self.trust = TrustWatch(URL, folder, str(folder / "roots"), self.dialer)
        self.own = OwnCertificate(self.trust)
        self.signs = ROOT
        self.says: Trust | None = None
        self.asked: list[float] = []
        self.dialer.servers[ISSUER] = endpoint(self._answer)
        start = ROOT.certificate.not_valid_before_utc.timestamp() + HOUR_S      # about now: authorities begin an hour ago
        self.renewal = Renewal(
            self.own, self.trust, URL, str(folder / "token"), self.dialer, lambda: start + trio.current_time(), random.Random(1))

    def _answer(self, call: Call) -> Answer:
        assert (call.method, call.path, call.headers["authorization"]) == ("POST", "/v1/https", "Bearer the-token")
        self.asked.append(trio.current_time())
        holder = pki.issue(self.signs, pki.host("injector.svc"), key=PublicOnly(request_of(call)))      # type: ignore[arg-type]
        trust = self.says or self.trust.current
        ends = holder.certificate.not_valid_after_utc.timestamp()
        return Answer(200, msgspec.json.encode(
            {"chain": [pki.pem([holder.certificate])], "trust": trust, "notAfter": int(ends), "now": 0.0}))

    async def wait_held(self, seen: ServerCredentials | None = None) -> ServerCredentials:
        held = await self.own.held.wait_change(seen)
        assert held is not None
        return held


@pytest.fixture
def fixture(nursery: trio.Nursery, tmp_path: Path) -> Fixture:
    return Fixture(nursery, tmp_path)


async def test_renewal_at_half_life_with_a_new_key(nursery: trio.Nursery, autojump_clock: MockClock, fixture: Fixture) -> None:
    nursery.start_soon(fixture.renewal.run)
    first = await fixture.wait_held()
    assert fixture.own.signer == fingerprint(ROOT)
    assert fixture.own.webhook() is first
    second = await fixture.wait_held(first)
    assert 0.45 * HOUR_S - 2 <= trio.current_time() <= 0.55 * HOUR_S + 2
    assert first.key != second.key
    assert fixture.own.webhook() is second


async def test_a_new_one_as_soon_as_another_root_signs(nursery: trio.Nursery, autojump_clock: MockClock, fixture: Fixture) -> None:
    nursery.start_soon(fixture.renewal.run)
    first = await fixture.wait_held()
    fixture.trust.take(Trust(2, BOTH, fingerprint(ROOT)))
    await trio.sleep(60)
    assert len(fixture.asked) == 1      # trusting one root more is no reason
    fixture.signs = NEXT
    fixture.trust.take(Trust(3, BOTH, fingerprint(NEXT)))
    await fixture.wait_held(first)
    assert trio.current_time() == 60
    assert fixture.own.signer == fingerprint(NEXT)


async def test_patience_where_the_issuer_still_signs_with_the_old_root(
    nursery: trio.Nursery, autojump_clock: MockClock, fixture: Fixture
) -> None:
    fixture.trust.take(Trust(3, BOTH, fingerprint(NEXT)))
    nursery.start_soon(fixture.renewal.run)
    await fixture.wait_held()           # better than none
    await trio.sleep(60)
    assert 5 < len(fixture.asked) < 14
    fixture.signs = NEXT
    await trio.sleep(60)
    assert fixture.own.signer == fingerprint(NEXT)


async def test_patience_grows_while_nobody_answers(
    nursery: trio.Nursery, autojump_clock: MockClock, fixture: Fixture, capsys: pytest.CaptureFixture[str]
) -> None:
    server = fixture.dialer.servers.pop(ISSUER)
    nursery.start_soon(fixture.renewal.run)
    await trio.sleep(60)
    assert 5 < len(fixture.dialer.dialled) < 14
    assert "no certificate from" in capsys.readouterr().err
    fixture.dialer.servers[ISSUER] = server
    await fixture.wait_held()


async def test_trust_that_comes_with_the_certificate_is_taken(nursery: trio.Nursery, autojump_clock: MockClock, fixture: Fixture) -> None:
    fixture.says = Trust(4, BOTH, fingerprint(ROOT))
    nursery.start_soon(fixture.renewal.run)
    await fixture.wait_held()
    assert fixture.trust.current == fixture.says


async def test_each_change_of_trust_changes_whom_the_stream_lets_in(tmp_path: Path, fixture: Fixture) -> None:
    paths = files(tmp_path, pki.issue(ROOT, pki.host("injector.svc")))
    fixture.own.take_files(*paths)
    before = fixture.own.stream()
    assert fixture.own.stream() is before
    assert list(before.client_roots or ()) == [ROOT.certificate]
    assert fixture.own.webhook().client_roots is None
    fixture.trust.take(Trust(2, BOTH))
    assert list(fixture.own.stream().client_roots or ()) == [ROOT.certificate, NEXT.certificate]
    fixture.own.take_files(*files(tmp_path, pki.issue(NEXT, pki.host("injector.svc"))))
    assert fixture.own.signer == fingerprint(NEXT)


def files(folder: Path, holder: pki.Holder, key: str = "") -> tuple[str, str]:
    (folder / "own.pem").write_text(holder.chain_pem)
    (folder / "own.key").write_text(key or holder.key_pem)
    return str(folder / "own.pem"), str(folder / "own.key")


@pytest.mark.parametrize("key", ["", "no PEM", pki.issue(ROOT, pki.host("a.svc")).key_pem])
async def test_files_that_cannot_be_taken_leave_what_is_held(key: str, tmp_path: Path, fixture: Fixture) -> None:
    holder = pki.issue(ROOT, pki.host("injector.svc"))
    fixture.own.take_files(*files(tmp_path, holder))
    with pytest.raises(ConfigError, match="keyFile"):
        fixture.own.take_files(files(tmp_path, holder, key)[0], str(tmp_path / "own.key") if key else "/nowhere")
    assert fixture.own.signer == fingerprint(ROOT)
