"""The accept loop under more connections than it has room for."""

import resource
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio
from trio.testing import wait_all_tasks_blocked

from sidecar.net.listener import Tally, listen_tcp, room_for_connections, serve_listener


@asynccontextmanager
async def held(most: int, sources: Sequence[str]) -> AsyncIterator[tuple[list[str], list[socket.socket], trio.Event]]:
    """One connection from each of `sources`, in order: (whose is served so far, the clients, what ends all that are served)."""
    served: list[str] = []
    leave = trio.Event()

    async def hold(sock: socket.socket) -> None:
        served.append(sock.getpeername()[0])
        await leave.wait()

    listener = listen_tcp("127.0.0.1", 0)
    clients: list[socket.socket] = []
    try:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve_listener, listener, hold, Tally(), most)
                for source in sources:
                    clients.append(socket.create_connection(listener.getsockname(), source_address=(source, 0)))
                    await wait_all_tasks_blocked(0.02)
                yield served, clients, leave
                nursery.cancel_scope.cancel()
    finally:
        for client in clients:
            client.close()


async def test_connections_beyond_the_room_wait_their_turn() -> None:
    async with held(2, ("127.0.0.1", "127.0.0.2", "127.0.0.3")) as (served, _, leave):
        assert served == ["127.0.0.1", "127.0.0.2"]
        leave.set()
        while len(served) < 3:
            await trio.lowlevel.checkpoint()


async def test_one_address_holds_half_of_the_room_at_most() -> None:
    async with held(4, ("127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.2")) as (served, clients, _):
        assert served == ["127.0.0.1", "127.0.0.1", "127.0.0.2"]
        assert clients[2].recv(1) == b""


def test_half_of_the_descriptors_stay_for_the_process_itself() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[0]), before[1]))
        room = room_for_connections()
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert soft > 256       # raised: the default of many systems, 1024, is meant for programs that use select()
        assert room * 4 <= soft
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
