"""The injector's own HTTPS certificate: from the issuer, as a pod among others, or from files that somebody else keeps fresh.

From the issuer: key in memory, asked for with the pod's token, renewed at half life, and as soon as the mesh signs with another
root. While the issuer is away the old one serves until it ends. Each new connection gets the newest.

The API server verifies the webhook by the `caBundle` of its configuration: `ca_bundle` keeps it what the mesh trusts.
"""

import random  # noqa: TID251 -- the generator's type
import sys
from collections.abc import Sequence

import trio
from cryptography import x509

from sidecar.model.errors import ConfigError, MeshError
from sidecar.net.clock import WallClock
from sidecar.net.dial import Dialer
from sidecar.net.files import read_file
from sidecar.net.issuance import Issued, ask_issuer
from sidecar.net.tls_context import ServerCredentials, load_certificates, load_private_key
from sidecar.net.watched import Watched

from .trust import TrustWatch

ATTEMPT_S = 15.0
RETRY_FIRST_S = 0.2
RETRY_MOST_S = 30.0


class OwnCertificate:
    """
    Attributes:
        held: chain and key; None: none yet.
    """

    def __init__(self, trust: TrustWatch) -> None:
        self._trust = trust
        self.held: Watched[ServerCredentials | None] = Watched(None)
        self._demanding: tuple[object, object, ServerCredentials] | None = None

    def webhook(self) -> ServerCredentials:
        """For who proves nothing."""
        assert self.held.current is not None, "nobody listens before there is a certificate"
        return self.held.current

    def stream(self) -> ServerCredentials:
        """For who must prove an identity, by the roots of now. The same value until either changes."""
        held, anchors = self.webhook(), self._trust.anchors.current
        if self._demanding is None or self._demanding[0] is not held or self._demanding[1] is not anchors:
            self._demanding = held, anchors, ServerCredentials(held.chain, held.key, anchors.roots)
        return self._demanding[2]

    @property
    def ends(self) -> float:
        """When the first certificate of the chain ends, Unix seconds; 0: there is none yet."""
        held = self.held.current
        return min(one.not_valid_after_utc.timestamp() for one in held.chain) if held is not None else 0.0

    @property
    def signer(self) -> str:
        """Fingerprint of the root that the chain leads to; empty: none that the mesh trusts."""
        held = self.held.current
        return self._trust.anchors.current.signer_of(held.chain) if held is not None else ""

    @property
    def is_of_the_signer(self) -> bool:
        """Whether it chains to the root that the mesh signs with now."""
        return self._trust.current.signer in ("", self.signer)

    def take_files(self, chain_file: str, key_file: str) -> None:
        """ConfigError, and nothing changes, if the files do not hold a chain and its key."""
        chain: Sequence[x509.Certificate] = load_certificates(read_file(chain_file, "chainFile"), "chainFile")
        key = load_private_key(read_file(key_file, "keyFile"), "keyFile")
        if key.public_key() != chain[0].public_key():
            raise ConfigError("keyFile", "the key does not belong to the certificate in chainFile")
        self.held.set(ServerCredentials(chain, key))


class Renewal:
    """Keeps `own` supplied from the issuer, as long as `run` runs."""

    def __init__(
        self, own: OwnCertificate, trust: TrustWatch, issuer_url: str, token_file: str, dialer: Dialer, wall: WallClock, rng: random.Random,
    ) -> None:
        self._own = own
        self._trust = trust
        self._url = issuer_url.rstrip("/") + "/v1/https"
        self._token_file = token_file
        self._dialer = dialer
        self._wall = wall
        self._rng = rng

    async def run(self) -> None:
        """For ever: get a certificate, wait until it is time for the next."""
        pause = RETRY_FIRST_S
        while True:
            try:
                with trio.fail_after(ATTEMPT_S):
                    issued = await self._obtain()
            except (MeshError, trio.TooSlowError, OSError) as exc:
                why = str(exc) or "no answer in time"
                print(f"bartizan: no certificate from {self._url}: {why}", file=sys.stderr, flush=True)
            else:
                if self._own.is_of_the_signer:
                    pause = RETRY_FIRST_S
                    await self._wait_due(issued.not_after)
                    continue
            await trio.sleep(pause * self._rng.uniform(0.5, 1.0))
            pause = min(2 * pause, RETRY_MOST_S)

    async def _obtain(self) -> Issued:
        token = read_file(self._token_file, "tokenFile")
        anchors = self._trust.anchors.current
        issued = await ask_issuer(self._dialer, self._url, token, anchors.roots, deny=anchors.deny)
        self._trust.take(issued.trust)
        self._own.held.set(ServerCredentials(issued.chain, issued.key))
        return issued

    async def _wait_due(self, not_after: float) -> None:
        """Half of its life, or until the mesh signs with another root."""
        life_s = not_after - self._wall()
        with trio.move_on_after(max(1.0, life_s * self._rng.uniform(0.45, 0.55))):
            while self._own.is_of_the_signer:
                await self._trust.anchors.wait_change(self._trust.anchors.current)
