"""The ledger: evidence of every connection and every refusal, chained line by line, kept until the control plane has it.

    add      fills in time and the hash of the line before, and writes the line at once
    unshipped -> the control plane's countersignature -> shipped     see control/ledger_shipping.py

An entry for which there is no room is shed and counted, and as soon as there is room a `shed` line says how many: no gap is silent,
and no caller waits or fails. So that one attacker cannot push out everybody else, refusals are written at most
REFUSALS_A_SECOND, and may fill half of the room; connections may fill the rest, but for what the ledger says of itself.

Cost: about 5 us for a line of 450 bytes (encoding 0.8, SHA-256 1.9 without OpenSSL, writing 1.5), measured in a loop on one core.

Trust: what stands in an entry was chosen by peers; encoded as JSON it is one line whatever it holds, and no line is longer than
MAX_LINE_BYTES. Whoever can write to the folder can write the unshipped end of the chain anew; what was countersigned he cannot.
"""

import sys
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from sidecar.model.chain import FIRST, Broken, follow, hash_of
from sidecar.model.ledger import Countersignature, Entry

from .segments import Segments

REFUSALS_A_SECOND = 100
MAX_LINE_BYTES = 16384
OWN_BYTES = 8192            # kept free for `head`, `shed` and `end`
TELL_SHED_S = 1.0           # while there is room for one line in two, half of them must not be `shed`
_LONGEST_WORD = 256


class Batch(NamedTuple):
    """Lines that the control plane does not have.

    Args:
        first: the first one's number.
        last: the last one's.
        head: the last one's hash.
    """

    first: int
    last: int
    head: str
    lines: bytes


