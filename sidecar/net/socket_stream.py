"""A stream on a raw non-blocking socket.

trio's own SocketStream costs a checkpoint and a wrapper for each call; here one wait and one system call move the bytes
(figures in the benchmark). Receiving waits first, since between request and answer there is nothing to read yet; sending tries
first, since there is nearly always room.
"""

import socket
from collections.abc import Awaitable, Callable
from functools import partial
from select import POLLIN, poll

import trio
from trio.lowlevel import notify_closing, wait_readable, wait_writable

from .arrivals import Arrivals
from .turn import Listener

RECEIVE_BYTES = 65536
LAST_WORDS_S = 5.0
_RESET = b"\x01\0\0\0\0\0\0\0"      # of SO_LINGER: when it is closed the peer sees a reset


class SocketStream(trio.abc.HalfCloseableStream):
    """
    Args:
        sock: connected, stream type; this object owns it from now on.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        # Whoever reads all that there is: wait, then `receive_nowait`. A frame less for each wait of a connection.
        self.wait_input: Callable[[], Awaitable[None]] = partial(wait_readable, sock)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Up to `max_bytes` bytes, b"" at the end. BrokenResourceError if the peer reset."""
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        while True:
            if self.sock.fileno() < 0:
                raise trio.ClosedResourceError
            await wait_readable(self.sock)
            try:
                return self.sock.recv(max_bytes or RECEIVE_BYTES) or self._end()
            except BlockingIOError:
                continue
            except OSError as exc:
                raise trio.BrokenResourceError(exc.strerror) from exc

    async def receive_into(self, room: Callable[[], memoryview]) -> memoryview:
        """What came, in the room that is asked for when it is there; empty at the end. Between reading and return nothing else runs, so
        that others may share the room.
        """
        while True:
            if self.sock.fileno() < 0:
                raise trio.ClosedResourceError
            await wait_readable(self.sock)
            try:
                here = room()
                return here[:self.sock.recv_into(here) or len(self._end())]
            except BlockingIOError:
                continue
            except OSError as exc:
                raise trio.BrokenResourceError(exc.strerror) from exc

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """After an error or cancellation some, all or none of `data` was sent."""
        rest = data
        while True:
            if self.sock.fileno() < 0:
                raise trio.ClosedResourceError
            try:
                sent = self.sock.send(rest)
            except BlockingIOError:
                sent = 0
            except OSError as exc:
                raise trio.BrokenResourceError(exc.strerror) from exc
            if sent == len(rest):
                return
            rest = memoryview(rest)[sent:]
            await wait_writable(self.sock)

    async def wait_send_all_might_not_block(self) -> None:
        if self.sock.fileno() < 0:
            raise trio.ClosedResourceError
        await wait_writable(self.sock)

    def receive_nowait(self) -> bytes | None:
        """What is here, b"" at the end; None: nothing is. BrokenResourceError if the peer reset."""
        try:
            return self.sock.recv(RECEIVE_BYTES) or self._end()
        except BlockingIOError:
            return None
        except OSError as exc:
            raise self._broken(exc) from exc

    def tell_input(self, listener: Listener) -> None:
        """It is told, once, when there may be something to receive."""
        if self.sock.fileno() < 0:
            raise trio.ClosedResourceError
        Arrivals.of_this_run().tell(self.sock, listener)

    def send_nowait(self, data: bytes | memoryview) -> int:
        """How many bytes of `data` there was room for; the others come first in the next call."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise self._broken(exc) from exc

    def _end(self) -> bytes:
        if self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_RESET)) == _RESET:
            raise trio.BrokenResourceError("ended by us")
        return b""

    def _broken(self, exc: OSError) -> trio.ClosedResourceError | trio.BrokenResourceError:
        return trio.ClosedResourceError() if self.sock.fileno() < 0 else trio.BrokenResourceError(exc.strerror)

    async def send_eof(self) -> None:
        if self.sock.fileno() < 0:
            raise trio.ClosedResourceError
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as exc:
            raise trio.BrokenResourceError(exc.strerror) from exc

    def close(self) -> None:
        """At once, without a word; any number of times."""
        if self.sock.fileno() >= 0:
            notify_closing(self.sock)
            self.sock.close()

    def abort(self) -> None:
        """Close with a reset: the peer must not take what it got for the whole."""
        abort(self.sock)

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()


def cut(stream: trio.abc.HalfCloseableStream) -> None:
    """Abort `stream`, whichever of ours it is; one that cannot be is left for its owner to close."""
    abort_stream = getattr(stream, "abort", None)
    if abort_stream is not None:
        abort_stream()


def close_stream(stream: trio.abc.AsyncResource) -> None:
    """Close `stream` at once, whichever of ours it is."""
    close = getattr(stream, "close", None)
    if close is not None:
        close()


def quiet_check(stream: trio.abc.ReceiveStream) -> Callable[[], bool]:
    """What asks whether nothing waits to be read on `stream`: neither the end nor an answer to no question (response desynchronisation).

    TLS 1.3 tickets may wait here unread; they are not an answer. We ask servers for none, so bytes are the end or an intrusion.
    """
    sock: socket.socket | None = getattr(stream, "sock", None)
    if sock is None:
        return lambda: True
    # To peek would cost an exception, 1.6 us, each time that all is well.
    asked = poll()
    asked.register(sock, POLLIN)
    return lambda: sock.fileno() >= 0 and not asked.poll(0)     # closed, its number may be another's


async def linger(stream: trio.abc.HalfCloseableStream, discard_bytes: int = 1 << 20) -> None:
    """Half-close and drain for a moment: closing with unread bytes would reset, and the reason would never arrive."""
    with trio.move_on_after(LAST_WORDS_S):
        try:
            await stream.send_eof()
            seen = 0
            while seen < discard_bytes and (data := await stream.receive_some(RECEIVE_BYTES)):
                seen += len(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


def abort(sock: socket.socket) -> None:
    """Close with a reset: the peer must not take what it got for the whole."""
    if sock.fileno() >= 0:
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        notify_closing(sock)
        sock.close()


def part(sock: socket.socket) -> None:
    """End a connection, whoever uses it: to them it broke, for the end that comes of it must not be taken for that of a body."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass    # it has ended by itself
