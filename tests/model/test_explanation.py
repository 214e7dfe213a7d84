"""Questions that are none, and steps that fit onto their way."""

from contextlib import nullcontext

import msgspec
import pytest

from sidecar.model.errors import ConfigError
from sidecar.model.explanation import MAX_ANSWER_BYTES, MOST_WORDS, STEPS, Explanation, Question, check_question, no, step
from sidecar.model.reason import Reason
from sidecar.model.value import from_json


@pytest.mark.parametrize("text", [
    b'{"host": "a b", "port": 80}', b'{"host": "a\\n", "port": 80}', b'{"host": "", "port": 80}', b'{"host": "a", "port": 0}',
    b'{"host": "a", "port": 80, "path": "x"}', b'{"host": "a", "port": 80, "path": "/\\r\\nhost: b"}',
    b'{"host": "a", "port": 80, "method": "GET /"}', b'{"host": "a", "port": 80, "kind": "udp"}', b'{"host": "a", "port": 80, "x": 1}',
])
def test_what_is_no_question(text: bytes) -> None:
    with pytest.raises(ConfigError):
        from_json(text, Question)


@pytest.mark.parametrize("code", ["$(reboot)", "BZ0201; reboot", "BZ0201\\n", "bz0201", "BZ02"])
def test_what_people_are_told_to_type_is_a_code(code: str) -> None:
    """`bartizan explain CODE` stands below an answer, which comes from a sidecar."""
    for text in (f'{{"steps": [], "code": "{code}"}}', f'{{"steps": [{{"name": "proof", "outcome": "ok", "code": "{code}"}}]}}'):
        with pytest.raises(ConfigError):
            from_json(text.encode(), Explanation)
    assert from_json(b'{"steps": [], "code": "BZ0201"}', Explanation).code == "BZ0201"


@pytest.mark.parametrize(("method", "may_be_sent"), [("GET", True), ("HEAD", True), ("OPTIONS", True), ("POST", False), ("DELETE", False)])
def test_only_what_changes_nothing_is_sent(method: str, may_be_sent: bool) -> None:
    check_question(Question("a", 80, method=method))
    with nullcontext() if may_be_sent else pytest.raises(ConfigError, match=method):
        check_question(Question("a", 80, method=method, sends=True))


def test_the_largest_explanation_fits() -> None:
    long = "x" * 10_000
    steps = tuple(step(name, "ok", long, facts={f"fact {i}": long for i in range(4)}) for name in STEPS)
    assert {len(text) for one in steps for text in (one.words, *one.facts.values())} == {MOST_WORDS}
    assert len(msgspec.json.encode(Explanation(steps))) < MAX_ANSWER_BYTES


def test_a_fact_without_text_is_none() -> None:
    assert step("proof", "ok", facts={"a": "", "b": None, "c": 0}).facts == {"c": "0"}


def test_what_ends_it_says_cause_and_cure() -> None:
    refused, failed = no("approval", Reason.HOST_NOT_APPROVED, facts={"rule": "r"}), no("connection", Reason.CONNECT_FAILED, "refused")
    assert (refused.outcome, refused.words, refused.code) == ("refused", Reason.HOST_NOT_APPROVED.cause, "BZ0201")
    assert refused.facts == {"rule": "r", "reason": "host-not-approved", "cure": Reason.HOST_NOT_APPROVED.cure}
    assert (failed.outcome, failed.words, failed.code) == ("failed", "refused", "BZ0401")
