"""Connections to the outside, each with the leave that it rests on: where that is withdrawn, the connection ends.

That holds for kept connections as for busy ones: an exchange that is on sees an upstream that broke off. What is tunnelled looks
after its leave itself (`tunnel.py`).
"""

import socket
from collections.abc import Callable
from weakref import WeakKeyDictionary

import trio

from sidecar.model.errors import Unavailable
from sidecar.model.reason import Reason
from sidecar.net.socket_stream import part
from sidecar.net.watched import Watched
from sidecar.policy.rules import Rules

from .tunnel import ASK_AGAIN_S


class Withdrawals:
    def __init__(self) -> None:
        self._watched: WeakKeyDictionary[socket.socket, Callable[[], bool]] = WeakKeyDictionary()

    def watch(self, sock: socket.socket, is_permitted: Callable[[], bool]) -> None:
        """As long as the socket lives. Unavailable if the leave has ended by now: it took time to connect."""
        if not is_permitted():
            raise Unavailable(Reason.HOST_NOT_APPROVED, "no longer permitted")
        self._watched[sock] = is_permitted

    def part(self) -> None:
        """End what is permitted no longer."""
        for sock, is_permitted in list(self._watched.items()):
            if sock.fileno() >= 0 and not is_permitted():
                part(sock)

    async def run(self, rules: Watched[Rules | None]) -> None:
        """For ever: at each change of the rules, and now and then, since dates pass and packet rules are lost, too."""
        while True:
            seen = rules.current
            self.part()
            with trio.move_on_after(ASK_AGAIN_S):
                await rules.wait_change(seen)
