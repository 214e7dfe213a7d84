"""The operator's questions at the sidecar: one at a time, answered over mTLS, and what cannot be answered harms nothing."""

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.control.questions import Questions
from sidecar.model.address import Address
from sidecar.model.call import Answer, Call
from sidecar.model.config import SnapshotStream
from sidecar.model.explanation import Asked, Explanation, Question
from sidecar.net.listener import Tally
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.watched import Watched
from tests.helpers.endpoint import HOST, URL, endpoint
from tests.helpers.mesh import tls_of
from tests.helpers.pki import WEB
from tests.helpers.runtime import FakeDialer

INJECTOR = Address(HOST, 8443)
EXPLANATION = Explanation((), "BZ0201", "d")


class Fixture:
    """
    Attributes:
        answers: queries and bodies that reached the injector.
        takes_s: how long an answer is worked on.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self.dialer = FakeDialer(nursery)
        self.tls: Watched[MeshTls | None] = Watched(tls_of(WEB))
        self.answers: list[tuple[str, bytes]] = []
        self.asked: list[Question] = []
        self.takes_s = 0.0
        self.status = 200
        self.tally = Tally()
        self.dialer.servers[INJECTOR] = endpoint(self._hear, demands_client=True)
        self.questions = Questions(SnapshotStream(URL), "uid-1", self.tls, self.dialer, self._explain, self.tally)
        nursery.start_soon(self.questions.run)

    def _hear(self, call: Call) -> Answer:
        assert (call.method, call.path) == ("POST", "/v1/answers")
        self.answers.append((call.query, call.body))
        return Answer(self.status, b"{}")

    async def _explain(self, question: Question) -> Explanation:
        self.asked.append(question)
        await trio.sleep(self.takes_s)
        if question.host == "bug.test":
            raise ExceptionGroup("a nursery's", [AssertionError("a bug")])
        return EXPLANATION


def text(number: int, host: str = "a.test") -> bytes:
    return msgspec.json.encode(Asked(f"{number:032x}", Question(host, 80)))


async def test_it_is_answered(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    await wait_all_tasks_blocked()
    for number in (1, 2):
        fixture.questions.take(text(number))
        await trio.sleep(1)
    assert fixture.answers == [(f"pod=uid-1&id={number:032x}", msgspec.json.encode(EXPLANATION)) for number in (1, 2)]


async def test_one_at_a_time(nursery: trio.Nursery, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    fixture = Fixture(nursery)
    fixture.takes_s = 5
    await wait_all_tasks_blocked()
    for number in range(5):
        fixture.questions.take(text(number, f"{number}.test"))
        await wait_all_tasks_blocked()
    await trio.sleep(30)
    assert [question.host for question in fixture.asked] == ["0.test"]
    assert capsys.readouterr().err.count("was not taken") == 4


@pytest.mark.parametrize("data", [b"", b"{}", b'{"id": "x", "question": {"host": "a", "port": 80}}', text(1)[:-1] + b', "new": 1}'])
async def test_what_is_no_question_is_dropped(data: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    await wait_all_tasks_blocked()
    fixture.questions.take(data)
    await wait_all_tasks_blocked()
    assert fixture.asked == []


async def test_an_answer_that_does_not_arrive_is_the_last_of_none(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    await wait_all_tasks_blocked()
    fixture.status = 404
    fixture.questions.take(text(1))
    await trio.sleep(1)
    known = fixture.dialer.servers.pop(INJECTOR)
    fixture.questions.take(text(2))
    await trio.sleep(1)
    fixture.dialer.servers[INJECTOR] = known
    fixture.tls.set(None)
    fixture.questions.take(text(3))
    await trio.sleep(1)
    fixture.tls.set(tls_of(WEB))
    fixture.questions.take(text(4))
    await trio.sleep(1)
    assert [query[-1] for query, _ in fixture.answers] == ["1", "4"]


async def test_a_bug_ends_one_question(nursery: trio.Nursery, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    fixture = Fixture(nursery)
    await wait_all_tasks_blocked()
    fixture.questions.take(text(1, "bug.test"))
    await trio.sleep(1)
    fixture.questions.take(text(2))
    await trio.sleep(1)
    assert ([query[-1] for query, _ in fixture.answers], fixture.tally.bugs) == (["2"], 1)
    assert "AssertionError" in capsys.readouterr().err
