from typing import Any

import pytest

from injector.manifests.cel import both, cel, either


@pytest.mark.parametrize(("value", "text"), [
    ("a", '"a"'), ('a"b\\c\n', '"a\\"b\\\\c\\n"'), ("ü", '"ü"'), (3, "3"), (True, "true"), (["a", "b"], '["a", "b"]'), ([], "[]"),
    ({"a": 1, "b": "x"}, '{"a": dyn(1), "b": dyn("x")}'), (["a", 1], '[dyn("a"), dyn(1)]'), ([{"a": 1}], '[dyn({"a": dyn(1)})]'),
])
def test_literals(value: Any, text: str) -> None:
    assert cel(value) == text


def test_a_value_may_stand_for_a_name() -> None:
    assert cel({"a": 64999, "on": True}, {64999: "variables.uid", 1: "wrong"}) == '{"a": dyn(variables.uid), "on": dyn(true)}'


def test_sentences_keep_their_own_words_together() -> None:
    assert either(["a && b", "c"]) == "(a && b) || (c)"
    assert both(["a || b", "c"]) == "(a || b) && (c)"
