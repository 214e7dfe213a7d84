"""One chain of lines, in one file or several, read to its end whatever happens on the way: what follows a break is read too, and marked.

Trust: whoever could write to the store may have written anything; nothing but the chain itself, and the head that was countersigned
when it came in, says that a line is the one that was written then. `tests/injector/audit/test_chains.py` attacks it.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, TypeVar

import msgspec

from sidecar.model.chain import FIRST, Broken, Linked, follow, hash_of, previous_of
from sidecar.model.worker import pod_of

MOST_BYTES = 1 << 20    # of a line; a longer one is none of ours, and must not fill our memory

T = TypeVar("T", bound=Linked)


class Stretch(NamedTuple):
    """The lines of a chain that stand in one file.

    Args:
        first: number of its first line.
        removed_head: hash of the line before it, where that was removed and written down.
    """

    path: Path
    first: int = 1
    removed_head: str = ""


class Head(Protocol):
    """What the control plane remembers of a chain: `ledger.Countersignature`."""

    @property
    def head(self) -> str: ...
    @property
    def count(self) -> int: ...


class Chain(msgspec.Struct, rename="camel"):
    """How far a chain can be believed; counted up while it is read.

    Args:
        name: `shop/web-1`, or the file's name.
        pod: uid, where the file's name tells it; of a gateway's second process and so on with its number.
        lines: number of the last line.
        removed: so many lines at its beginning were removed as too old, as was written down.
        breaks: how often a line does not follow from the line before it.
        broken_line, cause: the first of them; line 0 if it is the chain as a whole that is wrong.
        countersigned: the control plane has vouched for so many lines, and they are these.
        is_torn: the last line is incomplete, as while it is written.
    """

    name: str
    pod: str = ""
    lines: int = 0
    removed: int = 0
    breaks: int = 0
    broken_line: int = 0
    cause: str = ""
    countersigned: int = 0
    is_torn: bool = False
    is_rebuilt: bool = False
    is_cut: bool = False

    @property
    def pod_uid(self) -> str:
        return pod_of(self.pod)

    @property
    def is_whole(self) -> bool:
        return not (self.breaks or self.is_rebuilt or self.is_cut)

    def read(self, stretches: Iterable[Stretch], kind: type[T], known: Head | None = None) -> Iterator[tuple[T, bool]]:
        """(entry, whether the chain vouches for it), for each line that is an entry.

        A line is vouched for by the line that follows from it: where the chain breaks, the line before may be the one that was changed.
        Only at the end is it known that the chain was rebuilt, so that nothing in it can be believed, or that its end was cut off.

        Args:
            stretches: in order.
            known: the last head that was countersigned.
        """
        held: tuple[T, bool] | None = None
        for entry, is_sound in self._follow(stretches, kind, known):
            if held is not None:
                yield held[0], held[1] and is_sound
            held = entry, is_sound
        if held is not None:
            yield held

    def _follow(self, stretches: Iterable[Stretch], kind: type[T], known: Head | None) -> Iterator[tuple[T, bool]]:
        """(entry, whether the chain held up to it)"""
        head: str | None = FIRST
        for stretch in stretches:
            head = self._begin(stretch, head)
            with stretch.path.open("rb") as file:
                lines = _Lines(file)
                if head is None:
                    head = lines.previous()
                while True:
                    try:
                        for entry, reached in follow(lines, kind, head=head, first=self.lines + 1):
                            self.lines, head = self.lines + 1, reached
                            self._compare(head, known)
                            yield entry, not self.breaks
                        break
                    except Broken as exc:
                        self._break(exc.line, exc.cause)
                        self.lines, head = exc.line, hash_of(lines.last[:-1])
                    try:
                        entry = msgspec.json.decode(lines.last, type=kind)
                    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                        continue
                    yield entry, False
            self.is_torn = lines.is_torn
        self._end(known)

    def _begin(self, stretch: Stretch, head: str | None) -> str | None:
        """The hash that the stretch's first line must hold; None: nobody can say, which is told."""
        if stretch.first == self.lines + 1:
            return head
        if not self.lines and stretch.removed_head:
            self.lines = self.removed = stretch.first - 1
            return stretch.removed_head
        self._break(stretch.first, "is where it begins anew, or goes on: " + (
            f"the line before it here is line {self.lines}" if self.lines else "the lines before it are not here"))
        self.lines = stretch.first - 1
        return None

    def _break(self, line: int, cause: str) -> None:
        if not self.breaks:
            self.broken_line, self.cause = line, cause
        self.breaks += 1

    def _compare(self, head: str, known: Head | None) -> None:
        if known is not None and self.lines == known.count and head == known.head:
            self.countersigned = known.count

    def _end(self, known: Head | None) -> None:
        if known is None or self.countersigned or self.breaks or known.count <= self.removed:
            return
        self.is_cut = self.lines < known.count
        self.is_rebuilt = not self.is_cut
        self.cause = (
            f"has {self.lines} lines; the control plane once had {known.count}: its end was cut off" if self.is_cut
            else f"is not the chain whose line {known.count} was countersigned: it was written anew"
        )


class _Lines:
    """The complete lines of a file; `last` is the one that was handed out last."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.last = b""
        self.is_torn = False

    def previous(self) -> str:
        """What the next line has for the hash of the line before."""
        at = self._file.tell()
        line = self._file.readline(MOST_BYTES)
        self._file.seek(at)
        return previous_of(line) or FIRST

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.last = self._file.readline(MOST_BYTES)
        self.is_torn = bool(self.last) and not self.last.endswith(b"\n") and len(self.last) < MOST_BYTES
        if not self.last or self.is_torn:
            raise StopIteration
        return self.last
