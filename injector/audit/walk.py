"""A ledger read from its first line to its last: the chain, the countersignatures in it, and the last one that is known beside it.

The chain shows what was edited, removed or reordered. Countersignatures show a chain that was written anew with hashes that fit, and a
tail that was cut. After the first line that cannot be true nothing is read: what stands behind it proves nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from injector.countersign import Keys, why_not_signed
from injector.ledger_store import HEADS, REMOVED, Part
from sidecar.model.chain import FIRST, Broken, Unlinked, follow, hash_of, previous_of
from sidecar.model.ledger import Countersignature, Entry

from .breaks import explain

LATE_S = 30.0       # a sidecar ships every ten seconds
BACKWARDS_S = 1.0


class Finding(msgspec.Struct, frozen=True, rename="camel"):
    """
    Args:
        line: in the file; 0 where no line is to blame.
        is_sound: a remark, nothing that casts doubt on the evidence.
    """

    file: str
    line: int
    what: str
    is_sound: bool = False

    def __str__(self) -> str:
        return f"{self.file}: {f'line {self.line} ' if self.line else ''}{self.what}"


class Report(msgspec.Struct, rename="camel"):
    """
    Args:
        countersigned: how many lines the control plane has vouched for.
        shed: entries that a sidecar had no room for.
        clock_jumps: how often a clock was set.
    """

    files: int = 0
    lines: int = 0
    countersigned: int = 0
    shed: int = 0
    clock_jumps: int = 0
    findings: list[Finding] = msgspec.field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return all(finding.is_sound for finding in self.findings)


@dataclass(frozen=True)
class Known:
    """What is known beside the chains.

    Args:
        keys: the control plane's; None: nobody gave them.
        heads: pod uid -> last countersignature; None: there is no heads.json.
        removed: hash of the last line of each file that was removed -> why.
    """

    keys: Keys | None = None
    heads: dict[str, Countersignature] | None = None
    removed: dict[str, str] = field(default_factory=dict)


class Walk:
    """One chain, through its files.

    Args:
        uid: of the pod; empty: the files' names do not say.
        is_last: its end is here.
        is_own: the sidecar's own folder, where the tail is not countersigned yet and what was shipped is deleted.
    """

    def __init__(self, report: Report, known: Known, uid: str, *, is_last: bool = True, is_own: bool = False) -> None:
        self._report = report
        self._known = known
        self._uid = uid
        self._is_last = is_last
        self._is_own = is_own
        self._last = (known.heads or {}).get(uid) if is_last else None
        self._head = ""
        self._number = 0            # of the last line, as the sidecar counts
        self._first = 1             # of the first that is here
        self._open: dict[int, tuple[str, float]] = {}   # (hash, time) of lines that no countersignature has covered yet
        self._covered = 0
        self._latest_s = 0.0
        self._time = 0.0
        self._at_last = ""          # hash of the line that heads.json speaks of

    def run(self, parts: Sequence[Part]) -> None:
        self._report.files += len(parts)
        for part in parts:
            lines = read_lines(part.path)
            if not self._enter(part, lines, is_first=part is parts[0]):
                return
            where = str(part.path)
            for index, line in enumerate(lines):
                try:
                    (entry, self._head), = follow([line], Entry, head=self._head, first=index + 1)
                except Broken as exc:
                    if isinstance(exc, Unlinked):
                        exc = explain(lines, index, self._head, self._missing(lines, index))
                    self._blame(where, exc.line, exc.cause)
                    return
                self._number += 1
                if not self._take(where, index + 1, entry):
                    return
            self._report.lines += len(lines)
        self._end(str(parts[-1].path))

    def _enter(self, part: Part, lines: list[bytes], *, is_first: bool) -> bool:
        """Whether the file's first line fits to what was before."""
        where, previous = str(part.path), previous_of(lines[0]) if lines else ""
        if is_first:
            self._head, self._number, self._first = previous or FIRST, part.first - 1, part.first
            self._covered = part.first - 1
            if part.first == 1 and previous != FIRST and lines:
                self._blame(where, 1, "is no first line: it follows from one that is not here")
                return False
            if part.first != 1 and not self._is_own:
                if previous in self._known.removed:
                    self._remark(where, 0, f"begins with line {part.first}: earlier ones were removed ({self._known.removed[previous]})")
                else:
                    self._blame(where, 0, f"begins with line {part.first}: those before it are not here, and {REMOVED} does not say why")
        elif not lines or previous != self._head:
            if lines and previous in self._known.removed:
                self._remark(where, 0, f"begins with line {part.first}: a file before it was removed ({self._known.removed[previous]})")
            else:
                self._blame(where, 1, "does not follow from the file before: that one's tail was cut, or the sidecar lost its chain and "
                                      "began anew; what lies between is lost")
            self._head, self._number, self._first, self._covered = previous or FIRST, part.first - 1, part.first, part.first - 1
            self._open.clear()
        return True

    def _take(self, where: str, line: int, entry: Entry) -> bool:
        """What one line says. Whether to go on."""
        # A `head` line is no evidence: that it waits for the next countersignature, perhaps for hours, says nothing.
        self._open[self._number] = self._head, math.inf if entry.kind == "head" else entry.time
        if self._last is not None and self._number == self._last.count:
            self._at_last = self._head
        if self._time - entry.time > BACKWARDS_S and entry.kind != "clock":
            self._remark(where, line, f"was written {self._time - entry.time:.0f} s before the line before it: the clock was set back")
            self._report.clock_jumps += 1
        self._time = entry.time
        if entry.kind == "clock":
            self._report.clock_jumps += 1
            self._remark(where, line, f"the clock was set: {entry.detail}")
        elif entry.kind == "shed":
            self._report.shed += entry.count
            self._remark(where, line, f"{entry.count} entries were not written, since there was no room")
        elif entry.kind == "head":
            return self._check(where, line, entry)
        return True

    def _check(self, where: str, line: int, entry: Entry) -> bool:
        signed = entry.countersignature
        if signed is None:
            self._blame(where, line, "is a countersignature without one")
            return False
        if why := self._why_not(signed):
            self._blame(where, line, f"holds a countersignature that {why}")
            return False
        if signed.count >= self._number:
            self._blame(where, line, f"countersigns line {signed.count}, which comes later: lines before it are gone")
            return False
        if signed.count < max(self._first, self._covered):
            return True     # of lines that are not here, or of those that a later one has covered
        if signed.count in self._open and self._open[signed.count][0] != signed.head:
            self._blame_rebuilt(where, signed.count, "was countersigned")
            return False
        self._cover(signed.count, entry.time)
        return True

    def _cover(self, count: int, time: float) -> None:
        self._report.countersigned += count - self._covered
        waited = [since for number, (_, since) in self._open.items() if number <= count]
        self._latest_s = max(self._latest_s, time - min(waited, default=time))
        self._covered = count
        self._open = {number: line for number, line in self._open.items() if number > count}

    def _why_not(self, signed: Countersignature) -> str:
        if self._uid and signed.pod != self._uid:
            return f"is of another pod, {signed.pod[:64]}"
        if self._known.keys is None:
            return "nobody can verify without the control plane's key: --key countersign.pem"
        return why_not_signed(signed, self._known.keys)

    def _end(self, where: str) -> None:
        last = self._last
        if last is not None:
            if why := self._why_not(last):
                self._blame(where, 0, f"has a head in {HEADS} that {why}")
            elif self._number < last.count:
                self._blame(where, 0, f"ends with line {self._number} of {last.count} that {HEADS} knows: its tail was cut")
            elif self._at_last and self._at_last != last.head:
                self._blame_rebuilt(where, last.count, f"{HEADS} knows")
                return
            elif last.count > self._covered:
                self._cover(last.count, last.time)
        elif self._is_last and not self._is_own:
            self._blame(where, 0, f"has no head in {HEADS}: nothing says that its tail is whole")
        if self._latest_s > LATE_S:
            self._remark(where, 0, f"was not countersigned for {self._latest_s:.0f} s; until it was, its sidecar could have written anew "
                                   "what it wrote meanwhile")
        since = min((since for _, since in self._open.values()), default=self._time)
        if self._is_last and self._time - since > LATE_S:
            what = f"has {len(self._open)} lines at its end that were never countersigned, over {self._time - since:.0f} s"
            self._remark(where, 0, what) if self._is_own else self._blame(where, 0, what)

    def _missing(self, lines: list[bytes], at: int) -> int | None:
        """By the last line that heads.json knows, how many lines the file has too few."""
        if self._last is None:
            return None
        for index in range(len(lines) - 1, at - 1, -1):
            if hash_of(lines[index].removesuffix(b"\n")) == self._last.head:
                return self._last.count - (self._number + index - at + 1)
        return None

    def _blame_rebuilt(self, where: str, count: int, by: str) -> None:
        line = self._covered + 1
        self._blame(where, 0, f"was rebuilt: its hashes fit, but its line {count} is not the one that {by}; it cannot be believed from "
                              f"line {line} on")

    def _blame(self, where: str, line: int, what: str) -> None:
        self._report.findings.append(Finding(where, line, what))

    def _remark(self, where: str, line: int, what: str) -> None:
        self._report.findings.append(Finding(where, line, what, is_sound=True))


def read_lines(path: Path) -> list[bytes]:
    """With their line feeds; a last one without is there, too."""
    *lines, rest = path.read_bytes().split(b"\n")
    return [line + b"\n" for line in lines] + ([rest] if rest else [])
