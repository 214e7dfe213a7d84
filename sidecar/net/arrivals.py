"""Who waits at many sockets at once, for those who have no task: one task for the whole process.

A task that waits for one answer costs 40 us of CPU, most of it for being made, woken and laid down again; here it costs one system call.
All that has arrived is told of in one turn (`turn.py`), so that what it sets off leaves together, and a bug of one's own is that
of its own connection.
"""

import select
import socket

import trio
from trio.lowlevel import RunVar, wait_readable

from .turn import Listener, Turn

AT_ONCE = 256       # then whoever else is there gets a turn

_ARRIVALS: RunVar["Arrivals | None"] = RunVar("arrivals", None)


class Arrivals:
    """One for each run of trio."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._listeners: dict[int, Listener] = {}

    @classmethod
    def of_this_run(cls) -> "Arrivals":
        arrivals = _ARRIVALS.get()
        if arrivals is None:
            arrivals = cls()
            _ARRIVALS.set(arrivals)
            trio.lowlevel.spawn_system_task(arrivals._run)
        return arrivals

    def tell(self, sock: socket.socket, listener: Listener) -> None:
        """Once, when something is there to be read, or the end. Of one socket one is told, the last who asked."""
        fd = sock.fileno()
        self._listeners[fd] = listener
        try:
            self._epoll.modify(fd, select.EPOLLIN | select.EPOLLONESHOT)
        except FileNotFoundError:       # for the first time; the kernel forgets a socket that is closed
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLONESHOT)

    async def _run(self) -> None:
        turn = Turn.of_this_run()
        with self._epoll:
            while True:
                await wait_readable(self._epoll.fileno())
                found = [self._listeners.pop(fd, None) for fd, _ in self._epoll.poll(0, AT_ONCE)]
                turn.tell_all([listener for listener in found if listener is not None])
