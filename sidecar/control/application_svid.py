"""The application's own certificate: asked for while somebody wants it, renewed, and forgotten when nobody does any more.

It has a key of its own, made here and handed out by the Workload API; the sidecar's never leaves the sidecar. It is renewed at
half its life, and whenever the sidecar's is: so a rotation by hand, or to another root, is one for both.
"""

import random  # noqa: TID251 -- the generator's type
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import msgspec
import trio
from cryptography import x509

from sidecar.model.call import Peer
from sidecar.model.errors import ConnectFailed, MeshError
from sidecar.model.trust import Trust
from sidecar.net.anchors import Anchors
from sidecar.net.clock import WallClock
from sidecar.net.tls_context import Credentials
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.verify import read_svid, why_revoked
from sidecar.net.watched import Watched
from sidecar.telemetry.metrics import Metrics

from .issuance import NotEntitled, Obtained

ATTEMPT_S = 10.0
RETRY_FIRST_S = 0.2
RETRY_MOST_S = 30.0
KEEP_S = 300.0      # an application that restarts, or asks now and then, finds what it had

Obtain = Callable[[Anchors], Awaitable[Obtained]]


class Held(msgspec.Struct, frozen=True):
    """What the application may have."""

    credentials: Credentials
    roots: tuple[x509.Certificate, ...]


class Lacking(msgspec.Struct, frozen=True):
    """Why it has nothing.

    Args:
        is_final: the issuer or the deny-list says no; else it could not be asked.
    """

    why: str
    is_final: bool


class ApplicationSvid:
    """
    Args:
        obtain: asks the issuer once for a certificate that the application will hold; given whom to take for it.
        tls: the sidecar's own.
        take_trust: learns what the issuer says besides.

    Attributes:
        state: None: nobody wants one, or it has been asked for and there is no answer yet.
    """

    def __init__(
        self, obtain: Obtain, tls: Watched[MeshTls | None], take_trust: Callable[[Trust], object], wall: WallClock,
        rng: random.Random, metrics: Metrics,
    ) -> None:
        self._obtain = obtain
        self._tls = tls
        self._take_trust = take_trust
        self._wall = wall
        self._rng = rng
        self._metrics = metrics
        self._wishes = Watched(0)
        self._credentials: Credentials | None = None
        self._holder: Peer | None = None        # what the certificate says, for the deny-list
        self._failure: Lacking | None = None
        self.state: Watched[Held | Lacking | None] = Watched(None)

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """Somebody wants it as long as this lasts, and it is kept for a while after."""
        self._wishes.set(self._wishes.current + 1)
        try:
            yield
        finally:
            self._wishes.set(self._wishes.current - 1)

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._wishes.wait_change(0)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._renew)
                nursery.start_soon(self._follow_trust)
                await self._until_nobody_wants_it()
                nursery.cancel_scope.cancel()
            self._credentials = self._holder = self._failure = None
            self.state.set(None)

    async def _until_nobody_wants_it(self) -> None:
        while True:
            while count := self._wishes.current:
                await self._wishes.wait_change(count)
            with trio.move_on_after(KEEP_S) as waited:
                await self._wishes.wait_change(0)
            if waited.cancelled_caught:
                return

    async def _renew(self) -> None:
        pause = RETRY_FIRST_S
        while True:
            while (tls := self._tls.current) is None:
                await self._tls.wait_change(None)
            try:
                with trio.fail_after(ATTEMPT_S):
                    obtained = await self._obtain(tls.anchors)
                self._take_trust(obtained.trust)
                life = obtained.credentials.not_after - self._wall()
                if life <= 0:
                    raise ConnectFailed("by the clock here, what the issuer gave has ended already")
            except (MeshError, trio.TooSlowError, OSError) as exc:
                why = str(exc) or "no answer in time"
                print(f"bartizan: no certificate for the application: {why}", file=sys.stderr, flush=True)
                self._metrics.count("bartizan_application_svids_total", (("outcome", "failed"),))
                self._failure = Lacking(why, isinstance(exc, NotEntitled))
                self._tell()
                await trio.sleep(pause * self._rng.uniform(0.5, 1.0))
                pause = min(2 * pause, RETRY_MOST_S)
                continue
            pause = RETRY_FIRST_S
            self._metrics.count("bartizan_application_svids_total", (("outcome", "issued"),))
            self._take(obtained.credentials)
            with trio.move_on_after(max(1.0, life * self._rng.uniform(0.45, 0.55))):
                await self._until_the_sidecar_renews(tls.credentials)

    def _take(self, credentials: Credentials) -> None:
        leaf = credentials.chain[0]
        self._credentials = credentials
        self._holder = read_svid(leaf, credentials.trust_domain)
        self._failure = None
        self._tell()

    async def _until_the_sidecar_renews(self, seen: Credentials) -> None:
        while (tls := self._tls.current) is None or tls.credentials is seen:
            await self._tls.wait_change(tls)

    async def _follow_trust(self) -> None:
        while True:
            tls = self._tls.current
            self._tell()
            await self._tls.wait_change(tls)

    def _tell(self) -> None:
        self.state.set(self._look())

    def _look(self) -> Held | Lacking | None:
        tls = self._tls.current
        if tls is None or self._credentials is None or self._holder is None or self._credentials.not_after <= self._wall():
            return self._failure
        if why := why_revoked(self._holder, tls.anchors.deny):
            return Lacking(why, is_final=True)
        return Held(self._credentials, tls.anchors.roots)
