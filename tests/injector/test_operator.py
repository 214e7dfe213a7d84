"""The operator's door: whom it asks, what it adds to the sidecar's words, and whom it does not let in."""

import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from injector.acknowledged import Acknowledged
from injector.cluster import Cluster
from injector.compile import compile_workload
from injector.compile.last_good import LastGood
from injector.compile.services import compile_services
from injector.description import Description
from injector.operator import MAX_QUESTION_BYTES, SOCKET, ConfigView, Operator, without_keys
from injector.questions import Questions
from injector.status import Rules, Status
from sidecar.model.call import Answer, Call
from sidecar.model.explanation import Explanation, Question, step
from sidecar.model.snapshot import digest, render_snapshot
from sidecar.net.listener import Tally, listen_unix, serve_listener
from sidecar.net.service import call_unix
from sidecar.net.watched import Watched
from tests.helpers.pki import DOMAIN

KEY = "-----BEGIN PRIVATE KEY-----"
ASKS = "- {host: api.partner.example, tls: {mode: mutual, clientCertificate: {secret: partner}}}\n- host: nobody.example\n"
OBJECTS: list[dict[str, Any]] = [
    {"kind": "Namespace", "metadata": {"name": "shop"}},
    {"kind": "EgressPolicy", "apiVersion": "bartizan.dev/v1alpha1", "metadata": {"name": "partners"},
     "spec": {"subjects": [{"namespace": "shop"}], "hosts": [{"host": "api.partner.example"}]}},
    {"kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop", "uid": "u-1", "labels": {"app": "web"},
                                 "annotations": {"bartizan.dev/egress": ASKS}},
     "spec": {"serviceAccountName": "web", "initContainers": [{"name": "bartizan-sidecar"}]},
     "status": {"phase": "Running", "podIP": "10.0.0.1"}},
    {"kind": "Secret", "metadata": {"name": "partner", "namespace": "shop"}, "stringData": {"tls.crt": "CHAIN", "tls.key": KEY}},
    {"kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}},
    {"kind": "Pod", "metadata": {"name": "bare", "namespace": "shop", "uid": "u-2", "labels": {"app": "web"}},
     "status": {"phase": "Running", "podIP": "10.0.0.2"}},
]
CLUSTER = Cluster.of(OBJECTS)


def snapshot_of(uid: str, besides: Collection[str] = ()) -> bytes | None:
    compiled = compile_workload(CLUSTER, uid, DOMAIN, LastGood())
    return render_snapshot(compiled.snapshot) if compiled else None


NEWEST = digest(snapshot_of("u-1") or b"")
QUESTION = Question("api.partner.example", 80)


NOW = 1.8e9
PROBLEMS = {"u-1": ("nobody.example is approved by nobody",)}


class Fixture:
    def __init__(self) -> None:
        self.questions = Questions()
        self.acknowledged = Acknowledged()
        last_good = LastGood()
        self.operator = Operator(
            Watched(CLUSTER), self.questions, snapshot_of, last_good, lambda: NOW, problems_of=lambda uid: PROBLEMS.get(uid, ()),
            services=lambda cluster, namespace: compile_services(cluster, namespace, DOMAIN, last_good), acknowledged=self.acknowledged,
            certificate_ends=lambda: NOW + 99,
        )

    async def ask(self, body: bytes, method: str = "POST", path: str = "/v1/ask") -> Answer:
        return await self.operator.answer(Call(method, path, "", {}, body))

    async def play(self, answer: Explanation) -> None:
        """A sidecar that answers the next question."""
        await self.questions.waiting.wait_change(frozenset())
        asked = self.questions.hand_over("u-1")
        assert asked is not None
        self.questions.answer("u-1", asked.id, answer)


def asking(pod: str = "shop/web-1", question: Question = QUESTION) -> bytes:
    return msgspec.json.encode({"pod": pod, "question": question})


@pytest.mark.parametrize(("theirs", "words"), [(NEWEST, "the newest"), ("older", "an older one")])
async def test_both_sides_are_heard(theirs: str, words: str, nursery: trio.Nursery, autojump_clock: Any) -> None:
    fixture = Fixture()
    nursery.start_soon(fixture.play, Explanation((step("snapshot", "ok", "there is one"), step("approval", "ok")), "", theirs))
    answer = await fixture.ask(asking())
    found = msgspec.json.decode(answer.body, type=Explanation)
    assert [(one.name, one.outcome) for one in found.steps] == [
        ("pod", "ok"), ("request", "ok"), ("policy", "ok"), ("snapshot", "ok"), ("approval", "ok")]
    assert words in found.steps[3].words
    assert found.is_reached


async def test_a_sidecar_does_not_speak_for_the_control_plane(nursery: trio.Nursery, autojump_clock: Any) -> None:
    fixture = Fixture()
    lies = (step("pod", "ok", "mine"), step("request", "ok", "mine"), step("policy", "ok", "mine"), step("approval", "ok", "theirs"))
    nursery.start_soon(fixture.play, Explanation(lies, "", NEWEST))
    found = msgspec.json.decode((await fixture.ask(asking(question=Question("nobody.example", 80)))).body, type=Explanation)
    assert [(one.name, one.outcome) for one in found.steps] == [
        ("pod", "ok"), ("request", "ok"), ("policy", "refused"), ("approval", "ok")]
    assert "mine" not in [one.words for one in found.steps]


async def test_a_pod_without_sidecar_is_not_asked(autojump_clock: Any) -> None:
    found = msgspec.json.decode((await Fixture().ask(asking("shop/bare"))).body, type=Explanation)
    assert ([one.outcome for one in found.steps], found.is_reached, trio.current_time()) == (["refused"], False, 0)


