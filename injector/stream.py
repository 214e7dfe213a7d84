"""The port of the sidecars and of the issuer, over mTLS. Every endpoint stands in one table with who may call it; nobody else may.

    POST /v1/snapshot?pod=UID&worker=2/3&seen=DIGEST&trust=VERSION&signer=FP    a sidecar, of its own pod
    POST /v1/ledger?pod=UID&...                                                a sidecar, of its own pod (`injector/collect.py`)
    POST /v1/answers?pod=UID&id=ID                                             a sidecar, of its own pod: to the operator's question
    GET  /v1/holders                                                           the issuer: who holds which trust

A question for a snapshot says which Services are wanted (`sidecar/model/needs.py`). One whose answer the sidecar has already seen
stands until there is another, or for half a minute, or until its pod asks anew (304), or the operator has a question to its sidecar
(202, `injector/questions.py`). A change is worked out for the questions that depend on what it touched, so a pod has one, or each of a
gateway's processes has (`sidecar/model/worker.py`). Each pod gets its own snapshot and no other: the certificate says which pod it was
issued to, and that must be the one asked for. What the question says of trust is remembered for the issuer.

Trust: the caller's certificate chains to the mesh's roots and is looked for on the deny-list, at each call and at each change of it;
a certificate whose key the application holds is nobody's here; query and body are a stranger's text. Attacked by
tests/injector/test_stream.py.
"""

import math
import re
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import trio

from sidecar.model import identity
from sidecar.model.call import Answer, Call, Handler, Peer
from sidecar.model.errors import ConfigError
from sidecar.model.explanation import MAX_ANSWER_BYTES, Explanation
from sidecar.model.identity import SpiffeId
from sidecar.model.needs import Needs
from sidecar.model.snapshot import digest, render_snapshot
from sidecar.model.trust import DIGEST, Holder, Holding
from sidecar.model.value import from_json
from sidecar.model.worker import ALONE, MOST_WORKERS, parse_worker
from sidecar.net.anchors import Anchors
from sidecar.net.clock import WallClock
from sidecar.net.verify import why_revoked
from sidecar.net.watched import Watched

from .acknowledged import Acknowledged
from .cluster import EVERYWHERE, Cluster
from .compile import Compiled
from .holders import Holders, Said
from .questions import Questions

NO_NEWS_S = 30.0
PACE_S = 0.1            # between two questions of a pod; its sidecar pauses for twice as long
AT_ONCE = 10
MOST_FIELDS = 8
_SEEN = re.compile(r"([0-9a-f]{32})?", re.ASCII)
_VERSION = re.compile(r"[0-9]{1,15}", re.ASCII)

Query = Mapping[str, str]
Process = tuple[str, int]


@dataclass(slots=True, eq=False)
class _Standing:
    """A question that waits for news.

    Attributes:
        scope: what ends it.
        reads: the namespaces that its answer depends on; None: all.
    """

    scope: trio.CancelScope
    news: trio.Event = field(default_factory=trio.Event)
    reads: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Callers:
    """Who may call an endpoint.

    Args:
        refusal: what others are told.
    """

    may_call: Callable[["Stream", Peer, Query], bool]
    refusal: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    method: str
    callers: Callers
    answer: Callable[["Stream", Call, Peer, Query], Awaitable[Answer]]


