"""Upstream connections, kept for the next exchange with the very same party.

The key says everything that makes a connection this one and no other (identity, address, TLS settings, client certificate): two
keys never share one. The whole state is two tables; every function that changes them is synchronous.

A connection stands in its key's list while it has room: an HTTP/1.1 connection between exchanges, an HTTP/2 connection nearly
always. Whatever is spent is closed here, by nobody else.
"""

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import trio

from .ends import AskingEnd, Connection

IDLE_S = 55.0       # below the 60 s after which common servers close
IDLE_PER_KEY = 128     # four clients of a gateway with 32 requests each: what is closed between two bursts costs a handshake, 1 ms of CPU


@dataclass(slots=True)
class _Place:
    """Where a connection belongs. `expires_at` counts while it is idle."""

    key: Hashable
    group: Hashable
    is_kept: bool = False
    expires_at: float = 0.0


class Pool:
    """Connections with room by key, the most recently used last.

    Attributes:
        opened: connections by group, those that are still being made included.
        pending: exchanges that wait for a connection, by group.
        connecting: by key, where others wait for a connection that all will share.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, list[Connection]] = {}
        self._places: dict[Connection, _Place] = {}
        self.opened: Counter[Hashable] = Counter()
        self.pending: Counter[Hashable] = Counter()
        self.connecting: dict[Hashable, trio.Event] = {}
        self._is_closed = False
        self._now: Callable[[], float] = trio.current_time      # by way of three calls, until there is something to keep

    def take_nowait(self, key: Hashable, now: float | None = None) -> AskingEnd | None:
        """A new exchange on a connection that is there; an idle one that has ended, or says something unasked, is no use.

        Args:
            now: trio's time, of whoever has just looked at the clock.
        """
        kept = self._kept.get(key)
        while kept:
            connection = kept[-1]
            place = self._places[connection]
            is_good = connection.room and (
                not connection.is_idle or (place.expires_at > (self._now() if now is None else now) and connection.is_quiet())
            )
            if is_good:
                end = connection.open()
                if not connection.room:
                    kept.pop()
                    place.is_kept = False
                return end
            kept.pop()
            place.is_kept = False
            self._drop(connection)
        if kept is not None:
            del self._kept[key]
        return None

    def add(self, key: Hashable, group: Hashable, connection: Connection) -> AskingEnd:
        """The first exchange on a new connection, which `opened` counts already."""
        self._now = trio.lowlevel.current_clock().current_time
        place = self._places[connection] = _Place(key, group)
        connection.released = self._release
        end = connection.open()
        if connection.room:
            self._keep(connection, place)
        return end

    def forget(self, group: Hashable) -> None:
        """A connection that `opened` counted is none."""
        self.opened[group] -= 1
        if not self.opened[group]:
            del self.opened[group]

    def _release(self, connection: Connection) -> None:
        """One exchange of the connection's is over."""
        place = self._places[connection]
        if connection.room and not self._is_closed:
            self._keep(connection, place)
            return
        if place.is_kept:       # it had room when another exchange ended
            self._kept[place.key].remove(connection)
            place.is_kept = False
        self._drop(connection)

    def _keep(self, connection: Connection, place: _Place) -> None:
        place.expires_at = self._now() + IDLE_S
        if place.is_kept:
            return
        place.is_kept = True
        kept = self._kept.get(place.key)
        if kept is None:
            kept = self._kept[place.key] = []
        kept.append(connection)
        if len(kept) > IDLE_PER_KEY:
            oldest = kept.pop(0)
            self._places[oldest].is_kept = False
            self._drop(oldest)

    def _drop(self, connection: Connection) -> None:
        """Takes no exchange any more; closed as soon as the last one on it is over."""
        connection.retire()
        if connection.is_spent:
            connection.close()
            self.forget(self._places.pop(connection).group)

    def expire(self) -> None:
        """Close idle connections whose time is over, or that have ended."""
        now = trio.current_time()
        for key, kept in list(self._kept.items()):
            for connection in list(kept):
                place = self._places[connection]
                if connection.is_idle and (place.expires_at <= now or not connection.is_quiet()):
                    kept.remove(connection)
                    place.is_kept = False
                    self._drop(connection)
            if not kept:
                del self._kept[key]

    def close(self) -> None:
        """Keep none from now on; those with exchanges on end with these."""
        self._is_closed = True
        for connection in [one for kept in self._kept.values() for one in kept]:
            self._places[connection].is_kept = False
            self._drop(connection)
        self._kept.clear()

    def __len__(self) -> int:
        """How many have room."""
        return sum(map(len, self._kept.values()))
