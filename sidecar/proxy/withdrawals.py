"""Connections to the outside, each with the leave that it rests on: where that is withdrawn, the connection ends.

That holds for kept connections as for busy ones: an exchange that is on sees an upstream that broke off. What is tunnelled looks
after its leave itself (`tunnel.py`).
"""

import socket
from collections.abc import Callable
from weakref import WeakKeyDictionary


class Withdrawals:
    def __init__(self) -> None:
        self._watched: WeakKeyDictionary[socket.socket, Callable[[], bool]] = WeakKeyDictionary()

    def watch(self, sock: socket.socket, is_permitted: Callable[[], bool]) -> None:
        """As long as the socket lives."""
        self._watched[sock] = is_permitted

    def part(self) -> None:
        """End what is permitted no longer."""
        for sock, is_permitted in list(self._watched.items()):
            if sock.fileno() >= 0 and not is_permitted():
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass    # it has ended by itself
