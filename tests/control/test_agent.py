"""A certificate in time: asked for, renewed, kept over a restart, and asked for ever more patiently while nobody answers."""

import json
import random
import re
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec import to_builtins
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.control.agent import RETRY_MOST_S, SPREAD_S, Agent
from sidecar.control.clock_watch import ClockWatch
from sidecar.control.kept_identity import read_kept
from sidecar.control.keyring import Keyring
from sidecar.model.address import Address
from sidecar.model.call import Answer, Call
from sidecar.model.config import IssuedIdentity
from sidecar.model.errors import ConfigError, Unavailable
from sidecar.model.ledger import Entry
from sidecar.model.trust import Trust
from sidecar.net.clock import utc_text
from sidecar.net.service import control_addresses
from sidecar.net.tls_mesh import MeshTls
from tests.helpers import pki
from tests.helpers.endpoint import HOST, URL, endpoint
from tests.helpers.mesh import root
from tests.helpers.pki import ORDERS, WEB
from tests.helpers.runtime import Bench, FakeDialer, bench

ISSUER = Address(HOST, 8443)
HOUR_S, YEAR_S = 3600.0, 365.25 * 86400
SHORT_S = 300.0     # as short as the issuer's certificates may live
TRUST = pki.trust(root())


class PublicOnly:
    """What a request tells of a key."""

    def __init__(self, request: x509.CertificateSigningRequest) -> None:
        self._key = request.public_key()

    def public_key(self) -> object:
        return self._key


def issued(
    call: Call, identity: str = WEB, *, trust: Trust = TRUST, signer: str = "root", said: float | None = None, **more: object
) -> Answer:
    """The issuer's answer.

    Args:
        said: what its clock says; None: the truth.
    """
    request = x509.load_pem_x509_csr(json.loads(call.body)["csr"].encode())
    assert request.is_signature_valid
    holder = pki.issue(root(signer), pki.uri(identity), key=PublicOnly(request), **more)      # type: ignore[arg-type]
    ends = holder.certificate.not_valid_after_utc.timestamp()
    now = time.time() if said is None else said
    body = {"chain": [pki.pem([holder.certificate])], "trust": to_builtins(trust), "notAfter": ends, "now": now}
    return Answer(200, json.dumps(body).encode())


def fingerprint(name: str) -> str:
    return root(name).certificate.fingerprint(hashes.SHA256()).hex()


def signed_by(name: str, version: int) -> Trust:
    """Trust in the roots `root` and `new`, of which `name` signs."""
    return replace(pki.trust(root(), root("new"), version=version), signer=fingerprint(name))


class Fixture:
    """
    Args:
        keeps: whether the identity is kept in a file; a second fixture in the same folder is the restarted container.
    Attributes:
        real: by what date the issuer goes.
        wall: by what date the sidecar goes; `wrong_by` off.
    """

    def __init__(
        self, nursery: trio.Nursery, folder: Path, *, has_token: bool = True, keeps: bool = False, starts: bool = True,
        seed: int = 1,
    ) -> None:
        if has_token:
            (folder / "token").write_text("the-token\n")
        (folder / "roots").write_text(pki.pem([root().certificate]))
        self.bench: Bench = bench(nursery)
        self.dialer: FakeDialer = self.bench.dialer
        self.tls = self.bench.runtime.tls
        self.started = time.time()
        self.wrong_by = 0.0
        self.asked: list[tuple[float, Call]] = []
        self.kept = folder / "identity.json"
        self.keyring = Keyring(self.tls)
        config = IssuedIdentity(URL, str(folder / "token"), str(folder / "roots"), str(self.kept) if keeps else None)
        self.agent = Agent(config, self.keyring, self.dialer, self.wall, random.Random(seed))
        self.told: list[Entry] = []
        self.clock = ClockWatch(self.wall, trio.current_time, self.told.append, self.agent.clock_jumped)
        self.runs = trio.CancelScope()
        if starts:
            nursery.start_soon(self.run)

    async def run(self) -> None:
        with self.runs:
            await self.agent.run()

    def real(self) -> float:
        return self.started + trio.current_time()

    def wall(self) -> float:
        return self.real() + self.wrong_by

    def answer(self, handle: Callable[[Call], Answer | None], **how: object) -> None:
        def note(call: Call) -> Answer | None:
            self.asked.append((trio.current_time(), call))
            return handle(call)

        self.dialer.servers[ISSUER] = endpoint(note, **how)     # type: ignore[arg-type]

    def issue(self, life_s: float = HOUR_S, off_by: float = 0.0, **more: object) -> Callable[[Call], Answer]:
        """What an issuer does whose clock is right, or `off_by`."""
        def answer(call: Call) -> Answer:
            now = trio.current_time() + off_by + self.started - time.time()
            begins, ends = timedelta(seconds=now - 60), timedelta(seconds=now + life_s)
            return issued(call, said=self.real() + off_by, begins=begins, ends=ends, **more)     # type: ignore[arg-type]

        return answer

    def is_served(self) -> bool:
        """Whether what needs an identity works; else it fails closed."""
        self.bench.wall = self.wall()
        try:
            self.bench.runtime.own_tls()
        except Unavailable:
            return False
        return True

    async def wait_taken(self, seen: MeshTls | None = None) -> MeshTls:
        taken = await self.tls.wait_change(seen)
        assert taken is not None
        return taken

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.asked]


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


