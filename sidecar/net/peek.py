"""Look at the first bytes of a connection without taking them, so that whoever serves it sees them too.

Waiting for more than was seen raises SO_RCVLOWAT to one byte more: without it a partial hello keeps the socket readable and the
loop spins (116,000 wake-ups a second, measured); the end of the stream still wakes.
"""

import select
import socket
from collections.abc import Callable
from typing import TypeVar

from trio.lowlevel import wait_readable

from sidecar.model.errors import ProtocolViolation
from sidecar.model.reason import Reason

T = TypeVar("T")

PEEK_BYTES = 65536


async def peek(sock: socket.socket, judge: Callable[[bytes], T | None]) -> T | None:
    """Ask `judge` about ever longer beginnings of what arrives, until it answers.

    Returns:
        The answer; None if the stream ended, or 64 KiB went by, without one.

    OSError if the peer resets. ProtocolViolation if it sends urgent data: no peek sees beyond that byte, which whoever reads then
    does not see at all, so that a request could be put together behind our back (RFC 6093 s3.2).
    The caller sets the deadline; after cancellation nothing has been taken from the socket.
    """
    seen = 0
    try:
        while True:
            await wait_readable(sock)
            try:
                data = sock.recv(PEEK_BYTES, socket.MSG_PEEK)
            except BlockingIOError:
                continue
            answer = judge(data) if data else None
            if answer is not None:
                return answer
            if len(data) in (seen, PEEK_BYTES):
                if _has_urgent_data(sock):
                    raise ProtocolViolation(Reason.BAD_HEAD, "urgent data among the first bytes")
                return None
            seen = len(data)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, seen + 1)
    finally:
        if seen and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


def _has_urgent_data(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLPRI)
    return any(events & select.POLLPRI for _, events in poll.poll(0))
