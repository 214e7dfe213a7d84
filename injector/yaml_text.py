"""YAML as data, with the line of every value.

Trust: the text is an application team's, or an attacker's. What leaves holds plain JSON types and nothing else: no aliases,
anchors, merge keys or tags (so nothing that grows), no key twice, bounded in size and depth. Attacked by
tests/injector/test_yaml_text.py.

Scalars are read as JSON would read them, which YAML 1.2 nearly does and YAML 1.1 does not: `no`, `on`, `1:30`, `0x1f` and
`2026-01-01` are strings.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml  # noqa: TID251 -- the one reader of YAML

MAX_BYTES = 256 * 1024      # of one annotation; the API server's own limit for all annotations of an object
MAX_DEPTH = 32

_OF_NAMES = ("while scanning an alias", "while scanning an anchor")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}
# Line breaks to some readers and not to others, or invisible: a value that holds one cannot be shown to a person as it is.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


class YamlError(Exception):
    """The text is not YAML, or not the plain kind that is read here."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Document:
    """
    Args:
        data: dict, list, str, int, float, bool or None.
        lines: first line of each value, from 1, by its path: `[0].tls.mode`, `metadata.name`, empty for the whole.
    """

    data: object
    lines: dict[str, int]

    def line(self, path: str) -> int:
        """The line of `path`, or of the nearest value around it that has one."""
        while path not in self.lines:
            if not path:
                return 1
            path = path[:max(path.rfind("."), path.rfind("["), 0)]
        return self.lines[path]


def read_yaml(text: str) -> Document:
    """The one document that `text` holds; an empty text is a null. Raises YamlError."""
    documents = read_all(text)
    if len(documents) > 1:
        raise YamlError(documents[1].line(""), "a second document begins; remove the `---` before it")
    return documents[0] if documents else Document(None, {})


def read_all(text: str, max_bytes: int = MAX_BYTES) -> list[Document]:
    """Every document of `text`. Raises YamlError."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise YamlError(1, "the text is not valid Unicode") from exc
    if size > max_bytes:
        raise YamlError(1, f"{size} bytes are more than the {max_bytes} that are read")
    events = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    documents = []
    try:
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                lines: dict[str, int] = {}
                documents.append(Document(_value(next(events), events, "", 1, lines), lines))
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        cure = "; put what begins with * or & into quotes" if exc.context in _OF_NAMES else ""
        raise YamlError(mark.line + 1 if mark else 1, f"not YAML: {exc.problem or exc.context}{cure}") from exc
    except yaml.YAMLError as exc:       # the reader's errors carry an offset only
        raise YamlError(1, f"not YAML: {str(exc).splitlines()[0]}") from exc
    return documents


def _value(event: yaml.Event, events: Iterator[yaml.Event], path: str, depth: int, lines: dict[str, int]) -> object:
    line = _line(event)
    lines.setdefault(path, line)
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
        raise YamlError(line, "anchors and aliases (& and *) are not read; write the value out")
    if (tag := getattr(event, "tag", None)) is not None:
        raise YamlError(line, f"tags ({tag}) are not read; leave it out")
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event, line)
    if depth > MAX_DEPTH:
        raise YamlError(line, f"nested deeper than {MAX_DEPTH}")
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[object] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(_value(event, events, f"{path}[{len(items)}]", depth + 1, lines))
        return items
    mapping: dict[str, object] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        key, key_line = _key(event, mapping)
        where = f"{path}.{key}" if path else key
        lines[where] = key_line
        mapping[key] = _value(next(events), events, where, depth + 1, lines)
    return mapping


def _key(event: yaml.Event, mapping: dict[str, object]) -> tuple[str, int]:
    """Keys are strings, whatever they look like: `5432: opaque`."""
    line = _line(event)
    if not isinstance(event, yaml.ScalarEvent) or event.anchor is not None or event.tag is not None:
        raise YamlError(line, "a key must be plain text")
    if event.value == "<<" and event.implicit[0]:
        raise YamlError(line, "merge keys (<<) are not read; write the fields out")
    if event.value in mapping:
        raise YamlError(line, f'"{event.value[:80]}" is there twice; remove one')
    if _CONTROL.search(event.value):
        raise YamlError(line, "a key holds a control character")
    return event.value, line


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None, "events that were parsed have marks"
    return event.start_mark.line + 1


def _scalar(event: yaml.ScalarEvent, line: int) -> str | int | float | bool | None:
    text: str = event.value
    if not event.implicit[0]:       # quoted or block: text
        if _CONTROL.search(text):
            raise YamlError(line, "the text holds a control character")
        return text
    if text in _WORDS:
        return _WORDS[text]
    if number := _NUMBER.fullmatch(text):
        return float(text) if number[2] or number[3] else int(text)
    if _CONTROL.search(text):
        raise YamlError(line, "the text holds a control character")
    return text
