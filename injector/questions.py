"""Questions of the operator's on their way to sidecars, and the answers on their way back.

A sidecar always has a question for a snapshot standing here (`injector/stream.py`); the operator's is the answer to that. One at a time
for each pod, and an answer counts for the question that it names, while somebody waits for it.
"""

import secrets

import trio

from sidecar.model.errors import MeshError
from sidecar.model.explanation import Asked, Explanation, Question
from sidecar.net.watched import Watched

ANSWER_S = 15.0


class Unanswered(MeshError):
    """Nobody has answered; the text says why."""


class _Open:
    """A question that somebody waits for."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.answer: Explanation | None = None
        self.is_answered = trio.Event()


class Questions:
    """
    Attributes:
        waiting: pods for whose sidecar there is a question.
    """

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self.waiting: Watched[frozenset[str]] = Watched(frozenset())

    def hand_over(self, pod: str) -> Asked | None:
        """What waits for the pod with this uid, which then waits no longer."""
        entry = self._open.get(pod)
        if entry is None or pod not in self.waiting.current:
            return None
        self.waiting.set(self.waiting.current - {pod})
        return entry.asked

    async def ask(self, pod: str, question: Question) -> Explanation:
        """Raises Unanswered. Cancelled, it is as if it had not been asked."""
        if pod in self._open:
            raise Unanswered("another question to this sidecar is being answered; ask again in a moment")
        asked = Asked(secrets.token_hex(16), question)
        entry = self._open[pod] = _Open(asked)
        self.waiting.set(self.waiting.current | {pod})
        try:
            with trio.move_on_after(ANSWER_S):
                await entry.is_answered.wait()
        finally:
            del self._open[pod]
            was_taken = pod not in self.waiting.current
            self.waiting.set(self.waiting.current - {pod})
        if entry.answer is None:
            why = "took the question, but" if was_taken else "did not come for the question:"
            raise Unanswered(f"the sidecar {why} it did not answer within {ANSWER_S:g} s; its log says more")
        return entry.answer

    def answer(self, pod: str, asked: str, explanation: Explanation) -> bool:
        """Whether somebody waits for it."""
        entry = self._open.get(pod)
        if entry is None or entry.asked.id != asked or entry.is_answered.is_set():
            return False
        entry.answer = explanation
        entry.is_answered.set()
        return True