async def test_what_is_known_is_said_though_the_sidecar_is_silent(autojump_clock: Any) -> None:
    answer = await Fixture().ask(asking(question=Question("nobody.example", 80)))
    found = msgspec.json.decode(answer.body, type=Explanation)
    assert [(one.name, one.outcome) for one in found.steps] == [
        ("pod", "ok"), ("request", "ok"), ("policy", "refused"), ("snapshot", "failed")]
    assert "15 s" in found.steps[-1].words
    assert not found.is_reached


@pytest.mark.parametrize(("body", "words"), [
    (b"", ""), (b"[]", ""), (b'{"pod": "shop/web-1"}', "question"), (asking("shop/web-2"), "did you mean 'web-1'"),
    (asking("shops/web-1"), "shop"), (asking("web-1"), "NAMESPACE/POD"),
    (asking(question=Question("a", 80, method="POST", sends=True)), "POST"), (asking(question=Question("a b", 80)), "host"),
])
async def test_what_is_no_question(body: bytes, words: str, autojump_clock: Any) -> None:
    answer = await Fixture().ask(body)
    assert answer.status == 400
    assert words in msgspec.json.decode(answer.body)["error"]


# -- how it stands


def wanting(**fields: str) -> bytes:
    return msgspec.json.encode(fields)


async def test_how_it_stands_with_each_pod() -> None:
    fixture = Fixture()
    fixture.acknowledged.note("u-1", NEWEST, "", NOW - 5, NOW + 60)
    found = msgspec.json.decode((await fixture.ask(wanting(), path="/v1/status")).body, type=Status)
    assert found.certificate_ends == NOW + 99
    one, = found.pods       # the other one has no sidecar, and its namespace is not labelled
    assert (one.name, one.state(found.now), one.not_after, one.problems) == ("web-1", "SYNCED", NOW + 60, PROBLEMS["u-1"])
    assert one.rules == Rules(1, 0, 1)
    assert msgspec.json.decode((await fixture.ask(wanting(namespace="other"), path="/v1/status")).body, type=Status).pods == ()


async def test_what_stands_for_a_pod_or_a_service() -> None:
    answer = await Fixture().ask(wanting(name="shop/web-1"), path="/v1/describe")
    whole = msgspec.json.decode(answer.body, type=Description)
    found = whole.pod
    assert found is not None
    assert whole.now == NOW
    assert [one.to for one in found.egress] == ["api.partner.example"]
    assert [(one.name, one.standing) for one in found.rules] == [("nobody.example", "refused")]
    answer = await Fixture().ask(wanting(name="shop/bare"), path="/v1/describe")
    bare = msgspec.json.decode(answer.body, type=Description).pod
    assert bare is not None
    assert "no sidecar" in bare.warnings[0]
    answer = await Fixture().ask(wanting(name="shop/svc/web"), path="/v1/describe")
    service = msgspec.json.decode(answer.body, type=Description).service
    assert service is not None
    assert service.pods == {"bare": False, "web-1": True}


async def test_the_snapshot_is_shown_without_keys() -> None:
    answer = await Fixture().ask(wanting(name="shop/web-1"), path="/v1/config")
    found = msgspec.json.decode(answer.body, type=ConfigView)
    assert found.snapshot is not None
    certificate = found.snapshot["outbound"]["hosts"][0]["tls"]["clientCertificate"]
    assert certificate == {"name": "partner", "chain": "CHAIN", "key": "(not shown)"}
    assert KEY not in answer.body.decode()
    assert KEY in (snapshot_of("u-1") or b"").decode()      # there is something to hide
    assert found.status.should == NEWEST
    assert msgspec.json.decode((await Fixture().ask(wanting(name="shop/bare"), path="/v1/config")).body, type=ConfigView).snapshot is None


def test_keys_of_a_gateways_callers_are_left_out_too() -> None:
    nested = {"gateway": [{"hosts": [{"tls": {"clientCertificate": {"name": "a", "key": KEY}}}]}], "x": None}
    assert KEY not in str(without_keys(nested))


@pytest.mark.parametrize(("path", "body"), [
    ("/v1/status", b"[]"), ("/v1/status", b'{"pod": ""}'), ("/v1/describe", b"{}"), ("/v1/describe", wanting(name="shop/nobody")),
    ("/v1/config", wanting(name="shop/svc/web")), ("/v1/config", wanting(name="")), ("/v1/describe", wanting(name="x" * 300)),
])
async def test_what_is_no_name(path: str, body: bytes) -> None:
    assert (await Fixture().ask(body, path=path)).status == 400


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/ask"), ("POST", "/"), ("POST", "/v1/snapshot"), ("DELETE", "/v1/ask")])
async def test_there_is_nothing_else(method: str, path: str) -> None:
    assert (await Fixture().ask(asking(), method, path)).status == 404


async def test_the_door_is_its_owners_alone(tmp_path: Path) -> None:
    fixture, path = Fixture(), tmp_path / SOCKET
    door = listen_unix(str(path), where="stateDirectory")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_listener, door, fixture.operator.serve, Tally())
            nursery.start_soon(fixture.play, Explanation((), "BZ0201", NEWEST))
            answer = await call_unix(str(path), "POST", "/v1/ask", asking())
            assert msgspec.json.decode(answer.body, type=Explanation).code == "BZ0201"
            assert (await call_unix(str(path), "POST", "/v1/ask", b" " * (MAX_QUESTION_BYTES + 1))).status == 413
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
