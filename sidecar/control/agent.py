"""Keeps the workload's certificate fresh: key and request made in memory, sent to the issuer with the pod's token.

A new key for each certificate. Renewal at half the lifetime, with jitter so that a fleet does not come at once; while the issuer
is away the old certificate serves until it ends, and then nothing does. The key never leaves this process.
"""

import random  # noqa: TID251 -- the generator's type
import sys

import trio

from sidecar.model.config import IssuedIdentity
from sidecar.model.errors import MeshError
from sidecar.net.clock import WallClock
from sidecar.net.dial import Dialer
from sidecar.net.files import read_file
from sidecar.net.tls_context import Credentials, load_certificates
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.watched import Watched

from .issuance import obtain
from .keyring import Keyring

ATTEMPT_S = 15.0
RETRY_FIRST_S = 0.2
RETRY_MOST_S = 30.0


class Agent:
    """Keeps `keyring` supplied, as long as `run` runs."""

    def __init__(
        self, config: IssuedIdentity, keyring: Keyring, tls: Watched[MeshTls | None], dialer: Dialer, wall: WallClock,
        rng: random.Random,
    ) -> None:
        self._config = config
        self._keyring = keyring
        self._tls = tls
        self._dialer = dialer
        self._wall = wall
        self._rng = rng
        self._rotations = Watched(0)

    def rotate(self) -> None:
        """Ask for a new certificate now."""
        self._rotations.set(self._rotations.current + 1)

    async def run(self) -> None:
        """For ever: get a certificate, wait for half its life, get the next."""
        pause = RETRY_FIRST_S
        while True:
            asked = self._rotations.current
            try:
                with trio.fail_after(ATTEMPT_S):
                    credentials = await self._obtain()
            except (MeshError, trio.TooSlowError, OSError) as exc:
                why = str(exc) or "no answer in time"
                print(f"bartizan: no certificate from {self._config.url}: {why}", file=sys.stderr, flush=True)
                await trio.sleep(pause * self._rng.uniform(0.5, 1.0))
                pause = min(2 * pause, RETRY_MOST_S)
                continue
            pause = RETRY_FIRST_S
            self._keyring.take_credentials(credentials)
            life = credentials.not_after - self._wall()
            with trio.move_on_after(max(1.0, life * self._rng.uniform(0.45, 0.55))):
                await self._rotations.wait_change(asked)

    async def _obtain(self) -> Credentials:
        tls = self._tls.current
        # The roots at injection start the trust; later ones came over it.
        roots = tls.anchors.roots if tls else tuple(
            load_certificates(read_file(self._config.roots_file, "identity.rootsFile"), "identity.rootsFile")
        )
        obtained = await obtain(self._config, roots, self._dialer)
        self._keyring.take_trust(obtained.trust)
        return obtained.credentials
