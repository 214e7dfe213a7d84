"""A connection within this process: for whoever plays the application before a recipe."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends; closed with the block. What one sends the other has at once."""
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        other.setblocking(False)
        yield one, other
