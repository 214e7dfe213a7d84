"""Where the sidecars' ledgers are kept: one chain a pod, in files that are only ever appended to, or removed and then written down.

    <namespace>/<pod>.<uid>.jsonl               from line 1 on
    <namespace>/<pod>@<k>-<first>.<uid>.jsonl   the k-th file, which begins with line <first>: one a day, and where one is full. It
                                                follows from the last line of the file before, unless the sidecar lost its chain
    heads.json                                  pod uid -> last countersignature
    removed.jsonl, removed.1.jsonl              which files were removed, why, and with which line and hash they ended
    countersign.pem                             with which keys was signed

A gateway of several processes has a chain for each; in their names <uid> has the process's number (`sidecar/model/worker.py`).

What was answered to a sidecar is on the disk; `synced` puts many ledgers there at once. After a crash a chain is found by its head in
heads.json; whole lines behind it were received too, and count.
"""

import errno
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from certs.files import sync_directory, write
from sidecar.model.chain import FIRST, Broken, follow, hash_of, previous_of
from sidecar.model.errors import ConfigError
from sidecar.model.ledger import Countersignature, Entry
from sidecar.model.value import Value, from_json

HEADS = "heads.json"
REMOVED, REMOVED_BEFORE = "removed.jsonl", "removed.1.jsonl"
KEEP_S = 7 * 86400.0
MOST_BYTES = 10 << 30
FILE_BYTES = 64 << 20
BLOCK_BYTES = 4096          # what a file takes at least
MOST_REMOVED_BYTES = 16 << 20
DAY_S = 86400
_NAME = re.compile(
    r"(?P<pod>[^@]+?)(@(?P<number>[0-9]{1,9})-(?P<first>[0-9]{1,15}))?\.(?P<uid>[A-Za-z0-9-]{1,64}(_[0-9]{1,2})?)\.jsonl", re.ASCII)
_MOST_OF_A_NAME = 150       # of a pod's name, which may be as long as a file's


class Removal(Value, frozen=True):
    """A file that is gone.

    Args:
        why: `age` or `room`.
        file: below the store.
        first, last: numbers of its lines.
        head: hash of the last.
    """

    time: float
    why: str
    file: str
    first: int
    last: int
    head: str


@dataclass(order=True)
class Part:
    """One file of a chain.

    Args:
        number: which of the chain's files, from 1.
        first: number of its first line.
        changed: Unix seconds.
    """

    number: int
    first: int
    path: Path
    size: int = 0
    changed: float = 0.0

    @classmethod
    def named(cls, path: Path) -> "tuple[str, Part] | None":
        """(pod uid, part) by its name; None: it is no file of a ledger."""
        match = _NAME.fullmatch(path.name)
        return (match["uid"], cls(int(match["number"] or 1), int(match["first"] or 1), path)) if match else None


@dataclass(eq=False)
class Chain:
    """What is kept of one pod, or process.

    Args:
        uid: of the pod, with the process's number if it is not the first.
        name: `shop/web-1`.
        count: number of the last line.
        head: its hash.
        is_found: whether count and head have been looked up.
        passed_on: number of the last line that the collector has passed on.
    """

    uid: str
    name: str
    parts: list[Part] = field(default_factory=list)
    count: int = 0
    head: str = FIRST
    is_found: bool = False
    passed_on: int = 0
    last_number: int = 0
    must_begin: bool = False    # the last file is not to be appended to


