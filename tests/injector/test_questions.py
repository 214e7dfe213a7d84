"""A question waits for its pod and for its answer, and leaves nothing behind."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from injector.questions import ANSWER_S, Questions, Unanswered
from sidecar.model.explanation import Explanation, Question

QUESTION = Question("a.test", 80)


async def refusal(questions: Questions, pod: str) -> str:
    try:
        await questions.ask(pod, QUESTION)
    except Unanswered as exc:
        return str(exc)
    return ""


async def test_one_at_a_time_for_each_pod(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    questions = Questions()
    nursery.start_soon(refusal, questions, "u-1")
    await wait_all_tasks_blocked()
    assert "another question" in await refusal(questions, "u-1")
    assert trio.current_time() == 0
    assert "did not come" in await refusal(questions, "u-2")
    assert trio.current_time() == ANSWER_S
    await wait_all_tasks_blocked()
    assert "did not come" in await refusal(questions, "u-1")     # the first one is over


async def test_who_gives_up_leaves_no_question(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    questions = Questions()
    with trio.move_on_after(1):
        await questions.ask("u-1", QUESTION)
    assert questions.hand_over("u-1") is None
    assert not questions.waiting.current
    assert not questions.answer("u-1", "0" * 32, Explanation(()))


async def test_it_is_answered_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    questions = Questions()
    heard: list[Explanation] = []

    async def ask() -> None:
        heard.append(await questions.ask("u-1", QUESTION))

    nursery.start_soon(ask)
    await wait_all_tasks_blocked()
    asked = questions.hand_over("u-1")
    assert questions.hand_over("u-1") is None
    assert asked is not None
    first, second = Explanation((), snapshot="1"), Explanation((), snapshot="2")
    assert [questions.answer("u-1", asked.id, one) for one in (first, second)] == [True, False]
    await wait_all_tasks_blocked()
    assert heard == [first]
