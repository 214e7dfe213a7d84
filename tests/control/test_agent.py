"""A certificate in time: asked for, renewed, and asked for ever more patiently while nobody answers."""

import json
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from trio.testing import MockClock

from sidecar.control.agent import Agent
from sidecar.control.keyring import Keyring
from sidecar.model.address import Address
from sidecar.model.call import Answer, Call
from sidecar.model.config import IssuedIdentity
from sidecar.model.errors import ConfigError
from sidecar.net.service import control_addresses
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.watched import Watched
from tests.helpers import pki
from tests.helpers.endpoint import HOST, URL, endpoint
from tests.helpers.mesh import root
from tests.helpers.pki import WEB
from tests.helpers.runtime import FakeDialer

ISSUER = Address(HOST, 8443)
HOUR_S = 3600.0
TRUST = {"version": 1, "roots": pki.pem([root().certificate])}


class PublicOnly:
    """What a request tells of a key."""

    def __init__(self, request: x509.CertificateSigningRequest) -> None:
        self._key = request.public_key()

    def public_key(self) -> object:
        return self._key


def issued(call: Call, identity: str = WEB, **more: object) -> Answer:
    request = x509.load_pem_x509_csr(json.loads(call.body)["csr"].encode())
    assert request.is_signature_valid
    holder = pki.issue(root(), pki.uri(identity), key=PublicOnly(request), **more)      # type: ignore[arg-type]
    ends = holder.certificate.not_valid_after_utc.timestamp()
    body = {"chain": [pki.pem([holder.certificate])], "trust": TRUST, "notAfter": ends, "now": 0.0}
    return Answer(200, json.dumps(body).encode())


class Fixture:
    def __init__(self, nursery: trio.Nursery, folder: Path, *, has_token: bool = True) -> None:
        if has_token:
            (folder / "token").write_text("the-token\n")
        (folder / "roots").write_text(pki.pem([root().certificate]))
        self.dialer = FakeDialer(nursery)
        self.tls: Watched[MeshTls | None] = Watched(None)
        self.started = root().certificate.not_valid_before_utc.timestamp() + HOUR_S     # about now: authorities begin an hour ago
        self.asked: list[tuple[float, Call]] = []
        config = IssuedIdentity(URL, str(folder / "token"), str(folder / "roots"))
        self.agent = Agent(config, Keyring(self.tls), self.tls, self.dialer, lambda: self.started + trio.current_time(), random.Random(1))
        nursery.start_soon(self.agent.run)

    def answer(self, handle: Callable[[Call], Answer | None], **how: object) -> None:
        def note(call: Call) -> Answer | None:
            self.asked.append((trio.current_time(), call))
            return handle(call)

        self.dialer.servers[ISSUER] = endpoint(note, **how)     # type: ignore[arg-type]

    async def wait_taken(self, seen: MeshTls | None = None) -> MeshTls:
        taken = await self.tls.wait_change(seen)
        assert taken is not None
        return taken


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


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
    fixture.answer(issued)
    first = await fixture.wait_taken()
    second = await fixture.wait_taken(first)
    await fixture.wait_taken(second)
    assert first.credentials.key.public_key() != second.credentials.key.public_key()
    times = [time for time, _ in fixture.asked]
    lives = [tls.credentials.not_after - fixture.started - time for tls, time in zip((first, second), times, strict=False)]
    for (before, after), life in zip(pairwise(times), lives, strict=True):
        assert 0.45 * life - 2 <= after - before <= 0.55 * life + 2


async def test_rotation_on_demand(nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.answer(issued)
    first = await fixture.wait_taken()
    await trio.sleep(5)
    fixture.agent.rotate()
    await fixture.wait_taken(first)
    assert [time for time, _ in fixture.asked] == [0, 5]


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
    (first, second, third) = (time for time, _ in fixture.asked)
    assert first == 0
    assert 15.1 <= second <= 15.2
    assert 30.3 <= third <= 30.6


def _other_key(call: Call) -> Answer:
    holder = pki.issue(root(), pki.uri(WEB))
    return Answer(200, json.dumps(
        {"chain": [holder.chain_pem], "trust": TRUST, "notAfter": 0.0, "now": 0.0}).encode())


@pytest.mark.parametrize("answer", [
    lambda _: Answer(403, b'{"error": "no such pod"}'), lambda _: Answer(200, b"no JSON"), lambda _: Answer(200, b"{}"),
    lambda _: Answer(200, b'{"chain": [], "trust": {"version": 1, "roots": ""}, "notAfter": 1, "now": 1}'), lambda _: Answer(200, b"\xff"),
    _other_key,
    lambda call: issued(call, "spiffe://example.org/ns/shop"), lambda call: issued(call, is_ca=True),
])
async def test_what_is_no_certificate_of_ours_leaves_the_previous_in_force(
    answer: Callable[[Call], Answer], nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path
) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.answer(issued)
    first = await fixture.wait_taken()
    fixture.answer(answer)
    fixture.agent.rotate()
    await trio.sleep(100)
    assert fixture.tls.current is first
    assert len(fixture.asked) > 5       # and it is asked for again
    fixture.answer(issued)
    await fixture.wait_taken(first)


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


async def test_addresses_of_the_control_plane(autojump_clock: MockClock) -> None:
    assert await control_addresses("https://10.96.0.9:8443/v1") == ["10.96.0.9"]
    for url in ("http://10.96.0.9/", "10.96.0.9", "https://", "https://a:b/"):
        with pytest.raises(ConfigError, match="not of the form https://"):
            await control_addresses(url)
