import os
import resource
import socket
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.lowlevel import wait_readable
from trio.testing import wait_all_tasks_blocked

from sidecar.model.address import client_network
from sidecar.model.errors import ConfigError, DownstreamGone
from sidecar.net.listener import (
    MOST_SHARES_AT_THE_EDGE,
    ConnectionHandler,
    Tally,
    has_ipv6,
    listen_tcp,
    listen_unix,
    room_for_connections,
    serve_listener,
)


async def talk(handler: ConnectionHandler, tally: Tally, times: int) -> list[bytes]:
    """What each of `times` clients, one after the other, is told."""
    listener = listen_tcp("127.0.0.1", 0)
    address, heard = listener.getsockname(), []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_listener, listener, handler, tally)
        for _ in range(times):
            async with await trio.open_tcp_stream(*address) as stream:
                await stream.send_all(b"x")
                try:
                    heard.append(bytes(await stream.receive_some()))
                except trio.BrokenResourceError:
                    heard.append(b"(reset)")
        while tally.open.current:
            await tally.open.wait_change(tally.open.current)
        nursery.cancel_scope.cancel()
    assert listener.fileno() < 0
    return heard


@pytest.mark.parametrize("error", [
    DownstreamGone(), ConnectionResetError(), trio.BrokenResourceError(), trio.ClosedResourceError(),
    ExceptionGroup("of a nursery", [DownstreamGone(), trio.BrokenResourceError()]),
])
async def test_what_is_expected_ends_its_connection_and_no_more(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(sock: socket.socket) -> None:
        await wait_readable(sock)
        sock.recv(1)
        raise error

    tally = Tally()
    assert await talk(handler, tally, 2) == [b"", b""]
    assert (tally.bugs, capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize("error", [ValueError("a bug"), AssertionError(), ExceptionGroup("of a nursery", [DownstreamGone(), KeyError()])])
async def test_a_bug_is_counted_and_printed_and_the_server_lives(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(sock: socket.socket) -> None:
        await wait_readable(sock)
        sock.recv(1)
        raise error

    tally = Tally()
    assert await talk(handler, tally, 2) == [b"", b""]
    assert tally.bugs == 2
    assert "Traceback" in capsys.readouterr().err


async def test_a_handler_may_close_its_socket_itself() -> None:
    async def handler(sock: socket.socket) -> None:
        await wait_readable(sock)
        sock.recv(1)
        sock.send(b"bye")
        sock.close()

    tally = Tally()
    assert await talk(handler, tally, 1) == [b"bye"]
    assert tally.bugs == 0


async def test_cancelling_ends_every_connection() -> None:
    async def handler(sock: socket.socket) -> None:
        await trio.sleep_forever()

    tally, listener = Tally(), listen_tcp("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_listener, listener, handler, tally)
        async with await trio.open_tcp_stream(*listener.getsockname()) as one, await trio.open_tcp_stream(*listener.getsockname()):
            await tally.open.wait_change(0)
            await wait_all_tasks_blocked()
            assert tally.open.current == 2
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                assert await one.receive_some() == b""
    assert tally.open.current == 0


async def test_accepting_ends_alone() -> None:
    """Who is connected stays, who is in the queue is taken, who comes later is refused; it returns with the last one's end."""
    leave = trio.Event()

    async def handler(sock: socket.socket) -> None:
        sock.send(b"served")
        await leave.wait()
        sock.send(b", to the end")

    tally, listener, accepting = Tally(), listen_tcp("127.0.0.1", 0), trio.CancelScope()
    address = listener.getsockname()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(serve_listener, listener, handler, tally, accepting=accepting))
            one = socket.create_connection(address)
            await tally.open.wait_change(0)
            queued = socket.create_connection(address)
            accepting.cancel()
            await tally.open.wait_change(1)
            assert listener.fileno() < 0
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address)
            assert tally.open.current == 2
            leave.set()
    for sock in (one, queued):
        with sock:
            assert sock.recv(100) + sock.recv(100) == b"served, to the end"


async def test_the_queue_is_served_at_once_and_sockets_do_not_block() -> None:
    seen: list[bool] = []

    async def handler(sock: socket.socket) -> None:
        seen.append(sock.getblocking())

    tally, listener = Tally(), listen_tcp("127.0.0.1", 0)
    clients = [socket.create_connection(listener.getsockname()) for _ in range(100)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_listener, listener, handler, tally)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    for client in clients:
        client.close()
    assert seen == [False] * 100


def test_a_port_in_use_is_named_with_the_cure() -> None:
    with listen_tcp("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}: .*another process has it"):
            listen_tcp("127.0.0.1", port)


@pytest.mark.skipif(not has_ipv6(), reason="the kernel has no IPv6")
def test_the_wildcard_takes_both_families() -> None:
    with listen_tcp("::", 0) as listener:
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, listener.getsockname()[1])):
                pass


def test_a_unix_socket_is_private_and_replaces_a_stale_one(tmp_path: Path) -> None:
    path = str(tmp_path / "admin")
    before = os.umask(0)
    os.umask(before)
    for _ in range(2):
        with listen_unix(path):
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert os.umask(before) == before


def test_a_unix_socket_for_everybody_in_the_pod(tmp_path: Path) -> None:
    path = str(tmp_path / "api")
    with listen_unix(path, 0o666):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o666


def test_no_place_for_a_unix_socket(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on .*: No such file"):
        listen_unix(str(tmp_path / "nowhere" / "admin"))


# -- more connections than there is room for


@asynccontextmanager
async def held(most: int, sources: Sequence[str], shares: int = 2) -> AsyncIterator[tuple[list[str], list[socket.socket], trio.Event]]:
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
                nursery.start_soon(partial(serve_listener, listener, hold, Tally(), most, shares=shares, who=client_network))
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


async def test_at_the_edge_it_holds_less() -> None:
    async with held(8, ("127.0.0.1", "127.0.0.1", "127.0.0.2"), MOST_SHARES_AT_THE_EDGE) as (served, clients, _):
        assert served == ["127.0.0.1", "127.0.0.2"]
        assert clients[1].recv(1) == b""


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


async def test_a_port_is_shared_by_those_who_say_so_and_nobody_else() -> None:
    with listen_tcp("127.0.0.1", 0, is_shared=True) as one:
        port = one.getsockname()[1]
        listen_tcp("127.0.0.1", port, is_shared=True).close()
        with pytest.raises(ConfigError, match="already"):
            listen_tcp("127.0.0.1", port)