def _other_key(call: Call) -> Answer:
    holder = pki.issue(root(), pki.uri(WEB))
    return Answer(200, json.dumps({"chain": [holder.chain_pem], "trust": to_builtins(TRUST), "notAfter": 0.0, "now": 0.0}).encode())


def _unknown_key(call: Call) -> Answer:
    document = json.loads(issued(call).body)
    (der,) = (item.public_bytes(Encoding.DER) for item in x509.load_pem_x509_certificates(document["chain"][0].encode()))
    strange = x509.load_der_x509_certificate(der.replace(b"\x2a\x86\x48\xce\x3d\x02\x01", b"\x2a\x86\x48\xce\x3d\x02\x09"))
    return Answer(200, json.dumps(document | {"chain": [strange.public_bytes(Encoding.PEM).decode()]}).encode())


def _changed(**changes: object) -> Callable[[Call], Answer]:
    return lambda call: Answer(200, json.dumps(json.loads(issued(call).body) | changes).encode())


HOURS = {"begins": timedelta(hours=-3), "ends": timedelta(hours=-1)}


@pytest.mark.parametrize(("answer", "words"), [
    (lambda _: Answer(403, b'{"error": "no such pod"}'), "the issuer answered 403: .*no such pod"),
    (lambda _: Answer(200, b"no JSON"), "cannot be read"),
    (lambda _: Answer(200, b"{}"), "cannot be read"),
    (lambda _: Answer(200, b'{"x":' + b"[" * 60000), "cannot be read"),
    (lambda _: Answer(200, b'{"chain": [], "trust": {"version": 1, "roots": ""}, "notAfter": 1, "now": 1}'), "holds no certificate"),
    (lambda _: Answer(200, b"\xff"), "cannot be read"),
    (_other_key, "not for the key that was asked for"),
    (_unknown_key, "the key in the certificate of the issuer cannot be read"),
    (lambda call: issued(call, "spiffe://example.org/ns/shop"), "no SVID"),
    (lambda call: issued(call, is_ca=True), "it is a CA"),
    (lambda call: issued(call, ORDERS), "it says .*/sa/orders; this is .*/sa/web. If that is meant, restart the pod"),
    (lambda call: issued(call, signer="stranger"), "leads to no root of the trust bundle, version 1"),
    (lambda call: issued(call, said=time.time() - 5 * HOUR_S, **HOURS), "outside of the certificate that it issued"),
    (lambda call: issued(call, said=time.time() - 2 * HOUR_S, **HOURS), "it ended at .* by this clock, .*set the clock"),
    (_changed(now=0), "the issuer's clock, 1970-01-01 00:00:00 UTC, lies outside"),
    (_changed(now=1e300), "lies outside of the certificate"),
    (_changed(now=-1e300), "lies outside of the certificate"),
    (_changed(now="noon"), "cannot be read"),
    (_changed(notAfter=None), "cannot be read"),
    (_changed(trust=None), "cannot be read"),
    (_changed(trust={"version": 2, "roots": "no PEM"}), "roots: holds no certificate"),
    (_changed(trust={"version": 2, "roots": TRUST.roots, "signer": "x"}), "no SHA-256 fingerprint"),
    (_changed(trust={"version": 2, "roots": TRUST.roots, "revoked": {"serials": ["7"]}}), "no serial number"),
    (_changed(trust={"version": 2, "roots": TRUST.roots, "surprise": 1}), "cannot be read"),
    (_changed(trust={"version": -2, "roots": TRUST.roots}), "cannot be read"),
    (_changed(trust={"version": 2, "roots": pki.pem([root("stranger").certificate])}), "leads to no root .*version 2"),
    (_changed(chain=["x"]), "holds no certificate"),
    (_changed(chain="x"), "cannot be read"),
])
async def test_what_is_no_certificate_of_ours_leaves_the_previous_in_force(
    answer: Callable[[Call], Answer], words: str, nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fixture = Fixture(nursery, tmp_path, keeps=True)
    fixture.answer(issued)
    first = await fixture.wait_taken()
    kept = fixture.kept.read_bytes()
    fixture.answer(answer)
    fixture.agent.rotate()
    await trio.sleep(100)
    assert fixture.tls.current is first
    assert (fixture.keyring.version, fixture.kept.read_bytes()) == (1, kept)
    assert re.search(f"no certificate from {URL}: .*{words}", capsys.readouterr().err)
    assert re.search(words, fixture.agent.problem)
    assert len(fixture.asked) - 2 == fixture.agent.failures - 1 > 5      # and it is asked for again
    fixture.answer(issued)
    await fixture.wait_taken(first)
    assert (fixture.agent.problem, fixture.agent.overdue_s) == ("", 0)


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


# -- when the mesh signs with another root


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


# -- clocks


@pytest.mark.parametrize("by", [HOUR_S, -HOUR_S, 10 * YEAR_S, -10 * YEAR_S])
@pytest.mark.parametrize("is_everywhere", [False, True])
async def test_a_jump_of_the_clock_wedges_nothing(
    by: float, is_everywhere: bool, nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ours alone, or the issuer's too. Afterwards it goes back, and all is as before."""
    fixture = Fixture(nursery, tmp_path)
    nursery.start_soon(fixture.clock.run)
    fixture.answer(fixture.issue(SHORT_S))
    await fixture.wait_taken()
    await trio.sleep(60)
    asked = len(fixture.asked)
    fixture.wrong_by = by
    if is_everywhere:
        fixture.answer(fixture.issue(SHORT_S, off_by=by))
    await trio.sleep(10)
    assert len(fixture.asked) > asked       # past half life, or before the beginning: it is renewed at once
    assert fixture.is_served() == (is_everywhere or by < 0)
    said = capsys.readouterr().err
    assert "the clock was set from" in said
    assert ("NTP" in said) != (is_everywhere and by > 0)
    await trio.sleep(HOUR_S)
    assert fixture.is_served() == (is_everywhere or by < 0)
    fixture.wrong_by = 0
    fixture.answer(fixture.issue(SHORT_S))
    await trio.sleep(RETRY_MOST_S + 10)
    assert fixture.is_served()
    begins = fixture.keyring.credentials.chain[0].not_valid_before_utc.timestamp()      # type: ignore[union-attr]
    assert begins < fixture.wall()
    asked = len(fixture.asked)
    await trio.sleep(HOUR_S)
    assert 20 <= len(fixture.asked) - asked <= 30       # the old rhythm
    assert fixture.is_served()
    assert (fixture.clock.jumps, [entry.kind for entry in fixture.told]) == (2, ["clock", "clock"])


async def test_a_clock_that_is_set_back_does_not_put_the_renewal_off(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """By so little that the certificate has begun, and nobody has to tell the agent: the monotonic clock knows when half is over."""
    fixture = Fixture(nursery, tmp_path)
    fixture.answer(fixture.issue(SHORT_S))
    await fixture.wait_taken()
    await trio.sleep(100)
    fixture.wrong_by = -150
    await trio.sleep(0.55 * SHORT_S - 100)
    assert len(fixture.asked) == 2


async def test_set_forward_to_less_than_half_life_nothing_is_asked(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path
) -> None:
    fixture = Fixture(nursery, tmp_path)
    nursery.start_soon(fixture.clock.run)
    fixture.answer(fixture.issue())
    await fixture.wait_taken()
    fixture.wrong_by = 0.2 * HOUR_S
    await trio.sleep(10)
    assert (fixture.clock.jumps, len(fixture.asked)) == (1, 1)
    await trio.sleep(0.35 * HOUR_S)     # half is over sooner by as much
    assert len(fixture.asked) == 2


@pytest.mark.parametrize(("off_by", "is_said"), [(0, False), (50, False), (-50, False), (61, True), (-61, True), (-70, True)])
async def test_the_issuers_clock_tells_how_wrong_ours_is(
    off_by: float, is_said: bool, nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.answer(fixture.issue(off_by=off_by))
    await fixture.wait_taken()
    await trio.sleep(1)
    assert fixture.agent.gauges()["bartizan_clock_skew_seconds"] == pytest.approx(off_by, abs=0.01)
    said = capsys.readouterr().err
    assert ("the issuer's clock says" in said and "set the clock that is wrong (NTP)" in said) == is_said
    if is_said:
        # It was said up to two seconds ago, which may be a minute ago in words.
        assert any(utc_text(fixture.real() + off_by - ago)[:16] in said for ago in (0, 2))
        assert any(utc_text(fixture.real() - ago)[:16] in said for ago in (0, 2))
    assert fixture.is_served()


@pytest.mark.parametrize(("off_by", "life_s"), [(0, SHORT_S), (70, SHORT_S), (-70, SHORT_S - 70)])
async def test_half_is_half_by_the_clock_for_which_it_ends_sooner(
    off_by: float, life_s: float, nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path
) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.answer(fixture.issue(SHORT_S, off_by=off_by))
    first = await fixture.wait_taken()
    await fixture.wait_taken(first)
    assert 0.45 * life_s - 2 <= fixture.times[1] <= 0.55 * life_s + 2


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
