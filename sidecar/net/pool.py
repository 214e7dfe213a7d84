"""Idle upstream connections, kept for the next exchange with the very same party.

The key says everything that makes a connection this one and no other (identity, address, TLS settings, client certificate): two
keys never share one. The whole state is one table; every function that changes it is synchronous and returns what the caller
has to close.
"""

import socket
from collections.abc import Hashable
from typing import NamedTuple

import trio

from .http1 import Http1Connection

IDLE_S = 55.0       # below the 60 s after which common servers close
IDLE_PER_KEY = 64


class Idle(NamedTuple):
    connection: Http1Connection
    until: float


class Pool:
    """Idle connections by key, the most recently used last."""

    def __init__(self) -> None:
        self._idle: dict[Hashable, list[Idle]] = {}

    def take_nowait(self, key: Hashable) -> tuple[Http1Connection | None, list[Http1Connection]]:
        """(a connection to use or None, connections to close): one that has ended, or has something to say unasked, is no use."""
        kept = self._idle.get(key)
        stale: list[Http1Connection] = []
        while kept:
            connection, until = kept.pop()
            if until > trio.current_time() and is_quiet(connection):
                return connection, stale
            stale.append(connection)
        self._idle.pop(key, None)
        return None, stale

    def give_back(self, key: Hashable, connection: Http1Connection) -> list[Http1Connection]:
        """Keep `connection`, whose last exchange is complete; returns what to close instead."""
        kept = self._idle.setdefault(key, [])
        kept.append(Idle(connection, trio.current_time() + IDLE_S))
        return [kept.pop(0).connection] if len(kept) > IDLE_PER_KEY else []

    def expire(self) -> list[Http1Connection]:
        """Connections whose time is over."""
        now = trio.current_time()
        over = []
        for key, kept in list(self._idle.items()):
            over += [idle.connection for idle in kept if idle.until <= now]
            kept[:] = [idle for idle in kept if idle.until > now]
            if not kept:
                del self._idle[key]
        return over

    def empty(self) -> list[Http1Connection]:
        """Every connection: what they rest on (certificate, policy) is no longer so."""
        everything = [idle.connection for kept in self._idle.values() for idle in kept]
        self._idle.clear()
        return everything

    def __len__(self) -> int:
        return sum(map(len, self._idle.values()))


def is_quiet(connection: Http1Connection) -> bool:
    """Nothing waits to be read: neither the end nor an answer to no question (response desynchronisation)."""
    sock = getattr(connection.stream, "sock", None)
    if sock is None:
        return True
    if sock.fileno() < 0:
        return False
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    # TLS 1.3 tickets may wait here unread; they are not an answer. We ask servers for none, so bytes are the end or an intrusion.
    return False


def close_all(connections: list[Http1Connection]) -> None:
    for connection in connections:
        close = getattr(connection.stream, "close", None)
        if close is not None:
            close()
