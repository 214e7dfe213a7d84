"""All that one socket sends to another, in big pieces; where much comes at once, without copying it: `splice` through a pipe.

CPU seconds for a gigabyte over loopback, one connection and eight (a stream's `receive_some` and `send_all` with 64 KiB: 0.50, 0.65):
    recv_into and send, 64 KiB  0.37         256 KiB  0.28, 0.35
    splice, 64 KiB              0.36         256 KiB  0.26, 0.31         1 MiB  0.20, 0.18
So the size of the pieces is what counts most. With a network between (veth, TCP's own work is most of it; Envoy: 0.51):
    recv_into and send, 256 KiB 0.52         1 MiB  0.42 to 0.48
    splice, 256 KiB             0.53         1 MiB  0.40
What waits for a stalled reader is 256 KiB, any number of times, and 1 MiB in the pipes, and in memory, of few connections.

Pipes are for bulk only. A small message gains nothing by them, and pins a page for each segment that it came in. The kernel lets a
user without privilege have 64 of this size, all sidecars of a node together: so one is held only while bytes are in it, and where
none is to be had the bytes are copied.
"""

import contextlib
import errno
import fcntl
import mmap
import os
import socket
from collections.abc import Callable, Iterator
from os import SPLICE_F_MOVE, SPLICE_F_NONBLOCK
from typing import NamedTuple

import trio
from trio.lowlevel import wait_readable, wait_writable

PIECE_BYTES = 256 << 10
LARGE_BYTES = 1 << 20    # of a pipe; of what is copied, while few connections hold so much
BULK_BYTES = 65536      # so much at once, and the next piece is spliced
MOST_LARGE = 8          # pipes, and as many copies
SPARE_PIPES = 1         # kept for the next piece: who takes one gives it back in the same turn, if there is room

_FLAGS = SPLICE_F_MOVE | SPLICE_F_NONBLOCK
# Said by a kernel, a kind of socket, or a filter of system calls, that does not know how or does not let us.
_UNABLE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP})


class Pipe(NamedTuple):
    out: int
    into: int

    def close(self) -> None:
        os.close(self.out)
        os.close(self.into)


class Pipes:
    """Pipes for who needs one now, and the one room for what is copied.

    Args:
        most: how many there are at a time, for all connections together, and large pieces that wait beside them.
    """

    def __init__(self, most: int = MOST_LARGE) -> None:
        self.count = 0
        self._room = memoryview(mmap.mmap(-1, LARGE_BYTES))     # pages that nobody needs are not there
        self._most = most
        self._most_kept = most
        self._kept = 0
        self._spare: list[Pipe] = []

    def room(self) -> memoryview:
        """Where a piece may be put now. It is the others' at the next await."""
        return self._room if self._kept < self._most_kept else self._room[:PIECE_BYTES]

    @contextlib.contextmanager
    def keeping(self, rest: memoryview) -> Iterator[bytes]:
        """What of a piece there was no room for, until there is."""
        is_large = len(rest) > PIECE_BYTES
        self._kept += is_large
        try:
            yield bytes(rest)
        finally:
            self._kept -= is_large

    def take_nowait(self) -> Pipe | None:
        """An empty pipe; None if there is none to be had."""
        if self._spare:
            return self._spare.pop()
        if self.count >= self._most:
            return None
        try:
            pipe = Pipe(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError:     # out of descriptors, which connections need more
            return None
        try:
            fcntl.fcntl(pipe.into, fcntl.F_SETPIPE_SZ, LARGE_BYTES)
        except OSError:     # this user has too many
            pipe.close()
            return None
        self.count += 1
        return pipe

    def give_back(self, pipe: Pipe, *, is_empty: bool) -> None:
        if is_empty and len(self._spare) < SPARE_PIPES and self.count <= self._most:
            self._spare.append(pipe)
        else:
            self.count -= 1
            pipe.close()

    def give_up(self) -> None:
        """No pipes from now on."""
        self._most = 0
        while self._spare:
            self.count -= 1
            self._spare.pop().close()


async def relay(source: socket.socket, sink: socket.socket, pipes: Pipes, moved: Callable[[int], None]) -> None:
    """All that `source` sends to `sink`, until its end, which the caller passes on. The caller closes neither before this returns.

    Args:
        moved: told the bytes of each piece that has gone over.

    Raises: BrokenResourceError if either breaks. Then, and after cancellation, bytes may be lost between the two.
    """
    is_bulk = False
    try:
        while True:
            await wait_readable(source)
            pipe = pipes.take_nowait() if is_bulk else None
            try:
                count = await (_copy(source, sink, pipes) if pipe is None else _splice(source, sink, pipe, pipes))
            except BlockingIOError:
                continue
            if count == 0:
                return
            moved(count)
            is_bulk = count >= BULK_BYTES
    except OSError as exc:
        raise trio.BrokenResourceError(exc.strerror) from exc


async def _copy(source: socket.socket, sink: socket.socket, pipes: Pipes) -> int:
    """One piece, its bytes counted; 0 at the end. BlockingIOError if nothing is there."""
    room = pipes.room()
    count = source.recv_into(room)
    sent = 0
    try:
        sent = sink.send(room[:count]) if count else 0
    except BlockingIOError:
        pass
    if sent < count:
        with pipes.keeping(room[sent:count]) as kept:
            rest = memoryview(kept)
            while rest:
                await wait_writable(sink)
                try:
                    rest = rest[sink.send(rest):]
                except BlockingIOError:
                    pass
    return count


async def _splice(source: socket.socket, sink: socket.socket, pipe: Pipe, pipes: Pipes) -> int:
    """As `_copy`; gives the pipe back."""
    left = 0
    try:
        count = left = _fill(pipe, source, pipes)
        while left:
            try:
                left -= os.splice(pipe.out, sink.fileno(), left, flags=_FLAGS)
            except BlockingIOError:
                await wait_writable(sink)
        return count
    finally:
        pipes.give_back(pipe, is_empty=left == 0)


def _fill(pipe: Pipe, source: socket.socket, pipes: Pipes) -> int:
    try:
        return os.splice(source.fileno(), pipe.into, LARGE_BYTES, flags=_FLAGS)
    except OSError as exc:
        if exc.errno not in _UNABLE:
            raise
        pipes.give_up()
        raise BlockingIOError from exc      # copied at the next turn
