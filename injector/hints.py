"""msgspec's complaints in a user's words: what is wrong, where, and the nearest word that would have been right."""

import difflib
import re
from collections.abc import Iterable

import msgspec

from sidecar.model.value import path_of

_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_CHOICE = re.compile(r"Invalid enum value (.*)", re.DOTALL)
_STEP = re.compile(r"([^.\[\]]+)|\[([^\]]*)\]")


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
    path, message = path_of(str(error))
    here = join(base, path)
    kind = _type_at(msgspec.inspect.type_info(expected), path)
    inside = f" in {here}" if here else ""
    if match := _UNKNOWN.fullmatch(message):
        fields = [field.encode_name for field in kind.fields] if isinstance(kind, msgspec.inspect.StructType) else []
        return join(here, match[1]), f'unknown field "{match[1][:100]}"{inside}{nearest(match[1], fields)}'
    if match := _MISSING.fullmatch(message):
        return here, f'the field "{match[1]}" is missing{inside}'
    if (match := _CHOICE.fullmatch(message)) and isinstance(kind, msgspec.inspect.LiteralType):
        word = match[1].strip("'\"")
        return here, f'{here}: "{word[:100]}" is not valid{nearest(word, (str(value) for value in kind.values))}'
    plain = message.replace("`", "").replace("matching regex", "that matches")
    plain = plain[:1].lower() + plain[1:]
    return here, f"{here}: {plain}" if here else plain


def _type_at(kind: msgspec.inspect.Type, path: str) -> msgspec.inspect.Type | None:
    """The type at `path`, as msgspec writes paths, inside a value of type `kind`."""
    kind = _not_none(kind)
    for match in _STEP.finditer(path):
        if isinstance(kind, msgspec.inspect.StructType) and match[1]:
            kinds = [field.type for field in kind.fields if field.encode_name == match[1]]
            if not kinds:
                return None
            kind = kinds[0]
        elif isinstance(kind, msgspec.inspect.VarTupleType | msgspec.inspect.ListType):
            kind = kind.item_type
        elif isinstance(kind, msgspec.inspect.DictType):
            kind = kind.value_type
        else:
            return None
        kind = _not_none(kind)
    return kind


def _not_none(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    if isinstance(kind, msgspec.inspect.UnionType):
        return next(one for one in kind.types if not isinstance(one, msgspec.inspect.NoneType))
    return kind
