"""A root rotation that the issuer conducts by itself: by what it hears, through restarts, and never past anybody who lags."""

from pathlib import Path

import msgspec
import pytest
import trio

from certs import files, rotation
from certs.ca import fingerprint
from certs.holders import ASK_EVERY_S, Injector, conduct, together
from certs.log import Log, read
from certs.profile import MAX_SVID_S, issue_https
from certs.rotation import Phase
from certs.trust import Follower, next_version, publish
from sidecar.model.call import Answer
from sidecar.model.errors import ConnectFailed, MeshError
from sidecar.model.identity import workload_id
from sidecar.model.trust import Holder
from sidecar.net.clock import wall_clock
from sidecar.net.dial import Dialer
from sidecar.net.service import serve_https
from sidecar.net.tls_context import ServerCredentials

from .support import DOMAIN, NOW, new_key, openssl_verdict

OWN = workload_id(DOMAIN, "bartizan-system", "bartizan-issuer")


@pytest.fixture
def directory(tmp_path) -> Path:
    files.init(tmp_path / "ca", DOMAIN, ["localhost"], wall_clock())
    return tmp_path / "ca"


def begin(directory):
    with files.locked(directory):
        standing = publish(directory, NOW)
        rotation.begin(directory, standing.trust.signer, next_version(directory, NOW), NOW)


class Mesh:
    """Stands in for the injector: its holders take what is published when the test says so."""

    def __init__(self, directory):
        self.directory = directory
        self.trust = publish(directory, NOW).trust
        self.held = {name: Holder(name, self.trust.version, self.trust.signer) for name in ("injector", "shop/web-0")}
        self.is_away = False
        self.asked = 0

    async def holders(self):
        self.asked += 1
        if self.is_away:
            raise ConnectFailed("gone")
        return list(self.held.values())

    def take(self, *names):
        trust = publish(self.directory, NOW).trust
        for name in names or self.held:
            self.held[name] = Holder(name, trust.version, trust.signer)


class Conducted:
    """An issuer's two tasks, which a test starts anew whenever it likes."""

    def __init__(self, directory, mesh):
        self.directory, self.mesh = directory, mesh

    async def run_for(self, seconds):
        """From its start to its end, as after a restart. Returns what stands then."""
        follower = Follower(self.directory, lambda: NOW)
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follower.run)
                nursery.start_soon(conduct, self.directory, self.mesh, follower.standing, lambda: NOW)
        return follower.standing.current


async def test_it_goes_on_by_itself_when_all_have_acknowledged(directory, autojump_clock):
    mesh = Mesh(directory)
    issuer, old = Conducted(directory, mesh), mesh.trust.signer
    begin(directory)
    new = fingerprint(files.load(directory).roots[1])

    for _ in range(2):      # a restart changes nothing
        standing = await issuer.run_for(100)
        assert standing.rotation.phase is Phase.TRUST_BOTH
        assert [each.name for each in standing.rotation.awaited] == ["injector", "shop/web-0"]
    mesh.take("injector")
    standing = await issuer.run_for(100)
    assert [each.name for each in standing.rotation.awaited] == ["shop/web-0"]
    assert standing.trust.signer == old
    mesh.take()
    for _ in range(2):
        standing = await issuer.run_for(100)
        assert standing.rotation.phase is Phase.SIGN_NEW
        assert standing.trust.signer == new
    mesh.take("shop/web-0")
    assert (await issuer.run_for(100)).rotation.phase is Phase.SIGN_NEW
    mesh.take()
    standing = await issuer.run_for(100)
    assert standing.rotation is None
    assert [fingerprint(root) for root in standing.authorities.roots] == [new]


async def test_while_the_injector_is_away_nothing_goes_on_and_it_is_said(directory, autojump_clock):
    mesh = Mesh(directory)
    begin(directory)
    mesh.take()
    mesh.is_away = True
    standing = await Conducted(directory, mesh).run_for(100)
    assert standing.rotation.phase is Phase.TRUST_BOTH
    assert [(each.name, each.why) for each in standing.rotation.awaited] == [("injector", "cannot be asked: gone")]
    mesh.is_away = False
    assert (await Conducted(directory, mesh).run_for(3 * ASK_EVERY_S)).rotation.phase is Phase.SIGN_NEW


async def test_nobody_is_asked_while_no_rotation_waits(directory, autojump_clock):
    mesh = Mesh(directory)
    await Conducted(directory, mesh).run_for(100)
    assert mesh.asked == 0


