import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.yaml_text import MAX_BYTES, YamlError, read_all, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("1:30", "1:30"), ("0x1f", "0x1f"), ("2026-01-01", "2026-01-01"), ("017", "017"),
        (".5", ".5"),
        ("true", True), ("False", False), ("~", None), ("", None), ("'true'", "true"), ("12", 12), ("-1.5e3", -1500.0),
        ("1_0", "1_0"),
        ("5432: opaque", {"5432": "opaque"}), ("no: on", {"no": "on"}),
        ('{"a":1,"b":["c"]}', {"a": 1, "b": ["c"]}),
        ("|\n  a\n  b\n", "a\nb\n"), ('"a\\nb"', "a\nb"),
    ],
)
def test_scalars_are_read_as_json_would(text: str, value: object) -> None:
    found = read_yaml(text).data
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: &x 1", 1, "anchors"), ("a: 1\nb: *x", 2, "anchors"), ("<<: {a: 1}", 1, "merge"), ("a: !!python/none x", 1, "tags"),
        ("! a", 1, "tags"), ("a: 1\nb: 2\na: 3", 3, "twice"), ("? [a]\n: b", 1, "key"), ("[" * 33 + "]" * 33, 1, "deeper"),
        ("[" * 100_000, 1, ""), ("{" * 100_000, 1, ""), ("a\n---\nb", 3, "document"), ("a: [\n", 2, "not YAML"),
        ('"\\x07"', 1, "control"),
        ("a: 'x\u2028y'", 1, "control"), ("\ud800", 1, "Unicode"), ("x" * (MAX_BYTES + 1), 1, "bytes"),
        ("- &a [1]\n- [*a, *a]", 1, "anchors"),
        ("&k a: 1", 1, ""),
    ],
)
def test_what_is_not_plain_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(YamlError) as caught:
        read_yaml(text)
    assert caught.value.line == line
    assert words in caught.value.problem


def test_every_value_has_its_line() -> None:
    document = read_yaml("- name: a\n  tls:\n    mode: x\n- b\n")
    assert document.lines == {"": 1, "[0]": 1, "[0].name": 1, "[0].tls": 2, "[0].tls.mode": 3, "[1]": 4}
    assert document.line("[0].tls.nothing[3].at.all") == 2
    assert document.line("elsewhere") == 1


def test_several_documents() -> None:
    assert [document.data for document in read_all("a: 1\n---\n- b\n---\n")] == [{"a": 1}, ["b"], None]


@given(st.text() | st.text("[]{}:,-&*!|>'\"#%@ \n\tab1<?"))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(YamlError):
        read_yaml(text)
