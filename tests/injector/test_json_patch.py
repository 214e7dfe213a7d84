from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.json_patch import Patch, pointer


def test_a_pointer_escapes_tilde_and_slash() -> None:
    assert pointer(("metadata", "annotations", "a~b/c", 0)) == "/metadata/annotations/a~0b~1c/0"


def _applied(original: dict[str, Any], patch: Patch) -> Any:
    return jsonpatch.apply_patch(original, patch.operations)


@pytest.mark.parametrize("original", [{}, {"a": None}, {"a": {}}, {"a": {"b/~": None}}, {"a": {"b/~": {"c": 1}}}])
def test_missing_parents_are_made(original: dict[str, Any]) -> None:
    patch = Patch(original)
    patch.set(("a", "b/~", "c"), [2])
    assert patch.value == {"a": {"b/~": {"c": [2]}}} == _applied(original, patch)


def test_nothing_is_recorded_for_what_is_there() -> None:
    patch = Patch({"a": {"b": [1]}})
    patch.set(("a", "b"), [1])
    assert patch.operations == []


@pytest.mark.parametrize("original", [{}, {"l": None}, {"l": []}, {"l": [1]}, {"l": [1, 2]}])
def test_insert_leaves_the_other_items(original: dict[str, Any]) -> None:
    patch = Patch(original)
    patch.insert(("l",), 0, {"x": 1})
    patch.insert(("l",), 1, "y")
    assert patch.value["l"] == [{"x": 1}, "y", *(original.get("l") or [])]
    assert _applied(original, patch) == patch.value


def test_remove() -> None:
    patch = Patch({"l": [1, 2]})
    patch.remove(("l",), 0)
    assert _applied({"l": [1, 2]}, patch) == patch.value == {"l": [2]}


def test_the_original_stays_as_it_was() -> None:
    original = {"a": {"l": [1]}}
    patch = Patch(original)
    patch.insert(("a", "l"), 0, 0)
    assert original == {"a": {"l": [1]}}


names = st.text("ab~/01", min_size=1, max_size=3)


@given(st.lists(st.tuples(st.lists(names, min_size=2, max_size=2), st.integers() | st.text()), max_size=6))
def test_the_operations_make_of_the_original_what_the_patch_says(changes: list[tuple[list[str], object]]) -> None:
    patch = Patch({"a": {"b": 1}})
    for path, value in changes:
        patch.set(tuple(path), value)
    assert _applied({"a": {"b": 1}}, patch) == patch.value
