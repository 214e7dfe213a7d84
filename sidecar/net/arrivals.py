"""Who waits at many sockets at once, for those who have no task: one task for the whole process.

A task for each answer is made, woken and laid down again: a fourth of all that an exchange at a gateway costs. Here it is one system call.
All that has arrived is told of in one turn (`turn.py`), so that what it sets off leaves together, and a bug of one's own is that
of its own connection.
"""

import select
import socket

import trio
from trio.lowlevel import RunVar, wait_readable

from .turn import Listener, Turn

AT_ONCE = 256       # then whoever else is there gets a turn
SPARE = 64          # sockets that may have been closed meanwhile, before they are swept out

_ARRIVALS: RunVar["Arrivals | None"] = RunVar("arrivals", None)


class Arrivals:
    """One for each run of trio.

    Args:
        spare: see SPARE.
    """

    def __init__(self, spare: int = SPARE) -> None:
        self._spare = spare
        self._epoll = select.epoll()
        self._told: dict[int, tuple[socket.socket, Listener]] = {}
        self._most = spare

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
        self._told[fd] = sock, listener
        if len(self._told) > self._most:
            self._told = {known: told for known, told in self._told.items() if told[0].fileno() == known}
            self._most = 2 * len(self._told) + self._spare
        try:
            self._epoll.modify(fd, select.EPOLLIN | select.EPOLLONESHOT)
        except FileNotFoundError:       # for the first time; the kernel forgets a socket that is closed
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLONESHOT)

    async def _run(self) -> None:
        turn = Turn.of_this_run()
        with self._epoll:
            while True:
                await wait_readable(self._epoll.fileno())
                found = [self._told.pop(fd, None) for fd, _ in self._epoll.poll(0, AT_ONCE)]
                turn.tell_all([told[1] for told in found if told is not None])

    def __len__(self) -> int:
        """How many are to be told, some of them by sockets that are closed."""
        return len(self._told)