class Store:
    def __init__(self, folder: Path, *, keep_s: float = KEEP_S, most_bytes: int = MOST_BYTES, file_bytes: int = FILE_BYTES) -> None:
        """ConfigError if the folder cannot be used, or heads.json not be read."""
        self.folder = folder
        self._keep_s, self._most_bytes, self._file_bytes = keep_s, most_bytes, file_bytes
        self._chains: dict[str, Chain] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in folder.glob("*/*.jsonl"):
                if (named := Part.named(path)) is not None:
                    uid, part = named
                    state = path.stat()
                    part.size, part.changed = state.st_size, state.st_mtime
                    self._chains.setdefault(uid, Chain(uid, f"{path.parent.name}/{path.name.split('@')[0]}")).parts.append(part)
        except OSError as exc:
            raise ConfigError("", f"{exc.filename}: {exc.strerror}") from exc
        for chain in self._chains.values():
            chain.parts.sort()
            chain.last_number = chain.parts[-1].number
        self.heads = read_heads(folder / HEADS)
        for uid in self.heads:
            self._chains.setdefault(uid, Chain(uid, uid))

    def chain(self, uid: str, namespace: str, pod: str) -> Chain:
        """The chain of a pod, as far as it is here. OSError: it cannot be read."""
        chain = self._chains.setdefault(uid, Chain(uid, ""))
        chain.name = f"{namespace}/{pod}"
        if not chain.is_found:
            self._find(chain)
        return chain

    def append(self, chain: Chain, lines: bytes, first: int, last: int, head: str, now: float) -> Path:
        """Write lines that were verified to the file that is returned; `synced` must follow. OSError: nothing was written.

        Args:
            first: number of the first of them. If they do not follow from the chain's head, `begin` comes before.
        """
        part = self._part(chain, first, len(lines), now)
        file = os.open(part.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                if os.pwrite(file, lines, part.size) != len(lines):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                os.ftruncate(file, part.size)
                raise
        finally:
            os.close(file)
        part.size += len(lines)
        part.changed = now
        chain.count, chain.head = last, head
        return part.path

    def begin(self, chain: Chain) -> None:
        """What comes next does not follow from what is here, so it goes to a file of its own."""
        chain.must_begin = True

    def synced(self, paths: set[Path], signed: dict[str, Countersignature]) -> None:
        """Wait until the disk has these files, then the heads. OSError or ConfigError: it may not have them. It may run in a thread."""
        for path in paths:
            try:
                file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue    # removed meanwhile, which was written down
            try:
                os.fsync(file)
            finally:
                os.close(file)
        for folder in {path.parent for path in paths}:
            sync_directory(folder)
        heads = self.heads | signed
        write(self.folder / HEADS, msgspec.json.encode(heads), replace=True)
        self.heads = heads

    def forget(self, uids: Iterable[str]) -> None:
        """The disk did not take what was written of these pods: look again what is there."""
        for uid in uids:
            if (chain := self._chains.get(uid)) is not None:
                chain.is_found = False

    def make_room(self, now: float) -> None:
        """Remove what is too old; then, while all is too much, the oldest file of whoever has most: nobody pushes out another's."""
        for chain in list(self._chains.values()):
            while chain.parts and chain.parts[0].changed < now - self._keep_s:
                self._remove(chain, "age", now)
            last = self.heads.get(chain.uid)
            if not chain.parts and (last is None or last.time < now - self._keep_s):
                self._chains.pop(chain.uid)
                self.heads = {uid: head for uid, head in self.heads.items() if uid != chain.uid}
        sizes = {uid: sum(max(part.size, BLOCK_BYTES) for part in chain.parts) for uid, chain in self._chains.items()}
        total = sum(sizes.values())
        while total > self._most_bytes:
            uid = max(sizes, key=lambda each: sizes[each])
            size = max(self._chains[uid].parts[0].size, BLOCK_BYTES)
            self._remove(self._chains[uid], "room", now)
            sizes[uid] -= size
            total -= size

    def _part(self, chain: Chain, first: int, size: int, now: float) -> Part:
        """The file to append to."""
        last = chain.parts[-1] if chain.parts else None
        if (
            last is None or chain.must_begin or last.size + size > self._file_bytes
            or last.changed // DAY_S != now // DAY_S
        ):
            chain.last_number += 1
            namespace, _, pod = chain.name.partition("/")
            which = f"@{chain.last_number}-{first}" if (chain.last_number, first) != (1, 1) else ""
            path = self.folder / namespace / f"{pod[:_MOST_OF_A_NAME]}{which}.{chain.uid}.jsonl"
            path.parent.mkdir(mode=0o700, exist_ok=True)
            last = Part(chain.last_number, first, path)
            chain.parts.append(last)
            chain.must_begin = False
        return last

    def _find(self, chain: Chain) -> None:
        """Where the chain ends, by heads.json and the last file."""
        known = self.heads.get(chain.uid)
        chain.count, chain.head = (known.count, known.head) if known is not None else (0, FIRST)
        if chain.parts:
            part = chain.parts[-1]
            part.size = part.path.stat().st_size
            if torn := _torn(part.path, part.size):
                _say(chain, f"the last {torn} bytes of {part.path} are no whole line, as after a crash, and were never answered: cut off")
                part.size -= torn
                os.truncate(part.path, part.size)
            found = _lines_after(part.path, part.size, chain.head if known is not None else None)
            if found is None:
                _say(chain, f"{part.path} does not hold line {chain.count} any more, which was countersigned; somebody has changed it")
                chain.must_begin = True
            else:
                self._go_on(chain, part, found, is_known=known is not None)
        chain.is_found = True

    def _go_on(self, chain: Chain, part: Part, lines: list[bytes], *, is_known: bool) -> None:
        """Lines that were received and never answered."""
        if not is_known and lines:
            chain.count, chain.head = part.first - 1, previous_of(lines[0]) or FIRST
        try:
            for _, head in follow(lines, Entry, head=chain.head):
                chain.count, chain.head = chain.count + 1, head
        except Broken:
            _say(chain, f"{part.path} is broken behind line {chain.count}; somebody has changed it")
            chain.must_begin = True

    def _remove(self, chain: Chain, why: str, now: float) -> None:
        part = chain.parts.pop(0)
        file = str(part.path.relative_to(self.folder))
        try:
            lines, last = 0, b"\n"
            with part.path.open("rb") as stream:
                for line in stream:
                    lines, last = lines + 1, line
            part.path.unlink()
        except OSError as exc:
            _say(chain, f"{part.path}: {exc.strerror}")
            return
        removal = Removal(now, why, file, part.first, part.first + lines - 1, hash_of(last[:-1]))
        log = self.folder / REMOVED
        if log.exists() and log.stat().st_size > MOST_REMOVED_BYTES:
            os.replace(log, self.folder / REMOVED_BEFORE)
        with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab") as stream:
            stream.write(msgspec.json.encode(removal) + b"\n")


def read_heads(path: Path) -> dict[str, Countersignature]:
    """Empty if the file is not there. ConfigError if it is something else."""
    try:
        return from_json(path.read_bytes(), dict[str, Countersignature])
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise ConfigError("", f"{path}: {exc.strerror}") from exc
    except ConfigError as exc:
        raise ConfigError("", f"{path}: {exc}") from exc


def read_removed(folder: Path) -> Iterator[Removal]:
    """What was removed from the store, oldest first; lines that are none are passed over."""
    for name in (REMOVED_BEFORE, REMOVED):
        if (folder / name).exists():
            for line in (folder / name).read_bytes().split(b"\n"):
                try:
                    yield from_json(line, Removal)
                except ConfigError:
                    continue


def _torn(path: Path, size: int) -> int:
    """How many bytes stand behind the last line feed."""
    length = 1 << 16
    with path.open("rb") as file:
        while True:
            start = max(0, size - length)
            file.seek(start)
            data = file.read(size - start)
            if start == 0 or b"\n" in data:
                return len(data) - data.rfind(b"\n") - 1
            length *= 4


def _lines_after(path: Path, size: int, head: str | None) -> list[bytes] | None:
    """The lines behind the one with this hash, looked for from the end; None: there is none. All of them without a hash."""
    length = 1 << 16 if head is not None else size
    while True:
        start = max(0, size - length)
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(size - start)
        if start:
            data = data.partition(b"\n")[2]
        lines = [line + b"\n" for line in data.split(b"\n")[:-1]]
        if head is None:
            return lines
        for number in range(len(lines), 0, -1):
            if hash_of(lines[number - 1][:-1]) == head:
                return lines[number:]
        if start == 0:
            return None
        length *= 4


def _say(chain: Chain, what: str) -> None:
    print(f"bartizan: {chain.name}: {what}", file=sys.stderr, flush=True)
