"""Who may ask the control plane what: one table, over real mTLS and with callers of every kind."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from injector.acknowledged import Acknowledged, Word
from injector.cluster import Cluster
from injector.compile import Compiled, compile_workload
from injector.compile.last_good import LastGood
from injector.questions import ANSWER_S, Questions, Unanswered
from injector.stream import AT_ONCE, ENDPOINTS, NO_NEWS_S, PACE_S, Stream
from sidecar.model import identity
from sidecar.model.call import Answer, Call, Peer
from sidecar.model.errors import UpstreamError
from sidecar.model.explanation import MAX_ANSWER_BYTES, Asked, Explanation, Question
from sidecar.model.needs import Needs
from sidecar.model.snapshot import digest, parse_snapshot
from sidecar.model.trust import Holder, Revoked, serial_text
from sidecar.net.dial import Dialer
from sidecar.net.service import call_https, serve_https
from sidecar.net.tls_context import ServerCredentials
from sidecar.net.verify import key_hash
from sidecar.net.watched import Watched
from tests.helpers import pki
from tests.helpers.mesh import root
from tests.helpers.pki import DOMAIN, WEB

ISSUER = identity.parse(f"spiffe://{DOMAIN}/ns/bartizan-system/sa/bartizan-issuer")
SIGNER = "ab" * 32
KEY = "cd" * 32
OWN = Holder("injector", 3, SIGNER)
POD: dict[str, Any] = {
    "kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop", "uid": "u-1"},
    "spec": {"serviceAccountName": "web", "initContainers": [{"name": "bartizan-sidecar"}]},
    "status": {"phase": "Running", "podIP": "10.0.0.1"},
}
SNAPSHOT, LEDGER, ANSWERS, HOLDERS = "/v1/snapshot", "/v1/ledger", "/v1/answers", "/v1/holders"


class Fixture:
    def __init__(self, *, collects: bool = True) -> None:
        self.cluster = Watched(Cluster.of([POD]))
        self.anchors = Watched(pki.anchors(root()))
        self.uncaptured: Watched[frozenset[str]] = Watched(frozenset())
        self.collected: list[bytes] = []
        self.compiled: list[str] = []
        self.questions = Questions()
        self.acknowledged = Acknowledged()
        self.stream = Stream(
            self.cluster, self.anchors, self.uncaptured, self._compile,
            issuer=ISSUER, own=lambda: OWN, wall=lambda: 1.8e9, questions=self.questions, acknowledged=self.acknowledged,
            collect=self._collect if collects else None,
        )

    def _compile(self, cluster: Cluster, uid: str, wanted: Collection[str]) -> Compiled | None:
        self.compiled.append(uid)
        return compile_workload(cluster, uid, DOMAIN, LastGood(), trust=self.anchors.current.trust, wanted=wanted)

    async def _collect(self, call: Call) -> Answer:
        self.collected.append(call.body)
        return Answer(200, b"{}")

    def revoke(self, version: int = 2, **named: tuple[str, ...]) -> None:
        self.anchors.set(pki.anchors(root(), revoked=Revoked(**named), version=version))

    async def ask(
        self, path: str, query: str = "", *, method: str = "", peer: Peer | None = None, body: bytes = b""
    ) -> Answer:
        method = method or (ENDPOINTS[path].method if path in ENDPOINTS else "GET")
        return await self.stream.answer(Call(method, path, query, {}, body, peer=peer))

    async def holders(self) -> list[Holder]:
        answer = await self.ask(HOLDERS, peer=peer(str(ISSUER), ""))
        assert answer.status == 200
        found: list[Holder] = msgspec.json.decode(answer.body, type=dict[str, list[Holder]])["holders"]
        return found


def peer(spiffe_id: str = WEB, uid: str = "u-1", holder: str = "") -> Peer:
    return Peer(identity.parse(spiffe_id), uid, 7, "", 2e9, KEY, holder)


# -- the table


def method_of(path: str) -> str:
    return ENDPOINTS[path].method


CALLERS = {
    "the pod itself": peer(), "another pod": peer(uid="u-2"), "the pod's application": peer(holder="application"),
    "the issuer": peer(str(ISSUER), ""), "the issuer in a pod": peer(str(ISSUER), "u-9"),
    "an application of the issuer's": peer(str(ISSUER), "", "application"),
    "nobody's pod": peer(uid=""), "nobody": None, "a server without a SPIFFE ID": Peer(None, "u-1", 7, "", 2e9, KEY),
}
MAY = {
    SNAPSHOT: {"the pod itself"},
    LEDGER: {"the pod itself"},
    ANSWERS: {"the pod itself"},
    HOLDERS: {"the issuer", "the issuer in a pod"},
}


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_who_may_call_what(path: str, caller: str) -> None:
    fixture = Fixture()
    answer = await fixture.ask(path, "pod=u-1", method=method_of(path), peer=CALLERS[caller], body=b"{}" if path == SNAPSHOT else b"lines")
    heard = 400 if path == ANSWERS else 200     # lines are no answer
    assert answer.status == (heard if caller in MAY[path] else 403)
    assert bool(fixture.collected) == (path == LEDGER and caller in MAY[LEDGER])


@pytest.mark.parametrize("query", ["pod=", ""])
@pytest.mark.parametrize("path", [SNAPSHOT, LEDGER, ANSWERS])
async def test_a_certificate_without_a_pod_opens_no_pod_without_a_uid(path: str, query: str) -> None:
    fixture = Fixture()
    assert (await fixture.ask(path, query, method=method_of(path), peer=peer(uid=""))).status == 403
    assert fixture.collected == []


def test_every_endpoint_has_its_row() -> None:
    assert ENDPOINTS.keys() == MAY.keys()


@pytest.mark.parametrize("path", ["/", "/v1/snapshot/", "/v1/Snapshot", "/v1", "/metrics", "/v1/svid"])
async def test_what_is_not_in_the_table_does_not_exist(path: str) -> None:
    assert (await Fixture().ask(path, "pod=u-1", peer=peer())).status == 404


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("method", ["PUT", "HEAD", "DELETE", "get"])
async def test_another_method_is_refused(path: str, method: str) -> None:
    assert (await Fixture().ask(path, "pod=u-1", method=method, peer=peer())).status == 405


@pytest.mark.parametrize("named", [
    {"identities": (WEB, str(ISSUER))}, {"pods": ("u-1",)}, {"keys": (KEY,)}, {"serials": (serial_text(7),)},
])
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_who_was_revoked_is_refused_everywhere(path: str, named: dict[str, tuple[str, ...]]) -> None:
    fixture = Fixture()
    fixture.revoke(**named)
    caller = peer(str(ISSUER)) if path == HOLDERS else peer()
    answer = await fixture.ask(path, "pod=u-1", method=method_of(path), peer=caller)
    assert answer.status == 403
    assert b"revoked" in answer.body
    assert fixture.collected == []


async def test_evidence_where_nobody_collects_it() -> None:
    assert (await Fixture(collects=False).ask(LEDGER, "pod=u-1", method="POST", peer=peer())).status == 404


# -- snapshots


async def test_the_snapshot_says_whom_to_trust() -> None:
    fixture = Fixture()
    answer = await fixture.ask(SNAPSHOT, "pod=u-1&seen=", peer=peer())
    assert parse_snapshot(answer.body).trust == fixture.anchors.current.trust


async def test_a_question_stands_until_there_is_news(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture()
    seen = digest((await fixture.ask(SNAPSHOT, "pod=u-1", peer=peer())).body)
    ask = partial(fixture.ask, SNAPSHOT, f"pod=u-1&seen={seen}", peer=peer())
    assert (await ask()).status == 304
    assert trio.current_time() == NO_NEWS_S


async def standing(fixture: Fixture, nursery: trio.Nursery) -> list[tuple[float, Answer]]:
    """Gets the answer to a question that stands already, and when it came."""
    seen = digest((await fixture.ask(SNAPSHOT, "pod=u-1", peer=peer())).body)
    answered: list[tuple[float, Answer]] = []

    async def ask() -> None:
        answer = await fixture.ask(SNAPSHOT, f"pod=u-1&seen={seen}", peer=peer())
        answered.append((trio.current_time(), answer))

    nursery.start_soon(fixture.stream.run)
    nursery.start_soon(ask)
    await wait_all_tasks_blocked()
    assert answered == []
    await trio.sleep(10)
    return answered


async def test_a_change_of_trust_is_news(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture()
    answered = await standing(fixture, nursery)
    fixture.revoke(pods=("u-9",))
    await wait_all_tasks_blocked()
    ((at, answer),) = answered
    trust = parse_snapshot(answer.body).trust
    assert (at, trust and trust.revoked) == (10, Revoked(pods=("u-9",)))


@pytest.mark.parametrize("named", [{"identities": (WEB,)}, {"pods": ("u-1",)}, {"keys": (KEY,)}, {"serials": (serial_text(7),)}])
async def test_who_is_revoked_while_its_question_stands_hears_no_more(
    named: dict[str, tuple[str, ...]], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    fixture = Fixture()
    answered = await standing(fixture, nursery)
    fixture.revoke(**named)
    await wait_all_tasks_blocked()
    ((at, answer),) = answered
    assert (at, answer.status) == (10, 403)


async def test_who_asks_without_pause_waits_and_nobody_else_does(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Each answer is worked out anew, which takes the injector longer than it takes a sidecar that was taken over to ask."""
    fixture = Fixture()
    for _ in range(AT_ONCE + 20):
        assert (await fixture.ask(SNAPSHOT, "pod=u-1&seen=", peer=peer())).status == 200
    assert trio.current_time() == pytest.approx(20 * PACE_S)
    other = {**POD, "metadata": {**POD["metadata"], "name": "web-2", "uid": "u-2"}}
    fixture.cluster.set(Cluster.of([POD, other]))
    assert (await fixture.ask(SNAPSHOT, "pod=u-2&seen=", peer=peer(uid="u-2"))).status == 200
    assert trio.current_time() == pytest.approx(20 * PACE_S)


