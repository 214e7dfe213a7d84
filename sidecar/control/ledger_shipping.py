"""The ledger's way to the control plane: new lines every ten seconds, over mTLS, each time answered by a countersignature.

POST /v1/ledger?pod=UID&from=N has the raw lines from number N on. The control plane looks whether they continue what it has, keeps
them, and signs their head, which becomes a line of the chain. While it is away nothing is lost as long as the ledger has room; then
all is caught up with, in bodies of MAX_BODY_BYTES. 409 says what it has instead: shipping goes on from there, or, if this chain never
was there, as `anew=1` from the oldest line that is here, and the break is said loudly on both sides.
"""

import base64
import binascii
import sys

import msgspec
import trio

from sidecar.model.config import SnapshotStream
from sidecar.model.errors import BadResponse, ConfigError, ConnectFailed, MeshError
from sidecar.model.ledger import Countersignature
from sidecar.model.trust import DIGEST
from sidecar.model.value import from_json
from sidecar.model.worker import ALONE, Worker
from sidecar.net.dial import Dialer
from sidecar.net.service import call_https, control_addresses
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.watched import Watched
from sidecar.telemetry.ledger import Batch, Ledger

EVERY_S = 10.0
ANSWER_S = 15.0
MOST_DISAGREEMENTS = 2
MAX_BODY_BYTES = 256 << 10      # of one body; what the injector takes


class Held(msgspec.Struct, frozen=True, rename="camel"):
    """How far the control plane has the chain."""

    count: int
    head: str


class Shipping:
    """
    Args:
        config: where the injector is.
        tls: what to prove; None: nothing yet, so nothing is shipped.
        process: which of the pod's has this ledger.
    """

    def __init__(self, config: SnapshotStream, pod_uid: str, ledger: Ledger, tls: Watched[MeshTls | None], dialer: Dialer,
                 process: Worker = ALONE) -> None:
        self._url = f"{config.url.rstrip('/')}/v1/ledger?pod={pod_uid}{process.query}"
        self._chain = process.chain_of(pod_uid)
        self._ledger = ledger
        self._tls = tls
        self._dialer = dialer
        self._is_anew = False
        self._disagreements = 0     # in a row
        self._told = ""

    async def run(self) -> None:
        """For ever."""
        while True:
            await trio.sleep(EVERY_S)
            await self.ship_once()

    async def ship_once(self) -> bool:
        """Ship all that is new now; whether it worked. What was answered before a cancellation stays shipped."""
        self._disagreements = 0
        try:
            while self._ledger.has_news:
                if (batch := self._ledger.unshipped(MAX_BODY_BYTES)) is None or (tls := self._tls.current) is None:
                    return False
                with trio.fail_after(ANSWER_S):
                    await self._ship(batch, tls)
        except (MeshError, trio.TooSlowError, OSError) as exc:
            self._say(f"the ledger could not be shipped: {exc or 'no answer in time'}")
            return False
        self._told = ""
        return True

    async def _ship(self, batch: Batch, tls: MeshTls) -> None:
        url = f"{self._url}&from={batch.first}{'&anew=1' if self._is_anew else ''}"
        answer = await call_https(
            self._dialer, await control_addresses(url), url, "POST",
            roots=tls.anchors.roots, credentials=tls.credentials, body=batch.lines, deny=tls.anchors.deny,
        )
        try:
            if answer.status == 200:
                self._ledger.shipped(self._read(answer.body, batch))
                self._is_anew, self._disagreements = False, 0
            elif answer.status == 409:
                self._go_on_from(from_json(answer.body, Held))
            else:
                raise ConnectFailed(f"answered {answer.status}: {answer.body[:300].decode('utf-8', 'replace')}")
        except ConfigError as exc:
            raise BadResponse(f"its answer is none: {exc}") from exc

    def _read(self, body: bytes, batch: Batch) -> Countersignature:
        """Ours is the chain that was signed; whether the signature holds is for the audit to say, which knows the key."""
        signed = from_json(body, Countersignature)
        if (signed.pod, signed.count, signed.head) != (self._chain, batch.last, batch.head):
            raise BadResponse("it signed another chain than ours")
        try:
            signature = base64.b64decode(signed.signature, validate=True)
        except (binascii.Error, ValueError):
            signature = b""
        if DIGEST.fullmatch(signed.key) is None or not 8 <= len(signature) <= 72 or signature[0] != 0x30:
            raise BadResponse("its countersignature is none")
        return signed

    def _go_on_from(self, held: Held) -> None:
        self._disagreements += 1
        if self._is_anew or self._disagreements > MOST_DISAGREEMENTS:
            raise BadResponse("it takes neither what it asked for nor a new chain")
        if not self._ledger.rewind(held.count, held.head):
            self._say(f"the chain was never at line {held.count} with the hash {held.head}, as the control plane has it; "
                      "one of the two has lost evidence. What is here is shipped as a new chain")
            self._is_anew = True
            self._ledger.ship_all()

    def _say(self, what: str) -> None:
        """Once, not every ten seconds."""
        if what != self._told:
            self._told = what
            print(f"bartizan: {what}", file=sys.stderr, flush=True)
