"""Lines that hold each other: every change of one is found, at the line where it shows."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.chain import FIRST, Broken, Unlinked, follow, hash_of, previous_of


class Line(msgspec.Struct):
    previous: str
    word: str


def chain(*words: str) -> list[bytes]:
    lines, head = [], FIRST
    for word in words:
        line = msgspec.json.encode(Line(head, word))
        lines.append(line + b"\n")
        head = hash_of(line)
    return lines


def test_a_whole_chain() -> None:
    lines = chain("a", "b", "c")
    found = list(follow(lines, Line))
    assert [entry.word for entry, _ in found] == ["a", "b", "c"]
    assert found[-1][1] == hash_of(lines[-1][:-1])
    assert list(follow(lines[1:], Line, head=found[0][1], first=2)) == found[1:]
    assert list(follow([], Line)) == []


@pytest.mark.parametrize(("change", "line", "word"), [
    (lambda lines: [lines[0], lines[2]], 2, "does not follow"),
    (lambda lines: [lines[1], lines[0], lines[2]], 1, "does not follow"),
    (lambda lines: [lines[0], lines[1].replace(b'"b"', b'"x"'), lines[2]], 3, "does not follow"),
    (lambda lines: [*lines, lines[0]], 4, "does not follow"),
    (lambda lines: [*lines[:2], lines[2][:-1]], 3, "incomplete"),
    (lambda lines: [lines[0], b"{}\n"], 2, "no entry"),
    (lambda lines: [lines[0], b"\xff\n"], 2, "no entry"),
    (lambda lines: [lines[0], b"[" * 5000 + b"\n"], 2, "no entry"),
])
def test_what_breaks_it(change: object, line: int, word: str) -> None:
    with pytest.raises(Broken, match=word) as found:
        list(follow(change(chain("a", "b", "c")), Line))    # type: ignore[operator]
    assert (found.value.line, isinstance(found.value, Unlinked)) == (line, word == "does not follow")


@pytest.mark.parametrize("line", [b"", b"{}", b"\xff", b"[" * 5000, b'{"previous":1}', b'{"previous":"a"'])
def test_what_names_no_line_before_it(line: bytes) -> None:
    assert previous_of(line) == ""
    assert previous_of(b'{"previous":"a","word":1}\n') == "a"


@given(st.lists(st.text(max_size=4), min_size=2, max_size=6), st.data())
def test_any_changed_byte_but_of_the_last_line_is_found(words: list[str], data: st.DataObject) -> None:
    """Whatever byte of a line but the last is changed, following the chain fails there or at the next line."""
    lines = chain(*words)
    at = data.draw(st.integers(0, len(lines) - 2))
    byte = data.draw(st.integers(0, len(lines[at]) - 2))
    changed = bytearray(lines[at])
    changed[byte] ^= data.draw(st.integers(1, 255))
    lines[at] = bytes(changed)
    with pytest.raises(Broken) as found:
        list(follow(lines, Line))
    assert found.value.line in (at + 1, at + 2)