async def test_a_problem_is_one_line_whatever_a_rule_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    """A rule may have any name, and its team must not write our log with it."""
    name, backends = "a\\nbartizan: shop/pay: all is well\\u202e", '[{"service": "gone", "port": 80, "weight": 1}]'
    rules = f'[{{"name": "{name}", "allow": [], "backends": {backends}}}]'
    fixture = Fixture()
    fixture.cluster.set(Cluster.of([{**POD, "metadata": {**POD["metadata"], "annotations": {"bartizan.dev/routes": rules}}}]))
    assert (await fixture.ask(SNAPSHOT, "pod=u-1&seen=", peer=peer())).status == 200
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('bartizan: shop/web-1: the rule "a\\nbartizan: shop/pay: all is well\\u202e": backends[0]')
    assert line.isprintable()


async def test_a_pod_that_goes_is_told_so(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture()
    answered = await standing(fixture, nursery)
    fixture.cluster.set(Cluster.of([]))
    await wait_all_tasks_blocked()
    assert [answer.status for _, answer in answered] == [404]


def meshed(name: str, namespace: str, address: str) -> dict[str, Any]:
    return {
        **POD, "metadata": {"name": name, "namespace": namespace, "uid": f"u-{name}", "labels": {"app": name}},
        "status": {"phase": "Running", "podIP": address},
    }


def service(name: str, namespace: str, address: str) -> dict[str, Any]:
    return {
        "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "clusterIP": address, "ports": [{"port": 80}]},
    }


ELSEWHERE = [meshed("pay", "money", "10.0.1.1"), service("pay", "money", "10.96.0.1")]
WANTING = msgspec.json.encode(Needs(("10.96.0.1", "10.96.0.99")))


async def test_what_is_wanted_is_told(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture()
    fixture.cluster.set(Cluster.of([POD, *ELSEWHERE]))
    bare = parse_snapshot((await fixture.ask(SNAPSHOT, "pod=u-1", peer=peer())).body).outbound
    assert (bare.services, bare.wanted, bare.mesh_ranges) == ((), (), ("10.0.0.0/24", "10.0.1.0/24", "10.96.0.0/24"))
    told = parse_snapshot((await fixture.ask(SNAPSHOT, "pod=u-1", peer=peer(), body=WANTING)).body).outbound
    assert [one.name for one in told.services] == ["pay.money"]
    assert told.wanted == ("10.96.0.1", "10.96.0.99")


async def test_a_change_wakes_whom_it_concerns(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """One in a namespace of which nothing is told costs nothing; one where something is wanted is news."""
    fixture = Fixture()
    fixture.cluster.set(Cluster.of([POD, *ELSEWHERE]))
    seen = digest((await fixture.ask(SNAPSHOT, "pod=u-1", peer=peer(), body=WANTING)).body)
    answered: list[Answer] = []

    async def ask() -> None:
        answered.append(await fixture.ask(SNAPSHOT, f"pod=u-1&seen={seen}", peer=peer(), body=WANTING))

    nursery.start_soon(fixture.stream.run)
    nursery.start_soon(ask)
    await wait_all_tasks_blocked()
    fixture.compiled.clear()
    elsewhere = {"kind": "Pod", "metadata": {"name": "x", "namespace": "third"}}
    fixture.cluster.set(fixture.cluster.current.having({("Pod", "third", "x"): elsewhere}))
    await wait_all_tasks_blocked()
    assert fixture.compiled == []
    fixture.cluster.set(fixture.cluster.current.having({("Service", "money", "pay"): service("pay", "money", "10.96.0.2")}))
    await wait_all_tasks_blocked()
    assert fixture.compiled == ["u-1"]
    assert [parse_snapshot(answer.body).outbound.services for answer in answered] == [()]


@pytest.mark.parametrize("body", [b"x", b"[]", b'{"wanted": [""]}', b'{"wanted": 3}', b'{"other": 1}'])
async def test_needs_that_are_none(body: bytes) -> None:
    assert (await Fixture().ask(SNAPSHOT, "pod=u-1", peer=peer(), body=body)).status == 400


async def test_an_address_past_the_sidecar_is_news(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture()
    answered = await standing(fixture, nursery)
    fixture.uncaptured.set(frozenset({"10.0.0.1"}))
    await wait_all_tasks_blocked()
    assert [parse_snapshot(answer.body).workload.uncaptured for _, answer in answered] == [("10.0.0.1",)]


# -- who holds what


async def test_what_the_question_says_is_told_to_the_issuer() -> None:
    fixture = Fixture()
    assert await fixture.holders() == [OWN, Holder("shop/web-1", 0, "")]
    await fixture.ask(SNAPSHOT, f"pod=u-1&seen=&trust=5&signer={SIGNER}", peer=peer())
    assert await fixture.holders() == [OWN, Holder("shop/web-1", 5, SIGNER)]
    await fixture.ask(SNAPSHOT, "pod=u-1", peer=peer())
    assert await fixture.holders() == [OWN, Holder("shop/web-1", 0, "")]


@pytest.mark.parametrize("query", [
    "pod=u-1&trust=-1", "pod=u-1&trust=5.0", "pod=u-1&trust=%205", "pod=u-1&trust=", "pod=u-1&trust=٥", "pod=u-1&trust=" + "9" * 16,
    "pod=u-1&trust=5&trust=6", "pod=u-1&pod=u-1", "pod=u-1&signer=x", f"pod=u-1&signer={SIGNER.upper()}", f"pod=u-1&signer={SIGNER}%0a",
    "pod=u-1&worker=3/2", "pod=u-1&worker=", "pod=u-1&worker=1/2&worker=2/2",
    "pod=u-1&seen=x", "pod=u-1&&", "pod", "pod=u-1&" + "&".join(f"{i}=" for i in range(20)),
])
async def test_a_query_that_can_be_understood_in_two_ways_is_refused(query: str) -> None:
    fixture = Fixture()
    await fixture.ask(SNAPSHOT, f"pod=u-1&trust=5&signer={SIGNER}", peer=peer())
    assert (await fixture.ask(SNAPSHOT, query, peer=peer())).status in (400, 403)
    assert await fixture.holders() == [OWN, Holder("shop/web-1", 5, SIGNER)]


async def test_nobody_speaks_for_another_pod() -> None:
    fixture = Fixture()
    for caller in (peer(uid="u-2"), peer(holder="application")):
        await fixture.ask(SNAPSHOT, f"pod=u-1&trust=5&signer={SIGNER}", peer=caller)
    assert (await fixture.holders())[1:] == [Holder("shop/web-1", 0, "")]


async def test_who_was_revoked_is_neither_heard_nor_waited_for() -> None:
    fixture = Fixture()
    fixture.revoke(pods=("u-1",))
    await fixture.ask(SNAPSHOT, f"pod=u-1&trust=5&signer={SIGNER}", peer=peer())
    assert await fixture.holders() == [OWN]
    fixture.revoke(3)
    assert (await fixture.holders())[1:] == [Holder("shop/web-1", 0, "")]


# -- over real mTLS


SERVER = pki.issue(root(), pki.host("127.0.0.1"))


@asynccontextmanager
async def serving(fixture: Fixture) -> AsyncIterator[int]:
    def credentials() -> ServerCredentials:
        return ServerCredentials(SERVER.chain, SERVER.key, fixture.anchors.current.roots)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fixture.stream.run)
            yield await nursery.start(partial(serve_https, "127.0.0.1", 0, credentials, fixture.stream.answer, trust_domain=DOMAIN))
            nursery.cancel_scope.cancel()


async def over_tls(port: int, path: str, holder: pki.Holder, method: str = "POST") -> int:
    """The status, 0 for none."""
    try:
        answer = await call_https(
            Dialer(), ["127.0.0.1"], f"https://127.0.0.1:{port}{path}", method, roots=[root().certificate],
            credentials=pki.credentials(holder))
    except UpstreamError:
        return 0
    return answer.status


WEB_1 = pki.issue(root(), pki.uri(WEB), pod_uid="u-1")


@pytest.mark.parametrize(("holder", "status"), [
    (WEB_1, 200), (pki.issue(root(), pki.uri(WEB), pod_uid="u-2"), 403), (pki.issue(root(), pki.uri(WEB)), 403),
    (pki.issue(root("another root"), pki.uri(WEB), pod_uid="u-1"), 0), (SERVER, 0),
])
async def test_a_certificate_opens_its_own_pod_only(holder: pki.Holder, status: int) -> None:
    async with serving(Fixture()) as port:
        assert await over_tls(port, f"{SNAPSHOT}?pod=u-1", holder) == status


async def test_a_key_that_was_revoked_after_the_handshake_is_found() -> None:
    fixture = Fixture()
    async with serving(fixture) as port:
        seen = digest((await fixture.ask(SNAPSHOT, "pod=u-1", peer=peer())).body)
        statuses: list[int] = []

        async def ask() -> None:
            statuses.append(await over_tls(port, f"{SNAPSHOT}?pod=u-1&seen={seen}&trust=1", WEB_1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            while (await fixture.holders())[1].trust == 0:      # until it stands
                await trio.lowlevel.checkpoint()
            fixture.revoke(keys=(key_hash(WEB_1.certificate),))
        assert statuses == [403]


async def test_a_root_that_was_dropped_opens_nothing() -> None:
    fixture = Fixture()
    async with serving(fixture) as port:
        fixture.anchors.set(pki.anchors(root("next root"), version=2))
        assert await over_tls(port, f"{SNAPSHOT}?pod=u-1", WEB_1) == 0


async def test_a_pod_has_one_standing_question(autojump_clock: MockClock) -> None:
    """Each change is worked out for each of them: one pod that was taken over, with thousands, would hold up everybody's."""
    fixture = Fixture()
    answer = await fixture.ask(SNAPSHOT, "pod=u-1&seen=", peer=peer())
    seen, ended = f"pod=u-1&seen={digest(answer.body)}", []

    async def ask(number: int) -> None:
        ended.append((number, (await fixture.ask(SNAPSHOT, seen, peer=peer())).status, trio.current_time()))

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(ask, number)
            await wait_all_tasks_blocked()
        assert ended == [(number, 304, 0.0) for number in range(4)]
    assert ended[4] == (4, 304, NO_NEWS_S)
    fixture.stream.forget_gone(Cluster.of([]))
    assert not fixture.stream._standing


async def test_each_process_of_a_gateway_has_one(autojump_clock: MockClock) -> None:
    """Were they one to us, each would end the other's question, five times a second, for ever."""
    fixture = Fixture()
    answer = await fixture.ask(SNAPSHOT, "pod=u-1&seen=", peer=peer())
    ended = []

    async def ask(worker: int) -> None:
        told = await fixture.ask(SNAPSHOT, f"pod=u-1&worker={worker}/2&seen={digest(answer.body)}", peer=peer())
        ended.append((worker, told.status, trio.current_time()))

    async with trio.open_nursery() as nursery:
        for worker in (1, 2, 1):
            nursery.start_soon(ask, worker)
            await wait_all_tasks_blocked()
        assert ended == [(1, 304, 0.0)]
    assert sorted(ended[1:]) == [(1, 304, NO_NEWS_S), (2, 304, NO_NEWS_S)]
    fixture.stream.forget_gone(Cluster.of([]))
    assert not fixture.stream._standing


async def test_what_any_process_wants_an_operator_sees() -> None:
    fixture = Fixture()
    fixture.stream._wanted |= {("u-1", 1): ("a.shop",), ("u-1", 2): ("b.shop",), ("u-2", 1): ("c.shop",)}
    seen: list[Collection[str]] = []
    fixture.stream._compile = lambda cluster, uid, wanted: seen.append(wanted)      # type: ignore[assignment, func-returns-value]
    fixture.stream.text_of("u-1", ["d.shop"])
    assert seen == [{"a.shop", "b.shop", "d.shop"}]


# -- the operator's questions

QUESTION = Question("api.partner.example", 80)
ANSWER = Explanation((), "BZ0201", "d" * 32)


async def test_a_question_goes_to_its_pod_and_the_answer_comes_back(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture()
    seen = digest((await fixture.ask(SNAPSHOT, "pod=u-1", peer=peer())).body)
    heard: list[Explanation] = []
    handed: list[Answer] = []

    async def operator() -> None:
        heard.append(await fixture.questions.ask("u-1", QUESTION))

    async def sidecar() -> None:
        handed.append(await fixture.ask(SNAPSHOT, f"pod=u-1&seen={seen}", peer=peer()))

    nursery.start_soon(fixture.stream.run)
    nursery.start_soon(sidecar)
    await wait_all_tasks_blocked()
    nursery.start_soon(operator)
    await wait_all_tasks_blocked()
    assert [answer.status for answer in handed] == [202]
    asked = msgspec.json.decode(handed[0].body, type=Asked)
    assert asked.question == QUESTION
    body = msgspec.json.encode(ANSWER)
    for wrong in ("", "&id=" + "0" * 32, f"&id={asked.id[:-1]}"):
        assert (await fixture.ask(ANSWERS, f"pod=u-1{wrong}", method="POST", peer=peer(), body=body)).status == 404
    other = await fixture.ask(ANSWERS, f"pod=u-2&id={asked.id}", method="POST", peer=peer(uid="u-2"), body=body)
    assert (other.status, heard) == (404, [])       # not another pod's to answer
    right = f"pod=u-1&id={asked.id}"
    assert (await fixture.ask(ANSWERS, right, method="POST", peer=peer(), body=body)).status == 200
    await wait_all_tasks_blocked()
    assert heard == [ANSWER]
    assert (await fixture.ask(ANSWERS, right, method="POST", peer=peer(), body=body)).status == 404     # once


async def test_news_come_before_questions(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture()

    async def operator() -> None:
        with pytest.raises(Unanswered, match="did not come"):
            await fixture.questions.ask("u-9", QUESTION)
        with pytest.raises(Unanswered, match="did not answer"):
            await fixture.questions.ask("u-1", QUESTION)

    nursery.start_soon(operator)
    await trio.sleep(ANSWER_S + 1)
    first = await fixture.ask(SNAPSHOT, "pod=u-1", peer=peer())
    second = await fixture.ask(SNAPSHOT, f"pod=u-1&seen={digest(first.body)}", peer=peer())
    third = await fixture.ask(SNAPSHOT, f"pod=u-1&seen={digest(first.body)}", peer=peer())
    assert [first.status, second.status, third.status] == [200, 202, 304]      # and it is handed over once


@pytest.mark.parametrize(("body", "status"), [
    (b"", 400), (b"[]", 400), (b'{"steps": [{"name": "x", "outcome": "ok"}]}', 400), (b'{"steps": [], "more": 1}', 400),
    (b" " * (MAX_ANSWER_BYTES + 1), 413),
])
async def test_what_is_no_answer(body: bytes, status: int, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture()
    assert (await fixture.ask(ANSWERS, "pod=u-1&id=" + "0" * 32, method="POST", peer=peer(), body=body)).status == status


# -- what a sidecar says of its snapshot


async def test_what_it_has_and_will_not_take_is_remembered_with_its_certificate() -> None:
    fixture = Fixture()
    body = msgspec.json.encode(Needs(refused="outbound.hosts[0]: no"))
    await fixture.ask(SNAPSHOT, f"pod=u-1&seen={'a' * 32}", peer=peer(), body=body)
    assert fixture.acknowledged.of("u-1") == Word("a" * 32, "outbound.hosts[0]: no", 1.8e9, 2e9)
    fixture.stream.forget_gone(Cluster.of([]))
    assert fixture.acknowledged.of("u-1") is None


async def test_nobody_says_what_another_pod_has() -> None:
    fixture = Fixture()
    await fixture.ask(SNAPSHOT, f"pod=u-1&seen={'a' * 32}", peer=peer(uid="u-2"))
    assert fixture.acknowledged.of("u-1") is None
