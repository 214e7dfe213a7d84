"""Trust that was stolen or brought by the wrong one: authorities' keys, HTTPS servers, versions. 1.10 C6, C8."""

from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock

from certs import cli, files, rotation
from certs.ca import fingerprint
from sidecar.control.issuance import obtain
from sidecar.control.keyring import Keyring
from sidecar.control.ledger_shipping import Shipping
from sidecar.control.snapshot_stream import run_snapshot_stream
from sidecar.model.address import Address
from sidecar.model.call import Answer, Call
from sidecar.model.config import IssuedIdentity, SnapshotStream
from sidecar.model.errors import ConfigError, NotVerified, TlsRejected
from sidecar.model.trust import DenyList, Revoked, Trust
from sidecar.model.value import from_json
from sidecar.net.tls_context import ALPN_HTTP1
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.tls_stream import TlsStream
from sidecar.net.verify import key_hash, peer_of, refuse_revoked, why_revoked
from sidecar.net.watched import Watched
from sidecar.telemetry.ledger import Ledger
from tests.helpers import pki
from tests.helpers.endpoint import HOST, URL, endpoint
from tests.helpers.exchange import OK
from tests.helpers.mesh import APP, arrive, http_app, is_gone, meshed, read_until, root, tls_of
from tests.helpers.runtime import FakeDialer, rules
from tests.helpers.tls import shake_hands, tls_pair
from tests.injector.test_stream import SNAPSHOT, Fixture, peer

ROOT = pki.authority("root")
STOLEN, NEXT = pki.authority("intermediate 1", ROOT), pki.authority("intermediate 2", ROOT)
REVOKED = Revoked(keys=(key_hash(STOLEN.certificate),))


@pytest.mark.parametrize("own", [STOLEN, NEXT])
async def test_what_a_stolen_intermediate_signs_is_refused(own: pki.Holder) -> None:
    """It names whomever its thief wants, so that revoking leaves would be in vain; also where our own chain ends at it."""
    trusts = pki.anchors(ROOT, revoked=REVOKED)
    forged = MeshTls.of(pki.credentials(pki.issue(STOLEN, pki.uri(pki.WEB))), trusts)
    orders = MeshTls.of(pki.credentials(pki.issue(own, pki.uri(pki.ORDERS)), pki.ORDERS), trusts)
    ours, theirs = tls_pair(forged.clients[ALPN_HTTP1], orders.server)
    async with ours, theirs:
        assert await shake_hands(ours, theirs) == (None, None)
        peer = peer_of(theirs.connection, pki.DOMAIN, TlsRejected)      # as a connection from before it was known
        assert "authority" in why_revoked(peer, trusts.deny)
        with pytest.raises(TlsRejected, match="authority"):
            refuse_revoked(peer, trusts.deny, TlsRejected)
        assert not why_revoked(peer, DenyList.of(Revoked(keys=(key_hash(NEXT.certificate),))))


def test_who_stands_under_a_revoked_intermediate_wants_another_certificate() -> None:
    """Its peers refuse it from now on: half of the certificate's life is too late."""
    tls: Watched[MeshTls | None] = Watched(None)
    ring = Keyring(tls)
    ring.take_credentials(pki.credentials(pki.issue(STOLEN, pki.uri(pki.WEB))))
    ring.take_trust(pki.trust(ROOT))
    assert ring.is_of_the_signer
    ring.take_trust(pki.trust(ROOT, revoked=REVOKED, version=2))
    assert not ring.is_of_the_signer
    ring.take_credentials(pki.credentials(pki.issue(NEXT, pki.uri(pki.WEB))))
    assert ring.is_of_the_signer


def test_the_authority_cannot_revoke_what_it_signs_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else one slip refuses everybody, those included who come for a new certificate."""
    directory, old = str(tmp_path / "ca"), str(tmp_path / "old")
    assert cli.main(["init", directory, "--trust-domain", pki.DOMAIN, "--https-domain", "svc"]) == 0
    Path(old).write_bytes((tmp_path / "ca" / "svid.key").read_bytes().partition(b"-----END PRIVATE KEY-----\n")[2])
    assert cli.main(["revoke", directory, "--key", old]) == 1
    assert "`rotate` first" in capsys.readouterr().err
    assert cli.main(["rotate", directory, "--intermediates"]) == 0
    assert cli.main(["revoke", directory, "--key", old]) == 0
    assert cli.main(["revoke", directory, "--key", old, "--lift"]) == 0


class Impostor:
    """Has the stolen certificate of issuer and injector, and sits where they are asked."""

    def __init__(self, nursery: trio.Nursery, folder: Path) -> None:
        self.asked: list[Call] = []
        self.dialer = FakeDialer(nursery)
        self.dialer.servers[Address(HOST, 8443)] = endpoint(self._answer)
        self.token = folder / "token"
        self.token.write_text("the-token")
        # `endpoint` makes a certificate each time; what they have in common is who signed them.
        self.anchors = pki.anchors(root(), revoked=Revoked(keys=(key_hash(root().certificate),)))

    def _answer(self, call: Call) -> Answer:
        self.asked.append(call)
        return Answer(503)


async def test_no_token_goes_to_an_issuer_whose_certificate_was_revoked(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Who stole it would be that pod from then on."""
    impostor = Impostor(nursery, tmp_path)
    identity = IssuedIdentity(URL, str(impostor.token), "unused")
    with pytest.raises(NotVerified, match="authority"):
        await obtain(identity, impostor.anchors.roots, impostor.dialer, deny=impostor.anchors.deny)
    assert impostor.asked == []


