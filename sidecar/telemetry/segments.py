"""Numbered lines in a folder, within a bound: files that are begun one after the other and deleted oldest first.

Each file is named by the number of its first line. Only what somebody else has (`shipped`) is ever deleted. A line is in the file as
soon as `append` returns, and stays there if the process is killed; the disk is not waited for, since it is memory or outlives
nothing but the container.
"""

import errno
import fcntl
import hashlib
import os
import re
import sys
from collections.abc import Iterator

from sidecar.model.errors import ConfigError

SEGMENT_BYTES = 512 << 10
_NAME = re.compile(r"([0-9]{12})\.jsonl", re.ASCII)


class Segments:
    """
    Args:
        count: number of the last line; lines count from 1.
        shipped: number of the last line that somebody else has.
    """

    def __init__(self, folder: str, most_bytes: int) -> None:
        """Open or make the folder; what a crash left of a last line is moved aside, and said.

        Raises:
            ConfigError: the folder cannot be used, or another process does.
        """
        self._folder = folder
        self._most_bytes = most_bytes
        self._segment_bytes = min(SEGMENT_BYTES, most_bytes // 8)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._firsts = sorted(int(match[1]) for name in os.listdir(folder) if (match := _NAME.fullmatch(name)))
            self._sizes = [os.path.getsize(self._path(first)) for first in self._firsts]
            self._file = -1
            self.count = 0
            if self._firsts:
                self._recover()
        except BlockingIOError as exc:
            raise ConfigError("ledger.folder", f"{folder}: another process writes to it") from exc
        except OSError as exc:
            raise ConfigError("ledger.folder", f"{folder}: {exc.strerror}") from exc
        self._bytes = sum(self._sizes)
        self._is_torn = False
        self.shipped = self.first - 1

    @property
    def first(self) -> int:
        """Number of the oldest line that is here, or of the next where there is none."""
        return self._firsts[0] if self._firsts else self.count + 1

    def append(self, line: bytes, most_bytes: int) -> bool:
        """Whether the line was written. No OSError leaves here: a full disk is no reason to end a connection.

        Args:
            line: with its line feed.
            most_bytes: of all files, that line included.
        """
        size = len(line)
        if self._bytes + size > most_bytes and not self._make_room(size, most_bytes):
            return False
        try:
            if self._file < 0 or self._sizes[-1] + size > self._segment_bytes:
                self._begin()
            if self._is_torn:
                os.ftruncate(self._file, self._sizes[-1])
                self._is_torn = False
            # One system call, at the end that we know: what a full disk left of an earlier line is written over.
            if os.pwrite(self._file, line, self._sizes[-1]) != size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self._is_torn = self._file >= 0
            return False
        self._sizes[-1] += size
        self._bytes += size
        self.count += 1
        return True

    def segment(self, number: int) -> tuple[int, list[bytes]]:
        """(number of the first line, lines) of the file that holds the line of this number, or would hold the next one."""
        first = max(each for each in self._firsts if each <= number)
        with open(self._path(first), "rb") as file:
            data = file.read(self._sizes[self._firsts.index(first)])
        return first, [line + b"\n" for line in data.split(b"\n")[:-1]]

    def lines(self, number: int) -> Iterator[bytes]:
        """The lines from this one to the last, with their line feeds. OSError: they cannot be read, or some are gone."""
        while number <= self.count:
            first, found = self.segment(number)
            if not found[number - first:]:
                raise OSError(errno.EIO, f"line {number} is gone")
            yield from found[number - first:]
            number = first + len(found)

    def forget(self) -> None:
        """Put aside what cannot be read on, and begin with line 1; the latest that was put aside so is kept."""
        for name in os.listdir(self._folder):
            if name.endswith(".broken"):
                os.unlink(os.path.join(self._folder, name))
        self.close_file()
        for first in self._firsts:
            os.rename(self._path(first), self._path(first) + ".broken")
        self._firsts, self._sizes, self._bytes, self._is_torn = [], [], 0, False
        self.count = self.shipped = 0

    def close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def close(self) -> None:
        self.close_file()
        os.close(self._lock)

    def _path(self, first: int) -> str:
        return os.path.join(self._folder, f"{first:012d}.jsonl")

    def _begin(self) -> None:
        """Go on in a new file, or, after a start, in the last one."""
        is_new = not self._firsts or (self._sizes[-1] > 0 and (self._file >= 0 or self._sizes[-1] >= self._segment_bytes))
        first = self.count + 1 if is_new else self._firsts[-1]
        file = os.open(self._path(first), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.close_file()
        self._file = file
        if is_new:
            self._firsts.append(first)
            self._sizes.append(0)

    def _make_room(self, size: int, most_bytes: int) -> bool:
        while self._bytes + size > most_bytes:
            if len(self._firsts) < 2 or self._firsts[1] - 1 > self.shipped:
                return False
            try:
                os.unlink(self._path(self._firsts[0]))
            except FileNotFoundError:
                pass    # gone is gone
            except OSError:
                return False
            del self._firsts[0]
            self._bytes -= self._sizes.pop(0)
        return True

    def _recover(self) -> None:
        path = self._path(self._firsts[-1])
        with open(path, "rb") as file:
            data = file.read()
        complete = data.rfind(b"\n") + 1
        if torn := data[complete:]:
            aside = f"{path}.torn-{hashlib.sha256(torn).hexdigest()[:8]}"
            with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as kept:
                kept.write(torn)
            os.truncate(path, complete)
            print(f"bartizan: {path}: its last line was incomplete, as after a crash; moved to {aside}", file=sys.stderr, flush=True)
        self._sizes[-1] = complete
        self.count = self._firsts[-1] + data.count(b"\n") - 1
