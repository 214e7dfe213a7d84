"""Evidence comes in: POST /v1/ledger?pod=UID&from=N with a sidecar's next lines, answered by a countersignature.

Each process of a gateway has a ledger of its own, and says `worker=2/3` with its lines.

    1  the caller is the sidecar of that pod: the certificate says so, and its key is not the application's
    2  the lines continue what is here, each following from the one before; else 409 says what is here
    3  each line speaks of the workload that the certificate names: nobody testifies for another
    4  they are on the disk, then the head of the chain is signed and remembered

A sidecar whose chain is another than the one here (its folder was lost) says `anew=1`: that is a break, said aloud, and what comes
goes to another file. What was countersigned once is never overwritten.

Many sidecars ship at once, so each waits for a moment until the disk has been asked once for all of them.

Trust: a caller has an identity of the mesh, and may be taken over; the body is a stranger's text. Names of files come from the cluster,
by the pod's uid, and never from the caller. What a sidecar says of itself may be false, but not later than it was said.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

import msgspec
import trio

from sidecar.model.call import Answer, Call, Peer
from sidecar.model.chain import FIRST, Broken, follow
from sidecar.model.errors import ConfigError
from sidecar.model.ledger import Countersignature, Entry
from sidecar.model.worker import ALONE, parse_worker, pod_of
from sidecar.net.clock import WallClock

from .countersign import Signer
from .ledger_store import Chain, Store

MAX_BODY_BYTES = 256 << 10      # what the server must let through; a sidecar's bodies are no longer
MAX_LINE_BYTES = 16384
TOGETHER_S = 0.25               # how long a body waits for others before the disk is asked
ROOM_EVERY_S = 60.0
ANEW_EVERY_S = 60.0             # a chain that begins anew again and again would be many files
_NUMBER = re.compile(r"[1-9][0-9]{0,14}", re.ASCII)
_PLACE = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
Taken = Callable[[str, str, list[Entry]], None]
_UID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)


@dataclass(eq=False)
class _Together:
    """Bodies that the disk is asked for at once."""

    paths: set[Path] = field(default_factory=set)
    signed: dict[str, Countersignature] = field(default_factory=dict)
    done: trio.Event = field(default_factory=trio.Event)
    error: str = ""


class Collector:
    """
    Args:
        store: where evidence is kept.
        signer: signs what is there.
        wall: Unix seconds.
        place_of: pod uid -> (namespace, name), as the cluster has it; None: no such pod.
        taken: told what is new of a pod: its uid, its name `shop/web-1`, the entries.
    """

    def __init__(
        self, store: Store, signer: Signer, wall: WallClock, place_of: Callable[[str], tuple[str, str] | None],
        taken: Taken | None = None,
    ) -> None:
        self._store = store
        self._signer = signer
        self._wall = wall
        self._place_of = place_of
        self._taken = taken
        self._together: _Together | None = None
        self._disk = trio.Lock()
        self._room_at = -ROOM_EVERY_S
        self._anew_at: dict[str, float] = {}

    @classmethod
    def open(
        cls, state: Path, wall: WallClock, place_of: Callable[[str], tuple[str, str] | None],
        taken: Taken | None = None,
    ) -> "Collector":
        """The one of the state directory: `ledger/`, `countersign.key`. ConfigError if it cannot be used."""
        store = Store(state / "ledger")
        return cls(store, Signer.open(state / "countersign.key", store.folder), wall, place_of, taken)

    async def answer(self, call: Call) -> Answer:
        """The handler. After a cancellation the lines may be here, unanswered; the sidecar will hear of it by a 409."""
        query = parse_qs(call.query[:500])
        uid, start, is_anew = query.get("pod", [""])[0], query.get("from", [""])[0], query.get("anew", [""])[0] == "1"
        peer = call.peer
        if peer is None or not peer.pod_uid or peer.pod_uid != uid or peer.holder or peer.identity is None:
            return Answer.error(403, "the certificate was not issued to the sidecar of this pod")
        worker = parse_worker(query["worker"][0]) if "worker" in query else ALONE
        if _NUMBER.fullmatch(start) is None or _UID.fullmatch(uid) is None or worker is None:
            return Answer.error(400, "pod is a uid, from the number of the first line, and worker as 1/2")
        place = self._place_of(uid)
        if place is None or not all(map(_PLACE.fullmatch, place)):
            return Answer.error(404, f"no pod has the uid {uid}")
        try:
            chain = self._store.chain(worker.chain_of(uid), *place)
            refused = self._why_refused(chain, call.body, int(start), peer, is_anew=is_anew)
            if isinstance(refused, Answer):
                return refused
            last, head, entries = refused
            self._pass_on(chain, entries, last, is_anew=is_anew)
            return await self._keep(chain, call.body, int(start), last, head)
        except (OSError, ConfigError) as exc:
            print(f"bartizan: no evidence can be kept: {exc}", file=sys.stderr, flush=True)
            return Answer.error(503, "the disk does not take it")

    def _why_refused(self, chain: Chain, body: bytes, start: int, peer: Peer, *, is_anew: bool) -> Answer | tuple[int, str, list[Entry]]:
        """The refusal, or (number of the last line, its hash, what the lines say). Of a chain that begins anew nothing is compared with
        what is here.
        """
        lines = [line + b"\n" for line in body.split(b"\n")]
        if lines.pop() != b"\n" or not lines:
            return Answer.error(400, "the body is not whole lines")
        if max(map(len, lines)) > MAX_LINE_BYTES + 1:
            return Answer.error(413, "a line is too long")
        last, head = start - 1, ""
        entries: list[Entry] = []
        try:
            previous = msgspec.json.decode(lines[0], type=Entry).previous
            if not is_anew and (start, previous) != (chain.count + 1, chain.head):
                return Answer(409, msgspec.json.encode({"count": chain.count, "head": chain.head}))
            for entry, hashed in follow(lines, Entry, head=previous, first=start):
                last, head = last + 1, hashed
                entries.append(entry)
                if entry.local and entry.local != peer.identity:
                    return Answer.error(403, f"line {last} speaks of {entry.local[:200]}, which the certificate does not name")
        except Broken as exc:
            return Answer.error(400, str(exc))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Answer.error(400, f"line {start} is no entry")
        if is_anew and (refused := self._why_not_anew(chain, start, previous)):
            return refused
        return last, head, entries

    def _why_not_anew(self, chain: Chain, start: int, previous: str) -> Answer | None:
        """A break in the evidence: allowed, since the rest is wanted; never quiet, and not all the time."""
        if (start == 1) != (previous == FIRST):
            return Answer.error(400, "a chain begins with line 1, and with nothing before it")
        now = trio.current_time()
        if now - self._anew_at.get(chain.uid, -ANEW_EVERY_S) < ANEW_EVERY_S:
            return Answer.error(429, "it began anew a moment ago")
        self._anew_at = {uid: at for uid, at in self._anew_at.items() if now - at < ANEW_EVERY_S} | {chain.uid: now}
        print(f"bartizan: {chain.name} (pod {chain.uid}): its sidecar has another chain than the one that was countersigned as far as "
              f"line {chain.count} ({chain.head[:16]}...); evidence may be lost there. It goes on with its line {start}",
              file=sys.stderr, flush=True)
        self._store.begin(chain)
        return None

    def _pass_on(self, chain: Chain, entries: list[Entry], last: int, *, is_anew: bool) -> None:
        """Each line once, and before the disk is asked: who fills it silences nobody."""
        seen = 0 if is_anew else len(entries) - (last - chain.passed_on)
        chain.passed_on = last
        if self._taken is not None and seen < len(entries):
            self._taken(pod_of(chain.uid), chain.name, entries[max(seen, 0):])

    async def _keep(self, chain: Chain, lines: bytes, first: int, last: int, head: str) -> Answer:
        now = self._wall()
        path = self._store.append(chain, lines, first, last, head, now)     # no await since it was judged: two bodies cannot both follow
        if trio.current_time() - self._room_at >= ROOM_EVERY_S:
            self._room_at = trio.current_time()
            self._store.make_room(now)
        signed = self._signer.sign(chain.uid, head, last, now)
        together = self._together or _Together()
        together.paths.add(path)
        together.signed[chain.uid] = signed
        if self._together is None:
            self._together = together
            with trio.CancelScope(shield=True):     # others wait for it
                await self._sync(together)
        else:
            await together.done.wait()
        return Answer.error(503, together.error) if together.error else Answer(200, msgspec.json.encode(signed))

    async def _sync(self, together: _Together) -> None:
        """The first of those that wait does it for all of them."""
        await trio.sleep(TOGETHER_S)
        self._together = None
        try:
            async with self._disk:      # so that an older heads.json never replaces a newer one
                await trio.to_thread.run_sync(self._store.synced, together.paths, together.signed)
        except (OSError, ConfigError) as exc:
            together.error = "the disk does not take it"
            self._store.forget(together.signed)
            print(f"bartizan: no evidence can be kept: {exc}", file=sys.stderr, flush=True)
        finally:
            together.done.set()