async def test_neither_snapshot_nor_evidence_by_an_injector_whose_certificate_was_revoked(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Who stole it would write every sidecar's rules."""
    impostor = Impostor(nursery, tmp_path)
    keyring = Keyring(Watched(None))
    keyring.take_issued(tls_of(pki.WEB).credentials, impostor.anchors.trust)
    stream, ledger = SnapshotStream(URL, None), Ledger(str(tmp_path / "ledger"), 1 << 20, lambda: 1.8e9)
    assert not await Shipping(stream, "uid-1", ledger, keyring.tls, impostor.dialer).ship_once()
    with trio.move_on_after(60):
        await run_snapshot_stream(stream, "uid-1", keyring, impostor.dialer, lambda _: None, lambda _: None, Watched(()))
    ledger.close()
    assert impostor.asked == []


@pytest.mark.parametrize("version", [10**15, 10**18, 10**30, -1])
def test_no_version_that_a_sidecar_could_not_name(version: int) -> None:
    """It takes what is newer, so with one of them it would never ask for a snapshot again that the injector answers."""
    text = msgspec.json.encode({"version": version, "roots": pki.trust(ROOT).roots})
    with pytest.raises(ConfigError, match="version"):
        from_json(text, Trust)


async def test_the_greatest_version_can_be_named() -> None:
    fixture = Fixture()
    assert (await fixture.ask(SNAPSHOT, f"pod=u-1&seen=&trust={10**15 - 1}", peer=peer())).status == 200


@pytest.mark.parametrize("said", [
    [rotation.Holder("shop/web\x1b[2J\nawaited: nobody", 0)], "cannot be asked: \x1b]0;x\x07\nphase 3 of 3",
])
def test_what_the_injector_says_does_not_write_the_operator_s_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], said: list[rotation.Holder] | str
) -> None:
    directory = tmp_path / "ca"
    assert cli.main(["init", str(directory), "--trust-domain", pki.DOMAIN]) == 0
    assert cli.main(["rotate", str(directory), "--root"]) == 0
    with files.locked(directory):
        rotation.hear(directory, rotation.Phase.TRUST_BOTH, said, 1.8e9)
    capsys.readouterr()
    assert cli.main(["rotate", str(directory), "--status"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert [line for line in shown.splitlines() if line.startswith(("awaited: nobody", "phase 3"))] == []


async def test_connections_of_a_root_that_was_stolen_end_when_its_key_is_revoked(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Whoever has its key makes intermediates and ends of certificates as he likes, and what stands outlives the root in the bundle."""
    bench = meshed(nursery, rules(identity=pki.ORDERS))
    bench.dialer.servers[APP] = http_app([], OK)
    forged = pki.issue(pki.authority("intermediate", root()), pki.uri(pki.WEB))
    theirs = TlsStream(pki.mesh_client(forged, root()), arrive(nursery, bench), is_server=False)
    await theirs.handshake(NotVerified)
    await theirs.send_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    await read_until(theirs, b"ok")
    other, held = root("stranger"), tls_of(pki.ORDERS, "stranger")
    revoked = Revoked(keys=(key_hash(root().certificate),))
    bench.runtime.tls.set(MeshTls.of(held.credentials, pki.anchors(other, revoked=revoked)))
    bench.runtime.accounts.part(bench.runtime.why_no_longer)
    assert await is_gone(theirs)


@pytest.mark.parametrize("phase", [rotation.Phase.DROP_OLD, rotation.Phase.DROP_NEW])
def test_a_rotation_that_is_of_another_authority_drops_nothing(tmp_path: Path, phase: rotation.Phase) -> None:
    """As from a backup, laid beside what came after it: the last root would go, and its key be called retired."""
    directory = tmp_path / "ca"
    only = fingerprint(files.init(directory, pki.DOMAIN, ["svc"], 1.8e9).roots[0])
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    named = {"old": only, "new": "0" * 64} if phase is rotation.Phase.DROP_OLD else {"old": "0" * 64, "new": only}
    (directory / rotation.ROTATION).write_bytes(msgspec.json.encode({"phase": phase, "needs": 1, "since": 0, **named}))
    with pytest.raises(ConfigError, match="of another rotation"):
        rotation.settle(directory, 1.8e9)
    (directory / rotation.ROTATION).unlink()
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
