from typing import Annotated, Any, Literal

import msgspec
import pytest

from injector.documents.gateway_api import HttpRule
from injector.hints import explain, join, nearest, read
from sidecar.model.errors import ConfigError
from sidecar.model.value import Value

Key = Annotated[str, msgspec.Meta(pattern="^[a-z]+$", description="a key in small letters")]
Size = Annotated[Annotated[int, msgspec.Meta(ge=0)] | str, msgspec.Meta(description="a size such as 1MiB")]


class Inner(Value, frozen=True):
    colour: Literal["red", "green"] = "red"
    count: int = 0


class Outer(Value, frozen=True):
    name: str
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    named: dict[Key, Inner] = msgspec.field(default_factory=dict)
    size: Size | None = None
    either: Inner | tuple[str, ...] | Literal["off"] = "off"


@pytest.mark.parametrize(
    ("data", "path", "text"),
    [
        ({"name": "a", "iner": {}}, "[3].iner", 'unknown field "iner" in [3]; did you mean "inner"?'),
        ({"name": "a", "inner": {"color": 1}}, "[3].inner.color", 'unknown field "color" in [3].inner; did you mean "colour"?'),
        ({"name": "a", "many": [{}, {"cuont": 1}]}, "[3].many[1].cuont", 'unknown field "cuont" in [3].many[1]; did you mean "count"?'),
        ({"name": "a", "named": {"x": {"cuont": 1}}}, "[3].named[...].cuont",
         'unknown field "cuont" in [3].named[...]; did you mean "count"?'),
        ({"name": "a", "inner": {"colour": "gren"}}, "[3].inner.colour", '[3].inner.colour: "gren" is not valid; did you mean "green"?'),
        ({"name": "a", "size": -1}, "[3].size", "[3].size: expected a size such as 1MiB"),
        ({"name": "a", "named": {"X": {}}}, "[3].named", "[3].named: expected a key in small letters"),
        ({"name": "a", "named": []}, "[3].named", "[3].named: expected fields, got a list"),
        ({"name": "a", "inner": "red"}, "[3].inner", "[3].inner: expected fields (colour, count), got text"),
        ({"name": "a", "either": {"cuont": 1}}, "[3].either.cuont", 'unknown field "cuont" in [3].either; did you mean "count"?'),
        ({"name": "a", "either": "of"}, "[3].either", '[3].either: "of" is not valid; known here: off, or a list'),
        ({"name": "a", "either": [3]}, "[3].either[0]", "[3].either[0]: expected text; put it in quotes"),
        ({"name": "a", "inner": {"count": "3"}}, "[3].inner.count", "[3].inner.count: expected a whole number, got text"),
        ({}, "[3]", 'the field "name" is missing in [3]'),
        ({"name": 3}, "[3].name", "[3].name: expected text; put it in quotes"),
        (3, "[3]", "[3]: expected fields (name, inner, many, named, size, either), got a whole number"),
    ],
)
def test_a_refusal_in_a_users_words(data: Any, path: str, text: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(data, Outer)
    assert explain(caught.value, Outer, "[3]") == (path, text)


@pytest.mark.parametrize(
    ("word", "hint"),
    [("tiemouts", '; did you mean "timeouts"?'), ("Name", '; did you mean "name"?'), ("zzzz", "; known here: name, timeouts")],
)
def test_the_nearest_word(word: str, hint: str) -> None:
    assert nearest(word, ("timeouts", "name")) == hint


def test_paths_join() -> None:
    assert [join("", "a"), join("a", "b"), join("a", "[0]"), join("a", "")] == ["a", "a.b", "a[0]", "a"]


def test_what_is_not_offered_is_told_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r'^unknown field "sessionPersistence" in spec.rules\[2\]'):
        read({"sessionPersistence": {}}, HttpRule, "spec.rules[2]")
