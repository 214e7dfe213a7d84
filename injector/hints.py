"""msgspec's complaints in a user's words: what is wrong, where, and the nearest word that would have been right."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from sidecar.model.errors import ConfigError
from sidecar.model.value import path_of

T = TypeVar("T")

_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_CHOICE = re.compile(r"Invalid enum value (.*)", re.DOTALL)
_STEP = re.compile(r"([^.\[\]]+)|\[[^\]]*\]")
_WORDS = {
    "str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "array": "a list", "object": "fields",
    "null": "nothing",
}
_NOT_QUOTED = re.compile(r"Expected `str(?: \| null)?`, got `(?:int|float|bool)`")
_OF_KEY = " as key"


def nearest(word: str, words: Iterable[str]) -> str:
    """`; did you mean "timeouts"?`, or what there is to choose from."""
    known = sorted(words)
    close = difflib.get_close_matches(word[:100], known, n=1) if len(word) > 3 else []
    if not close:       # case and length cheat the measure: Serviceaccount, ns
        close = [name for name in known if name.lower() == word.lower()]
    return f'; did you mean "{close[0]}"?' if close else f"; known here: {', '.join(known)}"


def join(base: str, path: str) -> str:
    return f"{base}.{path}" if base and path and not path.startswith("[") else base + path


def explain(error: msgspec.ValidationError, expected: object, base: str) -> tuple[str, str]:
    """(path, problem) for the refusal of a value that should have been an `expected` and stands at `base`."""
    path, message = path_of(str(error).replace(" - at `key` in `$", f"{_OF_KEY} - at `$"))
    here = join(base, path)
    kinds = _types_at(msgspec.inspect.type_info(expected), path)
    inside = f" in {here}" if here else ""
    fields = [field.encode_name for kind in kinds if isinstance(kind, msgspec.inspect.StructType) for field in kind.fields]
    choices = {str(value) for kind in kinds if isinstance(kind, msgspec.inspect.LiteralType) for value in kind.values}
    if match := _UNKNOWN.fullmatch(message):
        return join(here, match[1]), f'unknown field "{match[1][:100]}"{inside}{nearest(match[1], fields)}'
    if match := _MISSING.fullmatch(message):
        return here, f'the field "{match[1]}" is missing{inside}'
    if (match := _CHOICE.fullmatch(message)) and choices:
        word = match[1].strip("'\"")
        besides = ", or a list" if any(isinstance(kind, msgspec.inspect.VarTupleType) for kind in kinds) else ""
        return here, f'{here}: "{word[:100]}" is not valid{nearest(word, choices)}{besides}'
    if message.endswith(_OF_KEY):
        kinds = [kind.key_type for kind in kinds if isinstance(kind, msgspec.inspect.DictType)]
    plain = next((f"expected {text}" for text in map(_description, kinds) if text), "") or _in_words(message, fields)
    return here, f"{here}: {plain}" if here else plain


def read(data: object, kind: type[T], where: str) -> T:
    """Raises ConfigError with what is wrong, in a user's words."""
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as exc:
        raise ConfigError("", explain(exc, kind, where)[1]) from exc       # the text says where


def _in_words(message: str, fields: list[str]) -> str:
    """msgspec's message without its own vocabulary."""
    if _NOT_QUOTED.fullmatch(message):
        return "expected text; put it in quotes"
    words = {**_WORDS, "object": f"fields ({', '.join(fields)})"} if fields else _WORDS
    expected, got, rest = message.replace(" | null`", "`").replace("matching regex", "that matches").partition(", got ")
    plain = _translated(expected, words) + got + _translated(rest, _WORDS)
    return plain[:1].lower() + plain[1:]


def _translated(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"`([^`]*)`", lambda match: " or ".join(words.get(word, word) for word in match[1].split(" | ")), text)


def _description(kind: msgspec.inspect.Type) -> str:
    """What a value of this type is called, where the type says so."""
    if not isinstance(kind, msgspec.inspect.Metadata):
        return ""
    return str((kind.extra_json_schema or {}).get("description", ""))


def _types_at(kind: msgspec.inspect.Type, path: str) -> list[msgspec.inspect.Type]:
    """The types that a value at `path`, as msgspec writes paths, can have inside one of type `kind`."""
    kinds = _alternatives(kind)
    for match in _STEP.finditer(path):
        kinds = [inner for one in kinds if (found := _step(one, match[1])) is not None for inner in _alternatives(found)]
    return kinds


def _step(kind: msgspec.inspect.Type, field: str | None) -> msgspec.inspect.Type | None:
    """The type of a field, of an item (`[0]`, no field), or of a mapping's value (`[...]`, no field either)."""
    if isinstance(kind, msgspec.inspect.StructType) and field:
        return next((one.type for one in kind.fields if one.encode_name == field), None)
    if isinstance(kind, msgspec.inspect.VarTupleType | msgspec.inspect.ListType):
        return kind.item_type
    if isinstance(kind, msgspec.inspect.DictType):
        return kind.value_type
    return None


def _alternatives(kind: msgspec.inspect.Type) -> list[msgspec.inspect.Type]:
    """The types that a value of this one can have, null aside."""
    kinds = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
    return [one for one in kinds if not isinstance(one, msgspec.inspect.NoneType)]