class Stream:
    """
    Args:
        anchors: whom the mesh trusts; a change is news to everybody, and the end of who was revoked.
        uncaptured: see `injector/capture.py`.
        compile_pod: the snapshot of the pod with this uid, with the Services that are wanted; None: no such pod.
        besides: what else `compile_pod` looks at; a change of it is news to everybody.
        issuer: its identity, the only one to hear of `holders`.
        own: what the injector itself holds.
        questions: the operator's, to sidecars.
        acknowledged: remembers what each sidecar says of its snapshot.
        collect: answers POST /v1/ledger once its caller is known; None: no evidence is taken here.
        tell: takes the uid of a pod, and what of its documents is not in force now, when that changes.
    """

    def __init__(
        self,
        cluster: Watched[Cluster],
        anchors: Watched[Anchors],
        uncaptured: Watched[frozenset[str]],
        compile_pod: Callable[[Cluster, str, Collection[str]], Compiled | None],
        besides: Sequence[Watched[Any]] = (),
        *,
        issuer: SpiffeId,
        own: Callable[[], Holder],
        wall: WallClock,
        questions: Questions,
        acknowledged: Acknowledged,
        collect: Handler | None = None,
        tell: Callable[[str, Sequence[str]], None] | None = None,
    ) -> None:
        self._cluster = cluster
        self._anchors = anchors
        self._uncaptured = uncaptured
        self._compile = compile_pod
        self._besides = besides
        self._issuer = issuer
        self._own = own
        self._wall = wall
        self._questions = questions
        self._acknowledged = acknowledged
        self._collect = collect
        self._tell = tell
        self._holders = Holders()
        self._told: dict[str, tuple[str, ...]] = {}
        # By pod uid and number of the process:
        self._standing: dict[Process, _Standing] = {}           # its latest question
        self._wanted: dict[Process, Collection[str]] = {}       # what that said
        self._next_at: dict[Process, float] = {}                # when its next one is heard

    async def answer(self, call: Call) -> Answer:
        """The handler of the HTTPS server."""
        endpoint = ENDPOINTS.get(call.path)
        if endpoint is None:
            return Answer.error(404, f"there is no {call.path[:100]!r} here; see {', '.join(ENDPOINTS)}")
        if call.method != endpoint.method:
            return Answer.error(405, f"{call.path} takes {endpoint.method} only", ("allow", endpoint.method))
        query = _query(call.query)
        if query is None:
            return Answer.error(400, "the query is none, or says a thing twice")
        if call.peer is None or not endpoint.callers.may_call(self, call.peer, query):
            return Answer.error(403, endpoint.callers.refusal)
        return self._why_refused(call.peer) or await endpoint.answer(self, call, call.peer, query)

    def forget_gone(self, cluster: Cluster) -> None:
        """What pods said that are no more."""
        self._holders.forget_gone(cluster)
        self._acknowledged.forget_gone(cluster)
        self._told = {uid: told for uid, told in self._told.items() if uid in cluster.pods_by_uid}
        self._standing = {process: question for process, question in self._standing.items() if process[0] in cluster.pods_by_uid}
        self._wanted = {process: wanted for process, wanted in self._wanted.items() if process[0] in cluster.pods_by_uid}
        self._next_at = {process: at for process, at in self._next_at.items() if process[0] in cluster.pods_by_uid}

    def _is_own_pod(self, peer: Peer, query: Query) -> bool:
        return peer.identity is not None and bool(peer.pod_uid) and peer.pod_uid == query.get("pod") and not peer.holder

    def _is_issuer(self, peer: Peer, query: Query) -> bool:
        return peer.identity == self._issuer and not peer.holder

    def _why_refused(self, peer: Peer) -> Answer | None:
        why = why_revoked(peer, self._anchors.current.deny)
        return Answer.error(403, why) if why else None

    async def _snapshot(self, call: Call, peer: Peer, query: Query) -> Answer:
        said, seen, worker = _said(query), query.get("seen", ""), parse_worker(query["worker"]) if "worker" in query else ALONE
        if said is None or worker is None or _SEEN.fullmatch(seen) is None:
            return Answer.error(400, "the query wants seen as a digest, trust as a version, signer as a fingerprint, and worker as 1/2")
        try:
            needs = from_json(call.body, Needs) if call.body else Needs()
        except ConfigError as exc:
            return Answer.error(400, str(exc))
        pod, process = peer.pod_uid, (peer.pod_uid, worker.number)
        self._holders.note(pod, said, worker)
        self._acknowledged.note(pod, seen, needs.refused, self._wall(), peer.not_after, worker)
        now = trio.current_time()
        due = self._next_at[process] = max(self._next_at.get(process, -math.inf), now - AT_ONCE * PACE_S) + PACE_S
        if due > now:
            await trio.sleep_until(due)
        if (older := self._standing.get(process)) is not None:
            older.scope.cancel()
        self._wanted[process] = needs.wanted
        with trio.move_on_after(NO_NEWS_S) as scope:
            standing = self._standing[process] = _Standing(scope)
            while True:
                standing.news = trio.Event()
                if refused := self._why_refused(peer):
                    return refused
                text, standing.reads = self._text_of(pod, needs.wanted)
                if text is None:
                    return Answer.error(404, f"no running pod has the uid {pod}")
                if digest(text) != seen:
                    return Answer(200, text)
                if (asked := self._questions.hand_over(pod)) is not None:     # judged by the newest rules
                    return Answer(202, msgspec.json.encode(asked))
                await standing.news.wait()
        return Answer(304)

    async def _ledger(self, call: Call, peer: Peer, query: Query) -> Answer:
        return await self._collect(call) if self._collect is not None else Answer.error(404, "no evidence is collected here")

    async def _list_holders(self, call: Call, peer: Peer, query: Query) -> Answer:
        trust_domain, deny = identity.parts(self._issuer)[0], self._anchors.current.deny
        found = [self._own(), *self._holders.of(self._cluster.current, trust_domain, deny, self._wall())]
        return Answer(200, msgspec.json.encode(Holding(found)))

    async def _take_answer(self, call: Call, peer: Peer, query: Query) -> Answer:
        if len(call.body) > MAX_ANSWER_BYTES:
            return Answer.error(413, f"an answer has {MAX_ANSWER_BYTES} bytes at most")
        try:
            explanation = from_json(call.body, Explanation)
        except ConfigError as exc:
            return Answer.error(400, str(exc))
        if not self._questions.answer(peer.pod_uid, query.get("id", ""), explanation):
            return Answer.error(404, "nobody waits for this answer")
        return Answer(200, b"{}")

    def problems_of(self, pod: str) -> tuple[str, ...]:
        """What was wrong with the documents of the pod with this uid when its snapshot was last made."""
        return self._told.get(pod, ())

    def text_of(self, pod: str, besides: Collection[str] = ()) -> bytes | None:
        """The snapshot that the pod with this uid should have now; None: no such pod.

        Args:
            besides: Services that an operator asks about.
        """
        wanted = {service for number in range(1, MOST_WORKERS + 1) for service in self._wanted.get((pod, number), ())}
        return self._text_of(pod, wanted | set(besides))[0]

    def _text_of(self, pod: str, wanted: Collection[str]) -> tuple[bytes | None, frozenset[str] | None]:
        """With the namespaces that it depends on; None: on all."""
        uncaptured = self._uncaptured.current
        compiled = self._compile(self._cluster.current, pod, wanted)
        if compiled is None:
            self._told.pop(pod, None)
            return None, None
        snapshot, problems = compiled.snapshot, compiled.problems
        if self._told.get(pod, ()) != problems:
            self._told[pod] = problems
            if self._tell is not None:
                self._tell(pod, problems)
            for problem in problems:
                problem = problem if problem.isprintable() else ascii(problem)[1:-1]    # it quotes the names that rules were given
                print(f"bartizan: {snapshot.workload.namespace}/{snapshot.workload.pod}: {problem}", file=sys.stderr, flush=True)
        lost = tuple(address for address in snapshot.workload.addresses if address in uncaptured)
        if lost:
            workload = msgspec.structs.replace(snapshot.workload, uncaptured=lost)
            snapshot = msgspec.structs.replace(snapshot, workload=workload)
        return render_snapshot(snapshot), compiled.reads

    # -- who hears of what

    async def run(self) -> None:
        """For ever: wakes the questions that a change concerns."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_cluster)
            nursery.start_soon(self._follow_questions)
            everybodys: tuple[Watched[Any], ...] = self._anchors, self._uncaptured, *self._besides
            for watched in everybodys:
                nursery.start_soon(self._follow, watched)

    async def _follow_cluster(self) -> None:
        seen = self._cluster.current
        while True:
            now = await self._cluster.wait_change(seen)
            touched = now.touched_since(seen)
            for standing in self._standing.values():
                if EVERYWHERE in touched or standing.reads is None or standing.reads & touched:
                    standing.news.set()
            seen = now

    async def _follow_questions(self) -> None:
        seen = self._questions.waiting.current
        while True:
            now = await self._questions.waiting.wait_change(seen)
            for (pod, _), standing in self._standing.items():
                if pod in now - seen:
                    standing.news.set()
            seen = now

    async def _follow(self, watched: Watched[Any]) -> None:
        seen = watched.current
        while True:
            seen = await watched.wait_change(seen)
            for standing in self._standing.values():
                standing.news.set()


_OWN_SIDECAR = Callers(Stream._is_own_pod, "the certificate was not issued to the sidecar of the pod that is asked for")
_ISSUER = Callers(Stream._is_issuer, "it is for the issuer alone")

ENDPOINTS: Mapping[str, Endpoint] = {
    "/v1/snapshot": Endpoint("POST", _OWN_SIDECAR, Stream._snapshot),
    "/v1/ledger": Endpoint("POST", _OWN_SIDECAR, Stream._ledger),
    "/v1/answers": Endpoint("POST", _OWN_SIDECAR, Stream._take_answer),
    "/v1/holders": Endpoint("GET", _ISSUER, Stream._list_holders),
}


def _query(text: str) -> Query | None:
    """Each name once, or None: what is said twice could be understood in two ways."""
    try:
        fields = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=MOST_FIELDS)
    except ValueError:
        return None
    query = dict(fields)
    return query if len(query) == len(fields) else None


def _said(query: Query) -> Said | None:
    """What the sidecar holds by its own word; one that says nothing holds nothing. None: it is not to be understood."""
    version, signer = query.get("trust", "0"), query.get("signer", "")
    if _VERSION.fullmatch(version) is None or (signer and DIGEST.fullmatch(signer) is None):
        return None
    return Said(int(version), signer)
