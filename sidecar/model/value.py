"""Configuration values: frozen structs that refuse unknown fields, and the one way to read them out of JSON.

Unknown fields are refused so that a misspelt rule, or one of a newer version, cannot be thought to be in force.
"""

from typing import Annotated, TypeVar

import msgspec

from .errors import ConfigError

T = TypeVar("T")

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
MadeName = Annotated[str, msgspec.Meta(min_length=1)]     # by the compiler, of several names, each as long as a Name


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """Base of all configuration structs. Names in JSON are camelCase."""


def from_json(data: bytes, kind: type[T]) -> T:
    """The `kind` that the JSON text `data` holds, or ConfigError with the path of what is wrong."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ConfigError(*path_of(str(exc))) from exc


def convert(document: object, kind: type[T]) -> T:
    """As `from_json`, of what was JSON already."""
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as exc:
        raise ConfigError(*path_of(str(exc))) from exc


def path_of(message: str) -> tuple[str, str]:
    """Split msgspec's `problem - at `$.a.b[0]`` into (a.b[0], problem)."""
    problem, _, where = message.partition(" - at `$")
    return where.rstrip("`").lstrip("."), problem
