"""A chain of JSON lines, each holding the hash of the line before: whoever edits, drops, inserts or reorders a line breaks it there.

The end of a chain is guarded by whoever remembers its head elsewhere. Issuance log and ledger are such chains.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

import msgspec

from .errors import MeshError

FIRST = "0" * 64    # what the first line has for the hash of the line before


class Linked(Protocol):
    """A struct with the hash of the line before."""

    @property
    def previous(self) -> str: ...


T = TypeVar("T", bound=Linked)


class Broken(MeshError):
    """The chain does not hold.

    Args:
        line: which line is the first that cannot be true; from 1.
        cause: what is wrong there.
    """

    def __init__(self, line: int, cause: str) -> None:
        super().__init__(f"line {line} {cause}")
        self.line = line
        self.cause = cause


class Unlinked(Broken):
    """The line does not follow from the line before it: one of the two was changed, or lines between them are gone."""


class _Link(msgspec.Struct):
    previous: str = ""


def previous_of(line: bytes) -> str:
    """What the line has for the hash of the line before; empty: nothing, or it cannot be read."""
    try:
        return msgspec.json.decode(line, type=_Link).previous
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def hash_of(line: bytes) -> str:
    """By what hash the next line knows this one.

    Args:
        line: without its line feed.
    """
    return hashlib.sha256(line).hexdigest()


def follow(lines: Iterable[bytes], kind: type[T], *, head: str = FIRST, first: int = 1) -> Iterator[tuple[T, str]]:
    """(entry, hash of its line) for each line, as long as the chain holds. Broken names the first that does not.

    Args:
        lines: each with its line feed.
        head: hash of the line before the first.
        first: the number of the first line.
    """
    decoder = msgspec.json.Decoder(kind)
    for number, line in enumerate(lines, start=first):
        if not line.endswith(b"\n"):
            raise Broken(number, "is incomplete, as after a crash")
        try:
            entry = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise Broken(number, f"is no entry: {exc}") from exc
        if entry.previous != head:
            raise Unlinked(number, "does not follow from the line before it; one of the two was changed, or lines between them are gone")
        head = hash_of(line[:-1])
        yield entry, head