async def test_what_a_damaged_file_holds_up_is_said(directory, autojump_clock, capsys):
    mesh = Mesh(directory)
    begin(directory)
    mesh.take()
    follower = Follower(directory, lambda: NOW)
    (directory / rotation.ROTATION).write_bytes(b"{")
    with trio.move_on_after(ASK_EVERY_S * 1.5):
        await conduct(directory, mesh, follower.standing, lambda: NOW)
    assert "does not go on" in capsys.readouterr().err


# -- asking, over real HTTPS


class Served:
    """An injector's endpoint that demands a certificate of the mesh."""

    def __init__(self, directory):
        self.authorities = files.load(directory)
        key = new_key()
        leaf = issue_https(self.authorities.https, key.public_key(), ["localhost"], 3600, wall_clock())
        self.credentials = ServerCredentials([leaf, self.authorities.https.certificate], key, self.authorities.roots)
        self.answer = Answer(200, b'{"holders":[{"name":"injector","trust":7,"signer":"ab"}]}')
        self.calls = []

    async def respond(self, call):
        self.calls.append(call)
        return self.answer


@pytest.fixture
def log(directory):
    log = Log(directory / files.LOG)
    yield log
    log.close()


async def ask(directory, log, served, *, times=1, clock=wall_clock, change=None):
    follower = Follower(directory, wall_clock)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            async def serving(task_status):
                await serve_https(
                    "127.0.0.1", 0, lambda: served.credentials, served.respond, trust_domain=DOMAIN, task_status=task_status)

            port = await nursery.start(lambda task_status: serving(task_status))
            injector = Injector(f"https://localhost:{port}/", OWN, follower.standing, log, clock, Dialer())
            try:
                for _ in range(times):
                    heard = await injector.holders()
                    if change:
                        change(follower)
            finally:
                nursery.cancel_scope.cancel()
    return heard


async def test_the_issuer_proves_itself_and_it_is_logged(directory, log):
    served = Served(directory)
    assert await ask(directory, log, served, times=2) == [Holder("injector", 7, "ab")]
    assert [(call.method, call.path, call.peer.identity) for call in served.calls] == [("GET", "/v1/holders", OWN)] * 2
    entry, = read(directory / files.LOG)
    assert (entry.identity, entry.requester, entry.pod_uid) == (OWN, "issuer", "")
    assert int(entry.serial, 16) == served.calls[0].peer.serial


async def test_its_own_certificate_follows_what_is_signed_with(directory, log):
    def change(follower):
        files.renew(directory, wall_clock())
        follower.look()

    await ask(directory, log, Served(directory), times=2, change=change)
    assert len(list(read(directory / files.LOG))) == 2


async def test_and_is_made_anew_at_half_life(directory, log):
    now = wall_clock()
    follower = Follower(directory, wall_clock)
    injector = Injector("https://localhost", OWN, follower.standing, log, lambda: now, Dialer())
    first = injector._own()
    now += MAX_SVID_S / 2 - 10
    assert injector._own() is first
    now += 20
    second = injector._own()
    assert second is not first
    assert openssl_verdict(second.chain, follower.standing.current.authorities.roots, now) == ""


@pytest.mark.parametrize(("answer", "why"), [
    (Answer(403, b"not you"), "403: not you"),
    (Answer(200, b"{}"), "cannot be read"),
    (Answer(200, b'{"holders":[{"trust":7}]}'), "cannot be read"),
    (Answer(200, msgspec.json.encode({"holders": "all"})), "cannot be read"),
    (Answer(304), "304"),
])
async def test_an_answer_that_says_nothing(directory, log, answer, why):
    served = Served(directory)
    served.answer = answer
    with pytest.raises(BaseException) as caught:
        await ask(directory, log, served)
    error = caught.value
    while isinstance(error, BaseExceptionGroup):
        error, = error.exceptions
    assert isinstance(error, MeshError)
    assert why in str(error)


async def test_nobody_there(directory, log):
    follower = Follower(directory, wall_clock)
    injector = Injector("https://localhost:1", OWN, follower.standing, log, wall_clock, Dialer())
    with trio.fail_after(20), pytest.raises(MeshError, match="refused"):
        await injector.holders()


def test_of_several_replicas_a_sidecars_best_word_counts_and_of_themselves_the_worst():
    def said(name, *words):
        return [Holder(name, trust, signer) for trust, signer in words]

    one = [*said("injector", (7, "new")), *said("shop/web-0", (7, "old"))]
    two = [*said("injector", (7, "old")), *said("shop/web-0", (7, "new"))]
    assert together([one, two], "new") == [Holder("injector", 7, "old"), Holder("shop/web-0", 7, "new")]
    later = [*said("injector", (8, "new")), *said("shop/web-0", (0, ""))]
    assert together([one, later], "new") == [Holder("injector", 7, "new"), Holder("shop/web-0", 7, "old")]
    assert together([one], "new") == one