class Ledger:
    """
    Args:
        folder: the sidecar's own; None: no evidence is kept, and nothing here does anything.
        most_bytes: of all files in it.
        wall: Unix seconds.

    Attributes:
        head: hash of the last line.
        shed: entries that were not written since the start.
    """

    def __init__(self, folder: str | None, most_bytes: int, wall: Callable[[], float]) -> None:
        """Go on with the chain in the folder. ConfigError if the folder cannot be used."""
        self.head = FIRST
        self.shed = 0
        self._untold = 0            # of those, not yet in a `shed` line
        self._shed_since = 0.0      # when the first of them was
        self._second = 0            # in which refusals are counted
        self._refusals = 0
        self._news = 0              # number of the last line that is more than a `head`
        self._wall = wall
        self._most_bytes = most_bytes
        self._encoder = msgspec.json.Encoder(enc_hook=str)
        self._files = Segments(folder, most_bytes) if folder is not None else None
        self._is_open = self._files is not None
        if self._files is not None:
            self._read_back(self._files)
            self.add(Entry("start"))

    @property
    def count(self) -> int:
        """Number of the last line."""
        return self._files.count if self._files is not None else 0

    @property
    def has_news(self) -> bool:
        """Whether there is more to ship than the countersignature of what was shipped."""
        return self._files is not None and self._news > self._files.shipped

    def add(self, entry: Entry) -> None:
        """Write it down, or count it as shed. Its `previous` and `time` are filled in."""
        if not self._is_open:
            return
        now = self._wall()
        room = self._most_bytes
        if entry.kind == "refusal":
            room //= 2
        elif entry.kind == "connection":
            room -= OWN_BYTES
        if self._untold and not 0 <= now - self._shed_since < TELL_SHED_S:
            self._tell_shed(now, room)
        if (entry.kind == "refusal" and not self._may_refuse(int(now))) or not self._write(entry, now, room):
            if not self._untold:
                self._shed_since = now
            self.shed += 1
            self._untold += 1

    def unshipped(self, most_bytes: int) -> Batch | None:
        """As many lines as fit, one at least; None: the control plane has them all. OSError if the files cannot be read."""
        files = self._files
        if files is None or files.shipped >= files.count:
            return None
        lines: list[bytes] = []
        size = 0
        for line in files.lines(files.shipped + 1):
            size += len(line)
            if lines and size > most_bytes:
                break
            lines.append(line)
        return Batch(files.shipped + 1, files.shipped + len(lines), hash_of(lines[-1][:-1]), b"".join(lines))

    def shipped(self, countersignature: Countersignature) -> None:
        """The control plane has the chain as far as this, and signed it: that becomes a line of the chain."""
        if self._files is None:
            return
        self._files.shipped = countersignature.count
        if self._is_open:
            self._tell_shed(self._wall(), self._most_bytes)
        self.add(Entry("head", countersignature=countersignature))

    def rewind(self, count: int, head: str) -> bool:
        """Ship from behind line `count` on, if that line has this hash. False: the chain does not know it, and nothing changed."""
        files = self._files
        if files is None or not files.first - 1 <= count <= files.count:
            return False
        if count == files.count:
            known = self.head
        else:
            known = msgspec.json.decode(next(files.lines(count + 1)), type=Entry).previous
        if known != head:
            return False
        files.shipped = count
        return True

    def ship_all(self) -> None:
        """Ship from the oldest line that is here."""
        if self._files is not None:
            self._files.shipped = self._files.first - 1

    def close(self) -> None:
        """The process ends in order: the last line. It can still be shipped; nothing more is written."""
        if self._files is None or not self._is_open:
            return
        self._tell_shed(self._wall(), self._most_bytes)
        self.add(Entry("end"))
        self._is_open = False
        self._files.close()

    def _may_refuse(self, second: int) -> bool:
        if second != self._second:
            self._second, self._refusals = second, 0
        self._refusals += 1
        return self._refusals <= REFUSALS_A_SECOND

    def _write(self, entry: Entry, now: float, room: int) -> bool:
        files = self._files
        assert files is not None
        entry.previous, entry.time = self.head, now
        try:
            line = self._encoder.encode(entry)
            if len(line) > MAX_LINE_BYTES:
                line = self._encoder.encode(_shortened(entry))
        except UnicodeEncodeError:      # half a surrogate pair, which no text that was decoded in order holds
            line = self._encoder.encode(_shortened(entry))
        if not files.append(line + b"\n", room):
            return False
        self.head = hash_of(line)
        if entry.kind != "head":
            self._news = files.count
        return True

    def _tell_shed(self, now: float, room: int) -> None:
        if self._untold and self._write(Entry("shed", count=self._untold), now, room):
            self._untold = 0

    def _read_back(self, files: Segments) -> None:
        """Head, and how far the chain was countersigned: by its last `head` line, so only the end of the chain is read."""
        lines: list[bytes] = []
        first = files.count + 1
        while first > files.first or (not lines and files.count):
            first, found = files.segment(first - 1)
            lines[:0] = found
            if any(line.startswith(b'{"kind":"head"') for line in found):
                break
        try:
            if files.count - first + 1 != len(lines):
                raise Broken(first, "and those after it are not as many as their files' names say")
            previous = msgspec.json.decode(lines[0], type=Entry).previous if lines else FIRST
            for entry, self.head in follow(lines, Entry, head=previous, first=first):
                if entry.countersignature is not None:
                    files.shipped = min(max(entry.countersignature.count, files.shipped), files.count)
        except (Broken, msgspec.DecodeError, UnicodeDecodeError) as exc:
            print(f"bartizan: the ledger is broken, and begins anew: {exc}", file=sys.stderr, flush=True)
            files.forget()
            self.head = FIRST
        self._news = files.count


def _shortened(entry: Entry) -> Entry:
    """What peers chose, cut to what is enough to know them by."""
    def cut(text: str) -> str:
        return text.encode("utf-8", "replace").decode()[:_LONGEST_WORD]

    return msgspec.structs.replace(
        entry, host=cut(entry.host), detail=cut(entry.detail), source=cut(entry.source), dst=cut(entry.dst), rules={},
        local=cut(entry.local), peer=cut(entry.peer),
    )
