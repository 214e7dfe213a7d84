"""One chain of lines, read to its end whatever happens on the way: what follows a break is read too, and marked.

Trust: whoever could write to the store may have written anything; nothing but the chain itself, and the head that was countersigned
when it came in, says that a line is the one that was written then. `tests/injector/audit/test_chains.py` attacks it.
"""

from collections.abc import Iterator
from typing import BinaryIO, Protocol, TypeVar

import msgspec

from sidecar.model.chain import FIRST, Broken, Linked, follow, hash_of

MOST_BYTES = 1 << 20    # of a line; a longer one is none of ours, and must not fill our memory

T = TypeVar("T", bound=Linked)


class Head(Protocol):
    """What the control plane remembers of a chain: `ledger.Countersignature`."""

    @property
    def head(self) -> str: ...
    @property
    def count(self) -> int: ...


class Chain(msgspec.Struct, rename="camel"):
    """How far a file can be believed; counted up while it is read.

    Args:
        name: `shop/web-1`, or the file's name.
        pod: uid, where the file's name tells it.
        breaks: how often a line does not follow from the line before it.
        broken_line, cause: the first of them; line 0 if it is the end that is wrong.
        countersigned: the control plane has vouched for so many lines, and they are these.
        is_torn: the last line is incomplete, as while it is written.
    """

    name: str
    pod: str = ""
    lines: int = 0
    breaks: int = 0
    broken_line: int = 0
    cause: str = ""
    countersigned: int = 0
    is_torn: bool = False
    is_rebuilt: bool = False
    is_cut: bool = False

    @property
    def is_whole(self) -> bool:
        return not (self.breaks or self.is_rebuilt or self.is_cut)

    def read(self, file: BinaryIO, kind: type[T], known: Head | None = None) -> Iterator[tuple[T, bool]]:
        """(entry, whether the chain held up to it), for each line that is an entry.

        That the chain was rebuilt, so that nothing in it can be believed, or its end cut off, is known at the end only: `is_rebuilt`.
        """
        lines = _Lines(file)
        head = FIRST
        while True:
            try:
                for entry, reached in follow(lines, kind, head=head, first=self.lines + 1):
                    self.lines += 1
                    if known is not None and self.lines == known.count and not self.breaks:
                        self._compare(reached, known)
                    yield entry, not self.breaks
                break
            except Broken as exc:
                self.lines = exc.line
                if not self.breaks:
                    self.broken_line, self.cause = exc.line, exc.cause
                self.breaks += 1
                head = hash_of(lines.last[:-1])
            try:
                entry = msgspec.json.decode(lines.last, type=kind)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            yield entry, False
        self.is_torn = lines.is_torn
        if known is not None and self.lines < known.count:
            self.is_cut = True
            self.cause = self.cause or f"has {self.lines} lines; the control plane once had {known.count}: its end was cut off"

    def _compare(self, head: str, known: Head) -> None:
        if head == known.head:
            self.countersigned = known.count
        else:
            self.is_rebuilt = True
            self.cause = f"is not the chain whose line {known.count} was countersigned: it was written anew"


class _Lines:
    """The complete lines of a file; `last` is the one that was handed out last."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.last = b""
        self.is_torn = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.last = self._file.readline(MOST_BYTES)
        self.is_torn = bool(self.last) and not self.last.endswith(b"\n") and len(self.last) < MOST_BYTES
        if not self.last or self.is_torn:
            raise StopIteration
        return self.last
