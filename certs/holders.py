"""Who holds what, asked of the injector, and the task that lets a root rotation go on by what it hears.

Of an injector with several replicas each is asked, at each address of its name: a sidecar asks for its snapshot at one of them, and
the others never heard of it, or long ago. So of a sidecar the best word counts, which can only be later; of the injectors
themselves the worst, since each has a certificate and a trust of its own.

The issuer proves itself with an SVID of its own making, held in memory and written to the log like every other.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import trio
from cryptography.hazmat.primitives.asymmetric import ec

from sidecar.model.errors import BadResponse, ConfigError, MeshError
from sidecar.model.identity import SpiffeId, parts
from sidecar.model.trust import INJECTOR, Holder, Holding
from sidecar.net.clock import WallClock
from sidecar.net.dial import Dialer
from sidecar.net.service import call_https, control_addresses
from sidecar.net.tls_context import Credentials
from sidecar.net.watched import Watched

from . import files, rotation
from .log import Log
from .profile import MAX_SVID_S, issue_svid
from .trust import Standing

ASK_EVERY_S = 2.0
ANSWER_S = 15.0


class Injector:
    """
    Args:
        url: https://host[:port].
        identity: the issuer's own.
    """

    def __init__(self, url: str, identity: SpiffeId, standing: Watched[Standing], log: Log, clock: WallClock, dialer: Dialer) -> None:
        self._url = url.rstrip("/") + "/v1/holders"
        self._identity = identity
        self._standing = standing
        self._log = log
        self._clock = clock
        self._dialer = dialer
        self._credentials: Credentials | None = None

    async def holders(self) -> list[Holder]:
        """Raises: MeshError with the cause, if there is no answer that can be used."""
        try:
            with trio.fail_after(ANSWER_S):
                heard = [await self._ask(address) for address in await control_addresses(self._url)]
        except trio.TooSlowError as exc:
            raise BadResponse(f"{self._url} gave no answer in {ANSWER_S:.0f} s") from exc
        except OSError as exc:
            raise BadResponse(f"{self._url}: {exc.strerror}") from exc
        return together(heard, self._standing.current.trust.signer)

    async def _ask(self, address: str) -> list[Holder]:
        standing = self._standing.current
        answer = await call_https(
            self._dialer, [address], self._url, "GET",
            roots=standing.authorities.roots, credentials=self._own(), deny=standing.deny)
        if answer.status != 200:
            raise BadResponse(f"{self._url} answered {answer.status}: {answer.body[:300].decode('utf-8', 'replace')}")
        try:
            return msgspec.json.decode(answer.body, type=Holding).holders
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise BadResponse(f"the answer of {self._url} cannot be read: {exc}") from exc

    def _own(self) -> Credentials:
        """Until half its life is over, or something else is signed with."""
        authority, now, held = self._standing.current.authorities.svid, self._clock(), self._credentials
        if held is None or held.chain[1] != authority.certificate or now >= held.not_after - MAX_SVID_S / 2:
            key = ec.generate_private_key(ec.SECP256R1())
            leaf = issue_svid(authority, key.public_key(), self._identity, "", MAX_SVID_S, now)
            self._log.record(leaf, self._identity, "", "issuer", now)
            domain, chain = parts(self._identity)[0], (leaf, *authority.chain)
            held = self._credentials = Credentials(self._identity, domain, chain, key, leaf.not_valid_after_utc.timestamp())
        return held


def together(heard: Sequence[Sequence[Holder]], signer: str) -> list[Holder]:
    """What several replicas say, as one.

    Args:
        signer: the root that is signed with, which a holder comes to and does not leave again.
    """
    said: dict[str, list[Holder]] = {}
    for holder in (holder for one in heard for holder in one):
        said.setdefault(holder.name, []).append(holder)

    def rank(holder: Holder) -> tuple[int, bool]:
        return holder.trust, holder.signer == signer

    return [(min if name == INJECTOR else max)(found, key=rank) for name, found in sorted(said.items())]


async def conduct(directory: Path, injector: Injector, standing: Watched[Standing], clock: WallClock) -> None:
    """For ever: while a rotation is under way, ask, and let it go on once nobody is awaited. What it writes is followed like all else."""
    while True:
        await trio.sleep(ASK_EVERY_S)
        turning = standing.current.rotation
        if turning is None:
            continue
        heard: list[Holder] | str
        try:
            heard = await injector.holders()
        except MeshError as exc:
            heard = f"cannot be asked: {exc}"
        try:
            with files.locked(directory, wait=False):
                now_is = rotation.hear(directory, turning.phase, heard, clock())
        except files.Busy:
            continue
        except ConfigError as exc:
            print(f"bartizan: the root rotation does not go on: {exc}", file=sys.stderr, flush=True)
            continue
        phase = now_is.phase if now_is is not None else None
        if phase is not turning.phase:
            print(f"bartizan: root rotation: {turning.phase} is over, now {phase or 'nothing'}", file=sys.stderr, flush=True)
