"""The application's certificate in time: none while nobody wants it, fresh while somebody does, gone a while after."""

import random

import pytest
import trio
from cryptography import x509
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.control.application_svid import KEEP_S, ApplicationSvid, Held, Lacking
from sidecar.control.issuance import NotEntitled, Obtained
from sidecar.model.errors import ConnectFailed, MeshError
from sidecar.model.trust import Revoked, Trust, serial_text
from sidecar.net.anchors import Anchors
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.verify import key_hash
from sidecar.net.watched import Watched
from sidecar.telemetry.metrics import Metrics
from tests.helpers import pki
from tests.helpers.mesh import root, tls_of
from tests.helpers.pki import WEB

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
TRUST = pki.trust(root())


class Fixture:
    """
    Attributes:
        asked: when, and with which roots.
        failure: what the issuer says instead of a certificate.
    """

    def __init__(self, nursery: trio.Nursery, *, has_tls: bool = True) -> None:
        self.tls: Watched[MeshTls | None] = Watched(tls_of(WEB) if has_tls else None)
        self.asked: list[tuple[float, tuple[x509.Certificate, ...]]] = []
        self.heard: list[Trust] = []
        self.failure: MeshError | None = None
        self.metrics = Metrics()
        self.started = root().certificate.not_valid_before_utc.timestamp() + HOUR_S
        self.svid = ApplicationSvid(
            self.obtain, self.tls, self.heard.append, lambda: self.started + trio.current_time(), random.Random(1), self.metrics,
        )
        nursery.start_soon(self.svid.run)

    async def obtain(self, anchors: Anchors) -> Obtained:
        self.asked.append((trio.current_time(), anchors.roots))
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        holder = pki.issue(root(), pki.uri(WEB), pod_uid="uid-1", holder="application")
        return Obtained(pki.credentials(holder), TRUST, 0.0)

    async def held(self) -> Held:
        await wait_all_tasks_blocked()
        state = self.svid.state.current
        assert isinstance(state, Held)
        return state

    async def lacking(self) -> Lacking:
        await wait_all_tasks_blocked()
        state = self.svid.state.current
        assert isinstance(state, Lacking)
        return state

    def trust(self, revoked: Revoked) -> None:
        tls = self.tls.current
        assert tls is not None
        self.tls.set(MeshTls.of(tls.credentials, pki.anchors(root(), revoked=revoked, version=2)))

    def count(self, outcome: str) -> float:
        return self.metrics.get("bartizan_application_svids_total", (("outcome", outcome),))


async def test_nobody_asks_for_what_nobody_wants(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    await trio.sleep(10 * DAY_S)
    assert fixture.asked == []
    assert fixture.svid.state.current is None


async def test_a_key_of_its_own_and_the_roots(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    with fixture.svid.wanted():
        held = await fixture.held()
    tls = fixture.tls.current
    assert tls is not None
    assert held.credentials.key.public_key() != tls.credentials.key.public_key()
    assert held.roots == tls.anchors.roots == fixture.asked[0][1]
    assert fixture.heard == [TRUST]
    assert fixture.count("issued") == 1


async def test_renewal_at_half_life_with_a_new_key(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    with fixture.svid.wanted():
        first = await fixture.held()
        life = first.credentials.not_after - fixture.started
        await fixture.svid.state.wait_change(first)
        assert 0.45 * life <= trio.current_time() <= 0.55 * life
        assert (await fixture.held()).credentials.key.public_key() != first.credentials.key.public_key()


async def test_it_is_renewed_when_the_sidecars_is(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    with fixture.svid.wanted():
        first = await fixture.held()
        fixture.trust(Revoked())        # other trust, the same certificate: nothing to renew
        await wait_all_tasks_blocked()
        assert len(fixture.asked) == 1
        fixture.tls.set(pki.mesh_tls(pki.issue(root(), pki.uri(WEB)), root()))
        assert (await fixture.held()).credentials != first.credentials
        assert [time for time, _ in fixture.asked] == [0, 0]


async def test_kept_for_a_while_and_then_forgotten(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    for _ in range(3):
        with fixture.svid.wanted():
            first = await fixture.held()
        await trio.sleep(KEEP_S - 1)
        assert await fixture.held() == first
    assert len(fixture.asked) == 1
    await trio.sleep(2)
    assert fixture.svid.state.current is None
    await trio.sleep(HOUR_S / 2)
    assert len(fixture.asked) == 1
    with fixture.svid.wanted():
        assert await fixture.held() != first


@pytest.mark.parametrize(("failure", "is_final"), [(ConnectFailed("nobody there"), False), (NotEntitled("no such pod"), True)])
async def test_why_there_is_none_and_another_try(
    failure: MeshError, is_final: bool, nursery: trio.Nursery, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    fixture = Fixture(nursery)
    fixture.failure = failure
    with fixture.svid.wanted():
        assert await fixture.lacking() == Lacking(str(failure), is_final)
        await trio.sleep(60)
        times = [time for time, _ in fixture.asked]
        assert 5 < len(times) < 15
        fixture.failure = None
        await trio.sleep(30)
        await fixture.held()
    assert fixture.count("failed") == len(times)
    assert f"no certificate for the application: {failure}" in capsys.readouterr().err


async def test_a_clock_that_is_wrong_is_named(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    fixture.started += DAY_S
    with fixture.svid.wanted():
        assert "by the clock here" in (await fixture.lacking()).why
        await trio.sleep(60)
        assert 5 < len(fixture.asked) < 15


async def test_an_issuer_that_is_away_takes_nothing_back_until_the_end(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    with fixture.svid.wanted():
        first = await fixture.held()
        fixture.failure = ConnectFailed("away")
        life = first.credentials.not_after - fixture.started
        await trio.sleep(0.9 * life)
        assert len(fixture.asked) > 5
        assert await fixture.held() == first
        await trio.sleep(0.1 * life + 60)
        assert await fixture.lacking() == Lacking("away", False)


@pytest.mark.parametrize("what", ["identities", "pods", "keys", "serials"])
async def test_who_was_revoked_gets_no_more(what: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    with fixture.svid.wanted():
        first = await fixture.held()
        leaf = first.credentials.chain[0]
        name = {"identities": WEB, "pods": "uid-1", "keys": key_hash(leaf), "serials": serial_text(leaf.serial_number)}[what]
        fixture.trust(Revoked(**{what: (name,)}))
        assert (await fixture.lacking()).is_final
        fixture.trust(Revoked())
        assert await fixture.held() == first


async def test_the_sidecars_own_comes_first(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery, has_tls=False)
    with fixture.svid.wanted():
        await trio.sleep(HOUR_S / 2)
        assert fixture.asked == []
        fixture.tls.set(tls_of(WEB))
        await fixture.held()
